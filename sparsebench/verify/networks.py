"""Networks: goes through the stored stages, each once, and reads them. Loading runs no code: safetensors and JSON."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from sparsebench import data as datasets
from sparsebench.errors import SparsebenchError
from sparsebench.grid.store import Store
from sparsebench.masks import Masks
from sparsebench.models import build
from sparsebench.protocol import canonical
from sparsebench.verify import counts, stages
from sparsebench.verify.counts import Content, Facts, Whole
from sparsebench.verify.names import Link
from sparsebench.verify.report import Report, unequal

REMEMBERED = 16
"""Masks kept in memory, since stages that follow one another are looked at one after the other."""


class Networks:
    """The stages of a store, examined parents first; ``facts`` are those of the stages that passed."""

    def __init__(self, store: Store, data_root: str | None, report: Report):
        self.store, self.data_root, self.report = store, data_root, report
        self.facts: dict[str, Facts] = {}
        self.no_data: set[str] = set()
        """Data sets that are not on this machine: without them the shapes of their networks are not known."""
        self._sound: set[str] = set()
        self._chosen: OrderedDict[str, Masks | None] = OrderedDict()

    def examine(self, link: Link, task: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        """Rules ``digests``, ``masks``, ``weights`` and ``nesting`` of one stage; ``said`` is its ``stage.json``.

        A rule is not asked where one before it failed: everything after would fail with it.
        """
        folder, check = self.store.stage(link.id), self.report.check
        content = self.report.value("digests", link.id, folder, lambda: read(folder, said, stages.needed_files(link)))
        if content is None:
            return
        self._sound.add(link.id)
        self._remember(link.id, content.chosen)
        if not self.has_data(task):
            check("digests", link.id, folder, ())
            return
        nets = self.report.value("digests", link.id, folder, lambda: self.both(task, said.get("network_arguments", {})))
        if nets is None:
            return
        of_task, whole = nets
        if not check("digests", link.id, folder, same_digest(content, whole, said)):
            self._sound.discard(link.id)
            return
        good = check("masks", link.id, folder, counts.masks_as_asked(content, whole, of_task, link, said))
        good = good and check("weights", link.id, folder, counts.zeros_where_pruned(content, whole, link))
        if good and link.parent in self._sound and stages.must_nest(link):
            good = check("nesting", link.id, folder, counts.nested(content.chosen, self._before(link), link.parent))
        if good:
            self.facts[link.id] = Facts.of(content, whole)

    def has_data(self, task: Mapping[str, Any]) -> bool:
        """Whether the data set is here, which decides the shapes of a network."""
        try:
            _shape(str(task.get("dataset")), self.data_root)
        except SparsebenchError:
            self.no_data.add(str(task.get("dataset")))
            return False
        return True

    def both(self, task: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[Whole, Whole]:
        """The network of a task, and the same with the arguments of a stage."""
        shape, classes = _shape(task["dataset"], self.data_root)
        own = task["network_arguments"]
        whole, narrow = (_whole(task["network"], shape, classes, canonical(a)) for a in (own, {**own, **arguments}))
        return whole, narrow

    def notes(self) -> Iterator[str]:
        """What is worth knowing of the networks and no fault."""
        for name in sorted(self.no_data):
            yield f"data set {name} is not here, so of its stages only the files were compared (--data FOLDER)"
        zeros = {name: facts.zero_share for name, facts in self.facts.items() if facts.zero_share > 0}
        if zeros:
            most = max(zeros, key=zeros.__getitem__)
            yield f"{len(zeros)} networks have kept weights that are 0, at most {zeros[most]:.2%} (stage {most})"

    def _remember(self, name: str, chosen: Masks | None) -> None:
        self._chosen[name] = chosen
        if len(self._chosen) > REMEMBERED:
            self._chosen.popitem(last=False)

    def _before(self, link: Link) -> Masks:
        """Masks or units of the stage before, whose files were found sound."""
        if link.parent not in self._chosen:
            folder = self.store.stage(link.parent)
            self._remember(link.parent, read(folder, stages.read(folder), ()).chosen)
        return self._chosen[link.parent]


def same_digest(content: Content, whole: Whole, said: Mapping[str, Any]) -> Iterator[str]:
    """Whether the weights, in the network's order, are those that were saved; other keys are the rule ``weights``'."""
    if set(whole.keys) == set(content.weights):
        found = counts.loaded_digest(content.weights, whole.keys)
        yield from unequal("digest of the loaded weights", found, said["final_digest"], "final_digest of stage.json")


def read(folder: Path, said: Mapping[str, Any], needed: Iterable[str]) -> Content:
    """The tensors of a stage, after its files were compared with their digests.

    Raises:
        SparsebenchError: a file is not the one that was written, or holds something else.
    """
    if faults := list(stages.same_files(folder, said, needed)):
        raise SparsebenchError("; ".join(faults))
    chosen = {file: Masks.load(folder / file) for file in (stages.MASKS, stages.STRUCTURE) if file in said["files"]}
    try:
        weights = load_file(folder / stages.WEIGHTS)
    except SafetensorError as error:
        raise SparsebenchError(f"{stages.WEIGHTS} cannot be read: {error}") from None
    return Content(weights, chosen.get(stages.MASKS), chosen.get(stages.STRUCTURE))


@lru_cache(maxsize=8)
def _shape(dataset: str, root: str | None) -> tuple[tuple[int, ...], int]:
    """Shape of an image and number of classes."""
    source = datasets.load(dataset, root)
    return tuple(source.train.shape), len(source.classes)


@lru_cache(maxsize=8)
def _whole(network: str, shape: tuple[int, ...], classes: int, arguments: str) -> Whole:
    return Whole(build(network, shape, classes, **json.loads(arguments)), shape)
