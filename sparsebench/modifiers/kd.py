"""KD: after the first pruning, learn from the dense network of the same task and seed as well.

    L = gamma CE(z_S, y) + alpha T^2 KL(softmax(z_T / T) || softmax(z_S / T)) + beta L_feature      mean over the batch

z_T: logits of the dense network, in evaluation mode, on the same augmented batch; gamma is 1 - alpha unless given.
L_feature: none, ``sp`` (similarities between the images of a batch at the last block) or ``at`` (attention maps of all
blocks), see ``sparsebench.models.distillation``. Every training from the first pruning on is distilled, also one in
which pruning goes on. Sources: Hinton et al. 2015, arXiv:1503.02531; while pruning: Blakeney et al. 2021,
arXiv:2106.07849 (alpha 0.9, T 4; sp: alpha 0, beta 3000; at: alpha 0, beta 1000; "+KD" to these: alpha 1, gamma 1).
"""

from __future__ import annotations

from dataclasses import replace

from sparsebench.errors import UsageError, unknown
from sparsebench.modifiers import trainings_after_pruning
from sparsebench.phases import Distill, Phase
from sparsebench.registry import modifier

FEATURES = ("none", "sp", "at")


@modifier
def kd(
    phases: list[Phase],
    *,
    alpha: float = 0.9,
    temperature: float = 4.0,
    gamma: float | None = None,
    feature: str = "none",
    beta: float = 0.0,
) -> list[Phase]:
    for name, value in (("alpha", alpha), ("temperature", temperature), ("gamma", gamma), ("beta", beta)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UsageError(f"+kd: {name}={value!r} is not a number")
    labels = round(1 - alpha, 12) if gamma is None else gamma
    distill = Distill(float(alpha), float(temperature), float(labels), feature, float(beta))
    _check(distill)
    after = trainings_after_pruning(phases, "kd")
    return [replace(phase, distill=distill) if index in after else phase for index, phase in enumerate(phases)]


def _check(asked: Distill) -> None:
    """Refuse weights that no loss can have, and a feature without a weight or the other way round."""
    if not 0 <= asked.alpha <= 1:
        raise UsageError(f"+kd: alpha={asked.alpha!r} weighs the teacher's outputs and must be in [0, 1]")
    if not 0 < asked.temperature < float("inf"):
        raise UsageError(f"+kd: temperature={asked.temperature!r} divides the logits and must be positive")
    for name in ("gamma", "beta"):
        if not 0 <= getattr(asked, name) < float("inf"):
            raise UsageError(f"+kd: {name}={getattr(asked, name)!r} weighs a loss and must not be negative")
    if asked.feature not in FEATURES:
        raise unknown("feature loss of +kd", asked.feature, FEATURES, ", ".join(FEATURES))
    if (asked.feature == "none") != (asked.beta == 0):
        raise UsageError(
            f"+kd: feature={asked.feature!r} and beta={asked.beta!r}: a feature loss needs a weight and a weight a "
            "loss; published are sp with beta=3000.0 and at with beta=1000.0"
        )
    if asked.alpha == asked.gamma == asked.beta == 0:
        raise UsageError("+kd: alpha, gamma and beta are all 0, so there is no loss to train with")
