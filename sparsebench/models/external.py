"""Networks of torchvision and timm, without pretrained weights, fitted to the images and classes at hand."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from sparsebench.errors import UsageError, unknown

__all__ = ["build_external"]


def build_external(
    library: str, name: str, input_shape: tuple[int, int, int], num_classes: int, **args: Any
) -> nn.Module:
    """The network `library:name` with the input channels and number of classes asked for.

    Raises:
        UsageError: no such library or network, timm is missing, or the network cannot take such images.
    """
    builders = {"torchvision": _torchvision, "timm": _timm}
    if library not in builders:
        raise unknown("library of networks", library, builders, "torchvision:NAME, timm:NAME")
    try:
        net = builders[library](name, input_shape, num_classes, args)
        _try_out(net, input_shape, num_classes)
    except UsageError:
        raise
    except (TypeError, ValueError, RuntimeError, AssertionError, IndexError) as error:
        shape = "x".join(map(str, input_shape))
        raise UsageError(
            f"{library}:{name} cannot be built for {shape} images with arguments {args} "
            f"({type(error).__name__}: {error}): choose another network or other arguments"
        ) from error
    return net


def _torchvision(name: str, input_shape: tuple[int, int, int], num_classes: int, args: dict[str, Any]) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise unknown("torchvision network", name, known, "torchvision.models.list_models()")
    if name.startswith("vit_"):
        args = {"image_size": _square(input_shape), **args}
    if name in ("googlenet", "inception_v3"):
        args = {"aux_logits": False, "init_weights": False, **args}
    net = models.get_model(name, weights=None, num_classes=num_classes, **args)
    _fit_channels(net, input_shape[0])
    return net


def _timm(name: str, input_shape: tuple[int, int, int], num_classes: int, args: dict[str, Any]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UsageError(f"timm:{name} needs the package timm: pip install timm") from error

    if not timm.is_model(name):
        raise unknown("timm network", name, timm.list_models(), "timm.list_models()")
    if "img_size" in inspect.signature(_class_of(name)).parameters:
        args = {"img_size": input_shape[1:], **args}
    return timm.create_model(name, pretrained=False, in_chans=input_shape[0], num_classes=num_classes, **args)


def _class_of(name: str) -> type:
    """The class of a timm network, by building it without memory."""
    import timm

    with torch.device("meta"):
        return type(timm.create_model(name, pretrained=False))


def _fit_channels(net: nn.Module, channels: int) -> None:
    """Replace the first convolution, keeping all but its input channels."""
    name, module = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    if module.in_channels == channels:
        return
    new = nn.Conv2d(
        channels,
        module.out_channels,
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        bias=module.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    parent, _, attribute = name.rpartition(".")
    setattr(net.get_submodule(parent), attribute, new)


def _square(input_shape: tuple[int, int, int]) -> int:
    _, height, width = input_shape
    if height != width:
        raise UsageError(f"torchvision's transformers take square images, not {height}x{width}: choose another")
    return height


def _try_out(net: nn.Module, input_shape: tuple[int, int, int], num_classes: int) -> None:
    """One blank image through the network, so that an image too small is noticed here and not in training."""
    net.eval()
    with torch.no_grad():
        out = net(torch.zeros(1, *input_shape))
    net.train()
    if out.shape != (1, num_classes):
        raise RuntimeError(f"it gives {tuple(out.shape)} in place of logits (1, {num_classes})")
