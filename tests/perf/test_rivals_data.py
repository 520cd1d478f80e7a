"""The rivals of the benchmarks compute what sparsebench computes; how fast is measured in benchmarks/perf/ alone."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import hflip

from sparsebench import per_example
from sparsebench.data.augment import AUGMENTS
from sparsebench.scoring import cross_entropy

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "perf"


@pytest.fixture(scope="module")
def benchmark():
    """Import a script of benchmarks/perf by name, as ``python benchmarks/perf/NAME.py`` would find it."""
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module
    sys.path.remove(str(BENCHMARKS))


def test_pil_and_batched_tensors_give_the_same_images(benchmark, monkeypatch):
    """torchvision's own crop, flip and normalisation of PIL images, made to draw what sparsebench drew."""
    pipeline = benchmark("input_pipeline")
    images, labels = pipeline.made_up(24)
    loader = pipeline.own_loader(images, labels)
    draws = AUGMENTS["crop_flip"].draw(24, torch.Generator().manual_seed(3))
    found = loader.normalise(loader.augment(images, draws))
    own, flips = iter(draws.tolist()), []

    def drawn_crop(image, output_size):
        row, column, flip = next(own)
        flips.append(flip)
        return row, column, *output_size

    monkeypatch.setattr(pipeline.transforms.RandomCrop, "get_params", staticmethod(drawn_crop))
    monkeypatch.setattr(
        pipeline.transforms.RandomHorizontalFlip, "forward", lambda self, x: hflip(x) if flips[-1] else x
    )
    rival = pipeline.PILImages(images, labels, pipeline.pil_transform(images, labels))
    torch.testing.assert_close(found, torch.stack([rival[i][0] for i in range(24)]), rtol=1e-4, atol=1e-4)
    assert 0 < sum(flips) < 24


def test_loaders_of_a_round_have_as_many_images(benchmark):
    pipeline = benchmark("input_pipeline")
    images, labels = pipeline.made_up(600)
    own = pipeline.OwnRounds(pipeline.own_loader(images, labels), 256)
    first = own.order.tolist()[:256]
    assert own() == pipeline.count(pipeline.pil_loader(images, labels, 0, 256)) == 256
    own()
    assert not set(first) & set(own.loader.positions.tolist()), "other images every round"


@pytest.mark.parametrize("name", ["snip", "synflow", "fisher"])
def test_references_give_the_same_scores(benchmark, name):
    benchmark("scoring").check_equal(name)


def test_a_reference_that_differs_is_noticed(benchmark, monkeypatch):
    scoring = benchmark("scoring")
    wrong = scoring.synflow

    def twice(net, batches):
        return {name: 2 * score for name, score in wrong(net, batches).items()}

    monkeypatch.setitem(scoring.REFERENCES, "synflow", twice)
    with pytest.raises(AssertionError):
        scoring.check_equal("synflow")


LAYERS = {
    "plain": {"kernel_size": 3, "padding": 1},
    "no bias": {"kernel_size": 3, "bias": False},
    "stride, dilation": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (2, 1), "dilation": (1, 2)},
    "1x1": {"kernel_size": 1, "stride": 2},
    "same": {"kernel_size": 3, "padding": "same"},
    "groups": {"kernel_size": 3, "groups": 2},
}


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_by_products_are_those_of_one_example_at_a_time(kind, monkeypatch):
    """The way that large weights on small maps take in ``per_example``, here by a small one."""
    taken = []
    unfold = per_example.F.unfold
    monkeypatch.setattr(per_example, "LARGE_WEIGHT", 0)
    monkeypatch.setattr(per_example.F, "unfold", lambda *how: taken.append(1) or unfold(*how))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 6, **LAYERS[kind]), nn.Flatten()).double()
    params, data = dict(net.named_parameters()), (torch.randn(5, 2, 8, 8).double(), torch.arange(5))
    (found,) = per_example.per_example_gradients(net, params, [data], cross_entropy)
    for i in range(5):
        expected = torch.autograd.grad(cross_entropy(net, (data[0][i : i + 1], data[1][i : i + 1])), params.values())
        for rows, grad in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(rows[i], grad)
    assert len(taken) == (1 if kind in ("same", "groups") else 2)


def test_options_take_the_same_steps_up_to_rounding(benchmark):
    options = benchmark("options")
    data = options.batches(2, 4)
    eager, fused, last = (
        [float(take(x, y)) for take in [options.step(**how)] for x, y in data]
        for how in ({}, {"fused": True}, {"channels_last": True})
    )
    assert fused == pytest.approx(eager, rel=1e-4)
    assert last == pytest.approx(eager, rel=1e-4)
    assert eager[0] != eager[1]
