"""Data diet: training on the hardest half of the images (Paul et al. 2021, arXiv:2107.07075), and its critique.

What it claims: the norm of a network's error (EL2N) or of an image's gradient (GraNd), taken early in training and
averaged over networks, tells which images matter. About half of CIFAR-10 can be left out without loss, at the same
number of optimiser steps. GraNd is said to do so at initialisation already; Kirsch (2303.14753) finds that there it
is little more than the norm of the input and chooses worse than chance.

Published: the shares of images that can go. Accuracies stand in figures only and are left empty. Of the critique, the
table of another network's accuracies, read from its stored figure (+-0.05 points), and rank correlations.
Evidence: formulas and rule of selection from the authors' code, claims from abstract and a third party's reading.

Ours: scores are of networks with seeds of their own (1000 to 1009) and are the same for all retrainings, so intervals
are over retrainings. A tenth of the official training images is held out. Noisy labels, CIFAR-100 and CINIC-10 are
not here.
"""

from __future__ import annotations

from math import atanh, sqrt, tanh

from sparsebench.papers import Claim, Drawing, Estimate, Evidence, Finding, NotTestable, Paper, Point, Recipe
from sparsebench.stats import paired_difference, spearman

DIGITS, CIFAR, SHORT = "digits-mlp-64", "cifar10-resnet18-diet", "cifar10-resnet18-short"
EL2N = {"smoke": ("el2n@1", "el2n@4"), "full": ("el2n@20",)}
GRAND = {"smoke": "grand@1", "full": "grand@20"}
HALF_POINT = 0.5
TABLE = {
    "el2n@2-epochs": (94.0, 93.9, 93.7, 93.4, 92.6, 89.8),
    "grand@2-epochs": (94.0, 93.9, 93.6, 93.2, 92.3, 89.8),
    "random-epochs": (93.7, 93.3, 92.8, 92.2, 91.4, 90.1),
    "input_norm-epochs": (93.7, 93.2, 92.4, 91.5, 90.2, 88.3),
    "grand@0-epochs": (93.7, 93.1, 92.4, 91.1, 90.0, 87.7),
}
"""Test accuracy in % with 10, 20, ... 60 % of the images removed."""
ALL_IMAGES = 94.0


def base(e: Evidence) -> str:
    first = e.board.tasks[0]
    return first.diet.of if first.diet else first.name


def accuracy(e: Evidence, arm: str | None, removed: int, task: str = "") -> dict[int, float]:
    """Accuracy in % of every seed with so many per cent of the images removed; without an arm with all of them."""
    task = task or base(e)
    name = f"{task}~{arm}~{1 - removed / 100:g}" if arm else task
    return {seed: 100 * value for seed, value in e.values(task=name, method="dense").items()}


def gap(e: Evidence, a: str, b: str | None, removed: int, task: str = "") -> Estimate:
    """Accuracy by a minus that by b (None: all images), in points."""
    return Estimate(*paired_difference(accuracy(e, a, removed, task), accuracy(e, b, removed, task)))


def against(arms, other: str | None, removed: tuple[int, ...], sign: int = 1, margin: float = 0.0):
    """A judge: arms lie above another one (sign -1: below) at these shares, or at most a margin on the wrong side."""

    def judge(e: Evidence) -> Finding:
        points = []
        for arm in arms[e.scale] if isinstance(arms, dict) else arms:
            for share in removed:
                found = gap(e, arm, other, share)
                way, where = found.scaled(sign), f"{arm} - {other or 'all images'}, {share} % removed"
                points.append(Point(where, found, holds=way.above(-margin), refuted=way.below(-margin), unit="points"))
        return Finding(points)

    return judge


def ranks(e: Evidence, arm: str) -> list[int]:
    """Ranks by a score of the images that records tell of."""
    for task in e.board.tasks:
        if task.diet and task.diet.of == base(e) and task.diet.arm == arm:
            return e.record(task=task.name, method="dense", seed=0)["diet"]["ranks"]
    raise NotTestable(f"the {e.scale} board has no {arm}")


