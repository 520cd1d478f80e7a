"""Pruning-induced bias: classes pay unevenly for pruning, and distilling from the dense network evens it out.

Claims of the paper: accuracy hides that pruning hurts classes unevenly; two scalars show it, CEV (spread of the
relative changes of the classes' error rates) and SDE (imbalance of false positives and negatives). Distilling from the
dense network while retraining lowers both, also on unbalanced data. Networks whose representations stay closer to the
dense network's (SVCCA) are less biased.

Published: formulas from two code releases (2021: convention A, 2022: convention B) and tables from the 2021 analysis
notebook: CIFAR-100, ResNet-32x4, structured L1, 30 to 75 % of the filters. The notebook attaches its accuracies to the
wrong rows, so none is compared. As released, the training script would never prune, and its unbalanced data lack images
of other classes than those it names. PKT, CRD and FSP are not here. The paper's own equations were not available.

Ours: convention B, smoothed, since easy test sets have error rates of 0; every trial has its own dense network. In the
smoke setting units go in one shot and 8 epochs of retraining follow, as the project's notes set out beforehand. A first
run retrained the residual network for 3 epochs by mistake: 27 steps were too few at T = 4, and it was more biased than
without a teacher; so it was with an attention loss, whose weight is made for maps of 32 x 32 and which is left to the
full setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median

import numpy as np

from sparsebench.metrics.bias import pooled_bias
from sparsebench.metrics.predictions import pie_count
from sparsebench.papers import Claim, Drawing, Estimate, Evidence, Finding, NotTestable, Paper, Point, Recipe, Verdict
from sparsebench.papers.pooled import (
    arms,
    by_seed,
    counts,
    jackknife,
    measured,
    noise_floor,
    partial,
    predicted,
    settings,
)
from sparsebench.report.figure import compression, sparsity_axis, styles

CE, KD = "l1@finetune", "l1@finetune+kd"
SP, AT = "+kd(alpha=0.0,feature='sp',beta=3000.0)", "+kd(alpha=0.0,feature='at',beta=1000.0)"
LONGER = ("l1@finetune(epochs=1.0)", "l1@finetune(epochs=2.0)")
CONV_CE, CONV_KD = "l1@finetune(epochs=1.0)", "l1@finetune(epochs=1.0)+kd"
"""Of the residual network, whose 8 epochs are all of its task's; of the perceptron's 20 they are 0.4."""
ODD, RELEASED = "+unbalanced", "+unbalanced(profile='released')"
MLP, RESNET, TASK = "digits-mlp64", "digits-resnet8", "cifar100-resnet32x4"
METRICS = {"CEV": "cev_s1", "SDE": "sde_s1"}
UNITS = {0.6159: "50 %", 0.837: "75 %", 0.9257: "87.5 %"}
"""Weight sparsity of the perceptron -> share of its hidden units removed."""
FULL = "l1@lrr(rate=0.999)"
FILTERS = {0.405: "30 %", 0.57375: "45 %", 0.72: "60 %", 0.84375: "75 %"}
"""Weight sparsity s -> share f of the filters: half the convolutions lose outputs, half inputs too, so
1 - s = ((1 - f) + (1 - f)^2) / 2."""
ROWS = {"pruning only": "", "KD": "+kd", "SP": SP, "AT": AT}
BALANCED = {  # convention A: CEV, SDE, PIEs at 30, 45, 60 and 75 %
    "pruning only": ((636.0, 20.07, 674), (822.5, 22.78, 711), (906.6, 22.61, 741), (1772.9, 33.42, 887)),
    "KD": ((405.5, 15.93, 543), (518.7, 17.35, 675), (625.4, 20.29, 739), (909.6, 24.73, 878)),
    "SP": ((466.3, 17.63, 353), (544.5, 19.34, 654), (735.7, 20.40, 737), (1075.9, 27.69, 860)),
    "AT": ((408.2, 17.64, 571), (584.9, 20.58, 759), (848.3, 24.96, 847), (1261.3, 28.66, 998)),
}
UNBALANCED = {  # at 45 %
    "pruning only": ((4237.4, 51.15, 887),),
    "KD": ((1536.6, 30.79, 770),),
    "SP": ((2654.8, 41.38, 838),),
    "AT": ((1955.9, 37.00, 909),),
}
CORRELATIONS = {"CEV": (0.81, 0.80, 0.76, 0.86), "SDE": (0.77, 0.76, 0.75, 0.83)}
"""Pearson's r of the SVCCA distance at blocks 1 to 3 and the classifier with CEV and SDE, over 28 balanced settings."""
WORDS = {
    "cross-entropy": (CE, FULL),
    "distilled": (KD, CONV_KD, FULL + "+kd"),
    "similarity-preserving": (CE + SP, FULL + SP),
    "attention": (FULL + AT,),
    "cross-entropy, whole recipe": LONGER[:1],
    "cross-entropy, twice the recipe": LONGER[1:],
    "cross-entropy, unbalanced": (CE + ODD, FULL + RELEASED),
    "distilled, unbalanced": (KD + ODD, FULL + "+kd" + RELEASED),
}
HIDDEN = (
    "A hidden layer that lost units has fewer canonical correlations to average, so its distance may fall while more "
    "is removed. The same r with the settings' accuracy held constant (partial correlation), block by block: "
)


