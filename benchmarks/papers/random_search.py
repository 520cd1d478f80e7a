"""Random search over hidden units before training: a better start, and no better end.

Claim of the paper: a random search over the node space of an over-parameterised network finds sub-networks that start
lower in the loss and, trained, are neither better nor faster than sub-networks for which nobody searched. It is
therefore proposed as the neutral reference of methods that choose a network before training.

Published: title, abstract and claims. Data, widths, number of samples and tables could not be recovered, so no number
stands beside ours. Our choice: 200 samples, ranked by the loss of the untrained sub-network on the training images (at
most 2,048); the same share of every hidden layer; SGD 0.05 with momentum 0.9 and decay 5e-4, rate x 0.1 at 70 % of 15
epochs; ten seeds. Both arms share initial weights, batch order and steps; the random arm is the search's first draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sparsebench.papers import (
    Claim,
    Curves,
    Drawing,
    Estimate,
    Evidence,
    Finding,
    NotTestable,
    Paper,
    Point,
    Recipe,
    Verdict,
)

SEARCHED, RANDOM = "random_search@init", "random_node@init"
NODES = (0.5, 0.25, 0.1, 0.05, 0.025)
"""Shares of the hidden units."""
SCORED = {"snip@init": 300, "synflow@init": 300, "grasp@init": 1200}
"""What scoring costs in forward passes of one image, a backward pass being two: SNIP a gradient on 100 images, SynFlow
one on one input in 100 rounds, GraSP two gradients and the gradient of one on 100 images."""
NOISE = "random/erk@init"
WIDE, GAIN = 1.0, 0.5
"""Points of accuracy: an interval that is wider to a side decides nothing; a gain that would refute the paper."""
MOST_OF_DENSE, LITTLE_OF_DENSE, FEWEST = 0.95, 0.90, 0.05
"""Of the dense accuracy, down to this share of the units."""


def weight_sparsity(share: float, inputs: int, width: int, classes: int = 10) -> float:
    """Weight sparsity of a perceptron with two hidden layers of which a share of the units is kept.

    >>> weight_sparsity(0.5, 64, 256)
    0.693939
    """
    kept = max(1, round(share * width))
    size = [inputs * n + n * n + n * classes for n in (kept, width)]
    return round(1 - size[0] / size[1], 6)


class Level(NamedTuple):
    task: str
    sparsity: float
    share: float
    """Of the hidden units kept."""
    text: str


def levels(e: Evidence) -> Iterator[Level]:
    """Every task and sparsity, with both densities in words."""
    for task in e.board.tasks:
        for sparsity in e.levels(task.name, SEARCHED):
            record = e.record(task=task.name, method=SEARCHED, sparsity=sparsity, seed=e.board.seeds[0])
            kept, units = map(sum, zip(*record["search"]["units"].values(), strict=True))
            weights = 100 * record["sparsity"]["kept"] / record["sparsity"]["prunable"]
            text = f"{task.name}, {100 * kept / units:.3g} % of the units, {weights:.2g} % of the weights"
            yield Level(task.name, sparsity, kept / units, text)


def paired(e: Evidence, metric: str, task: str, sparsity: float, factor: float = 1.0) -> Estimate:
    """Searched minus random, by seed."""
    return e.paired(metric, SEARCHED, RANDOM, task=task, sparsity=sparsity).scaled(factor)


def contains_zero(found: Estimate) -> bool:
    return found.low is not None and found.low <= 0 <= found.high


def decided(points: list[Point], refuting: int, note: str = "") -> Finding:
    """Reproduced where all hold, not reproduced where so many are refuted; what nobody can tell is not testable."""
    refuted = sum(point.refuted for point in points)
    if refuted >= refuting:
        return Finding(points, note, Verdict.NOT)
    if not any(point.holds for point in points) and not refuted:
        return Finding(points, note, Verdict.UNTESTABLE)
    return Finding(points, note)


def search_works(e: Evidence) -> Finding:
    points = []
    for task, sparsity, _, where in levels(e):
        found = paired(e, "search.initial_loss", task, sparsity)
        both = [e.mean("search.initial_loss", task=task, method=m, sparsity=sparsity).value for m in (SEARCHED, RANDOM)]
        where += ": initial loss {:.3f} searched, {:.3f} random, difference".format(*both)
        points.append(Point(where, found, holds=found.below(0), refuted=not found.value < 0, digits=3))
    return Finding(points)


def no_gain(e: Evidence) -> Finding:
    points, open_at = [], []
    for task, sparsity, _, where in levels(e):
        found = paired(e, "top1", task, sparsity, 100)
        narrow = found.low is not None and found.high - found.value <= WIDE
        if not narrow:
            open_at.append(where)
        better = found.value >= GAIN and found.above(0)
        points.append(Point(where, found, holds=narrow and contains_zero(found), refuted=better, unit="points"))
    note = (
        f"Undecided where the interval is wider than {WIDE:g} point to a side: {'; '.join(open_at)}." if open_at else ""
    )
    return decided(points, refuting=2, note=note)


def no_head_start(e: Evidence) -> Finding:
    points = []
    for task, sparsity, _, where in levels(e):
        first = {m: first_epoch(e, task, m, sparsity) for m in (SEARCHED, RANDOM)}
        found = Estimate.of([100 * (a - b) for a, b in zip(*first.values(), strict=True)])
        points.append(Point(where, found, holds=contains_zero(found), refuted=found.above(0), unit="points"))
    return decided(points, refuting=2, note=resolution(points, "points"))


def no_faster(e: Evidence) -> Finding:
    points = []
    for task, sparsity, _, where in levels(e):
        goals = [0.95 * curve[-1] for curve in curves(e, task, RANDOM, sparsity)]
        needed = [
            [epochs_to(goal, curve) for goal, curve in zip(goals, curves(e, task, m, sparsity), strict=True)]
            for m in (SEARCHED, RANDOM)
        ]
        found = Estimate.of([a - b for a, b in zip(*needed, strict=True)])
        points.append(Point(where, found, holds=contains_zero(found), refuted=found.below(0), unit="epochs"))
    return decided(points, refuting=2, note=resolution(points, "epochs"))


def curves(e: Evidence, task: str, method: str, sparsity: float) -> list[list[float]]:
    """Validation accuracy after each epoch, a curve a seed."""
    found = [e.record(task=task, method=method, sparsity=sparsity, seed=seed)["curves"] for seed in e.board.seeds]
    if not all(curve.get("val_top1") for curve in found):
        raise NotTestable(f"{task} was trained without validate_every: its records hold no curve")
    return [curve["val_top1"] for curve in found]


def first_epoch(e: Evidence, task: str, method: str, sparsity: float) -> list[float]:
    return [curve[0] for curve in curves(e, task, method, sparsity)]


def epochs_to(goal: float, curve: list[float]) -> int:
    """The first epoch after which a curve is at least at a goal; one more than all where it never is.

    >>> epochs_to(0.9, [0.5, 0.9, 0.8]), epochs_to(0.95, [0.5, 0.9])
    (2, 3)
    """
    return next((epoch for epoch, value in enumerate(curve, 1) if value >= goal), len(curve) + 1)


def resolution(points: list[Point], unit: str) -> str:
    """What no difference means: how large one could be and remain unseen."""
    half = [p.estimate.high - p.estimate.value for p in points if p.estimate.high is not None]
    return f"Intervals reach {min(half):.1f} to {max(half):.1f} {unit} to a side; smaller differences are not excluded."


def dense_survives(e: Evidence) -> Finding:
    points = []
    for task, sparsity, units, where in levels(e):
        whole, kept = (e.values(task=task, method=m, sparsity=s) for m, s in (("dense", 0.0), (SEARCHED, sparsity)))
        share = Estimate.of({seed: kept[seed] / whole[seed] for seed in kept})
        holds = share.above(MOST_OF_DENSE) if units >= FEWEST else None
        points.append(Point(where, share.scaled(100), holds=holds, refuted=share.below(LITTLE_OF_DENSE), unit="%"))
    return Finding(points)


def gains(e: Evidence, rival_of: Callable[[str], str]) -> Finding:
    """Gain of criteria that score at initialisation over a rival, by density; the report rule of the paper."""
    points = []
    for task, sparsity, _, where in levels(e):
        for method in SCORED:
            rival = rival_of(method)
            found = e.paired("top1", method, rival, task=task, sparsity=sparsity).scaled(100)
            word = "better" if found.above(0) else "worse" if found.below(0) else "not separated"
            text = f"{method} over {rival}, {where}: {word}"
            points.append(Point(text, found, holds=found.above(0), refuted=found.below(0), unit="points"))
    return decided(points, refuting=len(points))


def beats_random(e: Evidence) -> Finding:
    return gains(e, lambda method: NOISE)


def beats_search(e: Evidence) -> Finding:
    return gains(e, lambda method: f"random_search(passes={SCORED[method]})@init")


def convergence(e: Evidence, axes: list) -> None:
    """Validation accuracy after each epoch of both arms, with 95 % intervals over seeds."""
    task = e.board.tasks[0].name
    shown = e.levels(task, SEARCHED)
    for panel, sparsity in zip(axes, shown[:: max(1, len(shown) // 2)], strict=False):
        for method, style in ((SEARCHED, "-"), (RANDOM, "--")):
            found = [Estimate.of(values).scaled(100) for values in zip(*curves(e, task, method, sparsity), strict=True)]
            epochs = range(1, len(found) + 1)
            (line,) = panel.plot(epochs, [f.value for f in found], style, label=method.partition("@")[0])
            if all(f.low is not None for f in found):
                low, high = [f.low for f in found], [f.high for f in found]
                panel.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        panel.set(title=f"{100 * (1 - sparsity):.2g} % of the weights", xlabel="epoch")
    axes[0].set_ylabel("validation accuracy, %")
    axes[0].legend(loc="lower right")


TRAINING = {
    "epochs": 15,
    "rate": 0.05,
    "nesterov": False,
    "momentum": 0.9,
    "weight_decay": 5.0e-4,
    "schedule": "step",
    "milestones": [0.7],
    "gamma": 0.1,
    "warmup": 0.0,
    "augment": "none",
    "validate_every": 1,
}
METHODS = [SEARCHED, RANDOM, *dict.fromkeys(f"random_search(passes={p})@init" for p in SCORED.values()), NOISE, *SCORED]


def perceptron(base: str, name: str, width: int) -> dict:
    return {
        "base": base,
        "name": name,
        "network": "mlp",
        "network_arguments": {"hidden": [width, width]},
        "recipe": TRAINING,
    }


RECIPE = Recipe(
    paper=Paper(
        title="Random Search as a Baseline for Sparse Neural Network Architecture Search",
        authors="R. Farahani",
        year=2024,
        link="arXiv:2403.08265",
        says=(
            "A random search over the hidden units of an over-parameterised network finds sub-networks with a lower "
            "initial loss, which after training are neither better nor faster than sub-networks nobody searched for."
        ),
    ),
    version=1,
    smoke={
        "title": "Random search over units: digits, perceptron 64-256-256-10",
        "tasks": [perceptron("digits-mlp", "digits-mlp256", 256)],
        "methods": METHODS,
        "sparsities": [weight_sparsity(share, 64, 256) for share in NODES],
        "seeds": list(range(10)),
    },
    full={
        "title": "Random search over units: Fashion-MNIST and CIFAR-10, perceptron 1024-1024",
        "tasks": [
            perceptron("fashion_mnist-mlp", "fashion_mnist-mlp1024", 1024),
            perceptron("cifar10-mlp", "cifar10-mlp1024", 1024),
        ],
        "methods": METHODS,
        "sparsities": [weight_sparsity(share, 784, 1024) for share in NODES],
        "seeds": list(range(10)),
    },
    claims=[
        Claim(
            "search-works",
            "The searched sub-networks start with a lower loss than the random ones",
            search_works,
            rule="the 95 % interval of the paired difference lies below 0; refuted where the mean does not",
            source="abstract",
        ),
        Claim(
            "no-gain",
            "After training the searched sub-networks are no better than the random ones",
            no_gain,
            rule="the 95 % interval of the paired difference contains 0 at every density; not reproduced where a gain "
            "of 0.5 points or more has an interval above 0 at two densities; undecided where the interval is wider "
            "than 1 point to a side",
            source="abstract",
        ),
        Claim(
            "no-head-start",
            "After one epoch the searched sub-networks are no better than the random ones",
            no_head_start,
            rule="the 95 % interval of the paired difference of validation accuracy contains 0 at every density; "
            "refuted where it lies above",
            source="abstract; after which epoch is our choice",
        ),
        Claim(
            "no-faster",
            "The searched sub-networks need no fewer epochs than the random ones",
            no_faster,
            rule="epochs until 95 % of the random arm's final validation accuracy: the 95 % interval of the paired "
            "difference contains 0 at every density; refuted where it lies below",
            source="abstract; the 95 % are our choice",
        ),
        Claim(
            "dense-survives",
            "A large part of the dense network's accuracy survives at high sparsity",
            dense_survives,
            rule="searched over dense accuracy above 95 % down to 5 % of the units, refuted below 90 %; sparser ones "
            "are shown and not judged",
            source="abstract; how much is a large part is our choice",
        ),
        Claim(
            "scores-beat-random",
            "Criteria that score weights at initialisation gain over random masks of equal density",
            beats_random,
            rule="the 95 % interval of the paired gain lies above 0; one that contains 0 is not separated from random",
            source="the report rule that follows from the paper's proposal, not a claim of the paper",
        ),
        Claim(
            "scores-beat-search",
            "Criteria that score weights at initialisation gain over a random search of equal scoring cost",
            beats_search,
            rule="as above, against random_search with as many samples as the criterion's forward and backward passes "
            "pay for, at equal weight density",
            source="the report rule that follows from the paper's proposal, not a claim of the paper",
        ),
    ],
    figures=[
        Curves(
            "accuracy",
            "top1",
            tasks=["digits-mlp256", "fashion_mnist-mlp1024", "cifar10-mlp1024"],
            methods=[SEARCHED, RANDOM, NOISE, *SCORED],
            label="test accuracy, %",
        ),
        Drawing("convergence", convergence, panels=3, size=(2.9, 3.0)),
    ],
    departures=(
        "Data, widths, samples and training are our choice, since the paper's could not be recovered. Accuracy after "
        "an epoch is on the validation images: the test images are read once, at the end. An epoch of digits is 9 "
        "steps."
    ),
)
