"""Finish: evaluate a cell's final network once on the test set and write its record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sparsebench.allocation import kept_count
from sparsebench.audit import audit
from sparsebench.callbacks.probe import in_small_batches
from sparsebench.corruptions import SEED
from sparsebench.corruptions.suite import kinds
from sparsebench.grid.cell import Cell
from sparsebench.grid.diet import facts
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import CellJob, Context
from sparsebench.grid.stages import Loaded, circumstances, load_stage, task_data
from sparsebench.grid.state import initial_net, logits, noise, peak_memory_mb
from sparsebench.grid.store import Store
from sparsebench.grid.trackers import cell_done
from sparsebench.measures import Subject
from sparsebench.metrics.bias import bias
from sparsebench.metrics.dead_neurons import dead_neuron_rates
from sparsebench.metrics.flops import macs
from sparsebench.metrics.quality import collapsed, quality
from sparsebench.metrics.robustness import corrupted_accuracy, hits, robustness
from sparsebench.models.narrow import measures
from sparsebench.ranks import alone, from_leader
from sparsebench.record import Record
from sparsebench.registry import measure
from sparsebench.scope import scope_of
from sparsebench.structured import misses

SAME = ("data_digest", "precision", "versions")
"""In what a cell must not differ from its dense row, nor change on its way."""
PROBE = 2048
"""Training images on which dead neurons are counted."""


def finish_cell(job: CellJob, store: Store, context: Context) -> None:
    """Measure, audit and store one cell; the ranks share the test images, the first one does the rest."""
    cell = job.cell
    data = task_data(cell.task, context.hardware, store, cell.seed)
    loaded = load_stage(job.chain[-1], store, cell.task, cell.seed, data, context.hardware)
    before = data.test_reads
    clean, spoilt = data.test_reading(cell.corruptions)
    z, y = logits(loaded.net, clean)
    shown = shown_corrupted(loaded.net, spoilt, cell.corruptions, data)

    def write() -> None:
        with alone():
            found = asked(job, loaded, data, clean, (z, y), store, context.hardware)
            record = measured(job, loaded, data, (z, y, before), shown, found, store, context)
            record.save(store.records / f"{cell.id}.json")
        if context.hardware.loggers:
            cell_done(cell, record.data, context.hardware)

    from_leader(write)


def shown_corrupted(net: torch.nn.Module, parts: Iterable, which: str, data) -> dict[str, Any]:
    """What a network recognises of a set of corrupted test images: a record's ``corruptions``."""
    seen = [(views.kinds, views.severities, hits(*logits(net, batches))) for views, batches in parts]
    kind, severity, recognised = (torch.cat(column) for column in zip(*seen, strict=True))
    head = {"set": which, "seed": SEED, "digest": data.corrupted_digest(which)}
    return {**head, **robustness(kinds(), kind, severity, recognised)}


def asked(
    job: CellJob, loaded: Loaded, data, clean: Iterable, test: tuple[Tensor, Tensor], store: Store, hardware: Hardware
) -> dict[str, Any]:
    """What the board asks for beyond the usual, by the first rank on all test images."""
    cell, found = job.cell, {}
    if not cell.measures:
        return found
    dense = loaded.net
    if job.reference:
        stage = store.record(job.reference).data["parents"][-1]
        dense = load_stage(stage, store, cell.task, cell.seed, data, hardware).net
    folder = store.folder / "measures" / cell.id
    shared, data.shard_eval = data.shard_eval, False
    try:
        subject = Subject(
            loaded.net, loaded.masks, dense, data, clean, lambda: data.corrupted(cell.corruptions), *test, folder
        )
        for name in cell.measures:
            found[name] = measure.get(name)(subject)
    finally:
        data.shard_eval = shared
    return found


