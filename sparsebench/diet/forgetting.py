"""Forgetting events: how often a training unlearns an image.

    score(x, y) = number of visits at which x is wrong and was right at the visit before; +inf if it was never right

Right or wrong is what the training itself saw when it visited the image: augmented, in training mode, before the step.

Source: Toneva et al., ICLR 2019, arXiv:1812.05159; as in arXiv:2107.07075 the mean over several trainings.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsebench.registry import example_score


@example_score(of="training", paper="1812.05159")
class forgetting:
    """How often a training unlearns images: counts the forgetting events of n of them.

    >>> count = forgetting(3)
    >>> for right in ([True, False, True], [False, False, True], [True, False, True], [False, False, True]):
    ...     count.visit(torch.arange(3), torch.tensor(right))
    >>> count.scores()
    tensor([2., inf, 0.])
    """

    def __init__(self, n: int):
        self.events = torch.zeros(n, dtype=torch.int64)
        self.right = torch.zeros(n, dtype=torch.bool)
        """At the last visit."""
        self.learned = torch.zeros(n, dtype=torch.bool)

    def visit(self, images: Tensor, right: Tensor) -> None:
        """A batch: positions [B] in 0..n-1, each once, and whether the network recognised them [B]."""
        self.events[images] += self.right[images] & ~right
        self.right[images] = right
        self.learned[images] |= right

    def scores(self) -> Tensor:
        """Scores [n], float32."""
        return torch.where(self.learned, self.events.float(), float("inf"))

    def state_dict(self) -> dict[str, Tensor]:
        return {"events": self.events.clone(), "right": self.right.clone(), "learned": self.learned.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.events, self.right, self.learned = (state[key].clone() for key in ("events", "right", "learned"))
