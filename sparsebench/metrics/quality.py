"""Quality of predictions, exact over all samples: never a mean of batch means."""

from __future__ import annotations

from typing import Any

import torch
from scipy.stats import binom
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from sparsebench.errors import UsageError

CALIBRATION_BINS = 15


@torch.no_grad()
def quality(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Measures of logits [N, K] against labels [N]; accuracies are fractions.

    Returns:
        ``top1``; ``top5`` (None for five classes or fewer); ``nll``, mean negative log-likelihood, in nats;
        ``ece``, the expected calibration error, L1, 15 equal bins (Guo et al., 2017, arXiv:1706.04599);
        ``worst_class``, the lowest accuracy of a class that has samples; ``per_class``, lists ``n``, ``tp``,
        ``fp``, ``fn``. ``nll`` and ``ece`` are None if any logit is not finite.

    A sample with a logit that is not finite has no prediction: it is wrong and no class's false positive.

    Raises:
        UsageError: shapes do not fit, there are no samples, or a label is not in [0, K).

    >>> q = quality(torch.tensor([[2.0, 0], [1, 0], [0, 3], [1, 0]]), torch.tensor([0, 0, 1, 1]))
    >>> q["top1"], q["worst_class"], q["per_class"]
    (0.75, 0.5, {'n': [2, 2], 'tp': [2, 1], 'fp': [1, 0], 'fn': [0, 1]})
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise UsageError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} are not [N, K] and [N], N > 0")
    n, classes = logits.shape
    if labels.min() < 0 or labels.max() >= classes:
        raise UsageError(
            f"labels run from {labels.min()} to {labels.max()}: with {classes} logits a sample they must be "
            f"in [0, {classes}); check the number of classes"
        )
    valid = logits.isfinite().all(1)
    logits = logits.double()
    predicted = torch.where(valid, logits.argmax(1), classes)
    hit = predicted == labels
    of_class = torch.bincount(labels, minlength=classes)
    tp = torch.bincount(labels[hit], minlength=classes)
    fp = torch.bincount(predicted, minlength=classes + 1)[:classes] - tp
    top5 = nll = ece = None
    if classes > 5:
        top5 = float(((logits.topk(5).indices == labels[:, None]).any(1) & valid).double().mean())
    if valid.all():
        nll = float(cross_entropy(logits, labels))
        ece = float(
            multiclass_calibration_error(
                logits.softmax(1).float(), labels, num_classes=classes, n_bins=CALIBRATION_BINS
            )
        )
    seen = of_class > 0
    return {
        "top1": int(hit.sum()) / n,
        "top5": top5,
        "nll": nll,
        "ece": ece,
        "worst_class": float((tp[seen] / of_class[seen]).min()),
        "per_class": {
            "n": of_class.tolist(),
            "tp": tp.tolist(),
            "fp": fp.tolist(),
            "fn": (of_class - tp).tolist(),
        },
    }


def collapsed(top1: float, n: int, classes: int) -> bool:
    """Whether an accuracy on n samples is not better than guessing one of ``classes`` equally likely classes.

    Not better: no more hits than guessing gets in 99.9 % of cases (binomial).

    >>> collapsed(0.11, 1000, 10), collapsed(0.2, 1000, 10)
    (True, False)
    """
    return bool(round(top1 * n) <= binom.ppf(0.999, n, 1 / classes))
