"""Diet: the part of its training images that a record says it was trained on, and the same chosen anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from sparsebench.grid.store import Store
from sparsebench.verify.names import diet_of, scores_name
from sparsebench.verify.report import unequal
from sparsebench.verify.stages import SCORES


def within(data: Mapping[str, Any]) -> Iterator[str]:
    """What does not follow from the numbers of a record on a diet."""
    diet, said = diet_of(data), data.get("diet")
    if diet is None or said is None:
        if (diet is None) != (said is None):
            yield "diet: the record and the settings of its task disagree on whether there is one"
        return
    yield from unequal("diet.kept", said["kept"], max(1, round(diet.keep * said["of"])), "keep * of")
    yield from unequal("diet.per_class", sum(said["per_class"]), said["kept"], "in all diet.kept")
    length = said["of"] if diet.budget == "steps" else said["kept"]
    yield from unequal("diet.epoch_images", said["epoch_images"], length, f"budget {diet.budget}")
    yield from unequal("diet.networks", said["networks"], diet.runs or 0, "the settings'")
    yield from unequal("diet.scores", said["scores"], scores_name(data), "by its settings")


def chosen_anew(data: Mapping[str, Any], store: Store) -> Iterator[str]:
    """Whether the stored scores, which are sound, choose the images that a record was trained on."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from sparsebench.diet.selection import kept, stability

    diet, path = diet_of(data), store.stage(data["diet"]["scores"]) / SCORES
    try:
        found = load_file(path)
    except SafetensorError as error:
        yield f"{path} cannot be read: {error}"
        return
    runs, positions = found["runs"], found["positions"]
    salt = data["settings"]["task"]["dataset"].partition(":")[0]
    chosen = kept(runs.astype("float64").mean(axis=0), diet.keep, order=diet.order, skip=diet.skip, salt=salt)
    digest = sha256(positions[chosen].tobytes()).hexdigest()
    yield from unequal("digest of the images that the scores choose", digest, data["diet"]["digest"], "diet.digest")
    agreement = stability(runs) if len(runs) > 1 else []
    yield from unequal("diet.stability", data["diet"]["stability"], agreement, "of the stored scores")