def level(task: str, sparsity: float) -> str:
    units = UNITS.get(sparsity) if task == MLP else None
    return f"{task}, {units} of the units" if units else f"{task}, {100 * sparsity:.4g} % of the weights"


def told(values: Sequence[float]) -> str:
    return f"{fmean(values):.3g} (median {median(values):.3g})"


def judged(points: Mapping[str, list[Point]]) -> Finding:
    """Reproduced where two levels of every task hold; where nothing holds and nothing is refuted, not testable."""
    every = [point for of_task in points.values() for point in of_task]
    if points and all(sum(bool(p.holds) for p in of_task) >= 2 for of_task in points.values()):
        return Finding(every, verdict=Verdict.REPRODUCED)
    if any(p.holds for p in every):
        return Finding(every, verdict=Verdict.PARTLY)
    return Finding(every, verdict=Verdict.NOT if any(p.refuted for p in every) else Verdict.UNTESTABLE)


def lowers(name: str, *pairs: tuple[str, str]) -> Callable[[Evidence], Finding]:
    """A judge: has an arm a lower CEV or SDE than its base, by task and level."""

    def judge(e: Evidence) -> Finding:
        return judged({t: [_lower(e, name, *pair, t, s) for s in e.levels(t, pair[0])] for t, pair in arms(e, *pairs)})

    return judge


def _lower(e: Evidence, name: str, arm: str, base: str, task: str, sparsity: float) -> Point:
    both = [list(e.values(METRICS[name], task=task, method=m, sparsity=sparsity).values()) for m in (base, arm)]
    found = e.paired(METRICS[name], arm, base, task=task, sparsity=sparsity)
    where = f"{level(task, sparsity)}: {name} {told(both[0])} without, {told(both[1])} with, difference"
    return Point(where, found, holds=found.below(0), refuted=found.value >= -0.1 * fmean(both[0]), digits=3)


def matched(name: str) -> Callable[[Evidence], Finding]:
    """A judge: lower at equal accuracy, against the arm without a teacher that comes nearest."""

    def judge(e: Evidence) -> Finding:
        return judged({t: [_matched(e, name, t, s) for s in e.levels(t, KD)] for t, _ in arms(e, (KD, LONGER[0]))})

    return judge


def _matched(e: Evidence, name: str, task: str, sparsity: float) -> Point:
    apart = {arm: e.paired("top1", KD, arm, task=task, sparsity=sparsity).value for arm in (CE, *LONGER)}
    arm = min(apart, key=lambda a: abs(apart[a]))
    point = _lower(e, name, KD, arm, task, sparsity)
    where = (
        f"{point.where.removesuffix('difference')}accuracy {100 * apart[arm]:+.2f} against {e.name(arm)}, difference"
    )
    if abs(apart[arm]) > 0.005:
        return Point(f"{where} (no arm is as accurate)", point.estimate, digits=3)
    return Point(where, point.estimate, holds=point.holds, refuted=point.refuted, digits=3)


def agreement(e: Evidence) -> Finding:
    """Images on which students and dense network disagree, by seed; PIEs where all trials do."""
    return judged({t: [_agreement(e, *pair, t, s) for s in e.levels(t, pair[0])] for t, pair in arms(e, *TAUGHT)})


