"""Arithmetic: what must follow from other numbers of the same record, or from the reports of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from typing import Any

from scipy.special import bdtr

from sparsebench.corruptions import SETS
from sparsebench.metrics.bias import bias
from sparsebench.metrics.robustness import corrupted_accuracy
from sparsebench.verify import diet
from sparsebench.verify.report import unequal

Data = Mapping[str, Any]
CHANCE = "accuracy at chance level"
FROM_STAGES = (3, 4, 5, 6, 7)
"""Audit rules that nothing but notes of the stages decides."""
NOTHING_NOTED = "does not apply"
"""What the audit says of such a rule if no stage noted anything."""


def within(data: Data, dense: Data | None) -> Iterator[str]:
    """What does not follow from the numbers of one record (and of its dense row)."""
    yield from sizes(data)
    yield from rates(data)
    yield from class_counts(data, dense)
    yield from collapse(data)
    yield from corrupted(data)
    yield from diet.within(data)
    cost, losses = data["cost"], data["curves"]["losses"]
    epochs = cost["epochs"] - cost.get("teacher_epochs", 0)
    yield from unequal("number of losses", len(losses), epochs, "cost.epochs, without a teacher's")
    trainings = sum(phase["phase"] == "Train" for phase in data["settings"]["phases"])
    yield from unequal("cost.trainings", cost["trainings"], trainings, "Train phases of the settings")
    if cost["own_epochs"] > cost["epochs"]:
        yield f"cost.own_epochs is {cost['own_epochs']}, more than cost.epochs, {cost['epochs']}"


def sizes(data: Data) -> Iterator[str]:
    """Sparsity: the layers' sums and the share they leave."""
    sparsity = data["sparsity"]
    layers = sparsity["layers"]
    for name, layer in layers.items():
        if not 0 <= layer["kept"] <= layer["size"]:
            yield f"sparsity.layers: {name} keeps {layer['kept']} of {layer['size']}"
    kept, prunable = (sum(layer[key] for layer in layers.values()) for key in ("kept", "size"))
    yield from unequal("sparsity.kept", sparsity["kept"], kept, "sum of the layers")
    yield from unequal("sparsity.prunable", sparsity["prunable"], prunable, "sum of the layers")
    achieved = 1 - sparsity["kept"] / sparsity["prunable"]
    yield from unequal("sparsity.achieved", sparsity["achieved"], achieved, "1 - kept / prunable")
    yield from unequal("sparsity.asked", sparsity["asked"], data["cell"]["sparsity"], "cell.sparsity")
    left, total = sparsity.get("parameters", kept), sparsity["total"]  # records of older code have no "parameters"
    if not prunable <= total or not kept <= left <= total:
        yield f"sparsity: {left} parameters left of {total}, with {kept} of {prunable} weights kept"


def rates(data: Data) -> Iterator[str]:
    """Speed-up, and the two shares of dead neurons."""
    flops, metrics = data["flops"], data["metrics"]
    if not 0 <= flops["sparse"] <= flops["dense"]:
        yield f"flops.sparse is {flops['sparse']}, not between 0 and flops.dense, {flops['dense']}"
    speedup = flops["dense"] / max(flops["sparse"], 1)
    yield from unequal("flops.speedup", flops["speedup"], speedup, "dense / sparse")
    static, dynamic, alive = (metrics.get(f"dead_{kind}") for kind in ("static", "dynamic", "dynamic_alive"))
    if None not in (static, dynamic, alive) and not isclose(alive * (1 - static), dynamic, rel_tol=1e-6, abs_tol=1e-9):
        yield f"metrics.dead_dynamic_alive is {alive}, expected {dynamic / (1 - static)} (dead_dynamic / alive units)"


def class_counts(data: Data, dense: Data | None) -> Iterator[str]:
    """Accuracies from hits by class, and CEV and SDE against the dense row's."""
    counts, metrics = data["per_class"], data["metrics"]
    n, tp, fp, fn = (counts[key] for key in ("n", "tp", "fp", "fn"))
    yield from unequal("metrics.top1", metrics["top1"], sum(tp) / sum(n), "hits of per_class")
    worst = min(hits / of for hits, of in zip(tp, n, strict=True) if of)
    if not isclose(metrics["worst_class"], worst, rel_tol=1e-6, abs_tol=1e-9):
        yield f"metrics.worst_class is {metrics['worst_class']}, expected {worst} (per_class)"
    yield from unequal("per_class.fn", fn, [of - hits for hits, of in zip(tp, n, strict=True)], "n - tp")
    if min(tp) < 0 or min(fn) < 0 or sum(fp) > sum(fn):
        yield f"per_class: {sum(fp)} false positives, {sum(fn)} misses"
    if dense is not None:
        for name, value in bias(counts, dense["per_class"]).items():
            found = metrics[name]
            if (found is None) != (value is None) or (value is not None and not isclose(found, value, rel_tol=1e-9)):
                yield f"metrics.{name} is {found}, expected {value} (per_class against the dense row's)"


