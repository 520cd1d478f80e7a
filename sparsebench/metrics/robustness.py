"""Accuracy under corruption, from which of the corrupted images were recognised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each sample [N] was recognised; one with a logit that is not finite was not.

    >>> import torch
    >>> hits(torch.tensor([[2.0, 0.0], [2.0, float("nan")]]), torch.tensor([0, 0]))
    tensor([ True, False])
    """
    return (logits.argmax(1) == labels) & logits.isfinite().all(1)


def robustness(names: Sequence[str], kinds: Tensor, severities: Tensor, recognised: Tensor) -> dict[str, Any]:
    """Accuracies from V showings: of each its kind (its number in ``names``), severity (1 to 5) and success.

    Returns:
        ``kinds``, kind -> accuracy at each severity, None where nothing was shown; ``counts``, kind -> the images
        behind each of these; ``n``, showings in all.

    >>> from torch import tensor
    >>> robustness(["fog"], tensor([0, 0, 0]), tensor([1, 1, 5]), tensor([True, False, True]))
    {'kinds': {'fog': [0.5, None, None, None, 1.0]}, 'counts': {'fog': [2, 0, 0, 0, 1]}, 'n': 3}
    """
    levels = 5
    pairs = kinds * levels + severities - 1
    shown = pairs.bincount(minlength=levels * len(names)).view(-1, levels).tolist()
    right = pairs[recognised].bincount(minlength=levels * len(names)).view(-1, levels).tolist()
    return {
        "kinds": {
            name: [hit / n if n else None for hit, n in zip(*rows, strict=True)]
            for name, *rows in zip(names, right, shown, strict=True)
        },
        "counts": dict(zip(names, shown, strict=True)),
        "n": len(pairs),
    }


def corrupted_accuracy(kinds: dict[str, list[float | None]], counts: dict[str, list[int]]) -> float:
    """The mean over all showings, from a record's ``kinds`` and ``counts``.

    >>> corrupted_accuracy({"fog": [0.5, None]}, {"fog": [2, 0]})
    0.5
    """
    right = sum(round(a * n) for name in kinds for a, n in zip(kinds[name], counts[name], strict=True) if n)
    return right / sum(map(sum, counts.values()))
