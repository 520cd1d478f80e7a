"""VGG networks (Simonyan and Zisserman, 2015, arXiv:1409.1556) as pruning papers use them on small images.

Batch norm after every convolution, global average pool and one Linear in place of the three large
classifier layers. `width` is the number of channels of the first block; later blocks double it, up to 8x.
A max-pool that would meet a 1x1 map is left out, so any image size works. (A padded 3x3 convolution on a
1x1 map uses its centre only and its other eight weights never receive a gradient: `vgg8` is made such
that this does not happen on 8x8 images.)
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from sparsebench.models.resnet import he_init
from sparsebench.registry import network

__all__ = ["vgg8", "vgg11", "vgg16", "vgg16_fan_in", "vgg19"]


class VGG(nn.Module):
    """Blocks of (convolution, batch norm, ReLU) with a max-pool between and after them.

    Args:
        depths: convolutions of every block.
        multiples: channels of every block in units of `width`.
        final_pool: max-pool after the last block too, before the global average.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        multiples: tuple[int, ...],
        input_shape: tuple[int, int, int],
        num_classes: int,
        width: int,
        final_pool: bool = True,
    ) -> None:
        super().__init__()
        channels_in, *size = input_shape
        layers: dict[str, nn.Module] = {}
        for block, (depth, multiple) in enumerate(zip(depths, multiples, strict=True), start=1):
            channels = width * multiple
            for i in range(1, depth + 1):
                layers[f"conv{block}_{i}"] = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
                layers[f"bn{block}_{i}"] = nn.BatchNorm2d(channels)
                layers[f"relu{block}_{i}"] = nn.ReLU()
                channels_in = channels
            if min(size) >= 2 and (final_pool or block < len(depths)):
                layers[f"pool{block}"] = nn.MaxPool2d(2)
                size = [side // 2 for side in size]
        self.features = nn.Sequential(OrderedDict(layers))
        self.classifier = nn.Linear(channels_in, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


@network(width="width")
def vgg8(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 16) -> nn.Module:
    """Small VGG for 8x8 images: seven convolutions in three blocks and one Linear."""
    return VGG((2, 2, 3), (1, 2, 4), input_shape, num_classes, width, final_pool=False)


@network(width="width")
def vgg11(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 64) -> nn.Module:
    """VGG-11 with batch norm: eight convolutions and one Linear (9.2 M parameters at width 64)."""
    return VGG((1, 1, 2, 2, 2), (1, 2, 4, 8, 8), input_shape, num_classes, width)


@network(width="width")
def vgg16(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 64) -> nn.Module:
    """VGG-16 with batch norm: thirteen convolutions and one Linear (15 M parameters at width 64)."""
    return VGG((2, 2, 3, 3, 3), (1, 2, 4, 8, 8), input_shape, num_classes, width)


@network(width="width")
def vgg19(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 64) -> nn.Module:
    """VGG-19 with batch norm: sixteen convolutions and one Linear (20 M parameters at width 64)."""
    return VGG((2, 2, 4, 4, 4), (1, 2, 4, 8, 8), input_shape, num_classes, width)


@network(width="width")
def vgg16_fan_in(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 64) -> nn.Module:
    """VGG-16 of open_lth and SynFlow: all weights, the classifier's too, from N(0, 2 / fan_in); four max-pools."""
    net = VGG((2, 2, 3, 3, 3), (1, 2, 4, 8, 8), input_shape, num_classes, width, final_pool=False)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    nn.init.zeros_(net.classifier.bias)
    return net
