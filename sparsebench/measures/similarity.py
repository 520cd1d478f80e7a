"""Similarity: how far the representations of a network are from those of its dense network, block by block.

    svcca, cka: distance in [0, 1] at the end of every block and at the logits (``head``); the first 6,400 test images

Conventions: ``sparsebench.metrics.similarity``; blocks: ``sparsebench.models.blocks``. Blakeney et al. (2021,
arXiv:2106.07849) take the last block of each of three stages and the classifier on 6,400 test images and resize maps to
16 x 16; here maps keep their size and larger ones are averaged down to 16 x 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsebench.registry import measure

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsebench.measures import Subject

IMAGES = 6400
"""Test images whose activations are compared: 64 batches of 100 in the release."""


@measure
def similarity(subject: Subject) -> dict[str, Any]:
    from sparsebench.metrics.similarity import cka_distance, svcca_distance

    mine, dense = (activations(net, subject.clean) for net in (subject.net, subject.dense))
    pairs = {name: (mine[name], dense[name]) for name in dense}
    return {
        "svcca": {name: svcca_distance(*pair) for name, pair in pairs.items()},
        "cka": {name: cka_distance(*pair) for name, pair in pairs.items()},
        "images": len(mine["head"]),
    }


def activations(net: nn.Module, batches: Any) -> dict[str, Tensor]:
    """Outputs of all blocks and of the network itself (``head``) on the first test images, on the CPU."""
    import torch

    from sparsebench.models.blocks import blocks, watched
    from sparsebench.scoring import untouched

    device, parts, images = next(net.parameters()).device, [], 0
    with untouched(net, train=False), torch.no_grad(), watched(blocks(net)) as seen:
        for x, _ in batches:
            head = net(x[: IMAGES - images].to(device))
            parts.append({name: value.float().cpu() for name, value in {**seen, "head": head}.items()})
            images += len(head)
            if images >= IMAGES:
                break
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
