"""Example scores: the stage that scores all training images by some networks.

stages/<id>/scores.safetensors      ``runs`` [R, n] float32, ``positions`` [n] int64 of the images scored
stages/<id>/stage.json              ``scoring``: of what, by which networks, how far their rankings agree
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from sparsebench.diet.selection import stability
from sparsebench.errors import SparsebenchError
from sparsebench.files import write_atomic
from sparsebench.grid.diet import SCORES, load_scores
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import Stage
from sparsebench.grid.stages import load_stage, task_data
from sparsebench.grid.state import fresh_report, initial_net, interleaved, state_hash
from sparsebench.grid.store import Store
from sparsebench.ranks import from_leader, gather
from sparsebench.registry import example_score
from sparsebench.scoring import untouched


def run_scoring(stage: Stage, store: Store, hardware: Hardware) -> None:
    """Score all training images by every network, and store that; the ranks share the images."""
    began, report, data = time.perf_counter(), fresh_report(), task_data(stage.task, hardware)
    runs = torch.stack(list(_runs(stage, store, data, hardware, report)))
    report["wall_seconds"] = report["score_seconds"] = time.perf_counter() - began
    report["scoring"] = {
        **stage.scoring.source,
        "networks": list(stage.networks),
        "stability": stability(runs.numpy()) if len(runs) > 1 else [],
        "data_digest": data.digest,
    }
    from_leader(lambda: _save(stage, store, runs, data.train_positions, report))


def _runs(stage: Stage, store: Store, data, hardware: Hardware, report: dict[str, Any]) -> Iterator[Tensor]:
    """The scores [n] by each network, or by the images alone."""
    diet, task, score = stage.scoring, stage.task, example_score.get(stage.scoring.score)
    if diet.kind == "image":
        yield _together(score, data)
    elif diet.kind == "training":
        yield from (load_scores(name, store)["scores"] for name in stage.networks)
    else:
        for run, seed in enumerate(diet.seeds):
            if stage.networks:
                net = load_stage(stage.networks[run], store, task, seed, data, hardware).net
            else:
                net = initial_net(task, seed, data.input_shape, data.num_classes).to(hardware.device)
            before = state_hash(net)
            with untouched(net, train=False):
                yield _together(lambda x, y, net=net: score(net, x, y), data)
            report["score_passes"] += 1
            if state_hash(net) != before:
                raise SparsebenchError(f"score {diet.score} changes the network that it looks at; it must not")


def _together(score: Callable[[Tensor, Tensor], Tensor], data) -> Tensor:
    """Scores [n] of all training images, of which every rank looks at its share."""
    mine = torch.cat([score(x, y).detach().float().cpu() for x, y in data.in_order()])
    return interleaved(gather(mine))


def _save(stage: Stage, store: Store, runs: Tensor, positions: Tensor, report: dict[str, Any]) -> None:
    folder = store.stage(stage.id)
    folder.mkdir(parents=True, exist_ok=True)
    content = safetensors_bytes({"runs": runs.contiguous(), "positions": positions.contiguous()})
    write_atomic(folder / SCORES, content)
    head = {"id": stage.id, "label": stage.label, "parent": None, "rewind_point": None, "phases": []}
    files = {"files": {SCORES: sha256(content).hexdigest()}}
    write_atomic(folder / "stage.json", json.dumps({**head, **files, **report}, indent=1))
