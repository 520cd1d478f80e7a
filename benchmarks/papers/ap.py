"""AP: fewer silent units through pruning, and whether it pays (Liu, Ghosh, Tan, Motani; arXiv 2022, TMLR 2023).

The paper: (1) the more is pruned, the smaller is the share of units that ReLU silences; (2) silencing even fewer,
(3) by giving a part of each cycle's pruning to negative weights that hardly moved, (4) gains 3 to 4 % on CIFAR and 2 to
3 % on ImageNet and a vision transformer, with two classical and three competitive methods.

**What is known.** Claims and round figures stand in the abstracts. The step itself (score, global ranking, 2 of the
20 % that a cycle removes, rewinding) is that of the released code, which covers magnitude pruning of ResNet-20. No
table was recovered, nor which methods and sparsities the figures belong to: nothing is filled in.

**Ours.** Mirror (positive weights), movement and random arms, the three verdicts and their thresholds, all fixed
beforehand from a pilot of eight paired seeds of a perceptron, in which the mechanism showed and the benefit did not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from statistics import fmean

from sparsebench.papers import Claim, Drawing, Estimate, Evidence, Finding, NotTestable, Paper, Point, Recipe, Verdict
from sparsebench.report.figure import DENSE_LINE, compression, dodge, sparsity_axis, styles
from sparsebench.stats import spearman

ALIVE = "dead_dynamic_alive"
X, AP = "magnitude@imp", "magnitude@imp+ap"
MIRROR, MOVEMENT = "magnitude@imp+ap(sign='positive')", "magnitude@imp+ap(sign='both')"
RANDOM, MORE = "magnitude@imp+ap(sign='both',score='random')", "magnitude@imp+ap(q=0.05)"
SHORT = {X: "X", AP: "AP", MIRROR: "mirror", MOVEMENT: "movement", RANDOM: "random", MORE: "AP at 5 %"}
MAIN = {"smoke": "ap-mlp", "full": "cifar10-resnet20"}
COSINE = "ap-mlp-cosine"
"""The perceptron with the suite's own schedule of the learning rate, X alone."""
"""Where all arms are."""
NETS = ["ap-resnet8", "ap-vgg", "ap-vit"]
CIFAR = ["cifar10-resnet20", "cifar100-resnet20", "cifar10-vgg19", "cifar100-vgg19"]
VIT = "cifar10-vit-relu"
TWO = [f"{c}@imp(rate=0.36)" for c in ("magnitude", "gradient", "lamp", "lap")]
"""Two cycles in one, for arms beside the main one: half the training, and AP has the same tenth of the pruning."""
INIT = ["snip@init", "synflow@init"]
WITH = {x: f"{x}+ap(q=0.036)" for x in TWO} | {x: f"{x}+ap" for x in (*INIT, X, "gradient@imp", "lamp@imp", "lap@imp")}
OTHERS = {
    "smoke": [*(("ap-mlp", x) for x in (*TWO[1:], *INIT)), *((net, TWO[0]) for net in NETS)],
    "full": [
        (task, x)
        for task in (*CIFAR, VIT)
        for x in (X, "gradient@imp", "lamp@imp", "lap@imp", *INIT)
        if (task, x) != (MAIN["full"], X)
    ],
}
"""Other networks and methods, each without AP and ``WITH`` it."""
LEVELS = [round(1 - 0.8**k, 12) for k in (2, 4, 6, 8, 10, 12, 14, 16)]
"""64, 41, 26, 17, 11, 7, 4.4 and 2.8 % are kept; a cycle removes a fifth of what is left."""
SAME = 0.5
"""Points of accuracy: a difference within it is none."""


def levels(e: Evidence, least: float = 0.0, most: float = 1.0) -> list[float]:
    """Sparsities that keep a share from ``least`` to ``most``."""
    return [s for s in e.board.sparsities if least <= 1 - s <= most]


def by_seed(e: Evidence, metric: str, a: str, b: str, task: str, sparsity: float) -> dict[int, float]:
    """``a - b`` in percentage points."""
    first, second = (e.values(metric, task=task, method=m, sparsity=sparsity) for m in (a, b))
    return {seed: 100 * (first[seed] - second[seed]) for seed in first}


def differences(
    e: Evidence, a: str, b: str, at: Sequence[float], sign: int, metric: str = ALIVE, task: str = ""
) -> list[Point]:
    """``a - b`` at each level; holds where the interval lies on the side of ``sign``."""
    points = []
    for s in at:
        found = Estimate.of(by_seed(e, metric, a, b, task or MAIN[e.scale], s))
        sides = {-1: found.below(0), 1: found.above(0)}
        where = f"{100 * (1 - s):.3g} % kept: {SHORT.get(a, a)} − {SHORT.get(b, b)}"
        points.append(Point(where, found, holds=sides[sign], refuted=sides[-sign], unit="points"))
    return points


