"""Tasks: data set, network and training recipe under one name, ``<dataset>-<network>``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from sparsebench import diet as diets
from sparsebench.diet import Diet
from sparsebench.errors import UsageError, unknown
from sparsebench.protocol import canonical
from sparsebench.recipe import Recipe


@dataclass(frozen=True)
class Task:
    """What is trained on what, and how."""

    name: str
    dataset: str
    network: str
    recipe: Recipe
    network_arguments: dict[str, Any] = field(default_factory=dict)
    subset: dict[str, int] = field(default_factory=dict)
    """So many images of ``train``, ``validation`` and ``test``, every class in proportion; others are used whole."""
    diet: Diet | None = None
    """The part of the training images that is used; None = all of them."""

    def __post_init__(self) -> None:
        if not isinstance(self.subset, dict):
            raise UsageError(
                f"task {self.name!r}: subset={self.subset!r}; a mapping such as {{train: 5000, test: 2000}} is wanted"
            )

    def settings(self) -> dict[str, Any]:
        """Everything that changes a number, as JSON; what was added later is named where it is asked for."""
        settings = asdict(self)
        for later in ("subset", "diet"):
            if not settings[later]:
                del settings[later]
        for later in ("validate_every", "compile"):
            if not settings["recipe"][later]:
                del settings["recipe"][later]
        return settings

    @cached_property
    def text(self) -> str:
        """The settings as canonical JSON, written once for all cells."""
        return canonical(self.settings())

    @cached_property
    def whole(self) -> Task:
        """The task with all training images."""
        return replace(self, name=self.diet.of, diet=None) if self.diet else self

    def on_diet(self, arm: dict[str, Any], keep: float) -> Task:
        """The task on a part of its training images, under a name of its own.

        >>> task("digits-mlp").on_diet({"score": "el2n"}, 0.5).name
        'digits-mlp~el2n@2~0.5'
        """
        diet = diets.read(self.name, self.recipe.epochs, arm, keep)
        return replace(self, name=diet.task, diet=diet)


_DIGITS_SGD = Recipe(epochs=8, rate=0.1, nesterov=True, warmup=0.3, augment="none", mask_every=5)
_DIGITS = {
    "mlp": ("mlp", replace(_DIGITS_SGD, epochs=20, mask_every=10)),
    "resnet8": ("resnet8", replace(_DIGITS_SGD, channels_last=True)),
    "vgg": ("vgg8", replace(_DIGITS_SGD, channels_last=True)),
    "vit": ("vit_digits", replace(_DIGITS_SGD, optimizer="adamw", rate=3e-3, weight_decay=0.05)),
}
_MNIST = {"mlp": ("lenet_300_100", Recipe(epochs=20, rate=0.05, warmup=0.05))}
_SGD = Recipe(
    epochs=160,
    rate=0.1,
    nesterov=True,
    weight_decay=5e-4,
    schedule="step",
    milestones=(0.5, 0.75),
    warmup=0.01,
    mask_every=500,
)
_ADAMW = Recipe(epochs=200, rate=1e-3, optimizer="adamw", weight_decay=0.05, warmup=0.05, clip=1.0, mask_every=500)
_CIFAR = {
    "mlp": ("mlp", replace(_SGD, rate=0.05)),
    "resnet20": ("resnet20", replace(_SGD, weight_decay=1e-4)),
    "resnet32": ("resnet32", replace(_SGD, weight_decay=1e-4)),
    "resnet56": ("resnet56", replace(_SGD, weight_decay=1e-4)),
    "resnet18": ("resnet18", _SGD),
    "vgg11": ("vgg11", replace(_SGD, rate=0.05)),
    "vgg16": ("vgg16", replace(_SGD, rate=0.05)),
    "vgg19": ("vgg19", replace(_SGD, rate=0.05)),
    "vit_tiny": ("vit_tiny", _ADAMW),
}
_IMAGENET = {
    "resnet50": (
        "resnet50",
        Recipe(
            epochs=90,
            rate=0.4,
            nesterov=True,
            weight_decay=1e-4,
            warmup=5 / 90,
            global_batch=1024,
            label_smoothing=0.1,
            mask_every=1000,
            precision="16-mixed",
        ),
    ),
    "vit_b16": (
        "vit_b16",
        replace(
            _ADAMW,
            epochs=300,
            global_batch=1024,
            weight_decay=0.1,
            label_smoothing=0.1,
            mask_every=1000,
            precision="16-mixed",
        ),
    ),
}
_FAMILIES = {
    "digits": _DIGITS,
    "mnist": _MNIST,
    "fashion_mnist": _MNIST,
    "cifar10": _CIFAR,
    "cifar10_jpeg": _CIFAR,
    "cifar100": _CIFAR,
    "tiny_imagenet": {"resnet18": ("resnet18", _SGD), "vit_small": ("vit_small", _ADAMW)},
    "imagenet": _IMAGENET,
}

TASKS = {
    f"{dataset}-{short}": Task(f"{dataset}-{short}", dataset, network, recipe)
    for dataset, family in _FAMILIES.items()
    for short, (network, recipe) in family.items()
}


def task(name: str) -> Task:
    """A task by name.

    >>> task("digits-mlp").network
    'mlp'
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS, "sparsebench list tasks")
    return TASKS[name]


def from_settings(settings: dict[str, Any]) -> Task:
    """The task that ``Task.settings`` described, as it stands in a record.

    >>> from_settings(task("digits-vit").settings()) == task("digits-vit")
    True
    """
    diet = {"diet": Diet(**settings["diet"])} if settings.get("diet") else {}
    return Task(**{**settings, "recipe": Recipe(**_tuples(settings["recipe"])), **diet})


def custom(settings: dict[str, Any]) -> Task:
    """A task written out in a board: a base task by ``base``, or all fields, with changes.

    Raises:
        UsageError: an unknown field or a name that a built-in task has.
    """
    settings = dict(settings)
    base = settings.pop("base", None)
    recipe = settings.pop("recipe", {})
    start = task(base) if base else None
    name = settings.get("name")
    if not name or name in TASKS:
        raise UsageError(f"a task written out in a board needs a name of its own, not {name!r}")
    if "diet" in settings:
        raise UsageError(f"task {name!r}: diet is a key of the board, beside data_keep, not of a task")
    try:
        changed = replace(start.recipe, **_tuples(recipe)) if start else Recipe(**_tuples(recipe))
        return replace(start, recipe=changed, **settings) if start else Task(recipe=changed, **settings)
    except TypeError as error:
        raise UsageError(f"task {name!r}: {error}") from None


def _tuples(recipe: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items()}
