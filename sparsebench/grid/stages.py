"""Stages: runs one stage, stores what comes of it and loads it again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from sparsebench import tree
from sparsebench.files import write_atomic
from sparsebench.grid.diet import SCORES, on_diet
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.perform import perform
from sparsebench.grid.plan import Stage
from sparsebench.grid.state import State, data_of, fresh_report, initial_net, peak_memory_mb, top1, without_units
from sparsebench.grid.store import CorruptStage, Store
from sparsebench.grid.trackers import stage_done
from sparsebench.grid.training import CHECKPOINT
from sparsebench.masks import Masks
from sparsebench.phases import describe
from sparsebench.provenance import provenance
from sparsebench.ranks import from_leader, gather
from sparsebench.snapshot import state_digest
from sparsebench.tasks import Task

DENSE_KEYS = "state_dict keys are those of the dense network"


def run_stage(stage: Stage, store: Store, hardware: Hardware) -> None:
    """Compute a stage and store it; all ranks compute, the first one writes."""
    began = time.perf_counter()
    data = task_data(stage.task, hardware, store, stage.seed)
    state, reads = begin(stage, store, data, hardware), data.test_reads + data.corrupted_reads
    keys = set(state.net.state_dict())
    for phase in stage.phases:
        perform(phase, state, store, data, hardware)
    state.report["val_top1"] = top1(state.net, data.val_dataloader())
    audit_stage(state, keys, data.test_reads + data.corrupted_reads - reads, hardware)
    hear_ranks(state)
    state.report["wall_seconds"] = time.perf_counter() - began
    state.report["peak_memory_mb"] = peak_memory_mb(hardware)
    state.report["circumstances"] = {
        key: value for key, value in circumstances(stage.task, data, hardware).items() if key != "created"
    }
    from_leader(lambda: save(state, store))
    # Not before: what is measured after a training takes its time, and whoever is killed then must not train again.
    from_leader(lambda: (store.stage(stage.id) / CHECKPOINT).unlink(missing_ok=True))
    if hardware.loggers:
        stage_done(stage, state.report, hardware)


def audit_stage(state: State, keys: set[str], test_reads: int, hardware: Hardware) -> None:
    """Note what holds of every stage, whatever its phases: rules 4, 5 and 8."""
    chosen = state.structure if state.masks is None else state.masks
    if chosen is not None:
        digests = gather(chosen.digest())
        same = len(set(digests)) == 1 and len(digests) == hardware.world
        state.note(4, same, f"{len(set(digests))} digest(s) on {len(digests)} of {hardware.world} process(es)")
    odd = sorted(keys ^ set(state.net.state_dict()))
    state.note(5, not odd, f"{DENSE_KEYS} but for {', '.join(odd[:3])}" if odd else DENSE_KEYS)
    state.note(8, test_reads == 0, f"test set read {test_reads} time(s) while training")


def hear_ranks(state: State) -> None:
    """What failed on another rank has failed."""
    for other, notes in enumerate(gather(state.report["audit"])[1:], 1):
        for note in notes:
            if not note["passed"]:
                state.note(note["rule"], False, f"rank {other}: {note['detail']}")


def circumstances(task: Task, data, hardware: Hardware) -> dict[str, Any]:
    """On what, with which code and how a stage or a cell is computed."""
    return provenance(
        hardware.accelerator,
        precision=task.recipe.precision,
        world_size=hardware.world,
        threads=hardware.threads,
        data_digest=data.digest,
    )


def task_data(task: Task, hardware: Hardware, store: Store | None = None, seed: int = 0):
    """The data module of a task; on a diet, with the images that the scores in the store (or the seed) choose."""
    recipe = task.recipe
    data = data_of(
        task.dataset,
        recipe.global_batch,
        recipe.augment,
        hardware.data_root,
        hardware.download,
        hardware.device,
        tuple(sorted(task.subset.items())),
    )
    return on_diet(task, seed, store, data) if task.diet else data


def begin(stage: Stage, store: Store, data, hardware: Hardware) -> State:
    """The parent's result, or the network at initialisation."""
    if stage.parent:
        loaded = load_stage(stage.parent, store, stage.task, stage.seed, data, hardware)
        state = State(stage, loaded.net, loaded.masks, loaded.structure, loaded.arguments)
    else:
        net = initial_net(stage.task, stage.seed, data.input_shape, data.num_classes)
        state = State(stage, net.to(hardware.device))
    state.trainings, state.report = stage.trainings_before, fresh_report()
    if not stage.parent:
        state.report["initial_digest"] = state_digest(state.net)
    return state


@dataclass(frozen=True)
class Loaded:
    """A stored network."""

    net: torch.nn.Module
    masks: Masks | None
    structure: Masks | None
    """Units taken out of the network, in the shapes it had before."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Network arguments that are not the task's."""


def load_stage(name: str, store: Store, task: Task, seed: int, data, hardware: Hardware) -> Loaded:
    """The network of a stored stage, in the shape it had at its end.

    Raises:
        CorruptStage: damaged or of another network.
    """
    report = store.stage_report(name)
    folder = store.stage(name)
    arguments = report.get("network_arguments", {})
    net = initial_net(task, seed, data.input_shape, data.num_classes, arguments=arguments).to(hardware.device)
    files = {
        kind: Masks.load(folder / f"{kind}.safetensors")
        for kind in ("masks", "structure")
        if f"{kind}.safetensors" in report["files"]
    }
    if "structure" in files:
        without_units(net, files["structure"], data.input_shape)
    try:
        # Keys too many are rule 5's to report; keys that are missing leave nothing to evaluate.
        missing, _ = net.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CorruptStage(name, f"{folder / 'weights.safetensors'}: {error}") from None
    if missing:
        raise CorruptStage(name, f"{folder / 'weights.safetensors'}: lacks {', '.join(missing[:3])}")
    return Loaded(net, files.get("masks"), files.get("structure"), arguments)


def save(state: State, store: Store) -> None:
    """Write the stage's files, ``stage.json`` last."""
    stage, folder = state.stage, store.stage(state.stage.id)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.tmp"):
        left.unlink()  # of a process that was killed while it wrote
    weights = {name: value.contiguous() for name, value in state.net.state_dict().items()}
    write_atomic(folder / "weights.safetensors", safetensors_bytes(weights))
    files = ["weights.safetensors"]
    for kind, masks in (("masks", state.masks), ("structure", state.structure)):
        if masks is not None:
            masks.save(folder / f"{kind}.safetensors")
            files.append(f"{kind}.safetensors")
    if state.scores is not None:
        write_atomic(folder / SCORES, safetensors_bytes({"scores": state.scores}))
        files.append(SCORES)
    if stage.keeps_optimizer:
        tree.save(state.optimizer, folder / "optimizer.safetensors")
        files.append("optimizer.safetensors")
    report = {
        "id": stage.id,
        "label": stage.label,
        "parent": stage.parent,
        "rewind_point": stage.rewind_point,
        **({"teacher": stage.teacher} if stage.teacher else {}),
        **({"scores": stage.scores} if stage.scores else {}),
        "phases": [describe(phase) for phase in stage.phases],
        "network_arguments": state.arguments,
        "final_digest": state_digest(state.net),
        "files": {file: sha256((folder / file).read_bytes()).hexdigest() for file in files},
        **state.report,
    }
    write_atomic(folder / "stage.json", json.dumps(report, indent=1))