def counted(points: Sequence[Point], held: int, needed: int, note: str = "") -> Finding:
    verdict = Verdict.REPRODUCED if held >= needed else Verdict.PARTLY if held else Verdict.NOT
    return Finding(points, note, verdict)


def falls(e: Evidence, task: str, method: str) -> Point:
    """Rank correlation of sparsity, from the dense network on, with the seeds' mean share of silent living units.

    The interval resamples seeds.
    """
    at = [0.0, *levels(e)]
    each = [e.values(ALIVE, task=task, method=method if s else "dense", sparsity=s) for s in at]
    seeds, draw = list(each[0]), Random(0)

    def rho(chosen: Sequence[int]) -> float:
        # Constant shares are no trend.
        return spearman(at, [fmean(values[seed] for seed in chosen) for values in each]) or 0.0

    drawn = sorted(rho(draw.choices(seeds, k=len(seeds))) for _ in range(120)) if len(seeds) > 1 else [None]
    found = Estimate(rho(seeds), drawn[len(drawn) // 40], drawn[-1 - len(drawn) // 40], len(seeds))
    return Point(f"{task}, {method}", found, holds=found.value <= -0.9, refuted=found.value >= 0)


def trend(e: Evidence) -> Finding:
    tasks = [MAIN[e.scale], *(t.name for t in e.board.tasks if t.name == COSINE)]
    return Finding([falls(e, task, X) for task in tasks])


def trend_elsewhere(e: Evidence) -> Finding:
    return Finding([falls(e, task, x) for task, x in OTHERS[e.scale]])


def mechanism(e: Evidence) -> Finding:
    at = levels(e, least=0.1)
    less, more = differences(e, AP, X, at, -1), differences(e, MIRROR, X, at, 1)
    both = sum(a.holds and b.holds for a, b in zip(less, more, strict=True))
    return counted([*less, *more], both, 3, f"both signs at {both} of {len(at)} levels")


def dose(e: Evidence) -> Finding:
    points = differences(e, MORE, AP, levels(e, least=0.1), -1)
    return counted(points, sum(p.holds for p in points), 3)


def benefit(e: Evidence) -> Finding:
    at = levels(e, most=0.17)
    arms = [differences(e, AP, b, at, 1, "top1") for b in (X, MIRROR, MOVEMENT)]
    mirror = differences(e, MIRROR, X, at, 1, "top1")
    gains, beyond = arms[0], sum(all(p.holds for p in level) for level in zip(*arms, strict=True))
    notes = [f"AP gains at {sum(p.holds for p in gains)} of {len(at)} levels, and beyond both controls at {beyond}"]
    if same := sum(p.estimate.within(SAME) for p in gains):
        notes.append(f"at {same} the difference to X lies within half a point")
    if any(p.holds and m.estimate.value >= p.estimate.value for p, m in zip(gains, mirror, strict=True)):
        notes.append("where AP gains the mirror gains as much, so it is not for units that speak again")
    if e.scale == "smoke":
        notes.append("a perceptron on digits can fail to support what is said of CIFAR, not refute it")
    return counted([*(p for arm in arms for p in arm), *mirror], beyond, 2, "; ".join(notes))


def elsewhere(metric: str, sign: int, needed: int, **which: float) -> Callable[[Evidence], Finding]:
    """A judge of the other networks and methods: the mean difference over levels, and at how many of them it shows."""

    def judge(e: Evidence) -> Finding:
        return Finding([point(e, task, x, levels(e, **which)) for task, x in OTHERS[e.scale]])

    def point(e: Evidence, task: str, x: str, at: Sequence[float]) -> Point:
        each = differences(e, WITH[x], x, at, sign, metric, task)
        shown, against = sum(p.holds for p in each), sum(p.refuted for p in each)
        apart = [by_seed(e, metric, WITH[x], x, task, s) for s in at]
        mean = Estimate.of({seed: fmean(level[seed] for level in apart) for seed in apart[0]})
        where = f"{task}, {x}: with AP − without, shows at {shown} of {len(at)} levels"
        return Point(where, mean, holds=shown >= needed, refuted=against >= needed, unit="points")

    return judge


def published(tasks: Sequence[str], low: int, high: int) -> Callable[[Evidence], Finding]:
    """A round figure: reached where a paired gain at some high sparsity is above 0 and its interval reaches ``low``."""

    def judge(e: Evidence) -> Finding:
        if e.scale != "full":
            raise NotTestable("needs --scale full: the smoke board has digits and small networks alone")
        return Finding([point(e, task, x) for task, x in [(MAIN["full"], X), *OTHERS["full"]] if task in tasks])

    def point(e: Evidence, task: str, x: str) -> Point:
        gains = [p.estimate for p in differences(e, WITH[x], x, levels(e, most=0.17), 1, "top1", task)]
        reached = any(gain.above(0) and gain.high >= low for gain in gains)
        missed = all(gain.below(low) for gain in gains)
        best = max(gains, key=lambda gain: gain.value)
        return Point(f"{task}, {x}: largest gain", best, f"{low} to {high}", reached, missed and not reached, "points")

    return judge


def imagenet(e: Evidence) -> Finding:
    raise NotTestable("no board here has it: a ladder of ResNet-50 is twenty trainings of 90 epochs for a seed and arm")


def curve(e: Evidence, axes, task: str, metric: str, methods: Sequence[str], label: str) -> None:
    """A metric against sparsity: means with 95 % intervals over seeds, the dense network dashed."""
    look, at = styles([e.name(method) for method in methods]), levels(e)
    for method, shift in zip(methods, dodge(at, len(methods)), strict=True):
        found = [e.mean(metric, task=task, method=method, sparsity=s).scaled(100) for s in at]
        half = [0.0 if f.low is None else f.high - f.value for f in found]
        style = {**look[e.name(method)].line(), "label": SHORT.get(method, "with AP" if "+ap" in method else "without")}
        axes.errorbar(compression(at) + shift, [f.value for f in found], yerr=half, elinewidth=0.8, **style)
    axes.axhline(100 * e.mean(metric, task=task, method="dense").value, **DENSE_LINE)
    sparsity_axis(axes, at, label=True)
    axes.set_ylabel(label)


def rates(e: Evidence, all_axes: list) -> None:
    shown = [("top1", "top-1 (%)"), (ALIVE, "silent share of living units (%)")]
    shown += [("dead_dynamic", "dynamic rate, of all units (%)"), ("dead_static", "static rate (%)")]
    for axes, (metric, label) in zip(all_axes, shown, strict=True):
        curve(e, axes, MAIN[e.scale], metric, [X, AP, MIRROR], label)
    all_axes[0].legend()


def networks(e: Evidence, all_axes: list) -> None:
    shown = [(net, TWO[0]) for net in NETS] if e.scale == "smoke" else [(t, X) for t in (*CIFAR[1:3], VIT)]
    for axes, (task, x) in zip(all_axes, shown, strict=True):
        curve(e, axes, task, ALIVE, [x, WITH[x]], "silent share of living units (%)")
        axes.set_title(task, loc="left")
    all_axes[0].legend()


def limited(methods: Sequence[str], tasks: Sequence[str]) -> Iterator[dict]:
    """Methods that a board runs on some of its tasks."""
    return ({"method": method, "tasks": list(tasks)} for method in methods)


PILOT = "rule ours, from the pilot"
ABSTRACT = "abstract; percent of what, and at which sparsity, was not recovered"
RECIPE = Recipe(
    paper=Paper(
        "AP: Selective Activation for De-sparsifying Pruned Networks",
        "S. Liu, R. Ghosh, D. Tan, M. Motani",
        2022,
        "arXiv:2212.06145",
        "The more is pruned the fewer units are silent; silencing fewer still, by giving a tenth of each pruning to "
        "negative weights that hardly moved, gains 3 to 4 % on CIFAR.",
    ),
    version=1,
    smoke={
        "title": "a perceptron with all arms, three small networks and five other methods beside it, on digits",
        "tasks": [
            {
                "base": "digits-mlp",
                "name": "ap-mlp",
                "recipe": {"epochs": 15, "rate": 0.05, "nesterov": False, "schedule": "constant", "warmup": 0.0},
            },
            {"base": "digits-mlp", "name": COSINE, "recipe": {"epochs": 15, "rate": 0.05, "nesterov": False}},
            {
                "base": "digits-resnet8",
                "name": "ap-resnet8",
                "network_arguments": {"width": 8},
                "recipe": {"epochs": 6},
            },
            {"base": "digits-vgg", "name": "ap-vgg", "network_arguments": {"width": 8}, "recipe": {"epochs": 6}},
            {
                "base": "digits-vit",
                "name": "ap-vit",
                "network_arguments": {"dim": 32, "depth": 2, "heads": 2, "activation": "relu"},
                "recipe": {"epochs": 8},
            },
        ],
        "methods": [
            *limited([AP, MIRROR, MOVEMENT, RANDOM, MORE], ["ap-mlp"]),
            *limited([X], ["ap-mlp", COSINE]),
            *limited([m for x in (*TWO[1:], *INIT) for m in (x, WITH[x])], ["ap-mlp"]),
            *limited([TWO[0], WITH[TWO[0]]], NETS),
        ],
        "sparsities": LEVELS[:6],
        "seeds": list(range(8)),
        "notes": "The perceptron is trained as in the pilot: SGD at 0.05, momentum 0.9, decay 5e-4, 15 epochs. The "
        "pilot names no schedule: the rate is constant, chosen after two seeds with the suite's cosine schedule had "
        "shown a weaker trend; that schedule has an arm of its own. The other networks are half as wide as the "
        "suite's, the ViT has ReLU in its blocks; their cycles, and those of gradient, LAMP and LAP, remove 36 % of "
        "what is left, a tenth of it by AP.",
    },
    full={
        "title": "ResNet-20, VGG-19 and a ViT with ReLU on CIFAR, six methods with and without AP",
        "tasks": [*CIFAR, {"base": "cifar10-vit_tiny", "name": VIT, "network_arguments": {"activation": "relu"}}],
        "methods": [
            *(m for x in (X, "gradient@imp", "lamp@imp", "lap@imp", *INIT) for m in (x, WITH[x])),
            *limited([MIRROR, MOVEMENT, RANDOM], [MAIN["full"]]),
            *limited(["magnitude@imp+ap(q=0.01)", MORE], CIFAR),
        ],
        "sparsities": LEVELS,
        "seeds": [0, 1, 2, 3, 4],
        "notes": "The suite's recipes: 160 epochs, the ViT 200. The release trains ResNet-20 for 50.",
    },
    departures="Weights are rewound to their first values; the release redraws them every cycle by default, at which "
    "small networks collapse. Pruned weights and their momentum are kept at zero; in the release momentum may revive "
    "them (our reading). Norm parameters are not pruned, test images not augmented. SNIP and SynFlow prune before "
    "training: with AP they are trained twice. DenseNet, MobileNet and ImageNet are on neither board.",
    claims=[
        Claim(
            "M1-trend",
            "The more is pruned, the fewer of the living units are silent",
            trend,
            rule="Spearman's rho between sparsity and the mean share is at most -0.9; refuted from 0 on",
            source=f"abstract; {PILOT}",
        ),
        Claim(
            "M1-elsewhere",
            "The same with other methods and networks",
            trend_elsewhere,
            rule="as M1-trend, each",
            source=f"abstract; {PILOT}",
        ),
        Claim(
            "M2-mechanism",
            "AP makes fewer living units silent, its mirror more",
            mechanism,
            rule="differences to X of both signs, 95 % intervals off 0, at three or more levels of at least 10 % kept",
            source=f"what the step is for; {PILOT}",
        ),
        Claim(
            "M2-elsewhere",
            "AP makes fewer living units silent with other methods and networks too",
            elsewhere(ALIVE, -1, 3, least=0.1),
            rule="as M2-mechanism without the mirror, each; shown is the mean over these levels",
            source=PILOT,
        ),
        Claim(
            "q-ablation",
            "AP at 5 % silences fewer than at 2 %",
            dose,
            rule="difference below 0, 95 % interval off 0, at three or more levels of at least 10 % kept",
            source="ours",
        ),
        Claim(
            "M3-benefit",
            "AP gains accuracy, and does so because units speak again",
            benefit,
            rule="accuracy minus X, minus the mirror and minus movement alone above 0, 95 % intervals off 0, at two or "
            "more levels of at most 17 % kept",
            source=f"abstract; {PILOT}",
        ),
        Claim(
            "M3-elsewhere",
            "AP gains accuracy with other methods and networks",
            elsewhere("top1", 1, 2, most=0.17),
            rule="difference above 0, 95 % interval off 0, at two or more levels of at most 17 % kept, each; shown is "
            "the mean over these levels",
            source=f"abstract; {PILOT}",
        ),
        Claim(
            "cifar",
            "AP gains 3 to 4 % on CIFAR-10 and CIFAR-100",
            published(CIFAR, 3, 4),
            rule="a paired gain above 0 whose 95 % interval reaches 3 points, at some level of at most 17 % kept",
            source=ABSTRACT,
            published="3 to 4 %",
        ),
        Claim(
            "transformer",
            "AP gains 2 to 3 % with a vision transformer",
            published([VIT], 2, 3),
            rule="as cifar, 2 points; a ViT-Tiny with ReLU on CIFAR-10, as theirs was not recovered",
            source=ABSTRACT,
            published="2 to 3 %",
        ),
        Claim("imagenet", "AP gains 2 to 3 % on ImageNet", imagenet, "as cifar", ABSTRACT, published="2 to 3 %"),
    ],
    figures=[
        Drawing("rates", rates, panels=4),
        Drawing("networks", networks, panels=3),
    ],
)
