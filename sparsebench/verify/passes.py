"""Passes: the order in which a folder is gone through, light things first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsebench.record import CorruptRecord, Record
from sparsebench.verify import arithmetic, diet, names, records, stages
from sparsebench.verify.folder import Source, load
from sparsebench.verify.names import Link
from sparsebench.verify.report import Report, unequal

if TYPE_CHECKING:
    from sparsebench.verify.networks import Networks


class Verification:
    """One pass over a folder; torch is imported when the first stage is to be looked into."""

    def __init__(self, source: Source, data_root: str | None):
        self.source, self.store, self.data_root = source, source.store, data_root
        self.report = Report(str(source.folder), records=len(source.records))
        self.finished: dict[Path, Record] = {}
        """Records that are what they say, of cells that did not fail."""
        self.dense: dict[tuple[str, str], Record] = {}
        """Records by board and cell, to find a dense row among them."""
        self.chains: dict[Path, list[Link]] = {}
        """By record, the stages that its settings name, where they are to be found in the store."""
        self.said: dict[str, dict[str, Any] | None] = {}
        """By stage, what its ``stage.json`` says; None if that is not what the settings say."""

        self.sound_scores: set[str] = set()
        """Stages with scores of training images that are as they were written."""

    def run(self, measure: bool = False) -> Report:
        self.load_records()
        odd = records.agreements(self.finished, self.source)
        for path, record in self.finished.items():
            faults = records.provenance(record, self.dense_row(record), self.source)
            self.report.check("provenance", path.stem, path, chain(faults, odd.get(path, ())))
            self.find_chain(path, record)
            self.report.check("arithmetic", path.stem, path, self.arithmetic(path, record))
        if any(self.said.values()):
            self.check_networks(measure)
        if self.source.is_store:
            self.check_orphans()
        self.report.stages += len(self.said)
        self.report.notes += records.notes(self.finished, self.source, len(self.chains))
        return self.report

    def load_records(self) -> None:
        """Rule ``record``."""
        for path in self.source.records:
            try:
                record = load(path)
            except CorruptRecord as error:
                self.report.check("record", path.stem, path, [error.why])
                continue
            good = self.report.check("record", path.stem, path, records.identity(path, record, self.source))
            if record.ok:
                self.dense[record.data["board"], record.data["cell_id"]] = record
            if good and record.ok:
                self.finished[path] = record
            elif good:
                self.report.notes.append(f"{path.stem}: the cell failed: {record.data.get('error')}")

    def dense_row(self, record: Record) -> Record | None:
        """The dense row of a record's board, task and seed."""
        return self.dense.get((record.data["board"], names.dense_name(record.data)))

    def find_chain(self, path: Path, record: Record) -> None:
        """Rule ``chain``: of a record, and of each of its stages once."""
        links = self.report.value("chain", path.stem, path, lambda: names.chain(record.data))
        if links is None:
            return
        parents = unequal("parents", record.data.get("parents"), [link.id for link in links], "by its settings")
        if not self.report.check("chain", path.stem, path, parents) or self.store is None:
            return
        if records.is_behind(record.data, self.source):
            self.chains[path] = links
            for link in (*beside(record.data), *links):
                if link.id not in self.said:
                    self.said[link.id] = self.stage(link)

    def stage(self, link: Link) -> dict[str, Any] | None:
        """What a stage says of itself, if it is what the settings of a record say."""
        folder = self.store.stage(link.id)
        said = self.report.value("chain", link.id, folder, lambda: stages.read(folder))
        if said is None or not self.report.check("chain", link.id, folder, stages.links_up(link, said, self.store)):
            return None
        return said

    def arithmetic(self, path: Path, record: Record) -> Iterator[str]:
        """Rule ``arithmetic``, with the stages where all of them are at hand."""
        dense = self.dense_row(record)
        yield from arithmetic.within(record.data, dense and dense.data)
        said = [self.said[link.id] for link in self.chains.get(path, ())]
        if said and all(said):
            apart = [self.said[link.id] for link in names.teachers(record.data)]
            if all(apart):
                yield from arithmetic.with_stages(record.data, said, apart)

    def check_networks(self, measure: bool) -> None:
        """Rules ``digests``, ``masks``, ``weights``, ``nesting`` and ``measure``, chain after chain."""
        from sparsebench.verify.networks import Networks

        networks, asked = Networks(self.store, self.data_root, self.report), set()
        for path, links in sorted(self.chains.items(), key=lambda item: [link.id for link in item[1]]):
            data = self.finished[path].data
            for link in (*beside(data), *links):
                if link.scoring and self.said[link.id] and link.id not in asked:
                    self.check_scores(link.id, self.said[link.id])
                elif self.said[link.id] and link.id not in asked:
                    networks.examine(link, data["settings"]["task"], self.said[link.id])
                asked.add(link.id)
            if links[-1].id in networks.facts:
                self.check_network(path, links[-1].id, networks, measure)
        self.report.notes += networks.notes()

    def check_scores(self, name: str, said: Mapping[str, Any]) -> None:
        """Rule ``digests`` of scores of training images."""
        folder = self.store.stage(name)
        if self.report.check("digests", name, folder, stages.same_files(folder, said, (stages.SCORES,))):
            self.sound_scores.add(name)

    def check_network(self, path: Path, stage: str, networks: Networks, measure: bool) -> None:
        """A record against the last stage of its chain."""
        from sparsebench.verify import counts

        data, facts, check = self.finished[path].data, networks.facts[stage], self.report.check
        whole, _ = networks.both(data["settings"]["task"], {})
        if data.get("diet", {}).get("scores") in self.sound_scores:
            check("arithmetic", path.stem, path, diet.chosen_anew(data, self.store))
        if check("masks", path.stem, path, counts.layers_from_masks(data["sparsity"], facts, whole)):
            check("weights", path.stem, path, counts.layers_from_weights(data["sparsity"], facts))
        if measure:
            from sparsebench.verify import measured

            faults = measured.again(data, self.store, self.data_root, self.report.notes)
            check("measure", path.stem, path, faults)

    def check_orphans(self) -> None:
        """Stages that no record here stands on: what they are of is not known, only their files can be checked."""
        for folder in sorted(path for path in self.store.stages.glob("*") if path.name not in self.said):
            if (folder / "stage.json").exists():
                self.check_orphan(folder)
            else:
                self.report.notes.append(f"stage {folder.name} is not finished")

    def check_orphan(self, folder: Path) -> None:
        name, check = folder.name, self.report.check
        self.report.stages += 1
        said = self.report.value("chain", name, folder, lambda: stages.read(folder))
        if said is not None and check("chain", name, folder, stages.stands_alone(folder, said, self.store)):
            needed = stages.SCORES if said.get("scoring") else stages.WEIGHTS
            check("digests", name, folder, stages.same_files(folder, said, (needed,)))


def beside(data: Mapping[str, Any]) -> list[Link]:
    """The stages that a record's chain stands on without being made of them."""
    return [*names.scoring(data), *names.rewind_points(data), *names.teachers(data)]