def measured(
    job: CellJob,
    loaded: Loaded,
    data,
    test: tuple[Tensor, Tensor, int],
    shown: dict[str, Any],
    found: dict[str, Any],
    store: Store,
    context: Context,
) -> Record:
    """A cell's record.

    Args:
        test: logits and labels of the test split, and how often it had been read before them.
        shown: what was recognised of the corrupted test images.
        found: the measures that the board asks for.
    """
    cell, (z, y, before) = job.cell, test
    net, masks = loaded.net, loaded.masks and loaded.masks.to(context.hardware.device)
    whole = initial_net(cell.task, cell.seed, data.input_shape, data.num_classes)
    chain = [store.stage_report(stage) for stage in job.chain]
    dense = store.record(job.reference).data if job.reference else None
    numbers = quality(z, y)
    per_class = numbers.pop("per_class")
    by_chance = collapsed(numbers["top1"], len(y), data.num_classes)
    probe = data.probe(PROBE)
    rates = dead_neuron_rates(net, in_small_batches(probe) if context.hardware.device == "cpu" else probe, masks)
    sparse_macs, dense_macs = macs(net, data.input_shape, masks).sparse, macs(whole, data.input_shape).dense
    flags = sorted({flag for report in chain for flag in report["flags"]})
    if by_chance:
        flags.append("accuracy at chance level")
    is_collapsed = bool(flags)
    losses = [loss for report in chain for loss in report["losses"]]
    where = {**circumstances(cell.task, data, context.hardware), "command": context.command}
    where["mixed"] = mixed(chain, where)
    verdicts = audit(
        [note for report in chain for note in report["audit"]],
        net,
        masks,
        cell.sparsity,
        allocation=cell.method.scorer.allocation if cell.method.scorer else "global",
        own_count=own_count(cell, whole, loaded, data),
        test_reads=data.test_reads - before,
        test_images=(len(y), data.test_size),
        flagged=is_collapsed,
        should_be_flagged=by_chance or bool(masks and masks.emptied) or None in losses,
        differences=differences(where, dense),
    )
    return Record(
        {
            **cell.record_head(),
            "status": "ok",
            "error": None,
            "collapsed": is_collapsed,
            "flags": flags,
            "metrics": {
                **numbers,
                **bias(per_class, dense["per_class"] if dense else per_class),
                "corrupted": corrupted_accuracy(shown["kinds"], shown["counts"]),
                "dead_static": rates.static,
                "dead_dynamic": rates.dynamic,
                "dead_dynamic_alive": rates.dynamic_alive,
                "dead_permanent": rates.permanent,
                "neg_preact": rates.neg_preact,
                "val_top1_before": chain[-1]["val_top1_before"],
                "val_top1": chain[-1]["val_top1"],
            },
            "per_class": per_class,
            "corruptions": shown,
            **({"measures": found} if found else {}),
            **({"diet": facts(cell.task, cell.seed, store, data)} if cell.task.diet else {}),
            "sparsity": sparsity(whole, loaded, cell.sparsity),
            "flops": {"dense": dense_macs, "sparse": sparse_macs, "speedup": dense_macs / max(sparse_macs, 1)},
            "cost": cost(chain, job, dense_macs, peak_memory_mb(context.hardware), teachers(chain, job, store)),
            "curves": {"losses": losses, **validation_curve(chain)},
            **searched(chain),
            "provenance": where,
            "fingerprint": cell.method.fingerprint(),
            "recalibrated": sum(report.get("recalibrated", 0) for report in chain),
            "audit": verdicts,
            "parents": list(job.chain),
        }
    )


