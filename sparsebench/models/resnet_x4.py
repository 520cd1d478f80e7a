"""ResNet-32x4: the CIFAR residual network of papers on distillation, with wide stages behind a narrow stem.

    channels = (w, 2 w, 4 w, 8 w): the stem, then three stages of five blocks, w = 32

So the first stage has a shortcut that changes shape too. Source: the networks of Tian et al. 2020, arXiv:1910.10699.
"""

from __future__ import annotations

from torch import nn

from sparsebench.models.resnet import BasicBlock, ResNet, he_init
from sparsebench.registry import network

__all__ = ["resnet32x4"]


@network(width="width")
def resnet32x4(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 32) -> nn.Module:
    """CIFAR ResNet-32 with stages of 64, 128 and 256 channels behind a stem of 32 (7.4 M parameters)."""
    net = ResNet(BasicBlock, (5, 5, 5), input_shape, num_classes, 2 * width)
    net.conv = nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)
    net.bn = nn.BatchNorm2d(width)
    net.stages[0][0] = BasicBlock(width, 2 * width, 1)
    he_init(net)
    return net
