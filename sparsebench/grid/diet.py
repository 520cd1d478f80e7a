"""Diet: the part of its training images that a task on a diet is trained on, from the scores in the store."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sparsebench.diet.selection import kept, sampled_ranks
from sparsebench.grid.plan import scores_name
from sparsebench.grid.store import CorruptStage, Store
from sparsebench.protocol import derived_seed
from sparsebench.registry import example_score
from sparsebench.tasks import Task

SCORES = "scores.safetensors"


def load_scores(name: str, store: Store) -> dict[str, Tensor]:
    """The tensors of a stage's ``scores.safetensors``.

    Raises:
        CorruptStage: it is missing or damaged.
    """
    if SCORES not in store.stage_report(name)["files"]:
        raise CorruptStage(name, f"{store.stage(name)}: has no {SCORES}")
    try:
        return load_file(store.stage(name) / SCORES)
    except (SafetensorError, OSError) as error:
        raise CorruptStage(name, f"{store.stage(name) / SCORES}: {error}") from None


def scores_of(task: Task, seed: int, store: Store, data) -> np.ndarray:
    """Scores [n] of a task's training images, by its diet: the mean over networks, or the draw of a seed.

    Raises:
        CorruptStage: the scores are missing, damaged, or of other images than ``data`` has.
    """
    if (name := scores_name(task)) is None:
        generator = torch.Generator().manual_seed(derived_seed(seed, "diet"))
        return example_score.get(task.diet.score)(data.train_size, generator).numpy()
    found = load_scores(name, store)
    if not torch.equal(found["positions"], data.train_positions):
        raise CorruptStage(name, f"{store.stage(name) / SCORES}: scores of other images than {data.name} has")
    return found["runs"].double().mean(dim=0).numpy()


def on_diet(task: Task, seed: int, store: Store, data):
    """The data with the training images that a task's diet keeps.

    Raises:
        CorruptStage: the scores that choose them are missing or damaged.
    """
    diet = task.diet
    chosen = kept(scores_of(task, seed, store, data), diet.keep, order=diet.order, skip=diet.skip, salt=_salt(data))
    positions = data.train_positions[torch.from_numpy(chosen)]
    return data.restricted(positions, data.epoch_images if diet.budget == "steps" else None)


def facts(task: Task, seed: int, store: Store, data) -> dict[str, Any]:
    """What a record says of a diet; ``data`` are on it.

    ``ranks`` (0 = easiest) of fixed images make any two scores comparable from records alone; they are the same for
    all seeds, and seed 0 has them. ``epochs`` are those of all scoring networks, which many cells share and no cell's
    cost contains.
    """
    diet, name, whole = task.diet, scores_name(task), data.unrestricted
    scores = scores_of(task, seed, store, whole)
    finite = np.sort(scores[np.isfinite(scores)])
    scoring = store.stage_report(name)["scoring"] if name else {}
    return {
        "scores": name,
        "kept": data.train_size,
        "of": whole.train_size,
        "epoch_images": data.epoch_images,
        "per_class": torch.bincount(data.train_labels, minlength=data.num_classes).tolist(),
        "digest": sha256(data.train_positions.numpy().tobytes()).hexdigest(),
        "networks": diet.runs or 0,
        "epochs": (diet.runs or 0) * (diet.epoch or 0),
        "stability": scoring.get("stability", []),
        "mean": float(finite.mean()) if len(finite) else None,
        "top_decile": float(finite[-max(1, len(finite) // 10) :].mean()) if len(finite) else None,
        **({} if seed else {"ranks": sampled_ranks(scores, _salt(whole))}),
    }


def _salt(data) -> str:
    return data.name.partition(":")[0]  # of a folder's path no number may depend
