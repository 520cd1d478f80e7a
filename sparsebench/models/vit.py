"""Vision transformers (Dosovitskiy et al., 2021, arXiv:2010.11929), pre-norm, with a class token.

Query, key and value are one Linear named `qkv`, the output another named `proj`: both are ordinary
weights to the pruning code. Shape suffixes: B images, T tokens (patches + 1), D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsebench.errors import UsageError
from sparsebench.registry import network

__all__ = ["vit_b16", "vit_digits", "vit_small", "vit_tiny"]

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


class Attention(nn.Module):
    """Multi-head self-attention; [B, T, D] -> [B, T, D]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        q, k, v = self.qkv(x_BTD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out_BHTd = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out_BHTd.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a layer norm and beside a shortcut."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.activation = activation()
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attention(self.norm1(x_BTD))
        return x_BTD + self.fc2(self.activation(self.fc1(self.norm2(x_BTD))))


class VisionTransformer(nn.Module):
    """Patch embedding, class token, learned positions, blocks, norm, Linear on the class token.

    Raises:
        UsageError: `patch` does not divide the image, `heads` does not divide `dim`, or the activation
            is unknown.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        dim: int,
        depth: int,
        heads: int,
        patch: int,
        activation: str,
        mlp_ratio: int = 4,
        position_std: float = 0.02,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        if height % patch or width % patch:
            raise UsageError(f"patch={patch} does not divide {height}x{width} images: choose one that does")
        if dim % heads:
            raise UsageError(f"heads={heads} does not divide dim={dim}: choose one that does")
        if activation not in ACTIVATIONS:
            raise UsageError(f"activation={activation!r} is unknown: choose one of {', '.join(ACTIVATIONS)}")
        tokens = (height // patch) * (width // patch) + 1
        self.patch_embedding = nn.Conv2d(channels, dim, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, tokens, dim))
        self.blocks = nn.Sequential(
            *(Block(dim, heads, mlp_ratio * dim, ACTIVATIONS[activation]) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.classifier = nn.Linear(dim, num_classes)
        self._init(position_std)

    def _init(self, position_std: float) -> None:
        """Xavier-uniform Linears as in the paper's release; the patch embedding keeps its input's scale."""
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        fan_in = self.patch_embedding.weight[0].numel()
        nn.init.trunc_normal_(self.patch_embedding.weight, std=fan_in**-0.5)
        nn.init.zeros_(self.patch_embedding.bias)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.position, std=position_std)
        nn.init.trunc_normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BTD = self.patch_embedding(x_BCHW).flatten(2).transpose(1, 2)
        token_BTD = self.class_token.expand(x_BTD.shape[0], -1, -1)
        x_BTD = torch.cat([token_BTD, x_BTD], dim=1) + self.position
        x_BTD = self.blocks(x_BTD)
        return self.classifier(self.norm(x_BTD[:, 0]))


@network(width="dim", step="heads")
def vit_digits(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    patch: int = 4,
    dim: int = 64,
    depth: int = 3,
    heads: int = 4,
    mlp_ratio: int = 2,
    activation: str = "gelu",
) -> nn.Module:
    """Transformer for 8x8 images: four patches of 4x4, dim 64, depth 3 (0.1 M parameters).

    Positions start at 0.5, not 0.02, of the patches' scale: a run of 200 steps has no time to grow them.
    """
    return VisionTransformer(
        input_shape, num_classes, dim, depth, heads, patch, activation, mlp_ratio, position_std=0.5
    )


@network(width="dim", step="heads")
def vit_tiny(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    patch: int = 4,
    dim: int = 192,
    heads: int = 3,
    activation: str = "gelu",
) -> nn.Module:
    """ViT-Ti (dim 192, depth 12, 3 heads, 5.4 M parameters) with patches for 32x32 images."""
    return VisionTransformer(input_shape, num_classes, dim, 12, heads, patch, activation)


@network(width="dim", step="heads")
def vit_small(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    patch: int = 4,
    dim: int = 384,
    heads: int = 6,
    activation: str = "gelu",
) -> nn.Module:
    """ViT-S (dim 384, depth 12, 6 heads, 21 M parameters) with patches for 32x32 images."""
    return VisionTransformer(input_shape, num_classes, dim, 12, heads, patch, activation)


@network(width="dim", step="heads")
def vit_b16(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    patch: int = 16,
    dim: int = 768,
    heads: int = 12,
    activation: str = "gelu",
) -> nn.Module:
    """ViT-B/16 (dim 768, depth 12, 12 heads, 86 M parameters) for ImageNet."""
    return VisionTransformer(input_shape, num_classes, dim, 12, heads, patch, activation)
