"""Counts: what a stage's masks and weights say, counted anew and held against what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from sparsebench import tree
from sparsebench.allocation import kept_count
from sparsebench.audit import exact_count
from sparsebench.grid.state import noise
from sparsebench.masks import Masks
from sparsebench.models.narrow import measures
from sparsebench.scope import scope_of
from sparsebench.structured import misses
from sparsebench.verify import stages
from sparsebench.verify.names import Link
from sparsebench.verify.report import unequal

ZEROS_ALLOWED = 0.01
"""Share of kept weights that may be exactly 0 where masks stay: training leaves none there but by underflow."""


@dataclass(frozen=True)
class Whole:
    """A network with all its units, at any initialisation: names, shapes and wiring."""

    net: nn.Module
    input_shape: tuple[int, ...]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the prunable weights."""
        return scope_of(self.net).shapes

    @cached_property
    def sizes(self) -> dict[str, int]:
        return {name: weight.numel() for name, weight in scope_of(self.net).prunable.items()}

    @cached_property
    def parameters(self) -> list[str]:
        return [name for name, _ in self.net.named_parameters()]

    @cached_property
    def keys(self) -> list[str]:
        return list(self.net.state_dict())


@dataclass(frozen=True)
class Content:
    """The tensors of a stage."""

    weights: dict[str, Tensor]
    masks: Masks | None
    structure: Masks | None

    @property
    def chosen(self) -> Masks | None:
        """What says which weights are kept."""
        return self.structure if self.masks is None else self.masks


def loaded_digest(weights: Mapping[str, Tensor], keys: list[str]) -> str:
    """What ``snapshot.state_digest`` says of a network with these weights; ``keys`` in the network's order."""
    digest = sha256()
    for key in keys:
        digest.update(key.encode())
        digest.update(tree.tensor_bytes(weights[key]))
    return digest.hexdigest()


def masks_as_asked(
    content: Content, whole: Whole, of_task: Whole, link: Link, report: Mapping[str, Any]
) -> Iterator[str]:
    """Rule ``masks`` of a stage: there are masks if it is pruned, of the prunable weights, with the exact count."""
    listed = sorted(set(report["files"]) & {stages.MASKS, stages.STRUCTURE})
    expected = stages.files_of_masks(link, listed)
    yield from unequal("stage.json: files of masks", listed, expected, "by its phases")
    pruning, narrow = stages.last_pruning(link.history), stages.narrowing(link.history)
    if narrow is not None:
        unit, measure = measures(whole.input_shape)[narrow["match"]]
        size, allowed = measure(whole.net), kept_count(1 - narrow["sparsity"], measure(of_task.net))
        if size > allowed:
            yield f"the narrower network has {size} {unit}, expected at most {allowed}"
    if listed != expected or pruning is None:
        return
    if content.structure is not None:
        wrong = misses(whole.net, content.structure, noise(whole.input_shape), 1 - pruning["sparsity"])
        if wrong:
            yield f"{stages.STRUCTURE}: {wrong}"
        return
    masks = content.masks
    shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
    if shapes != whole.shapes:
        odd = sorted(n for n in {*shapes, *whole.shapes} if shapes.get(n) != whole.shapes.get(n))
        yield f"{stages.MASKS}: {odd[0]} has shape {shapes.get(odd[0])}, expected {whole.shapes.get(odd[0])}"
        return
    scorer = pruning.get("scorer")
    exact, asked = exact_count(masks, pruning["sparsity"], scorer["allocation"] if scorer else "global")
    if not exact:
        yield f"{stages.MASKS}: {masks.kept} of {masks.total} kept, expected {asked}"


def zeros_where_pruned(content: Content, whole: Whole, link: Link) -> Iterator[str]:
    """Rule ``weights`` of a stage: 0 where pruned, not 0 where kept, shrunk where units were taken out.

    Where masks move, a weight may have come back at 0 and never seen a gradient: such zeros are counted, not refused.
    """
    weights, chosen = content.weights, content.chosen
    if set(weights) != set(whole.keys):
        odd = sorted(set(weights) ^ set(whole.keys))
        yield f"{stages.WEIGHTS}: {odd[0]} is {'too much' if odd[0] in weights else 'missing'}"
        return
    for name, size in whole.sizes.items():
        weight = weights[name]
        if content.masks is not None:
            leaked = int(torch.count_nonzero(weight[~content.masks[name]]))
            if leaked:
                yield f"{stages.WEIGHTS}: {leaked} pruned weights of {name} are not 0"
        expected = size if content.structure is None else int(content.structure[name].sum())
        yield from unequal(f"{stages.WEIGHTS}: size of {name}", weight.numel(), expected, "weights of its units")
    if chosen is not None and not stages.moves(link.history) and (share := zero_share(content, whole)) > ZEROS_ALLOWED:
        yield f"{stages.WEIGHTS}: {share:.1%} of the kept weights are exactly 0, at most {ZEROS_ALLOWED:.0%} expected"


def zero_share(content: Content, whole: Whole) -> float:
    """Share of the kept weights that are exactly 0."""
    kept = sum(kept_by_layer(content, whole).values())
    return 1 - sum(int(torch.count_nonzero(content.weights[name])) for name in whole.sizes) / max(kept, 1)


def kept_by_layer(content: Content, whole: Whole) -> dict[str, int]:
    """Kept weights of every prunable tensor; of a network without masks all it has."""
    if content.chosen is None:
        return {name: content.weights[name].numel() for name in whole.sizes}
    counts = content.chosen.counts
    return {name: counts[name] for name in whole.sizes}


def nested(inner: Masks, outer: Masks, before: str) -> Iterator[str]:
    """Rule ``nesting``: every weight kept was kept in the stage before."""
    for name, mask in inner.items():
        if back := int((mask & ~outer[name]).sum()):
            yield f"{back} kept weights of {name} were pruned in stage {before}"


@dataclass(frozen=True)
class Facts:
    """What was counted in the files of a stage, by prunable tensor."""

    kept: dict[str, int]
    size: dict[str, int]
    parameters: int
    masked: bool
    zero_share: float

    @classmethod
    def of(cls, content: Content, whole: Whole) -> Facts:
        return cls(
            kept=kept_by_layer(content, whole),
            size={name: content.weights[name].numel() for name in whole.sizes},
            parameters=sum(content.weights[name].numel() for name in whole.parameters),
            masked=content.masks is not None,
            zero_share=zero_share(content, whole),
        )


def layers_from_masks(sparsity: Mapping[str, Any], facts: Facts, of_task: Whole) -> Iterator[str]:
    """Rule ``masks`` of a record: its layers are those counted in the masks of its last stage."""
    layers = sparsity["layers"]
    for name in {**layers, **of_task.sizes}:
        expected = {"kept": facts.kept.get(name), "size": of_task.sizes.get(name)}
        yield from unequal(f"sparsity.layers: {name}", layers.get(name), expected, "counted")
    total = sum(parameter.numel() for parameter in of_task.net.parameters())
    yield from unequal("sparsity.total", sparsity["total"], total, "parameters of the task's network")


def layers_from_weights(sparsity: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    """Rule ``weights`` of a record: the sizes of a network without masks, and all its parameters.

    Where single weights are masked, counts from masks and zeros outside them were found right before.
    """
    if not facts.masked:
        for name, layer in sparsity["layers"].items():
            yield from unequal(f"weights of {name}", facts.size[name], layer["kept"], "sparsity.layers")
    if "parameters" in sparsity:  # older code did not count them
        yield from unequal("sparsity.parameters", sparsity["parameters"], facts.parameters, "counted in the weights")