def corrupted(data: Data) -> Iterator[str]:
    """Accuracy under corruption: whole images, weighted by how many; records of older code have none."""
    if (shown := data.get("corruptions")) is None:
        return
    kinds, counts = shown["kinds"], shown["counts"]
    yield from unequal("corruptions.kinds", sorted(kinds), sorted(counts), "as corruptions.counts")
    yield from unequal("corruptions.n", shown["n"], sum(map(sum, counts.values())), "sum of corruptions.counts")
    asked = data["settings"].get("corruptions", SETS[0])
    yield from unequal("corruptions.set", shown["set"], asked, "settings.corruptions")
    for name, accuracies in kinds.items():
        for severity, (a, n) in enumerate(zip(accuracies, counts[name], strict=True), 1):
            if (a is None) != (n == 0) or (n and not (0 <= a <= 1 and isclose(a * n, round(a * n), abs_tol=1e-6))):
                yield f"corruptions.kinds.{name} at severity {severity} is {a}, of {n} images"
    value = corrupted_accuracy(kinds, counts)
    yield from unequal("metrics.corrupted", data["metrics"].get("corrupted"), value, "mean of corruptions.kinds")


def collapse(data: Data) -> Iterator[str]:
    """Whether collapse is flagged where it must be."""
    n, hits = sum(data["per_class"]["n"]), sum(data["per_class"]["tp"])
    classes = len(data["per_class"]["n"])
    by_chance = hits == 0 or bool(bdtr(hits - 1, n, 1 / classes) < 0.999)
    yield from unequal("collapsed", data["collapsed"], bool(data["flags"]), f"flags: {data['flags']}")
    yield from unequal(f"flag {CHANCE!r}", CHANCE in data["flags"], by_chance, f"{hits} of {n} images hit")
    emptied = [name for name, layer in data["sparsity"]["layers"].items() if layer["kept"] == 0]
    if not data["collapsed"]:
        yield from (f"collapsed is false, but {name} is empty" for name in emptied[:1])
        if None in data["curves"]["losses"]:
            yield "collapsed is false, but a loss was not finite"


def with_stages(data: Data, reports: Sequence[Data], apart: Sequence[Data] = ()) -> Iterator[str]:
    """What does not follow from the reports of the stages of its chain, and of teachers apart from it.

    Clocks are left out: a damaged stage is computed again, and comes out the same but for them.
    """
    cost, metrics, dense_macs = data["cost"], data["metrics"], data["flops"]["dense"]
    losses = [loss for report in reports for loss in report["losses"]]
    if data["curves"]["losses"] != losses:
        yield "curves.losses are not those of the stages, one after the other"
    work = 6.0 * sum(report.get("macs", dense_macs) * report["images"] for report in [*reports, *apart])
    work += 2.0 * sum(report.get("teacher_macs", 0) * report["images"] for report in reports)
    teaching = sum(report["epochs"] for report in apart)
    yield from unequal("cost.teacher_epochs", cost.get("teacher_epochs", 0), teaching, "the teacher's")
    sums = {
        "epochs": sum(report["epochs"] for report in reports) + teaching,
        "trainings": sum(bool(report["steps"]) for report in reports),
        "train_flops": work,
        "score_passes": sum(report.get("score_passes", 0) for report in reports),
    }
    for name, value in sums.items():
        if name in cost:
            yield from unequal(f"cost.{name}", cost[name], value, "sum of the stages'")
    for name in ("val_top1_before", "val_top1"):
        yield from unequal(f"metrics.{name}", metrics[name], reports[-1][name], "the last stage's")
    flags = sorted({flag for report in reports for flag in report["flags"]})
    yield from unequal("flags", sorted(set(data["flags"]) - {CHANCE}), flags, "those of the stages")
    yield from verdicts(data["audit"], [note for report in reports for note in report["audit"]])


def verdicts(audit: Sequence[Data], notes: Sequence[Data]) -> Iterator[str]:
    """Verdicts of the audit that the stages' notes do not bear out.

    >>> audit = [{"rule": rule, "passed": True, "detail": NOTHING_NOTED} for rule in FROM_STAGES]
    >>> list(verdicts(audit, [{"rule": 7, "passed": False, "detail": "moved"}]))
    ['audit rule 7 passed, but a stage noted: moved']
    """
    said = {verdict["rule"]: verdict for verdict in audit}
    noted = {note["rule"] for note in notes}
    failed = {note["rule"]: note["detail"] for note in notes if note["passed"] is not True}
    for rule in sorted({*noted, *FROM_STAGES}):
        if rule not in said:
            yield f"audit rule {rule} is missing"
        elif said[rule]["passed"] is True and rule in failed:
            yield f"audit rule {rule} passed, but a stage noted: {failed[rule]}"
        elif said[rule]["passed"] is not True and rule not in failed and rule in FROM_STAGES:
            yield f"audit rule {rule} failed, but no stage noted why"
        elif rule not in noted and said[rule]["detail"] != NOTHING_NOTED:
            yield f"audit rule {rule} says {said[rule]['detail']!r}, but no stage has a note of it"
