"""SynFlow: pruning at initialisation without data (Tanaka et al. 2020, arXiv:2006.05467).

What it claims: methods that score once at initialisation (magnitude, SNIP, GraSP) empty whole layers long before they
have to, and the network is cut. Scores that are conserved from layer to layer, taken in many small rounds, cannot do
that; synaptic flow is such a score and needs no data. It therefore keeps working at compressions where the others fail.

Published: the authors' released arrays, CIFAR-10, means of three runs, for VGG-16 and ResNet-18 at 10^1, 10^1.5 and
10^2 fold compression (90, 96.84 and 99 %). Evidence: the numbers are copied from the project's notes;
protocol and networks were read in the authors' repository.
"""

from __future__ import annotations

from collections.abc import Callable

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
    published_table,
)
from sparsebench.report.figure import styles

ONE_SHOT = ["random@init", "magnitude@init", "snip@init", "grasp@init"]
METHODS = [*ONE_SHOT, "synflow@init"]
DIGITS = ["digits-mlp", "digits-vgg", "digits-resnet8"]
WHOLE, HALF = "digits-mlp", "digits-mlp-half"
VGG, RESNET = "synflow-vgg16", "synflow-resnet18"
CHAINS = ["digits-mlp", "digits-vgg", VGG]
"""Networks without shortcuts: all flow passes every layer."""


def cut(record: dict) -> bool:
    """Nothing flows from the input to the outputs: the network cannot be trained."""
    return record["measures"]["flow"]["total"] == 0


def emptied(record: dict) -> bool:
    """Some layer has no weight left."""
    return any(layer["kept"] == 0 for layer in record["sparsity"]["layers"].values())


def share(e: Evidence, what: Callable[[dict], bool], task: str, method: str, levels: list[float]) -> Estimate:
    """Percentage of the networks at some sparsities, over all seeds, of which something is true."""
    places = [(sparsity, seed) for sparsity in levels for seed in e.board.seeds]
    true = [what(e.record(task=task, method=method, sparsity=sparsity, seed=seed)) for sparsity, seed in places]
    return Estimate(100 * sum(true) / len(true), n=len(e.board.seeds))


def never(what: Callable[[dict], bool]) -> Callable[[Evidence], Finding]:
    """A judge: it happens to SynFlow at no task, sparsity and seed."""

    def judge(e: Evidence) -> Finding:
        points, where = [], []
        for task in tasks(e):
            levels = e.levels(task, "synflow@init")
            found = share(e, what, task, "synflow@init", levels)
            named = f"{task}, {len(levels)} sparsities"
            holds = found.value == 0
            points.append(Point(named, found, holds=holds, refuted=not holds, unit="% of networks", digits=0))
            hit = [f"{100 * s:.4g} %" for s in levels if share(e, what, task, "synflow@init", [s]).value]
            where += [f"{task} at {' and '.join(hit)}"] if hit else []
        return Finding(points, f"it happened to {', '.join(where)}" if where else "")

    return judge


def others_cut(e: Evidence) -> Finding:
    points = []
    for task in tasks(e):
        highest = e.levels(task, "synflow@init")[-1]
        if highest < 0.999:
            raise NotTestable("the board has no sparsity of 99.9 % or more: use --scale smoke")
        for method in ONE_SHOT:
            found = share(e, cut, task, method, [highest])
            where = f"{task}, {method}, {100 * highest:.4g} %"
            holds, refuted = found.value > 50, found.value == 0
            points.append(Point(where, found, holds=holds, refuted=refuted, unit="% of seeds", digits=0))
    return Finding(points)


def better(a: str, b: str, levels: tuple[float, ...]) -> Callable[[Evidence], Finding]:
    """A judge: the first method's accuracy lies above the second's at every task and level."""

    def judge(e: Evidence) -> Finding:
        points = []
        for task in tasks(e):
            for sparsity in (s for s in e.levels(task, a) if s in levels):
                gap = e.paired("top1", a, b, task=task, sparsity=sparsity).scaled(100)
                where = f"{task}, {100 * sparsity:.4g} %"
                points.append(Point(where, gap, holds=gap.above(0), refuted=gap.below(0), unit="points"))
        return Finding(points)

    return judge


def conserved(e: Evidence) -> Finding:
    points = []
    for task in (t for t in tasks(e) if t in CHAINS):
        arms = [("dense", 0.0), *(("synflow@init", s) for s in e.levels(task, "synflow@init"))]
        worst = [
            max(e.values("measures.flow.spread", task=task, method=method, sparsity=s).values()) for method, s in arms
        ]
        found = Estimate(max(worst) * 1e12, n=len(e.board.seeds))
        where = f"{task}, dense and SynFlow, the worst of {len(arms)} sparsities and all seeds"
        holds, refuted = found.value < 1e3, found.value > 1e6
        points.append(Point(where, found, holds=holds, refuted=refuted, unit="parts in 10^12", digits=4))
    return Finding(points, "largest over smallest sum of scores of a layer, less 1")