def correlation(e: Evidence, a: str, b: str) -> Estimate:
    """Spearman's rho of two scores over the sampled images, with Fisher's interval."""
    x, y = ranks(e, a), ranks(e, b)
    rho, half = spearman(x, y), 1.96 * 1.03 / sqrt(len(x) - 3)
    z = atanh(max(-0.999999, min(0.999999, rho)))
    return Estimate(rho, tanh(z - half), tanh(z + half), len(x))


def norm_at_start(e: Evidence) -> Finding:
    rho = correlation(e, "grand@0", "input_norm")
    note = "0.97 is a plain ResNet-18's, on CIFAR-10; the network of its other figures has 0.39"
    return Finding([Point(base(e), rho, published=0.97, holds=rho.above(0.8), refuted=rho.below(0.8))], note)


def alike(e: Evidence) -> Finding:
    early = GRAND[e.scale]
    rho = correlation(e, early, early.replace("grand", "el2n"))
    return Finding([Point(f"{early} and EL2N", rho, published=0.94, holds=rho.above(0.8), refuted=rho.below(0.8))])


def unlike(e: Evidence) -> Finding:
    arm = EL2N[e.scale][0]
    rho = correlation(e, "grand@0", arm)
    return Finding([Point(f"grand@0 and {arm}", rho, published=-0.1, holds=rho.below(0.3), refuted=rho.above(0.3))])


def single_runs(e: Evidence) -> Finding:
    points = []
    for arm in (GRAND[e.scale], EL2N[e.scale][-1]):
        task = next((t for t in e.board.tasks if t.diet and (t.diet.of, t.diet.arm) == (base(e), arm)), None)
        if task is None:
            raise NotTestable(f"the {e.scale} board has no {arm}")
        record = e.record(task=task.name, method="dense", seed=e.board.seeds[0])
        rho = Estimate.of(record["diet"]["stability"])
        said = 0.75 if arm.startswith("grand") else None
        points.append(Point(arm, rho, published=said, holds=rho.below(0.9), refuted=rho.above(0.9)))
    return Finding(points, "Over the scoring networks; each is part of the mean that it is compared with.")


def one_selects_worse(e: Evidence) -> Finding:
    arm = GRAND[e.scale]
    found, where = gap(e, arm, f"{arm}-runs1", 50), f"{arm}, by ten networks - by one, 50 % removed"
    return Finding([Point(where, found, holds=found.above(0), refuted=found.below(0), unit="points")])


def reproduction(e: Evidence) -> Finding:
    """Losses against all images, since the network is another one."""
    points = []
    for arm, row in TABLE.items():
        for removed, value in zip(range(10, 70, 10), row, strict=True):
            where, said = f"{arm}, {removed} % removed", round(value - ALL_IMAGES, 1)
            if e.scale != "full":
                points.append(Point(where, None, said, unit="points"))
                continue
            found = gap(e, arm, None, removed, SHORT)
            half = found.high - found.value
            near = abs(found.value - said) <= HALF_POINT + half
            points.append(Point(where, found, said, near and half <= 2 * HALF_POINT, not near, "points"))
    return Finding(points, "" if e.scale == "full" else "needs --scale full: the smoke board has no CIFAR-10")


def curves(e: Evidence, panels: list) -> None:
    """Accuracy against the share removed, a line an arm."""
    from sparsebench.report.figure import DENSE_LINE, styles

    lines: dict[str, list[int]] = {}
    for diet in (t.diet for t in e.board.tasks if t.diet and t.diet.of == base(e)):
        lines.setdefault(diet.arm, []).append(round(100 * (1 - diet.keep)))
    lines = {arm: sorted(shares) for arm, shares in lines.items() if len(shares) > 1}
    axes, look = panels[0], styles(list(lines))
    for place, (arm, shares) in enumerate(lines.items()):
        found = [Estimate.of(accuracy(e, arm, share)) for share in shares]
        x = [share + 0.35 * (place - (len(lines) - 1) / 2) for share in shares]
        half = [0.0 if f.high is None else f.high - f.value for f in found]
        axes.errorbar(x, [f.value for f in found], yerr=half, elinewidth=0.8, label=arm, **look[arm].line())
    axes.axhline(Estimate.of(accuracy(e, None, 0)).value, label="all images", zorder=1, **DENSE_LINE)
    axes.set_xlabel("training images removed (%)")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(True)
    axes.legend(frameon=False, fontsize=8, loc="lower left")


