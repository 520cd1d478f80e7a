"""The schedule of a classifier is torch's own LambdaLR, step by step and after a resume."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import LambdaLR

from sparsebench.models.classifier import PlainLambda, make_optimizer
from sparsebench.recipe import Recipe

RECIPE = Recipe(epochs=2, rate=0.1, warmup=0.3)


def schedule(kind):
    net = torch.nn.Linear(2, 2)
    optimizer = make_optimizer(net, RECIPE)
    return kind(optimizer, lambda step: RECIPE.factor(step / 20))


def rates(of) -> list[list[float]]:
    found = []
    for _ in range(10):
        of.optimizer.step()
        of.step()
        found.append([group["lr"] for group in of.optimizer.param_groups])
        assert of.get_last_lr() == found[-1]
    return found


def test_rates_are_those_of_torch_and_a_resume_goes_on():
    plain, torchs = schedule(PlainLambda), schedule(LambdaLR)
    assert rates(plain) == rates(torchs)
    assert plain.state_dict().keys() == torchs.state_dict().keys()
    assert plain.last_epoch == torchs.last_epoch == 10
    resumed = schedule(PlainLambda)
    resumed.load_state_dict(torchs.state_dict())
    assert rates(resumed) == rates(torchs)
