"""Understanding the robustness lottery: which pruned networks withstand corrupted images, told by their geometry.

Claims of the paper: some pruned networks withstand common corruptions better than their dense parents, most are more
brittle, and the number of weights does not tell which. The loss of a sample comes apart into the angle of its feature
to the class direction, the feature's length and its margin to the decision boundary; seen so, pruning methods differ,
some corruptions are redundant, and sub-networks of untrained networks (multi-prize tickets) have a geometry of their
own.

Published: abstract and definitions. Networks, ratios and numbers could not be recovered, so no number stands beside
ours; the rules below were written down before this board was first run, except where one says so. Ours departs from the
paper in the corruptions (15 kinds of our own in five severities, see docs/corruptions.md, instead of CIFAR-10-C), in
the closed form of the margin (the paper gives it in words), and, at smoke scale, in data and network: a perceptron
64-128-64-10 on digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

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
from sparsebench.stats import holm

GEOMETRY = "measures.geometry."
METHODS = [
    "magnitude@finetune", "gradient@finetune", "random/erk@finetune", "snip@init", "magnitude@imp", "rigl",
]  # fmt: skip
FORETELLS, GUESSES, BEHIND = 0.70, 0.55, 0.02
"""Areas under the ROC curve: enough, too little, and how far the margin may fall behind the length."""
ALPHA_F, ALPHA = 0.01, 0.05
TWINS, BLURS = ("defocus_blur", "zoom_blur"), ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")


def arms(e: Evidence, dense: bool = True, collapsed: bool = False) -> Iterator[tuple[str, str, float, str]]:
    """Task, method, sparsity, and the arm in words; if not asked for, without those that collapsed in some seed."""
    for task in e.board.tasks:
        for method in e.board.methods:
            for sparsity in e.levels(task.name, method.name) if dense or not method.is_dense else ():
                each = [e.record(task=task.name, method=method.name, sparsity=sparsity, seed=s) for s in e.board.seeds]
                if collapsed or not any(record["collapsed"] for record in each):
                    where = f"{task.name} {method.name}" + (f" at {100 * sparsity:g} %" if sparsity else "")
                    yield task.name, method.name, sparsity, where


def foretold(prefix: str):
    """A judge: the margin foretells flips, and better than the length."""

    def judge(e: Evidence) -> Finding:
        points = []
        for task, method, sparsity, where in arms(e):
            margin, length = (
                e.mean(f"{GEOMETRY}{prefix}_{name}", task=task, method=method, sparsity=sparsity)
                for name in ("margin", "length")
            )
            holds = margin.value >= FORETELLS and margin.value > length.value
            refuted = margin.value <= GUESSES or margin.value < length.value - BEHIND
            points.append(Point(f"{where} (length {length.value:.2f})", margin, holds=holds, refuted=refuted))
        return Finding(points)

    return judge


def wider_angles(e: Evidence) -> Finding:
    points = []
    for task, method, sparsity, where in arms(e):
        found = e.mean(f"{GEOMETRY}angle_gap", task=task, method=method, sparsity=sparsity)
        points.append(Point(where, found, holds=found.above(0), refuted=found.value <= 0, unit="degrees"))
    return Finding(points)


def differs(*metrics: str):
    """A judge: at equal sparsity a metric varies more between pruning methods than between seeds."""

    def judge(e: Evidence) -> Finding:
        points = []
        for task in e.board.tasks:
            for sparsity in e.board.sparsities:
                groups = [m for t, m, s, _ in arms(e, dense=False) if (t, s) == (task.name, sparsity)]
                for metric in metrics:
                    found = [e.values(metric, task=task.name, method=m, sparsity=sparsity) for m in groups]
                    each = [list(values.values()) for values in found]
                    f, p = one_way(each)
                    what = metric.rpartition(".")[2].replace("_", " ")
                    where = f"{task.name} at {100 * sparsity:g} %, {what}: F over {len(each)} methods"
                    value = Estimate(f, None, None, sum(map(len, each)))
                    points.append(Point(where, value, holds=p < ALPHA_F, refuted=f <= 1, digits=1))
        return Finding(points)

    return judge


def one_way(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Fisher's F of one-way analysis of variance, and its p.

    Raises:
        NotTestable: fewer than two groups or seeds, or no variance within the groups.
    """
    from scipy.special import fdtrc

    n, k = sum(map(len, groups)), len(groups)
    if k < 2 or n <= k:
        raise NotTestable("needs two methods and two seeds")
    means = [sum(group) / len(group) for group in groups]
    whole = sum(map(sum, groups)) / n
    between = sum(len(g) * (m - whole) ** 2 for g, m in zip(groups, means, strict=True)) / (k - 1)
    within = sum((x - m) ** 2 for g, m in zip(groups, means, strict=True) for x in g) / (n - k)
    if within == 0:
        raise NotTestable("all seeds of a method give one value")
    return between / within, float(fdtrc(k - 1, n - k, between / within))


