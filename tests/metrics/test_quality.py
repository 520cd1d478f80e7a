"""Quality against scikit-learn and numpy, one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, top_k_accuracy_score

from sparsebench.errors import UsageError
from sparsebench.metrics.quality import collapsed, quality


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (500,), generator=generator)
    logits = torch.randn(500, 10, generator=generator) * 2
    logits[torch.arange(500), labels] += 2
    return logits, labels


def test_against_scikit_learn(predictions):
    logits, labels = predictions
    measured = quality(logits, labels)
    probabilities = logits.double().softmax(1).numpy()
    assert measured["top1"] == accuracy_score(labels, probabilities.argmax(1))
    assert measured["top5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5))
    assert measured["nll"] == pytest.approx(log_loss(labels, probabilities))
    matrix = confusion_matrix(labels, probabilities.argmax(1))
    hits = matrix.diagonal()
    assert measured["per_class"] == {
        "n": matrix.sum(1).tolist(),
        "tp": hits.tolist(),
        "fp": (matrix.sum(0) - hits).tolist(),
        "fn": (matrix.sum(1) - hits).tolist(),
    }
    assert measured["worst_class"] == pytest.approx((hits / matrix.sum(1)).min())


def test_calibration_against_a_loop_over_bins(predictions):
    logits, labels = predictions
    probabilities = logits.double().softmax(1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    bins = np.minimum((confidence * 15).astype(int), 14)
    expected = sum(
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)
    )
    assert quality(logits, labels)["ece"] == pytest.approx(expected, abs=1e-6)


def test_calibration_depends_on_the_number_of_bins():
    """Right where it is less sure and wrong where it is more: one bin over both hides what two tell apart.

    Confidences 0.61 and 0.66 lie in bins 9 (0.600 to 0.667) of 15, so they are one: |1/2 - 0.635| = 0.135. Of ten bins
    they share one too, but 0.68 joins them there, while of fifteen it is on its own.
    """
    confidence, right = torch.tensor([0.61, 0.66, 0.68]).double(), torch.tensor([1, 0, 1])
    logits = torch.stack([confidence.log(), (1 - confidence).log()], 1)
    together, alone = abs(1 / 2 - 0.635), abs(1 - 0.68)
    assert quality(logits, 1 - right)["ece"] == pytest.approx((2 * together + alone) / 3, abs=1e-6)


def test_five_classes_or_fewer_have_no_top5():
    logits = torch.eye(5)
    assert quality(logits, torch.arange(5))["top5"] is None
    assert quality(torch.eye(6), torch.arange(6))["top5"] == 1


def test_a_class_without_samples_is_not_the_worst():
    assert quality(torch.eye(3)[:2], torch.tensor([0, 1]))["worst_class"] == 1


def test_samples_without_finite_logits_are_wrong():
    logits = torch.tensor([[2.0, 0.0], [float("nan"), 0.0], [float("inf"), 0.0]])
    measured = quality(logits, torch.tensor([0, 0, 0]))
    assert (measured["top1"], measured["nll"], measured["ece"]) == (pytest.approx(1 / 3), None, None)
    assert measured["per_class"] == {"n": [3, 0], "tp": [1, 0], "fp": [0, 0], "fn": [2, 0]}


@pytest.mark.parametrize(("n", "classes"), [(400, 10), (10_000, 100), (30, 2)])
def test_collapse_is_the_upper_end_of_guessing(n, classes):
    """Guessing reaches the bound in more than 0.1 % of cases and passes it in at most 0.1 %."""
    hits = max(k for k in range(n + 1) if collapsed(k / n, n, classes))
    assert binom.sf(hits, n, 1 / classes) <= 1e-3 < binom.sf(hits - 1, n, 1 / classes)
    assert collapsed(0.0, n, classes)
    assert not collapsed(1.0, n, classes)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.long), "are not"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), "N > 0"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), "labels run from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, message):
    with pytest.raises(UsageError, match=message):
        quality(logits, labels)
