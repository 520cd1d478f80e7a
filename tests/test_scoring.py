"""Scoring: hands over the right data and leaves everything as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from sparsebench.criteria import is_structured
from sparsebench.errors import UsageError
from sparsebench.functional import scores
from sparsebench.registry import criterion
from sparsebench.scope import scope_of
from sparsebench.scoring import cross_entropy, mean_gradients
from sparsebench.snapshot import state_digest


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3)
    )
    net[1].eval()  # a mixture of modes must survive
    net[0].weight.grad = torch.full_like(net[0].weight, 7.0)
    return net


def batch(n: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 8, 8, generator=generator), torch.randint(0, 3, (n,), generator=generator)


SINGLE = [name for name in criterion.names() if not is_structured(name)]


@pytest.mark.parametrize(
    # OBD knows the second derivatives of cross-entropy alone and refuses the loss that fails here.
    ("name", "fails"),
    [(n, fails) for n in SINGLE for fails in (False, True) if (n, fails) != ("obd", True)],
)
def test_scoring_leaves_everything_as_it_was(net, name, fails):
    def data():
        for seed in range(2):
            random.random(), np.random.rand(), torch.rand(1)
            yield batch(6, seed)

    def loss(model, pair):
        value = cross_entropy(model, pair)
        if fails:
            raise RuntimeError("in the middle of it")
        return value

    def everything():
        return (
            state_digest(net),
            [m.training for m in net.modules()],
            [None if p.grad is None else p.grad.sum().item() for p in net.parameters()],
            [p.requires_grad for p in net.parameters()],
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            random.getstate(),
        )

    before = everything()
    needs_loss = criterion.entry(name).traits["needs"] in ("gradient", "model") and name != "synflow"
    if fails and needs_loss:
        with pytest.raises(RuntimeError, match="middle"):
            scores(net, name, data(), loss=loss)
    else:
        scores(net, name, data(), loss=None if name == "obd" else loss)
    assert everything() == before


@pytest.mark.parametrize("name", ["gradient", "grasp", "snip"])
def test_batches_of_unequal_length_are_one_big_batch(net, name):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    parts = [(x.double(), y) for x, y in (batch(9, 1), batch(2, 2), batch(1, 3))]
    whole = (torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts]))
    for (key, split), one in zip(scores(net, name, parts).items(), scores(net, name, whole).values(), strict=True):
        torch.testing.assert_close(split, one, rtol=1e-9, atol=1e-15, msg=key)


def test_the_mode_is_the_criterion_s(net):
    params = scope_of(net).prunable
    x, y = batch(16)
    net.train()  # without dropout, train and eval differ by batch norm
    net[3].p = 0.0
    in_train = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), list(params.values()))
    net.eval()
    in_eval = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), list(params.values()))
    for name, grads in (("snip", in_train), ("gradient", in_eval)):
        for score, w, g in zip(scores(net, name, [(x, y)]).values(), params.values(), grads, strict=True):
            torch.testing.assert_close(score, (w * g).abs())
    assert not torch.allclose(in_train[0], in_eval[0])


def test_batches_may_be_dicts_with_a_loss_of_one_s_own(net):
    net.eval()
    x, y = batch(8)

    def loss(model, batch):
        return nn.functional.cross_entropy(model(batch["x"]), batch["y"])

    for data in ([{"x": x, "y": y}], {"x": x, "y": y}):
        given = scores(net, "gradient", data, loss=loss)
        for a, b in zip(given.values(), scores(net, "gradient", [(x, y)]).values(), strict=True):
            assert (a == b).all()


def test_scoring_works_under_no_grad(net):
    with torch.no_grad():
        assert scores(net, "snip", [batch(4)])["0.weight"].abs().sum() > 0


def test_refusals(net):
    with pytest.raises(UsageError, match="did you mean 'magnitude'"):
        scores(net, "magnitud")
    with pytest.raises(UsageError, match="'snip' needs data"):
        scores(net, "snip")
    with pytest.raises(UsageError, match=r"no argument .temperatur.*temperature"):
        scores(net, "grasp", [batch(2)], temperatur=1)
    with pytest.raises(UsageError, match="data is empty"):
        scores(net, "snip", iter([]))
    with pytest.raises(UsageError, match=r"not a pair.*loss="):
        scores(net, "snip", [batch(2)[0]])


def test_a_weight_outside_the_loss_is_named():
    net = nn.ModuleDict({"used": nn.Linear(2, 3), "spare": nn.Linear(2, 3)})

    def loss(model, pair):
        return model["used"](pair[0]).sum()

    for name in ("snip", "grasp"):
        with pytest.raises(UsageError, match=r"does not depend on spare\.weight"):
            scores(net, name, [(torch.randn(4, 2), torch.zeros(4))], loss=loss)


def test_mean_gradients_do_not_touch_grad(net):
    mean_gradients(net, scope_of(net).prunable, [batch(3)], cross_entropy)
    assert (net[0].weight.grad == 7).all()
    assert net[5].weight.grad is None