def _agreement(e: Evidence, arm: str, base: str, task: str, sparsity: float) -> Point:
    dense = predicted(e, task, "dense", 0.0)
    students = [predicted(e, task, method, sparsity) for method in (base, arm)]
    unlike = [[int((s != d).sum()) for s, d in zip(group, dense, strict=True)] for group in students]
    pies = " and ".join(str(pie_count(group, dense)) for group in students)
    found = Estimate.of([after - before for before, after in zip(*unlike, strict=True)])
    where = f"{level(task, sparsity)}: {fmean(unlike[0]):.1f} without, {fmean(unlike[1]):.1f} with"
    where += f" (PIEs of {len(dense)} trials: {pies}), difference"
    return Point(where, found, holds=found.below(0), refuted=found.value >= 0, digits=1)


def floor(e: Evidence) -> Finding:
    """Pruned networks against a dense network of another seed."""
    points, notes = [], []
    for task, (_, base) in arms(e, *TAUGHT):
        noise = noise_floor(e, task)
        notes.append(f"{task}: CEV {told(noise['cev_s1'])}, SDE {told(noise['sde_s1'])}")
        for sparsity in e.levels(task, base):
            for name, metric in METRICS.items():
                values = e.values(metric, task=task, method=base, sparsity=sparsity).values()
                found = Estimate.of([v - n for v, n in zip(values, noise[metric], strict=True)])
                where = f"{level(task, sparsity)}: {name} over that of another seed"
                points.append(Point(where, found, holds=found.above(0), refuted=found.below(0), digits=3))
    return Finding(points, "Noise floor, the next seed's dense network against each seed's: " + "; ".join(notes))


def similarity(e: Evidence) -> Finding:
    """Pearson's r of distance and bias over the balanced settings of a task, seed by seed."""
    points, notes = [], []
    for task in [t.name for t in e.board.tasks]:
        places = [place for place in settings(e, task) if ODD not in place[0]]
        far = [[measured(e, "similarity", task, *place, seed)["svcca"] for place in places] for seed in e.board.seeds]
        right = by_seed(e, "top1", task, places)
        for name, metric in METRICS.items():
            bias, given = by_seed(e, metric, task, places), []
            for number, block in enumerate(blocks := list(far[0][0])):
                columns = [[distances[block] for distances in of_seed] for of_seed in far]
                found = Estimate.of([float(np.corrcoef(x, y)[0, 1]) for x, y in zip(columns, bias, strict=True)])
                given.append(fmean(partial(*three) for three in zip(columns, bias, right, strict=True)))
                known = CORRELATIONS[name][number] if len(blocks) == 4 else None
                where = f"{task}, {block} with {name}, over {len(places)} settings"
                points.append(Point(where, found, known, holds=found.above(0.5), refuted=not found.above(0)))
            notes.append(f"{task} {name}: " + ", ".join(f"{r:.2f}" for r in given))
    return Finding(points, HIDDEN + "; ".join(notes))


def table(
    rows: Mapping[str, Sequence], levels: Sequence[float], odd: str, column: int
) -> Callable[[Evidence], Finding]:
    """A judge: a column of the published tables beside what was measured, CEV and SDE in convention A."""

    def judge(e: Evidence) -> Finding:
        points, missing = [], set()
        for row, suffix in ROWS.items():
            for sparsity, numbers in zip(levels, rows[row], strict=True):
                where, known = f"{row}, {FILTERS[sparsity]} of the filters", numbers[column]
                try:
                    found = _pooled(e, FULL + suffix + odd, sparsity, column)
                except NotTestable as reason:
                    points.append(Point(where, None, known))
                    missing.add(f"Needs --scale full: {reason}")
                    continue
                half = 0.0 if found.high is None else found.high - found.value
                near = abs(found.value - known) <= 0.1 * known + half
                points.append(Point(where, found, known, holds=near, refuted=not near, digits=1))
        return Finding(points, min(missing, default=""))

    return judge


def _pooled(e: Evidence, method: str, sparsity: float, column: int) -> Estimate:
    """CEV, SDE (convention A, of rates averaged over the trials) or the PIEs of all trials."""
    if column == 2:
        dense, students = predicted(e, TASK, "dense", 0.0), predicted(e, TASK, method, sparsity)
        return Estimate(float(pie_count(students, dense)), n=len(students))
    return jackknife(counts(e, TASK, method, sparsity), counts(e, TASK, "dense", 0.0), column)


