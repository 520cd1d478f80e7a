"""Flips: images that are recognised clean and not when corrupted, and what of their geometry foretells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsebench.metrics.geometry import auroc, auroc_within, by_class, finite
from sparsebench.metrics.redundancy import redundancy


@dataclass(frozen=True)
class Seen:
    """N images as a network's last layer sees them, float64; see ``metrics/geometry.py``."""

    label: np.ndarray
    said: np.ndarray
    """The class with the largest logit; -1 where a logit is not finite."""
    angles: np.ndarray
    """[N, K], degrees to every class direction."""
    length: np.ndarray
    margin: np.ndarray

    @property
    def angle(self) -> np.ndarray:
        """To the direction of the own class."""
        return self.angles[np.arange(len(self.label)), self.label]

    @property
    def right(self) -> np.ndarray:
        return self.said == self.label


def of_clean(seen: Seen) -> dict[str, Any]:
    """What the clean images are like; what is not finite is left out and counted."""
    return {
        "angle_mean": finite(np.nanmean(seen.angle)),
        "angle_sd": finite(np.nanstd(seen.angle)),
        "angle_gap": gap(seen),
        "length_mean": finite(np.nanmean(seen.length)),
        "length_sd": finite(np.nanstd(seen.length)),
        "margin_median": finite(np.median(seen.margin)),
        "margin_p05": finite(np.quantile(seen.margin, 0.05)),
        "zero_features": int((seen.length == 0).sum()),
        "not_finite": int((seen.said < 0).sum()),
    }


def gap(seen: Seen) -> float | None:
    """Mean angle of the images that are not recognised less that of those that are, degrees; None without both."""
    if seen.right.all() or not seen.right.any():
        return None
    return finite(np.nanmean(seen.angle[~seen.right]) - np.nanmean(seen.angle[seen.right]))


@dataclass(frozen=True)
class Showings:
    """V corrupted images: the clean image of each (its row), its kind (a number) and severity (1 to 5)."""

    seen: Seen
    row: np.ndarray
    kind: np.ndarray
    severity: np.ndarray

    def table(self, value: np.ndarray, images: int, kinds: int) -> np.ndarray:
        """A value of each showing by kind, severity and image, ``[kinds, severities, images]``; NaN = not shown."""
        found = np.full((kinds, int(self.severity.max()), images), np.nan)
        found[self.kind, self.severity - 1, self.row] = value
        return found


def of_shown(clean: Seen, shown: Showings) -> dict[str, Any]:
    """What corruption does.

    ``mca`` is the mean over kinds of the mean over severities of the accuracy, ``rel_robustness`` that over the clean
    accuracy. The rest is of the showings whose clean image is recognised: ``flips``, the share that is not, and the
    areas under the ROC curve of the clean image's margin, angle and length as a warning of it (small margin, large
    angle, small length): over all showings, and ``within`` one kind at one severity, where how hard a corruption is
    plays no part.
    """
    right = shown.seen.right
    of_kind = [
        np.mean([right[of & (shown.severity == s)].mean() for s in np.unique(shown.severity[of])])
        for of in (shown.kind == k for k in np.unique(shown.kind))
    ]
    mca, accuracy = float(np.mean(of_kind)), float(clean.right.mean())
    first = clean.right[shown.row]
    flipped = ~right[first]
    group = (shown.kind * 100 + shown.severity)[first]

    def pooled(value: np.ndarray) -> float | None:
        return auroc(value[shown.row][first], flipped)

    def within(value: np.ndarray) -> float | None:
        return auroc_within(value[shown.row][first], flipped, group)

    warnings = {"margin": -clean.margin, "angle": clean.angle, "length": -clean.length}
    return {
        "mca": finite(mca),
        "rel_robustness": finite(mca / accuracy) if accuracy else None,
        "angle_gap_shown": gap(shown.seen),
        "flips": finite(flipped.mean()) if len(flipped) else None,
        **{f"flip_auroc_{name}": pooled(value) for name, value in warnings.items()},
        **{f"flip_auroc_within_{name}": within(value) for name, value in warnings.items()},
    }


def of_classes(clean: Seen, shown: Showings) -> dict[str, list]:
    """Columns by class: clean images (``metrics.geometry.by_class``), ``mca`` and ``flips`` of their showings."""
    classes = clean.angles.shape[1]
    rows = [shown.seen.label == k for k in range(classes)]
    first = [of & clean.right[shown.row] for of in rows]
    right = shown.seen.right
    return by_class(clean.label, clean.angle, clean.length, clean.margin, classes) | {
        "mca": [finite(right[of].mean()) if of.any() else None for of in rows],
        "flips": [finite((~right[of]).mean()) if of.any() else None for of in first],
    }


def of_kinds(clean: Seen, shown: Showings, names: list[str]) -> dict[str, Any]:
    """How alike the corruptions are: rank correlations of margins, and of what they take from the clean margin.

    The first are large wherever images differ in their clean margins; the second are without that.
    """
    finite_margins = [np.nan_to_num(of.margin, neginf=-1e30, posinf=1e30) for of in (clean, shown.seen)]
    margin = shown.table(finite_margins[1], len(clean.label), len(names))
    return {"kinds": names, "margin": redundancy(margin), "loss": redundancy(margin - finite_margins[0])}
