"""Missing the mark: what methods that prune at initialisation know of single weights.

Claim of the paper (Frankle et al., arXiv:2009.08576): SNIP, GraSP, SynFlow and magnitude at initialisation are better
than random pruning and worse than magnitude pruning after training. Unlike the latter, they keep their accuracy if the
mask is shuffled within each layer, or if the weights are drawn anew: what they find is a density for each layer. GraSP
keeps it even if its scores are inverted.

Published: orders, in the abstract and in figures; numbers were not recovered and stay empty. The statement on inverted
GraSP is from memory and unconfirmed. Our choice: one level, seeds, margins. After training stands for one round of
magnitude pruning and the whole learning-rate schedule once more, from the trained weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sparsebench.papers import Claim, Drawing, Evidence, Finding, Paper, Point, Recipe

EARLY = ("snip@init", "grasp@init", "synflow@init", "magnitude@init")
RANDOM, LATE = "random@init", "magnitude@lrr(rate=0.999)"
MARGIN = 2.0
"""Points of accuracy that a control may cost and still count as none: eight of 400 test images."""


def places(e: Evidence) -> Iterator[tuple[str, float, str]]:
    for task in e.board.tasks:
        for sparsity in e.board.sparsities:
            yield task.name, sparsity, f"{task.name}, {100 * (1 - sparsity):.2g} % of the weights"


def better(e: Evidence, pairs: Iterable[tuple[str, str]]) -> Finding:
    """The first of each pair is better: the interval of the difference lies above 0."""
    return Finding([
        Point(f"{where}: {a} over {b}", found, holds=found.above(0), refuted=found.below(0), unit="points")
        for task, sparsity, where in places(e)
        for a, b in pairs
        for found in [e.paired("top1", a, b, task=task, sparsity=sparsity).scaled(100)]
    ])  # fmt: skip


def preserved(e: Evidence, methods: Iterable[str], control: str, margin: float = MARGIN) -> Finding:
    """A control costs no more than the margin; refuted where it costs something and perhaps more than that."""
    points = []
    for task, sparsity, where in places(e):
        for method in methods:
            found = e.paired("top1", f"{method}+{control}", method, task=task, sparsity=sparsity).scaled(100)
            holds = found.above(-margin)
            text = f"{where}: {method}, {control} - as it is"
            points.append(Point(text, found, holds=holds, refuted=not holds and found.below(0), unit="points"))
    return Finding(points)


def above_random(e: Evidence) -> Finding:
    return better(e, [(method, RANDOM) for method in EARLY])


def below_late(e: Evidence) -> Finding:
    return better(e, [(LATE, method) for method in EARLY])


def survives_shuffling(e: Evidence) -> Finding:
    return preserved(e, EARLY, "shuffle")


def survives_reinit(e: Evidence) -> Finding:
    return preserved(e, EARLY, "reinit")


def grasp_inverts(e: Evidence) -> Finding:
    return preserved(e, ["grasp@init"], "invert")


def order_matters(e: Evidence) -> Finding:
    return better(e, [(method, f"{method}+invert") for method in EARLY if method != "grasp@init"])


def late_needs_its_weights(e: Evidence) -> Finding:
    return better(e, [(LATE, f"{LATE}+shuffle"), (LATE, f"{LATE}+reinit")])


def controls(e: Evidence, axes: list) -> None:
    """Accuracy of every method as it is and under its controls, at the middle level of the board."""
    marks = {
        "": ("o", "as it is"),
        "+shuffle": ("s", "shuffled"),
        "+reinit": ("^", "new weights"),
        "+invert": ("x", "inverted"),
    }
    methods = [RANDOM, *EARLY, LATE]
    middle = e.board.sparsities[len(e.board.sparsities) // 2]
    shown = [place for place in places(e) if place[1] == middle]
    for panel, (task, sparsity, where) in zip(axes, shown, strict=False):
        for shift, (control, (mark, label)) in enumerate(marks.items()):
            have = [(i, f"{m}{control}") for i, m in enumerate(methods) if f"{m}{control}" in names(e)]
            found = [e.mean(task=task, method=m, sparsity=sparsity).scaled(100) for _, m in have]
            half = [0.0 if f.low is None else f.high - f.value for f in found]
            at = [i + 0.15 * (shift - 1.5) for i, _ in have]
            panel.errorbar(at, [f.value for f in found], yerr=half, fmt=mark, markersize=5, elinewidth=0.8, label=label)
        panel.set(title=where, xticks=range(len(methods)))
        panel.set_xticklabels([m.partition("(")[0].replace("@", "\n@") for m in methods])
    axes[0].set_ylabel("test accuracy, %")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def names(e: Evidence) -> set[str]:
    return {method.name for method in e.board.methods}


METHODS = [
    RANDOM,
    *EARLY,
    *(f"{method}+{control}" for control in ("shuffle", "reinit", "invert") for method in EARLY),
    LATE,
    f"{LATE}+shuffle",
    f"{LATE}+reinit",
]
BETTER = "the 95 % interval of the paired difference lies above 0; refuted where it lies below"
SAME = (
    "the 95 % interval of the paired difference lies above -2 points; refuted where it reaches further and lies below 0"
)

RECIPE = Recipe(
    paper=Paper(
        title="Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
        authors="Frankle, Dziugaite, Roy & Carbin",
        year=2021,
        link="arXiv:2009.08576",
        says=(
            "Methods that prune at initialisation beat random pruning and fall short of pruning after training; "
            "shuffling their masks within layers or drawing new weights costs them nothing: what they choose are "
            "densities of layers."
        ),
    ),
    version=1,
    smoke={
        "title": "Pruning at initialisation and its controls: digits",
        "tasks": ["digits-mlp", "digits-resnet8"],
        "methods": METHODS,
        "sparsities": [0.95],
        "seeds": list(range(8)),
    },
    full={
        "title": "Pruning at initialisation and its controls: ResNet-20 and VGG-16 on CIFAR-10",
        "tasks": [
            "cifar10-resnet20",
            "cifar10-vgg16",
        ],
        "methods": METHODS,
        "sparsities": [round(1 - 0.8**rounds, 12) for rounds in (4, 8, 12, 16)],
        "seeds": list(range(5)),
    },
    claims=[
        Claim("above-random", "Pruning at initialisation is better than random pruning", above_random,
              rule=BETTER, source="abstract"),
        Claim("below-late", "Pruning at initialisation is worse than magnitude pruning after training", below_late,
              rule=BETTER, source="abstract"),
        Claim("shuffled", "Masks found at initialisation keep their accuracy when shuffled within each layer",
              survives_shuffling, rule=SAME, source="abstract; the margin is our choice"),
        Claim("drawn-anew", "Masks found at initialisation keep their accuracy with new initial weights",
              survives_reinit, rule=SAME, source="abstract; the margin is our choice"),
        Claim("inverted", "GraSP keeps its accuracy when its scores are inverted",
              grasp_inverts, rule=SAME, source="from memory, unconfirmed; the margin is our choice"),
        Claim("order-matters", "SNIP, SynFlow and magnitude lose accuracy when their scores are inverted",
              order_matters, rule=BETTER, source="from memory, unconfirmed"),
        Claim("late-needs-its-weights", "Masks found after training lose accuracy when shuffled or with new weights",
              late_needs_its_weights, rule=BETTER, source="abstract"),
    ],
    figures=[Drawing("controls", controls, panels=2, size=(5.4, 3.4))],
    departures=(
        "smoke: networks of 8x8 digits at one level. full: the recipes of the suite's tasks. Random is uniform over "
        "all weights. Magnitude after training is one round, and its training is repeated from the trained weights; "
        "shuffled, its mask keeps trained weights of other places."
    ),
)  # fmt: skip
