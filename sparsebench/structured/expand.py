"""Expand: a shrunk network as the network with all its units, those taken out being zero."""

from __future__ import annotations

import torch
from torch import nn

from sparsebench.masks import Masks


@torch.no_grad()
def expand(dense: nn.Module, small: nn.Module, masks: Masks) -> None:
    """Write a shrunk network's values into one of the shape before; both compute the same.

    Args:
        dense: a network in the shape before, changed in place.
        small: what ``shrink`` made of such a network with these masks.
    """
    values = dict((*small.named_parameters(), *small.named_buffers()))
    for name, tensor in (*dense.named_parameters(), *dense.named_buffers()):
        # Running statistics belong to the units of their norm's weight.
        mask = masks.get(name, masks.get(f"{name.rpartition('.')[0]}.weight"))
        if tensor.shape == values[name].shape:
            tensor.copy_(values[name])
        else:
            if name in masks:
                tensor.zero_()
            tensor[mask.to(tensor.device)] = values[name].flatten()
