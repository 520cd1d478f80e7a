"""Input norm: the length of an image's vector of normalised pixels. A control that knows neither label nor network.

    score(x) = || x ||_2

Source: as the explanation of GraNd at initialisation, Kirsch, arXiv:2303.14753.
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import example_score


@example_score(of="image", paper="2303.14753")
def input_norm(x: Tensor, y: Tensor) -> Tensor:
    """How long images are as vectors, a control: scores [B] of images x [B, C, H, W].

    >>> from torch import tensor
    >>> input_norm(tensor([[[[3.0, 4.0]]]]), tensor([0]))
    tensor([5.])
    """
    return x.flatten(1).norm(dim=1)