def validation_curve(chain: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """Validation accuracy after each epoch of the chain, None where it was not asked for."""
    if not any("val_curve" in report for report in chain):
        return {}
    return {"val_top1": [value for report in chain for value in report.get("val_curve", [])]}


def searched(chain: list[dict[str, Any]]) -> dict[str, Any]:
    """What the last search for units found, and what it cost."""
    found = [report["search"] for report in chain if "search" in report]
    return {"search": found[-1]} if found else {}


def own_count(cell: Cell, whole: torch.nn.Module, loaded: Loaded, data) -> list[dict[str, Any]]:
    """Rule 1 for a network that was made smaller: the fewest whole units were removed, or it is narrow enough."""
    if loaded.structure is not None:
        wrong = misses(whole, loaded.structure.to("cpu"), noise(data.input_shape), 1 - cell.sparsity)
        kept = scope_of(loaded.net).size
        return [{"rule": 1, "passed": wrong is None, "detail": wrong or f"whole units, {kept} weights kept"}]
    if loaded.arguments:
        unit, measure = measures(data.input_shape)[cell.method.regime_arguments["match"]]
        size, allowed = measure(loaded.net), kept_count(1 - cell.sparsity, measure(whole))
        return [{"rule": 1, "passed": size <= allowed, "detail": f"{size} {unit}, at most {allowed} asked"}]
    return []


def differences(mine: dict[str, Any], dense: dict[str, Any] | None) -> list[str]:
    """In what a cell's circumstances differ from those of its dense row."""
    if dense is None:
        return []
    theirs = dense["provenance"]
    other = [f"{key} differs" for key in SAME if theirs.get(key) != mine[key]]
    return other + [f"{key} changed on the way" for key in SAME if key in mine["mixed"]]


def mixed(chain: list[dict[str, Any]], where: dict[str, Any]) -> list[str]:
    """In what the circumstances of some stage differ from those in which the cell was measured.

    >>> mixed([{"circumstances": {"threads": 1, "commit": "a"}}, {}], {"threads": 2, "commit": "a"})
    ['threads']
    """
    each = [report.get("circumstances", {}) for report in chain]
    return sorted({key for stage in each for key, value in stage.items() if value != where[key]})


def sparsity(whole: torch.nn.Module, loaded: Loaded, asked: float) -> dict[str, Any]:
    """What was asked for and what is there, of the task's own network."""
    now, before = scope_of(loaded.net).prunable, scope_of(whole).prunable
    kept = {name: weight.numel() for name, weight in now.items()} if loaded.masks is None else loaded.masks.counts
    prunable = sum(weight.numel() for weight in before.values())
    return {
        "asked": asked,
        "achieved": 1 - sum(kept.values()) / prunable,
        "kept": sum(kept.values()),
        "prunable": prunable,
        "total": sum(p.numel() for p in whole.parameters()),
        "parameters": sum(p.numel() for p in loaded.net.parameters()),
        "layers": {name: {"kept": kept[name], "size": weight.numel()} for name, weight in before.items()},
    }


def teachers(chain: list[dict[str, Any]], job: CellJob, store: Store) -> list[dict[str, Any]]:
    """The stages of teachers that the cell's own chain does not begin with."""
    asked = {report["teacher"] for report in chain if report.get("teacher")}
    return [store.stage_report(name) for name in sorted(asked - set(job.chain))]


def cost(
    chain: list[dict[str, Any]], job: CellJob, dense_macs: int, memory: float, apart: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the cell cost alone, and its share of stages that others use too.

    Training FLOPs are those executed: three passes of two operations a multiply-accumulate, masked ones included, and
    one pass of a teacher. A teacher's own training counts too, also where it is ``apart`` from the chain.
    ``memory`` is the peak while finishing.
    """
    teaching = sum(report["epochs"] for report in apart)
    return {
        "epochs": sum(report["epochs"] for report in chain) + teaching,
        **({"teacher_epochs": teaching} if apart else {}),
        "own_epochs": sum(r["epochs"] for r, stage in zip(chain, job.chain, strict=True) if job.users[stage] == 1),
        "trainings": sum(bool(report["steps"]) for report in chain),
        "train_flops": 6.0 * sum(report.get("macs", dense_macs) * report["images"] for report in [*chain, *apart])
        + 2.0 * sum(report.get("teacher_macs", 0) * report["images"] for report in chain),
        "seconds": sum(report["wall_seconds"] for report in chain),
        "shared_seconds": sum(r["wall_seconds"] / job.users[stage] for r, stage in zip(chain, job.chain, strict=True)),
        "score_seconds": sum(report["score_seconds"] for report in chain),
        "score_passes": sum(report.get("score_passes", 0) for report in chain),
        "peak_memory_mb": max([memory, *(report.get("peak_memory_mb", 0.0) for report in chain)]),
    }
