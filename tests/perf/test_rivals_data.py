"""The rivals of the benchmarks compute what sparsebench computes; how fast is measured in benchmarks/perf/ alone."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import hflip

from sparsebench.data.augment import AUGMENTS

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