ABOVE = "the 95 % interval of the paired difference lies above 0; refuted where it lies below"
BELOW = "the 95 % interval of the paired difference lies below 0; refuted where it lies above"
CRITIQUE = "Kirsch 2023, arXiv:2303.14753"
KEEPS = [1.0, 0.7, 0.5, 0.3, 0.15]

RECIPE = Recipe(
    paper=Paper(
        title="Deep Learning on a Data Diet: Finding Important Examples Early in Training",
        authors="Paul, Ganguli, Dziugaite",
        year=2021,
        link="arXiv:2107.07075",
        says="Scores taken early in training tell which images matter: half of CIFAR-10 can go without loss.",
    ),
    version=1,
    smoke={
        "title": "Training on a part of handwritten digits",
        "tasks": [
            {
                "name": DIGITS,
                "base": "digits-mlp",
                "network_arguments": {"hidden": [64, 64]},
                "recipe": {"global_batch": 32, "rate": 0.05, "warmup": 0.0},
            }
        ],
        "methods": ["dense"],
        "sparsities": [],
        "seeds": list(range(10)),
        "data_keep": KEEPS,
        "diet": [
            "random",
            {"score": "el2n", "epoch": 1},
            {"score": "el2n", "epoch": 4},
            {"score": "grand", "epoch": 0},
            "input_norm",
            "forgetting",
            {"score": "el2n", "epoch": 4, "order": "easiest"},
            {"score": "grand", "epoch": 1, "keep": [0.5]},
            {"score": "grand", "epoch": 1, "runs": 1, "keep": [0.5]},
        ],
        "notes": "Small batches and no warm-up, so that a network has learnt something after one epoch of twenty.",
    },
    full={
        "title": "ResNet-18 on a part of CIFAR-10",
        "tasks": [
            {
                "name": CIFAR,
                "base": "cifar10-resnet18",
                "recipe": {"epochs": 200, "milestones": [0.3, 0.6, 0.8], "gamma": 0.2, "warmup": 0.0},
            },
            {
                "name": SHORT,
                "base": "cifar10-resnet18",
                "recipe": {"epochs": 13, "schedule": "cosine", "milestones": [], "warmup": 0.2},
            },
        ],
        "methods": [
            "dense",
            {"method": "magnitude@gmp", "tasks": [CIFAR, f"{CIFAR}~random~0.5", f"{CIFAR}~el2n@20~0.5"]},
        ],
        "sparsities": [0.8, 0.9, 0.95],
        "seeds": [0, 1, 2, 3],
        "data_keep": [1.0, 0.9, 0.7, 0.5, 0.3, 0.15],
        "diet": [
            {"score": "random", "tasks": [CIFAR]},
            {"score": "el2n", "epoch": 20, "tasks": [CIFAR]},
            {"score": "grand", "epoch": 0, "tasks": [CIFAR]},
            {"score": "input_norm", "tasks": [CIFAR]},
            {"score": "forgetting", "tasks": [CIFAR]},
            {"score": "el2n", "epoch": 20, "order": "easiest", "tasks": [CIFAR]},
            {"score": "el2n", "epoch": 20, "skip": 0.01, "tasks": [CIFAR]},
            {"score": "grand", "epoch": 20, "tasks": [CIFAR]},
            {"score": "grand", "epoch": 20, "runs": 1, "keep": [0.5], "tasks": [CIFAR]},
            *(
                {**arm, "budget": "epochs", "tasks": [SHORT], "keep": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]}
                for arm in (
                    {"score": "el2n", "epoch": 2},
                    {"score": "grand", "epoch": 2},
                    {"score": "random"},
                    {"score": "input_norm"},
                    {"score": "grand", "epoch": 0},
                )
            ),
        ],
        "notes": "The joint grid prunes weights of networks on all images, on a random half and on the hardest half.",
    },
    claims=[
        Claim(
            "el2n-over-random",
            "The images with the largest EL2N early in training teach more than as many random ones",
            against(EL2N, "random", (30, 50)),
            rule=ABOVE,
            source="abstract",
        ),
        Claim(
            "half-without-loss",
            "Half of the images can be left out without loss",
            against(EL2N, None, (50,), margin=HALF_POINT),
            rule="the 95 % interval of the paired difference to all images lies above -0.5 points; refuted below that",
            source="abstract",
            published="about 50 % of CIFAR-10",
        ),
        Claim(
            "grand-at-start",
            "GraNd at initialisation chooses better than chance",
            against(["grand@0"], "random", (30, 50, 70)),
            rule=ABOVE,
            source="abstract; contradicted by the critique, which traces it to a fault of a library",
        ),
        Claim(
            "grand-at-start-fails",
            "GraNd at initialisation and the norm of the input choose worse than chance",
            against(["grand@0", "input_norm"], "random", (30, 50, 70, 85), sign=-1),
            rule=BELOW,
            source=CRITIQUE,
        ),
        Claim(
            "grand-is-input-norm",
            "GraNd at initialisation ranks images as the norm of the input does",
            norm_at_start,
            rule="Spearman's rho lies above 0.8 with its 95 % interval; refuted where below",
            source=CRITIQUE,
        ),
        Claim(
            "grand-changes",
            "What GraNd says at initialisation has nothing to do with what is hard after some training",
            unlike,
            rule="Spearman's rho lies below 0.3 with its 95 % interval; refuted where above",
            source=CRITIQUE,
        ),
        Claim(
            "el2n-is-grand",
            "Early in training EL2N ranks images as GraNd does",
            alike,
            rule="Spearman's rho lies above 0.8 with its 95 % interval; refuted where below",
            source=f"the paper's approximation; the number: {CRITIQUE}",
        ),
        Claim(
            "crossover",
            "Where few images are kept, the hardest are worse than random ones",
            against(EL2N, "random", (85,), sign=-1),
            rule=BELOW,
            source="Ayed and Hayou 2023, arXiv:2302.06960",
        ),
        Claim(
            "hard-not-easy",
            "The images with the smallest scores teach less than random ones",
            against({"smoke": ("el2n@4-easiest",), "full": ("el2n@20-easiest",)}, "random", (30, 50, 70, 85), sign=-1),
            rule=BELOW,
            source="our control: scores are to tell hard from easy",
        ),
        Claim(
            "one-network-ranks-otherwise",
            "The ranking by one network is not that by ten",
            single_runs,
            rule="the mean of Spearman's rho lies below 0.9 with its 95 % interval; refuted where above",
            source="a third party's reading of the supplement",
        ),
        Claim(
            "one-network-selects-worse",
            "Images chosen by one network teach less than those chosen by ten",
            one_selects_worse,
            rule=ABOVE,
            source="a third party's reading of the supplement",
        ),
        Claim(
            "reproduction-table",
            "How much is lost on CIFAR-10 at a constant number of epochs",
            reproduction,
            rule="the published loss is within 0.5 points of the measured 95 % interval, at most 1 to a side",
            source=f"{CRITIQUE}: stored figure, 10 scoring networks; a fast ResNet, 12.6 epochs",
        ),
    ],
    figures=[Drawing("accuracy", curves, size=(6.4, 4.2))],
    departures="Scores are the same for all retrainings, by networks of other seeds; a tenth of the training images is "
    "held out. Noisy labels, CIFAR-100 and CINIC-10 are left out.",
)
