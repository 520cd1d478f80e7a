"""RigL: sparse from the start, and growing where the dense gradient is largest (Evci et al. 2020, arXiv:1911.11134).

What it claims: a sparse network whose connections move during training comes to what dense-to-sparse pruning reaches,
at a cost that is sparse throughout; growing by gradient beats growing at random (SET), both beat connections that
stay where they are, and all beat a dense network of the same size.

Published: WRN-22-2 on CIFAR-10 at 80 %, the authors' figure and those of an independent reproduction (Sundar and
Dwaraknath 2021, arXiv:2103.15767) with its spread. Evidence: the numbers are in the project's notes; those of the
reproduction were read again on its result page, its settings in its configuration files. The authors' figure was not.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsebench.papers import Claim, Curves, Evidence, Finding, Paper, Point, Recipe, published_table

WRN = "rigl-wrn22-2"
STATIC = "random/erk@init"
"""RigL's own layer densities and its starting point, but the connections stay."""
MARGIN = 1.0
"""Points that do not matter: four test images of digits."""


def above(a: str, b: str, margin: float = 0.0) -> Callable[[Evidence], Finding]:
    """A judge: a lies above b less a margin at every task and sparsity; refuted where it lies below that."""

    def judge(e: Evidence) -> Finding:
        points = []
        for task in (task.name for task in e.board.tasks):
            for sparsity in e.levels(task, a):
                gap = e.paired("top1", a, b, task=task, sparsity=sparsity).scaled(100)
                where = f"{task}, {100 * sparsity:.4g} %"
                holds, refuted = gap.above(-margin), gap.below(-margin)
                points.append(Point(where, gap, holds=holds, refuted=refuted, unit="points"))
        return Finding(points)

    return judge


REPRODUCTION = "result page of the reproduction (varun19299.github.io/rigl-reproducibility), as in the project's notes"
SETTING = "WRN-22-2, 80 % sparse, 250 epochs of SGD, rate 0.1, weight decay 5e-4"
ABOVE_0 = "the 95 % interval of the paired difference lies above 0 at every task and sparsity; refuted where below 0"
NEAR = f"the 95 % interval of the paired difference lies above -{MARGIN:g} points everywhere; refuted where below that"

RECIPE = Recipe(
    paper=Paper(
        title="Rigging the Lottery: Making All Tickets Winners",
        authors="Evci, Gale, Menick, Castro, Elsen",
        year=2020,
        link="arXiv:1911.11134",
        says="Sparse training that drops small weights and grows those with large gradients beats random growth, fixed "
        "connections and small dense networks, and comes close to pruning a dense network.",
    ),
    version=1,
    smoke={
        "title": "Dynamic sparse training on handwritten digits",
        "tasks": [
            {"name": "digits-mlp-long", "base": "digits-mlp", "recipe": {"epochs": 40, "mask_every": 5}},
            {
                "name": "digits-wrn10",
                "base": "digits-resnet8",
                "network": "wide_resnet",
                "network_arguments": {"depth": 10, "channels": [8, 16, 32, 64]},
                "recipe": {"epochs": 16, "mask_every": 5},
            },
        ],
        "methods": ["rigl", "set(end=0.75)", STATIC, "random/uniform@init", "small_dense", "magnitude@gmp"],
        "sparsities": [0.8, 0.9, 0.95],
        "seeds": [0, 1, 2, 3, 4],
        "defaults": {"gmp": {"begin": 0.3}},
        "notes": "Twice the epochs of the quick board and connections that move every fifth step, since RigL moved "
        "some 600 times in 250 epochs and would move 11 times in 8. Gradual pruning begins after the warm-up.",
    },
    full={
        "title": "RigL's WRN-22-2 on CIFAR-10",
        "tasks": [
            {
                "name": WRN,
                "base": "cifar10-resnet20",
                "network": "wrn_22_2",
                "network_arguments": {"dropout": 0.3},
                "recipe": {
                    "epochs": 250,
                    "rate": 0.1,
                    "nesterov": True,
                    "weight_decay": 5e-4,
                    "milestones": [0.342, 0.684],  # after 30,000 and 60,000 of 87,750 steps
                    "gamma": 0.2,
                    "warmup": 0.0,
                    "mask_every": 100,
                },
            }
        ],
        "methods": ["rigl", "set(end=0.75)", STATIC, "random/uniform@init", "small_dense", "magnitude@gmp"],
        "sparsities": [0.8],
        "seeds": [0, 1, 2],
        "defaults": {"gmp": {"begin": 0.008, "end": 0.75}},
    },
    claims=[
        Claim(
            "rigl-over-static",
            "Connections that move beat the same number, spread alike, that stay where they are",
            above("rigl", STATIC),
            rule=ABOVE_0,
            source="abstract; numbers of the reproduction in the project's notes",
            published="1.9 points above static uniform densities (reproduction)",
        ),
        Claim(
            "rigl-not-below-set",
            "Growing by gradient is at least as good as growing at random",
            above("rigl", "set(end=0.75)", MARGIN),
            rule=NEAR,
            source="main comparison; numbers of the reproduction in the project's notes",
            published="0.2 points above (reproduction)",
        ),
        Claim(
            "sparse-over-small-dense",
            "A sparse network beats a dense one with as many weights",
            above("rigl", "small_dense"),
            rule=ABOVE_0,
            source="main comparison; numbers of the reproduction in the project's notes",
            published="2.1 points (reproduction)",
        ),
        Claim(
            "rigl-near-gmp",
            "Training sparse throughout loses little to pruning a dense network gradually",
            above("rigl", "magnitude@gmp", MARGIN),
            rule=NEAR,
            source="abstract; numbers of the reproduction in the project's notes",
            published="0.1 points below (reproduction)",
        ),
        *published_table(
            "authors-number",
            "RigL with ERK densities on CIFAR-10, by its authors",
            {(WRN, "rigl", 0.8): 93.6},
            source="the authors' figure as given in the project's notes",
            setting=SETTING,
        ),
        *published_table(
            "reproduction-table",
            "RigL and its controls on CIFAR-10, by an independent reproduction",
            {
                (WRN, "rigl", 0.8): 93.1,
                (WRN, "set(end=0.75)", 0.8): 92.9,
                (WRN, "random/uniform@init", 0.8): 91.2,
                (WRN, "small_dense", 0.8): 91.0,
                (WRN, "magnitude@gmp", 0.8): 93.2,
            },
            source=REPRODUCTION,
            setting=f"{SETTING}; spreads 0.09 (RigL, ERK), 0.16 (SET, ERK), 0.16 (static, uniform), 0.07 (small dense) "
            "and 0.27 (gradual pruning)",
        ),
    ],
    figures=[
        Curves(
            "accuracy",
            "top1",
            ["digits-mlp-long", "digits-wrn10", WRN],
            ["rigl", "set(end=0.75)", STATIC, "small_dense", "magnitude@gmp"],
            "top-1 accuracy (%)",
        )
    ],
    departures="SET moves a constant share of the weights, in the reproduction a share that falls along a cosine. ERK "
    "densities prune the first convolution too, which the authors leave dense. The small dense network scales all its "
    "widths, the stem's too, by one factor, rounded. Static networks are there twice: with RigL's own densities (for "
    "the claim) and with uniform ones (for the published number). 45,000 training images, as in the reproduction.",
)