def changes(e: Evidence, axes: list) -> None:
    """Relative changes of the classes' error rates, with their centroids and the line of equal changes."""
    (task, (base, odd)), *_ = arms(e, (CE, ODD), (FULL, RELEASED))
    words = {"": "cross-entropy", "+kd": "distilled"}
    sparsity = e.levels(task, base)[1]
    for panel, data, title in zip(axes, ("", odd), ("balanced", "unbalanced"), strict=True):
        for (suffix, label), look in zip(words.items(), styles(list(words)).values(), strict=True):
            both = (counts(e, task, base + suffix + data, sparsity), counts(e, task, "dense", 0.0))
            found = pooled_bias(*both, smoothed=e.scale == "smoke").change
            panel.scatter(
                found[1], found[0], s=26, color=look.colour, marker=look.marker, alpha=0.75, lw=0, label=label
            )
            panel.plot(*found.mean(1)[::-1], marker="*", ms=13, color=look.colour, mec="white", ls="")
        ends = [min(panel.get_xlim()[0], panel.get_ylim()[0]), max(panel.get_xlim()[1], panel.get_ylim()[1])]
        panel.plot(ends, ends, color="#888888", lw=0.9, ls=":", zorder=0)
        panel.set(xlabel="relative change, false-negative rate", ylabel="relative change, false-positive rate")
        panel.set_title(f"{title} retraining data", fontsize=9)
        panel.grid(True)
    axes[0].legend(frameon=False, fontsize=8, title=level(task, sparsity), title_fontsize=8)


def against_sparsity(e: Evidence, axes: list) -> None:
    """CEV and SDE of every arm, smoothed, a panel a task and measure; dotted: the noise floor."""
    labels = {e.name(arm): label for label, pair in WORDS.items() for arm in pair}
    look = styles(list(WORDS))
    places = [(task.name, name) for task in e.board.tasks for name in METRICS]
    for panel, place in zip(axes, [*places, *[None] * (len(axes) - len(places))], strict=True):
        if place is None:
            panel.set_axis_off()
            continue
        task, name = place
        levels = sorted({sparsity for _, sparsity in settings(e, task)})
        for method in dict.fromkeys(method for method, _ in settings(e, task)):
            found = [e.mean(METRICS[name], task=task, method=method, sparsity=s).value for s in levels]
            panel.plot(compression(np.array(levels)), found, label=labels[method], **look[labels[method]].line())
        noise = fmean(noise_floor(e, task)[METRICS[name]])
        panel.axhline(noise, label="dense, another seed", color="#444444", ls=":", lw=1.2)
        sparsity_axis(panel, levels, label=True)
        panel.set_title(f"{task}: {name}", fontsize=9)
        panel.set_yscale("log")
    for panel in axes[::2]:
        panel.legend(frameon=False, fontsize=6.5, loc="upper left")


LEVELS = list(FILTERS)
LOWER = (
    "the 95 % interval of the paired difference lies below 0 at two or more sparsities of every task; refuted where "
    "the mean difference is within 10 % of the other arm's value or positive"
)
NEAR = "within 10 % of the measured jackknife interval over the trials; every trial has its own dense network here"
ABSTRACT, NOTEBOOK = "abstract", "authors' released analysis notebook (2021), CIFAR-100, ResNet-32x4, structured L1"
TAUGHT = ((KD, CE), (CONV_KD, CONV_CE), (FULL + "+kd", FULL))
LOWERING = [
    ("kd", "Distilling from the dense network", ABSTRACT, *TAUGHT),
    ("unbalanced-kd", "On unbalanced data, distilling from the dense network", ABSTRACT, (KD + ODD, CE + ODD),
     (FULL + "+kd" + RELEASED, FULL + RELEASED)),
    ("sp", "A similarity-preserving loss", NOTEBOOK, (CE + SP, CE), (FULL + SP, FULL)),
    ("at", "An attention loss", NOTEBOOK, (FULL + AT, FULL)),
]  # fmt: skip
TABLES = [("", "", BALANCED, LEVELS), ("unbalanced-", RELEASED, UNBALANCED, LEVELS[1:2])]

