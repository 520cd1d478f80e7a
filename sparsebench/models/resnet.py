"""Residual networks of He et al. (2016, arXiv:1512.03385): the CIFAR family (6n+2) and ResNet-18/50.

Every shortcut that changes shape is a 1x1 convolution with batch norm (option B of the paper; the CIFAR
originals used the parameter-free option A). Residual branches are not zero-initialised: a scale of zero
would hide the whole branch from any criterion that scores at initialisation.
"""

from __future__ import annotations

from torch import Tensor, nn

from sparsebench.registry import network

__all__ = ["resnet8", "resnet18", "resnet20", "resnet32", "resnet50", "resnet56"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; [B, in, H, W] -> [B, out, H/stride, W/stride]."""

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = _shortcut(channels_in, channels, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (carrying the stride), 1x1 to four times the channels."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        channels_out = channels * self.expansion
        self.conv1 = _conv(channels_in, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = _conv(channels, channels_out, 1)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.shortcut = _shortcut(channels_in, channels_out, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu3(out + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, stages that double the channels and halve the map, global average pool, Linear.

    Args:
        depths: blocks of every stage; the first keeps the stem's resolution.
        width: channels of the first stage.
        imagenet_stem: 7x7 stride 2 and max-pool instead of one 3x3 convolution.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        input_shape: tuple[int, int, int],
        num_classes: int,
        width: int,
        imagenet_stem: bool = False,
    ) -> None:
        super().__init__()
        kernel, stride = (7, 2) if imagenet_stem else (3, 1)
        self.conv = _conv(input_shape[0], width, kernel, stride)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if imagenet_stem else nn.Identity()
        self.stages = nn.ModuleList()
        channels_in = width
        for stage, depth in enumerate(depths):
            channels = width * 2**stage
            blocks = []
            for i in range(depth):
                blocks.append(block(channels_in, channels, stride=2 if stage and not i else 1))
                channels_in = channels * block.expansion
            self.stages.append(nn.Sequential(*blocks))
        self.classifier = nn.Linear(channels_in, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.bn(self.conv(x))))
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.mean((2, 3)))


def he_init(net: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / fan_out) (He et al., 2015, arXiv:1502.01852)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


@network(width="width")
def resnet8(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 16) -> nn.Module:
    """CIFAR ResNet with one block a stage (78 k parameters at width 16)."""
    return _cifar_resnet(1, input_shape, num_classes, width)


@network(width="width")
def resnet20(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 16) -> nn.Module:
    """CIFAR ResNet-20: three blocks a stage (0.27 M parameters at width 16)."""
    return _cifar_resnet(3, input_shape, num_classes, width)


@network(width="width")
def resnet32(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 16) -> nn.Module:
    """CIFAR ResNet-32: five blocks a stage (0.47 M parameters at width 16)."""
    return _cifar_resnet(5, input_shape, num_classes, width)


@network(width="width")
def resnet56(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 16) -> nn.Module:
    """CIFAR ResNet-56: nine blocks a stage (0.86 M parameters at width 16)."""
    return _cifar_resnet(9, input_shape, num_classes, width)


@network(width="width")
def resnet18(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-18 (11 M parameters); images under 64 pixels get a 3x3 stem without max-pool."""
    return _imagenet_resnet(BasicBlock, (2, 2, 2, 2), input_shape, num_classes, width)


@network(width="width")
def resnet50(input_shape: tuple[int, int, int], num_classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-50 (24 M parameters); images under 64 pixels get a 3x3 stem without max-pool."""
    return _imagenet_resnet(Bottleneck, (3, 4, 6, 3), input_shape, num_classes, width)


def _cifar_resnet(n: int, input_shape: tuple[int, int, int], num_classes: int, width: int) -> ResNet:
    return ResNet(BasicBlock, (n, n, n), input_shape, num_classes, width)


def _imagenet_resnet(
    block: type[nn.Module],
    depths: tuple[int, ...],
    input_shape: tuple[int, int, int],
    num_classes: int,
    width: int,
) -> ResNet:
    return ResNet(block, depths, input_shape, num_classes, width, imagenet_stem=min(input_shape[1:]) >= 64)


def _conv(channels_in: int, channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=kernel // 2, bias=False)


def _shortcut(channels_in: int, channels: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels:
        return nn.Identity()
    return nn.Sequential(_conv(channels_in, channels, 1, stride), nn.BatchNorm2d(channels))
