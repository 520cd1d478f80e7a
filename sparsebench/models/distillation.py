"""Distillation: the loss of a training that follows a teacher, and the teacher.

    L    = gamma CE + alpha T^2 KL(softmax(z_T / T) || softmax(z_S / T)) + beta L_feature      mean over the batch of B
    sp   = 1/B^2 || row(F_S F_S^t) - row(F_T F_T^t) ||^2      F: [B, features] at the last block, row: rows of norm 1
    at   = sum over blocks, mean over images and positions of (a_S - a_T)^2      a: channel mean of F^2, of norm 1

Neither feature loss needs as many units in the student as in the teacher. Sources: Hinton et al. 2015,
arXiv:1503.02531; sp: Tung & Mori 2019, arXiv:1907.09682; at: Zagoruyko & Komodakis 2017, arXiv:1612.03928.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, normalize

from sparsebench.errors import UsageError
from sparsebench.models.blocks import blocks, watched
from sparsebench.phases import Distill
from sparsebench.ranks import world


class Distillation:
    """A teacher, in evaluation mode and without gradients, and what to learn from it.

    Not a module: the teacher is no part of the student's state, its optimiser or its checkpoints.
    """

    def __init__(self, teacher: nn.Module, asked: Distill, channels_last: bool = False):
        teacher = teacher.eval().requires_grad_(False)
        self.teacher = teacher.to(memory_format=torch.channels_last) if channels_last else teacher
        self.asked = asked
        self._of_student: dict[str, Tensor] = {}
        self._of_teacher: dict[str, Tensor] = {}

    @contextmanager
    def following(self, student: nn.Module) -> Iterator[None]:
        """Keep the features of both networks as a feature loss needs them, for the time of a training."""
        with watched(self._places(student)) as here, watched(self._places(self.teacher)) as there:
            self._of_student, self._of_teacher = here, there
            yield

    def __call__(self, cross_entropy: Tensor, logits: Tensor, x: Tensor) -> Tensor:
        """The loss of a batch [B, ...] whose labels gave this cross-entropy and the student these logits [B, K]."""
        asked, terms = self.asked, []
        if asked.gamma:
            terms.append(asked.gamma * cross_entropy)
        if asked.needs_teacher:
            with torch.no_grad():
                targets = self.teacher(x)
            # Squares and Gram matrices leave the range of half precision.
            with torch.autocast(logits.device.type, enabled=False):
                if asked.alpha:
                    terms.append(asked.alpha * softened(logits.float(), targets.float(), asked.temperature))
                if asked.feature != "none":
                    terms.append(asked.beta * self._feature_loss())
        return sum(terms[1:], terms[0])

    def _feature_loss(self) -> Tensor:
        pairs = [(self._of_student[name].float(), f.float()) for name, f in self._of_teacher.items()]
        if self.asked.feature == "sp":
            return similarity_preserving(*(whole_batch(f) for f in pairs[-1]))
        return attention(pairs)

    def _places(self, net: nn.Module) -> dict[str, nn.Module]:
        if self.asked.feature == "none":
            return {}
        ends = blocks(net)
        return ends if self.asked.feature == "at" else dict([list(ends.items())[-1]])


def softened(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(targets / T) || softmax(logits / T)), mean over the batch.

    >>> z = torch.tensor([[0.0, 0.0]])
    >>> round(float(softened(z, torch.tensor([[2.0, 0.0]]), 2.0)), 4)  # 4 (log 2 - entropy of 0.731, 0.269)
    0.4438
    """
    student, teacher = (log_softmax(z / temperature, dim=1) for z in (logits, targets))
    return temperature**2 * kl_div(student, teacher, log_target=True, reduction="batchmean")


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """How unlike the similarities between the images of a batch are; features [B, ...], any number of them.

    >>> equal, other = torch.eye(2), torch.ones(2, 2)
    >>> float(similarity_preserving(3 * equal, equal)), round(float(similarity_preserving(other, equal)), 4)
    (0.0, 0.2929)
    """
    similar = [normalize(f.flatten(1) @ f.flatten(1).t(), dim=1) for f in (student, teacher)]
    return (similar[0] - similar[1]).square().sum() / len(student) ** 2


def attention(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum over blocks of the mean squared difference of attention maps; maps [B, C, H, W], any number of channels.

    Raises:
        UsageError: a block has no map.
    """
    if odd := [tuple(f.shape) for pair in pairs for f in pair if f.dim() != 4]:
        raise UsageError(
            f"+kd(feature='at') compares maps of images, but a block of this network gives {list(odd[0])}; use 'sp'"
        )
    maps = [[normalize(f.square().mean(1).flatten(1), dim=1) for f in pair] for pair in pairs]
    return sum((student - teacher).square().mean() for student, teacher in maps)


def whole_batch(features: Tensor) -> Tensor:
    """The features of all ranks: similarities are between images of the global batch. Gradients find their way back."""
    if world() == 1:
        return features
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(features.contiguous()))