def gains(e: Evidence) -> list[tuple[str, Estimate, float]]:
    """Corrupted accuracy over that of the dense parent, in points, and p of no gain (one-sided, paired by seed)."""
    found = []
    for task, method, sparsity, where in arms(e, dense=False, collapsed=True):
        pairs = [e.values("corrupted", task=task, method=m, sparsity=sparsity) for m in (method, "dense")]
        each = [100 * (pairs[0][seed] - pairs[1][seed]) for seed in e.board.seeds]
        found.append((where, Estimate.of(each), no_gain(each)))
    return found


def no_gain(each: Sequence[float]) -> float:
    """p of Student's one-sided test that the mean is not above 0.

    >>> round(no_gain([1.0, 2.0, 3.0]), 3), no_gain([-1.0, -1.0])
    (0.037, 1.0)
    """
    from sparsebench.stats.student import t_cdf

    n, mean = len(each), sum(each) / len(each)
    if n < 2:
        raise NotTestable("needs two seeds")
    variance = sum((x - mean) ** 2 for x in each) / (n - 1)
    if variance == 0:
        return 0.0 if mean > 0 else 1.0
    return 1 - t_cdf(mean / (variance / n) ** 0.5, n - 1)


def lottery(e: Evidence) -> Finding:
    found = gains(e)
    held = holm([p for *_, p in found])
    points = [
        Point(where, gain, holds=p <= ALPHA, refuted=gain.below(0), unit="points")
        for (where, gain, _), p in zip(found, held, strict=True)
    ]
    winners = [point.where for point in points if point.holds]
    if winners:
        return Finding(points, f"More robust than the dense parent: {'; '.join(winners)}.", Verdict.REPRODUCED)
    refuted = all(point.refuted for point in points)
    note = "Every pruned network is more brittle." if refuted else "No pruned network is shown to be more robust."
    return Finding(points, note, Verdict.NOT)


def brittle(e: Evidence) -> Finding:
    found = [gain for _, gain, _ in gains(e)]
    below, above = (sum(getattr(gain, side)(0) for gain in found) for side in ("below", "above"))
    share = Estimate(100 * below / len(found), None, None, len(found))
    where = f"arms whose corrupted accuracy is below the dense parent's ({below} of {len(found)}, {above} above)"
    return Finding([Point(where, share, holds=2 * below > len(found), refuted=2 * above > len(found), unit="%")])


def redundant(e: Evidence) -> Finding:
    points = []
    for task in e.board.tasks:
        for name in ("margin", "loss"):
            twin, others = [], []
            for seed in e.board.seeds:
                table = e.record(task=task.name, method="dense", seed=seed)["measures"]["geometry"]["redundancy"]
                kinds, rho = table["kinds"], table[name]
                of = {(a, b): rho[i][j] for i, a in enumerate(kinds) for j, b in enumerate(kinds[:i])}
                mine = of[TWINS[::-1]] if of.get(TWINS[::-1]) is not None else None
                rest = [v for (a, b), v in of.items() if v is not None and not (a in BLURS and b in BLURS)]
                if mine is None or not rest:
                    raise NotTestable(f"no image of {task.name} is shown both {' and '.join(TWINS)}")
                twin.append(mine)
                others.append(median(rest))
            over = Estimate.of([a - b for a, b in zip(twin, others, strict=True)])
            what = "margins" if name == "margin" else "losses of margin"
            rhos = f"rho {Estimate.of(twin).value:.2f} against {Estimate.of(others).value:.2f}"
            where = f"{task.name} dense, {what}: {rhos}, difference"
            points.append(Point(where, over, holds=over.above(0), refuted=over.below(0)))
    return Finding(points)


def tickets(e: Evidence) -> Finding:
    raise NotTestable("edge-popup and biprop, which find sub-networks of untrained networks, are not among the methods")


def trade(e: Evidence, axes: list) -> None:
    """Median margin against corrupted accuracy, an arm a dot: what the geometry says of robustness."""
    from sparsebench.report.figure import styles

    methods = list(dict.fromkeys(m for _, m, _, _ in arms(e)))
    look = styles([method for method in methods if method != "dense"])
    for method in methods:
        dots = [(t, s) for t, m, s, _ in arms(e) if m == method]
        x, y = (
            [factor * e.mean(metric, task=t, method=method, sparsity=s).value for t, s in dots]
            for metric, factor in ((f"{GEOMETRY}margin_median", 1.0), ("corrupted", 100.0))
        )
        line = {"marker": "*", "color": "black", "ms": 10} if method == "dense" else look[method].line()
        axes[0].plot(x, y, **{**line, "ls": "", "label": method})
    axes[0].set_xlabel("median margin of the clean images")
    axes[0].set_ylabel("corrupted accuracy (%)")
    axes[0].legend(fontsize=7)


SMOKE_TASK = {"name": "digits-mlp-128-64", "base": "digits-mlp", "network_arguments": {"hidden": [128, 64]}}
CIFAR = ["cifar10-resnet18", "cifar10-vgg16"]

