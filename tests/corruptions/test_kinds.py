"""What every kind must do, and what some do to images small enough to work out by eye."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from scipy.stats import poisson

from sparsebench.corruptions import corruption
from sparsebench.corruptions.blur import defocus_blur
from sparsebench.corruptions.digital import jpeg, pixelate
from sparsebench.corruptions.draw import Draw, keys
from sparsebench.corruptions.geometry import bell, blurred, disc, sampled, smeared
from sparsebench.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from sparsebench.corruptions.suite import corrupt, kinds
from sparsebench.errors import UsageError

ASKED = {
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic", "pixelate", "jpeg",
}  # fmt: skip


def spoilt(x, kind, severity, first=0, dataset="digits"):
    return corrupt(x, kind, severity, dataset=dataset, index=torch.arange(first, first + len(x)))


def test_there_are_the_fifteen_kinds_each_in_five_strengths():
    assert set(kinds()) == ASKED
    assert all(len(set(corruption.entry(kind).traits["levels"])) == 5 for kind in kinds())


@pytest.mark.parametrize("kind", sorted(ASKED))
def test_harder_is_further_from_the_clean_image(kind, pictures):
    for name, x in pictures.items():
        away = [float((spoilt(x, kind, s) - x).square().mean()) for s in range(1, 6)]
        assert away == sorted(away), f"{name}: {away}"
        assert away[0] > 1e-5, f"{name}: {away}"
        assert away[4] > 1.5 * away[0], f"{name}: {away}"
        assert away[4] < 0.25, f"{name}: {away}"


@pytest.mark.parametrize("kind", sorted(ASKED))
def test_an_image_is_spoilt_alike_in_every_batch(kind, pictures):
    for x in pictures.values():
        x = x[:5]
        whole = spoilt(x, kind, 3)
        one_by_one = torch.cat([spoilt(x[i : i + 1], kind, 3, first=i) for i in range(len(x))])
        assert torch.allclose(whole, one_by_one, rtol=0, atol=1e-12)
        assert torch.equal(whole, spoilt(x, kind, 3))


@pytest.mark.parametrize("kind", sorted(ASKED))
def test_form_and_range(kind, pictures):
    for x in (
        *pictures.values(),
        torch.rand(2, 3, 9, 14),
        torch.rand(2, 1, 8, 8),
        torch.zeros(1, 3, 8, 8),
        torch.ones(1, 1, 1, 1),
    ):
        before = x.clone()
        y = spoilt(x, kind, 5)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        assert 0 <= float(y.min()) <= float(y.max()) <= 1
        assert torch.equal(x, before)


@pytest.mark.parametrize(
    "kind", sorted(ASKED - {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg"})
)
def test_chance_belongs_to_data_set_image_and_kind(kind, pictures):
    x = pictures["colour 32"][:1].repeat(2, 1, 1, 1)
    a, b = spoilt(x, kind, 4)
    assert not torch.equal(a, b)
    assert not torch.equal(spoilt(x, kind, 4, dataset="other")[0], a)
    assert not torch.equal(corrupt(x, kind, 4, dataset="digits", index=torch.arange(2), seed=1)[0], a)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fogg", 1), "unknown corruption 'fogg': did you mean 'fog'"),
        (("fog", 0), "severity 0 of fog"),
        (("fog", 6), "severity 6 of fog"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        spoilt(torch.rand(1, 1, 8, 8), *arguments)
    with pytest.raises(UsageError, match=r"uint8 \(1, 1, 8, 8\)"):
        spoilt(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "fog", 1)


def draw(n: int) -> Draw:
    return Draw(keys("test", torch.arange(n)))


def test_random_numbers_have_the_distributions_they_should():
    u, z = draw(4).uniform(50_000), draw(4).normal(50_000)
    for row in u:
        counts = torch.histc(row, bins=20, min=0, max=1)
        assert float(((counts - 2500) ** 2 / 2500).sum()) < 60  # chi-square of 19 degrees: 60 is one in 10^5
    assert float(u.corrcoef().triu(1).abs().max()) < 0.02
    assert abs(float(z.mean())) < 0.01
    assert abs(float(z.std()) - 1) < 0.01
    assert abs(float((z**4).mean()) - 3) < 0.1


def test_noise_has_the_moments_of_its_law():
    grey = torch.full((1, 1, 300, 300), 0.6, dtype=torch.float64)
    noise = gaussian_noise(grey, 0.1, draw(1)) - grey
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    counts = (shot_noise(grey, 20.0, draw(1)) * 20).round()
    seen = np.bincount(counts.flatten().long().numpy(), minlength=31)[:31] / counts.numel()
    assert np.abs(seen - poisson.pmf(np.arange(31), 12)).max() < 0.003
    assert float(shot_noise(torch.zeros(1, 1, 8, 8), 20.0, draw(1)).abs().max()) == 0
    flipped = impulse_noise(grey, 0.2, draw(1))
    assert float((flipped == 0).double().mean()) == pytest.approx(0.1, abs=0.005)
    assert float((flipped == 1).double().mean()) == pytest.approx(0.1, abs=0.005)
    assert float((flipped == 0.6).double().mean()) == pytest.approx(0.8, abs=0.01)


def test_a_point_blurred_is_its_aperture():
    point = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    point[0, 0, 4, 4] = 1
    assert torch.allclose(blurred(point, disc(2.0))[0, 0, 2:7, 2:7], disc(2.0))
    assert float(defocus_blur(point, 0.1, None).sum()) == pytest.approx(1)
    assert disc(1.0).tolist() == [[pytest.approx(w) for w in row] for row in _disc_of_one()]
    assert float(bell(1.0)[3, 4] / bell(1.0)[3, 3]) == pytest.approx(np.exp(-0.5))


def _disc_of_one() -> list[list[float]]:
    corner = 2 - 2**0.5
    rows = np.array([[corner, 1.0, corner], [1.0, 1.0, 1.0], [corner, 1.0, corner]])
    return (rows / rows.sum()).tolist()


def test_sampling_between_pixels_is_linear_and_a_smear_runs_along_its_angle():
    x = torch.arange(12.0, dtype=torch.float64).view(1, 1, 3, 4)
    between = sampled(x, torch.tensor([[[1.5]]]).double(), torch.tensor([[[0.25]]]).double())
    assert torch.allclose(between, torch.full_like(x, 1.5 * 4 + 0.25))
    stripes = torch.tensor([0.0, 1.0]).double().repeat(1, 1, 8, 4)  # upright stripes
    upright, level = (smeared(stripes, torch.tensor([angle], dtype=torch.float64), 4.0) for angle in (pi / 2, 0.0))
    assert torch.allclose(upright, stripes, atol=1e-9)
    assert float(level[..., 2:-2].std()) < 0.25 * float(stripes.std())


def test_pixelate_shows_means_of_squares():
    x = torch.rand(2, 3, 8, 8)
    means = x.view(2, 3, 4, 2, 4, 2).mean((3, 5))
    assert torch.allclose(pixelate(x, 0.5, None), means.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_jpeg_rounds_the_cosine_coefficients_of_each_block():
    """Against SciPy's transform, grey, on two blocks of which one is cut off."""
    x = torch.rand(1, 1, 8, 12, dtype=torch.float64)
    wide = np.pad(x[0, 0].numpy(), ((0, 0), (0, 4)), mode="edge")
    expected = np.zeros_like(wide)
    steps = 0.2 * (1 + (np.arange(8)[:, None] + np.arange(8)[None, :]) / 2)
    for left in (0, 8):
        block = dctn(wide[:, left : left + 8], norm="ortho")
        expected[:, left : left + 8] = idctn(np.round(block / steps) * steps, norm="ortho")
    assert np.allclose(jpeg(x, 0.2, None)[0, 0].numpy(), expected[:, :12], atol=1e-9)


def test_jpeg_of_a_grey_colour_image_is_that_of_the_grey_one():
    x = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    assert torch.allclose(jpeg(x.repeat(1, 3, 1, 1), 0.1, None), jpeg(x, 0.1, None).repeat(1, 3, 1, 1), atol=1e-4)
