"""Blocks: the places at which two networks of one family can be compared, the ends of their blocks.

A residual network has one a stage, a VGG one a resolution, a transformer one a layer, a perceptron one a hidden layer.
Names are those of the modules, so they are the same after pruning, also where units were taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from torch import Tensor, nn

from sparsebench.errors import UsageError

LISTS = ("stages", "blocks", "layers", "encoder.layers")
"""Where networks keep their stages or layers, ours and those of torchvision and timm."""
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
ACTIVATIONS = (nn.ReLU, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Tanh)


def blocks(net: nn.Module) -> dict[str, nn.Module]:
    """Name -> the module whose output is the end of a block, first to last; the classifier is none.

    Raises:
        UsageError: the network is built in a way that is not known.

    >>> from sparsebench.models import build
    >>> list(blocks(build("resnet8", (1, 8, 8), 10))), list(blocks(build("vgg8", (1, 8, 8), 10)))
    (['stages.0', 'stages.1', 'stages.2'], ['features.relu1_2', 'features.relu2_2', 'features.relu3_3'])
    """
    modules = dict(net.named_modules())
    for name in LISTS:
        if isinstance(modules.get(name), nn.Sequential | nn.ModuleList):
            return {f"{name}.{child}": module for child, module in modules[name].named_children()}
    if numbered := {name: module for name, module in net.named_children() if name[:-1] == "layer"}:
        return numbered
    features = modules.get("features", net)
    if isinstance(features, nn.Sequential):
        prefix = "features." if features is not net else ""
        children = [(prefix + name, child) for name, child in features.named_children()]
        if found := dict(_before_pools(children) if _pools(children) else _activations(children)):
            return found
    raise UsageError(
        f"{type(net).__name__} keeps its blocks in none of {', '.join(LISTS)}, layer1.. or a Sequential 'features': "
        "networks cannot be compared block by block"
    )


@contextmanager
def watched(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """The outputs of the last forward pass by name, while the context lasts."""
    seen: dict[str, Tensor] = {}
    hooks = [module.register_forward_hook(_keeper(name, seen)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keeper(name: str, seen: dict[str, Tensor]):
    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        seen[name] = output

    return keep


def _pools(children: list[tuple[str, nn.Module]]) -> bool:
    return any(isinstance(child, POOLS) for _, child in children)


def _before_pools(children: list[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    """What comes before each pooling, and the last that is none."""
    for (name, child), (_, following) in pairwise([*children, ("", nn.AdaptiveAvgPool2d(1))]):
        if isinstance(following, POOLS) and not isinstance(child, POOLS):
            yield name, child


def _activations(children: list[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    return ((name, child) for name, child in children if isinstance(child, ACTIVATIONS))