RECIPE = Recipe(
    paper=Paper(
        title="Understanding Robustness Lottery: A Geometric Visual Comparative Analysis of Neural Network Pruning "
        "Approaches",
        authors="Li, Liu, Yu, Kailkhura, Cao, Diffenderfer, Bremer, Pascucci",
        year=2022,
        link="arXiv:2206.07918",
        says="Some pruned networks withstand corruptions better than their dense parents; angle, length and margin of "
        "the features at the last layer show which, and why.",
    ),
    version=1,
    smoke={
        "title": "Robustness lottery, smoke: geometry of six ways to prune a perceptron on digits",
        "tasks": [SMOKE_TASK],
        "methods": ["dense", *METHODS],
        "sparsities": [0.5, 0.8, 0.9, 0.95],
        "seeds": [0, 1, 2, 3, 4, 5],
        "defaults": {"imp": {"rate": 0.5}},
        "corruptions": "full",
        "measures": ["geometry"],
        "notes": "Digits and a perceptron instead of CIFAR-10; iterative pruning halves.",
    },
    full={
        "title": "Robustness lottery: geometry of six ways to prune ResNet-18 and VGG-16 on CIFAR-10",
        "tasks": CIFAR,
        "methods": ["dense", *METHODS],
        "sparsities": [0.5, 0.8, 0.9, 0.95, 0.98],
        "seeds": [0, 1, 2],
        "corruptions": "full",
        "measures": ["geometry"],
        "notes": "Architectures and ratios of the paper could not be recovered: these are ours.",
    },
    departures="Corruptions are the suite's 15 kinds in five severities, not CIFAR-10-C; the closed form of the margin "
    "is ours; a flip is counted for every corrupted showing of an image; no multi-prize tickets. Not blind: before the "
    "rules of this board were written, networks of a smaller one (dense, magnitude and random pruning, two seeds) had "
    "been looked at; the thresholds of margin-warns, wider-angles and own-geometry are older, redundant's is not.",
    claims=[
        Claim(
            "lottery", "Some pruned networks are more robust to corruption than their dense parents", lottery,
            rule="the paired difference of corrupted accuracy is above 0 (one-sided t test, Holm over all arms, 0.05) "
            "in at least one arm; no such arm: not reproduced",
            source="abstract",
        ),
        Claim(
            "brittle", "Most pruned networks are more brittle than their dense parents", brittle,
            rule="in more than half of the arms the 95 % interval of the difference lies below 0; refuted if in more "
            "than half it lies above",
            source="abstract",
        ),
        Claim(
            "not-by-count", "The number of weights does not explain which", differs("corrupted"),
            rule="one-way F test over methods at equal sparsity, 0.01; refuted at F <= 1",
            source="abstract",
        ),
        Claim(
            "margin-warns", "The margin of a clean image foretells whether corruption flips it", foretold("flip_auroc"),
            rule="area under the ROC curve of the negative margin, over all showings of images recognised clean, at "
            "least 0.70 in every arm that has not collapsed, and above that of the length; refuted at 0.55 or below, "
            "or more than 0.02 below the length's",
            source="our rule for the paper's reading of the margin",
        ),
        Claim(
            "margin-warns-within", "The same of showings under one kind at one severity", foretold("flip_auroc_within"),
            rule="as before, within each kind and severity; added after the pooled figures of a first board (three "
            "arms, two seeds) had been seen, because pooled showings mix in how hard a corruption is",
            source="our rule",
        ),
        Claim(
            "wider-angles", "Images that are not recognised have larger angles to their class direction", wider_angles,
            rule="the 95 % interval of the mean gap lies above 0 in every arm; refuted where the gap is not above 0",
            source="section on the decomposition",
        ),
        Claim(
            "own-geometry", "Pruning methods differ in geometry at equal sparsity",
            differs(f"{GEOMETRY}angle_mean", f"{GEOMETRY}length_mean"),
            rule="one-way F test over methods at equal sparsity, 0.01; refuted at F <= 1",
            source="abstract",
        ),
        Claim(
            "redundant", "Some corruptions are redundant: two blurs behave alike", redundant,
            rule="the rank correlation of margins under defocus and zoom blur, dense network, lies above the median "
            "over all pairs that are not two blurs (95 % interval of the difference over seeds); refuted if it lies "
            "below",
            source="case study: Gaussian and zoom blur; the suite's defocus blur stands for the former",
        ),
        Claim(
            "tickets", "Multi-prize tickets have larger angles of smaller variance", tickets,
            rule="none", source="case study",
        ),
    ],
    figures=[
        Curves(
            "corrupted", "corrupted", tasks=["digits-mlp-128-64", *CIFAR], methods=METHODS,
            label="corrupted accuracy (%)",
        ),
        Curves(
            "angle", f"{GEOMETRY}angle_mean", tasks=["digits-mlp-128-64", *CIFAR], methods=METHODS,
            label="mean angle (degrees)", factor=1.0,
        ),
        Curves(
            "margin", f"{GEOMETRY}margin_median", tasks=["digits-mlp-128-64", *CIFAR], methods=METHODS,
            label="median margin", factor=1.0,
        ),
        Drawing("trade", trade),
    ],
)  # fmt: skip