RECIPE = Recipe(
    paper=Paper(
        title="Simon Says: Evaluating and Mitigating Bias in Pruned Neural Networks with Knowledge Distillation",
        authors="C. Blakeney, N. Huish, Y. Yan, Z. Zong",
        year=2021,
        link="arXiv:2106.07849",
        says=(
            "Pruning hurts classes unevenly, which accuracy hides. Distilling from the dense network lowers this bias, "
            "on unbalanced data too, and pruned networks that are more similar to the dense one are less biased."
        ),
    ),
    version=1,
    smoke={
        "title": "Pruning-induced bias: digits, units removed in one shot",
        "tasks": [{"name": MLP, "base": "digits-mlp", "network_arguments": {"hidden": [64, 64]}}, RESNET],
        "methods": [
            CONV_CE,
            {"method": CONV_KD, "tasks": [RESNET]},
            *({"method": arm, "tasks": [MLP]} for arm in (CE, KD, CE + SP, LONGER[1], CE + ODD, KD + ODD)),
        ],
        "sparsities": list(UNITS),
        "seeds": list(range(10)),
        "defaults": {"finetune": {"epochs": 0.4, "rate": 0.3}},
        "measures": ["predictions", "similarity"],
    },
    full={
        "title": "Pruning-induced bias: CIFAR-100, ResNet-32x4",
        "tasks": [
            {
                "name": TASK,
                "dataset": "cifar100",
                "network": "resnet32x4",
                "recipe": {
                    "epochs": 240,
                    "rate": 0.05,
                    "weight_decay": 5.0e-4,
                    "schedule": "step",
                    "milestones": [0.625, 0.75, 0.875],
                    "global_batch": 64,
                },
            }
        ],
        "methods": [FULL + suffix + odd for odd in ("", RELEASED) for suffix in ROWS.values()],
        "sparsities": LEVELS,
        "seeds": list(range(4)),
        "measures": ["predictions", "similarity"],
    },
    claims=[
        *(
            Claim(f"{label}-{n.lower()}", f"{text} lowers {n}", lowers(n, *pairs), rule=LOWER, source=source)
            for label, text, source, *pairs in LOWERING
            for n in METRICS
        ),
        Claim(
            "agreement",
            "Distilled networks disagree with the dense network on fewer test images",
            agreement,
            rule="the 95 % interval of the paired difference lies below 0 at two or more sparsities of every task; "
            "refuted where it is not negative",
            source="the PIE counts of the notebook's tables, which have no interval",
        ),
        *(
            Claim(
                f"matched-{name.lower()}",
                f"Distillation lowers {name} at equal accuracy too",
                matched(name),
                rule=f"against the arm of nearest accuracy without a teacher, at most half a point away: {LOWER}",
                source="a control of ours: both measures grow with the error rate",
            )
            for name in METRICS
        ),
        Claim(
            "above-noise",
            "Pruning without distillation is more biased than another seed of the dense network",
            floor,
            rule="the 95 % interval of the paired difference to the noise floor lies above 0; refuted where below",
            source="a control of ours",
        ),
        Claim(
            "similarity",
            "Networks whose representations stay closer to the dense network's are less biased",
            similarity,
            rule="Pearson's r of SVCCA distance and bias over the balanced settings, seed by seed: the 95 % interval "
            "lies above 0.5; refuted where it does not lie above 0",
            source="abstract; r computed from the notebook's values, blocks 1 to 3 and the classifier",
        ),
        *(
            Claim(
                f"table-{label}{unit.lower()}",
                f"The published {unit} on {label.rstrip('-') or 'balanced'} CIFAR-100",
                table(rows, levels, odd, column),
                rule=NEAR if column < 2 else "within 10 %; a count shrinks with trials, so four trials as published",
                source=f"{NOTEBOOK}, convention A",
            )
            for label, odd, rows, levels in TABLES
            for column, unit in enumerate(("CEV", "SDE", "PIEs"))
        ),
    ],
    figures=[
        Drawing("levels", against_sparsity, panels=4, size=(3.4, 3.4)),
        Drawing("classes", changes, panels=2),
    ],
    departures=(
        "Units are taken out physically and in one shot, residual streams included, where the release masks filters "
        "along a cubic ramp; then the network is retrained. Sparsities of the full board leave as many weights as have "
        "an effect behind the published share of filters. One batch size (64) for all arms, and in the full setting "
        "one rate, where the release trains AT at a tenth; a validation split in place of choosing checkpoints on the "
        "test set; weight decay on weights alone. The residual network of the smoke board is post hoc: retrained for 3 "
        "epochs it was more biased with a teacher than without (SDE +0.4, +2.3 and +6.5, two intervals above 0), and "
        "an attention loss collapsed at any rate and weight tried; this board has the 8 epochs of the project's notes, "
        "chosen with those results and a trial of nine arms in sight. The perceptron's arms were never changed."
    ),
)