def data_free(e: Evidence) -> Finding:
    def same(method: str) -> Estimate:
        """Share of networks whose layers keep as many weights with half of the training images as with all."""

        def layers(task: str, sparsity: float, seed: int) -> dict:
            return e.record(task=task, method=method, sparsity=sparsity, seed=seed)["sparsity"]["layers"]

        pairs = [(s, seed) for s in e.levels(HALF, method) for seed in e.board.seeds]
        alike = [layers(HALF, *at) == layers(WHOLE, *at) for at in pairs]
        return Estimate(100 * sum(alike) / len(alike), n=len(e.board.seeds))

    ours, control = same("synflow@init"), same("snip@init")
    if control.value == 100:
        raise NotTestable("SNIP, which looks at images, chose alike on both: the comparison shows nothing")
    point = Point("synflow@init", ours, holds=ours.value == 100, refuted=ours.value < 100, unit="% alike", digits=0)
    return Finding([point], f"of SNIP, a control that looks at images, {control.value:.0f} % are alike")


def tasks(e: Evidence) -> list[str]:
    """The board's tasks on which all its methods run."""
    limits = e.board.limits.values()
    return [task.name for task in e.board.tasks if all(task.name in limited for limited in limits)]


def layers_left(e: Evidence, panels: list) -> None:
    """Weights that each layer keeps at the highest sparsity: the mean over seeds, layer by layer."""
    look = styles(METHODS)
    for panel, task in zip(panels, DIGITS, strict=True):
        highest = e.levels(task, "synflow@init")[-1]
        for method in METHODS:
            records = [e.record(task=task, method=method, sparsity=highest, seed=seed) for seed in e.board.seeds]
            counts = zip(*([v["kept"] for v in r["sparsity"]["layers"].values()] for r in records), strict=True)
            means = [sum(layer) / len(layer) for layer in counts]
            panel.plot(range(1, len(means) + 1), means, label=method, **look[method].line())
        panel.set_xticks(range(1, len(means) + 1))
        panel.set_yscale("symlog", linthresh=1)
        panel.set_ylim(0, 150)
        panel.set_title(f"{task}, {100 * highest:.4g} %", loc="left")
        panel.set_xlabel("layer, in the order of the network")
    panels[0].set_ylabel("weights kept (mean over seeds)")
    panels[0].legend(frameon=False, fontsize=7)


SGD = {"epochs": 160, "momentum": 0.9, "nesterov": True, "schedule": "step", "milestones": [0.375, 0.75], "warmup": 0.0}
ARRAYS = "the authors' released arrays (github.com/ganguli-lab/Synaptic-Flow, Results/data), as in the project's notes"
LEVELS = (0.9, 0.9684, 0.99)


def column(task: str, method: str, values: tuple[float, float, float]) -> dict:
    """One method's numbers at the three published compressions."""
    return {(task, method, level): value for level, value in zip(LEVELS, values, strict=True)}


