"""Wide residual networks (Zagoruyko and Komodakis, 2016, arXiv:1605.07146): pre-activation blocks, WRN-d-k.

    d = 6 n + 4 layers, n blocks a stage        channels = (16, 16 k, 32 k, 64 k): the stem, then three stages

Batch norm and ReLU come before each convolution. Where a block changes its number of channels, the rectified input
feeds the 1x1 convolution of the shortcut too; elsewhere the shortcut carries the input as it is. ``channels`` says what
k says, so that a narrower network of the same kind can have any width (``small_dense``).
"""

from __future__ import annotations

from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.models.resnet import he_init
from sparsebench.registry import network

__all__ = ["wide_resnet", "wrn_22_2"]


class PreactivationBlock(nn.Module):
    """(Norm, ReLU, 3x3) twice, dropout between; [B, in, H, W] -> [B, out, H/stride, W/stride]."""

    def __init__(self, channels_in: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        changes = stride != 1 or channels_in != channels
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.bn1(x))
        out = self.relu2(self.bn2(self.conv1(active)))
        out = self.conv2(self.dropout(out))
        return out + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """3x3 stem, three stages of which the last two halve the map, norm, ReLU, global average, Linear.

    Args:
        depth: 6 n + 4 with n blocks a stage.
        channels: of the stem and of the three stages.
        dropout: share of activations set to zero between the convolutions of a block.

    Raises:
        UsageError: no such depth, not four channel numbers, or a share outside [0, 1).
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        depth: int,
        channels: tuple[int, int, int, int],
        dropout: float,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise UsageError(f"depth={depth}: a wide residual network has 6 n + 4 layers: choose 10, 16, 22, 28, ...")
        if len(channels) != 4:
            raise UsageError(f"channels={channels!r}: four numbers are wanted, the stem's and those of three stages")
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout={dropout!r} is a share of activations and must be in [0, 1)")
        stem, *widths = channels
        self.conv = nn.Conv2d(input_shape[0], stem, 3, padding=1, bias=False)
        self.stages = nn.ModuleList()
        channels_in = stem
        for stage, width in enumerate(widths):
            blocks = []
            for i in range((depth - 4) // 6):
                blocks.append(PreactivationBlock(channels_in, width, 2 if stage and not i else 1, dropout))
                channels_in = width
            self.stages.append(nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(channels_in)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(channels_in, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(self.relu(self.bn(x)).mean((2, 3)))


@network(width="channels")
def wide_resnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 16,
    channels: tuple[int, int, int, int] = (16, 64, 128, 256),
    dropout: float = 0.0,
) -> nn.Module:
    """Wide ResNet of any depth 6 n + 4 and width: WRN-16-4 as it stands (2.7 M parameters)."""
    return WideResNet(input_shape, num_classes, depth, tuple(channels), dropout)


@network(width="channels")
def wrn_22_2(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    channels: tuple[int, int, int, int] = (16, 32, 64, 128),
    dropout: float = 0.0,
) -> nn.Module:
    """WRN-22-2, the network of RigL's experiments on CIFAR-10 (1.1 M parameters)."""
    return WideResNet(input_shape, num_classes, 22, tuple(channels), dropout)
