"""Lottery tickets: trained, pruned and put back to where they began, small networks train as well as large ones.

Two papers, one board. Frankle & Carbin (arXiv:1803.03635): iterative magnitude pruning finds sub-networks that, with
the initial weights they had, train to the accuracy of the whole network; from other initial weights they do not, and
pruned at once instead of in rounds they are worse. Frankle et al. (arXiv:1912.05671): in deeper networks the weights
must go back to an early step of training and not to initialisation.

Published: both papers state orders; their numbers were not recovered and stay empty. Our choice: levels, seeds,
margins, rewinding to an eighth of the training (digits, one of eight epochs) or a fortieth (CIFAR-10, 4 of 160 epochs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sparsebench.papers import Claim, Curves, Estimate, Evidence, Finding, Paper, Point, Recipe

TICKET, ONE_SHOT, REINIT = "magnitude@imp", "magnitude@imp(rate=0.99)", "magnitude@imp+reinit"
MARGIN = 1.0
"""Points of accuracy below which a difference is not worth the name."""


def rewound(e: Evidence) -> str:
    """The arm that goes back to an early step; its argument depends on the scale."""
    return next(m.name for m in e.board.methods if m.regime_arguments.get("rewind"))


def places(e: Evidence, wanted: str = "") -> Iterator[tuple[str, float, str]]:
    """Task, sparsity and both in words."""
    for task in e.board.tasks:
        for sparsity in e.levels(task.name, TICKET):
            if wanted in task.name:
                yield task.name, sparsity, f"{task.name}, {100 * (1 - sparsity):.3g} % of the weights"


def gain(e: Evidence, a: Callable[[Evidence], str] | str, b: str, wanted: str = "") -> Finding:
    """Whether one arm is better than another, at every level."""
    points = []
    for task, sparsity, where in places(e, wanted):
        first = a if isinstance(a, str) else a(e)
        found = e.paired("top1", first, b, task=task, sparsity=sparsity).scaled(100)
        none = found.below(0) or found.within(MARGIN)
        points.append(Point(where, found, holds=found.above(0), refuted=none, unit="points"))
    return Finding(points)


def tickets_match(e: Evidence) -> Finding:
    points = []
    for task, sparsity, where in places(e):
        if sparsity > min(e.levels(task, TICKET)):
            continue
        pruned, whole = (e.values(task=task, method=m, sparsity=s) for m, s in ((TICKET, sparsity), ("dense", 0.0)))
        found = Estimate.of({seed: 100 * (pruned[seed] - whole[seed]) for seed in pruned})
        points.append(Point(where, found, holds=found.above(-MARGIN), refuted=found.below(-MARGIN), unit="points"))
    return Finding(points)


def weights_matter(e: Evidence) -> Finding:
    return gain(e, TICKET, REINIT)


def rounds_matter(e: Evidence) -> Finding:
    return gain(e, TICKET, ONE_SHOT)


def rewinding_helps(e: Evidence) -> Finding:
    return gain(e, rewound, TICKET, wanted="resnet")


RULE = "the 95 % interval of the paired difference lies above 0; refuted where it lies below, or within 1 point of 0"

RECIPE = Recipe(
    paper=Paper(
        title="The Lottery Ticket Hypothesis; Linear Mode Connectivity and the Lottery Ticket Hypothesis",
        authors="Frankle & Carbin; Frankle, Dziugaite, Roy & Carbin",
        year=2019,
        link="arXiv:1803.03635, arXiv:1912.05671",
        says=(
            "Dense networks hold sub-networks that train to the same accuracy from the initial weights they had, or, "
            "in deeper networks, from the weights of an early step; iterative magnitude pruning finds them."
        ),
    ),
    version=1,
    smoke={
        "title": "Lottery tickets: digits",
        "tasks": ["digits-mlp", "digits-resnet8"],
        "methods": [TICKET, "magnitude@imp(rewind=0.125)", REINIT, ONE_SHOT],
        "sparsities": [0.875, 0.984375],
        "seeds": list(range(8)),
        "defaults": {"imp": {"rate": 0.5}},
    },
    full={
        "title": "Lottery tickets: LeNet-300-100 on MNIST, ResNet-20 on CIFAR-10",
        "tasks": ["mnist-mlp", "cifar10-resnet20"],
        "methods": [TICKET, "magnitude@imp(rewind=0.025)", REINIT, ONE_SHOT],
        "sparsities": [round(1 - 0.8**rounds, 12) for rounds in (8, 12, 16)],
        "seeds": list(range(5)),
        "defaults": {"imp": {"rate": 0.2}},
    },
    claims=[
        Claim(
            "tickets-match",
            "At moderate sparsity the winning ticket trains to the accuracy of the whole network",
            tickets_match,
            rule="the 95 % interval of ticket - dense lies above -1 point at the lowest sparsity of the board; refuted "
            "where it lies below",
            source="1803.03635, abstract; the margin is our choice",
        ),
        Claim(
            "weights-matter",
            "The same sub-network is worse from other initial weights",
            weights_matter,
            rule=RULE,
            source="1803.03635, abstract",
        ),
        Claim(
            "rounds-matter",
            "Pruning in rounds finds better tickets than pruning at once",
            rounds_matter,
            rule=RULE,
            source="1803.03635",
        ),
        Claim(
            "rewinding-helps",
            "In a residual network going back to an early step is better than going back to initialisation",
            rewinding_helps,
            rule=RULE,
            source="1912.05671, abstract",
        ),
    ],
    figures=[
        Curves(
            "accuracy",
            "top1",
            tasks=["digits-mlp", "digits-resnet8", "mnist-mlp", "cifar10-resnet20"],
            methods=[TICKET, "magnitude@imp(rewind=0.125)", "magnitude@imp(rewind=0.025)", REINIT, ONE_SHOT],
            label="test accuracy, %",
        )
    ],
    departures=(
        "smoke: networks of 8x8 digits, half of the weights a round and not a fifth. full: the recipes of the suite's "
        "tasks. The data order of every training is new. Pruned at once: trained, pruned, put back, trained."
    ),
)