RECIPE = Recipe(
    paper=Paper(
        title="Pruning neural networks without any data by iteratively conserving synaptic flow",
        authors="Tanaka, Kunin, Yamins, Ganguli",
        year=2020,
        link="arXiv:2006.05467",
        says="Scores that are conserved from layer to layer, taken in many rounds, prune an untrained network to "
        "extreme sparsity without data and without ever cutting it; single-shot methods cut it long before they must.",
    ),
    version=1,
    smoke={
        "title": "SynFlow on handwritten digits",
        "tasks": [*DIGITS, {"name": HALF, "base": WHOLE, "subset": {"train": 600}}],
        "methods": [
            *({"method": method, "tasks": DIGITS} for method in ("random@init", "magnitude@init", "grasp@init")),
            "snip@init",
            "synflow@init",
        ],
        "sparsities": [*LEVELS, 0.999],
        "seeds": [0, 1, 2, 3, 4],
        "measures": ["flow"],
        "notes": "99.9 % leaves 27 weights of the MLP's 27,400, 109 of the VGG's and 77 of the ResNet's.",
    },
    full={
        "title": "SynFlow's VGG-16 and ResNet-18 on CIFAR-10",
        "tasks": [
            {
                "name": VGG,
                "base": "cifar10-vgg16",
                "network": "vgg16_fan_in",
                "recipe": {**SGD, "rate": 0.1, "gamma": 0.1, "weight_decay": 1e-4, "global_batch": 128},
            },
            {
                "name": RESNET,
                "base": "cifar10-resnet18",
                "recipe": {**SGD, "rate": 0.01, "gamma": 0.2, "weight_decay": 5e-4, "global_batch": 128},
            },
        ],
        "methods": METHODS,
        "sparsities": list(LEVELS),
        "seeds": [0, 1, 2],
        "measures": ["flow"],
    },
    claims=[
        Claim(
            "synflow-never-cuts",
            "SynFlow never makes a network untrainable, up to extreme sparsity",
            never(cut),
            rule="in no seed is the flow from the input to the outputs 0; refuted by one",
            source="abstract",
            published="layer collapse is avoided entirely",
        ),
        Claim(
            "synflow-empties-no-layer",
            "SynFlow leaves weights in every layer, up to extreme sparsity",
            never(emptied),
            rule="in no seed is a layer empty; refuted by one",
            source="the same taken literally, also for layers that a shortcut goes around",
        ),
        Claim(
            "one-shot-cuts",
            "Random, magnitude, SNIP and GraSP, scored once at initialisation, cut the network at extreme sparsity",
            others_cut,
            rule="at the board's highest sparsity (99.9 % or more) the flow is 0 in most seeds; refuted where in none",
            source="abstract, layer collapse",
        ),
        Claim(
            "synflow-over-snip",
            "At high sparsity SynFlow is more accurate than SNIP",
            better("synflow@init", "snip@init", (0.99, 0.999)),
            rule="at 99 % and more the 95 % interval of the paired difference lies above 0; refuted where below 0",
            source="main comparison; the numbers are those of the tables below",
            published="at 99 % 0.9 points above on VGG-16, 0.4 points below on ResNet-18",
        ),
        Claim(
            "snip-over-random",
            "At high sparsity SNIP is more accurate than a random choice",
            better("snip@init", "random@init", (0.9684, 0.99)),
            rule="at 96.84 and 99 % the 95 % interval of the paired difference lies above 0; refuted where below 0",
            source="main comparison; the numbers are those of the tables below",
            published="3.6 and 10.0 points on VGG-16, 3.7 and 7.8 on ResNet-18",
        ),
        Claim(
            "flow-is-conserved",
            "The scores of every layer of a chain of homogeneous units have the same sum",
            conserved,
            rule="largest over smallest sum less 1 is below 1e-9 in 64 bits; refuted above 1e-6",
            source="conservation of synaptic saliency from layer to layer",
            published="equal (a theorem)",
        ),
        Claim(
            "no-data",
            "What SynFlow keeps does not depend on the data",
            data_free,
            rule="with half of the training images every layer keeps as many weights as with all, at every sparsity "
            "and seed; not testable where the same is true of SNIP",
            source="abstract",
        ),
        *published_table(
            "vgg16-table",
            "VGG-16 on CIFAR-10, pruned at initialisation",
            {
                **column(VGG, "random@init", (91.15, 87.52, 79.14)),
                **column(VGG, "magnitude@init", (93.12, 91.95, 89.80)),
                **column(VGG, "snip@init", (92.26, 91.08, 89.15)),
                **column(VGG, "grasp@init", (91.84, 90.17, 87.49)),
                **column(VGG, "synflow@init", (93.26, 92.12, 90.08)),
            },
            source=ARRAYS,
            setting="VGG-16, 160 epochs of SGD, rate 0.1, momentum 0.9, tenth at 60 and 120, decay 1e-4, batch 128",
            runs=3,
        ),
        *published_table(
            "resnet18-table",
            "ResNet-18 on CIFAR-10, pruned at initialisation",
            {
                **column(RESNET, "random@init", (92.92, 89.57, 82.98)),
                **column(RESNET, "snip@init", (94.29, 93.23, 90.80)),
                **column(RESNET, "grasp@init", (93.78, 92.09, 89.71)),
                **column(RESNET, "synflow@init", (94.07, 92.66, 90.36)),
            },
            source=ARRAYS,
            setting="ResNet-18, 160 epochs of SGD, rate 0.01, momentum 0.9, fifth at 60 and 120, decay 5e-4, batch 128",
            runs=3,
        ),
        *published_table(
            "resnet18-magnitude",
            "Magnitude at initialisation keeps ResNet-18 at 90 % and cuts it from 94.4 % on: accuracy of chance",
            column(RESNET, "magnitude@init", (94.40, 10.0, 10.0)),
            source=ARRAYS,
            setting="ResNet-18, as in the table before; 94.40 was published at 90 %, chance from 94.4 % on",
            runs=3,
        ),
    ],
    figures=[
        Curves("accuracy", "top1", [*DIGITS, VGG, RESNET], METHODS, "top-1 accuracy (%)"),
        Drawing("layers", layers_left, panels=3),
    ],
    departures="Two claims were one at first, that SynFlow neither cuts the network nor empties a layer; once one seed "
    "had shown emptied layers beside the shortcuts of the residual network, and no cut, they were taken apart, and "
    "one-shot-cuts was left to cuts. 45,000 training images, 5,000 are kept for validation. One weight of every layer "
    "is guarded under global magnitude (the release guards none), so a cut network is told by its flow. SNIP and GraSP "
    "see ten un-augmented images a class, the release 100 augmented ones drawn at random. Weight decay spares norm "
    "parameters. Nesterov momentum as in the release. VGG-16 is the release's but for its biases before batch norm "
    "(four max-pools, average, one classifier layer, N(0, 2 / fan_in)); ResNet-18 is the release's (3x3 stem without "
    "max-pool, projection shortcuts, N(0, 2 / fan_out)).",
)
