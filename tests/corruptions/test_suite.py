"""Which image is shown under what: balance, the same for everybody, and no more of it than memory has."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from sparsebench.corruptions import shown
from sparsebench.corruptions.draw import mix
from sparsebench.corruptions.suite import corrupt, corrupted_bytes, kinds, views
from sparsebench.data.module import DataModule
from sparsebench.data.source import Resident
from sparsebench.metrics.robustness import corrupted_accuracy, hits, robustness


def table(which, n):
    found = views(which, torch.arange(n), "digits")
    return list(zip(found.images.tolist(), found.kinds.tolist(), found.severities.tolist(), strict=True))


@pytest.mark.parametrize("n", [400, 1, 7, 90])
def test_the_sample_shows_every_image_at_every_severity_under_five_kinds(n):
    rows = table("sample5", n)
    assert len(rows) == len(set(rows)) == 5 * n
    for image in range(n):
        mine = [(kind, severity) for i, kind, severity in rows if i == image]
        assert sorted(s for _, s in mine) == [1, 2, 3, 4, 5]
        assert len({kind for kind, _ in mine}) == 5


def test_the_sample_is_balanced_over_all_pairs_and_over_the_classes():
    counts = Counter((kind, severity) for _, kind, severity in table("sample5", 400))
    assert len(counts) == 75
    assert set(counts.values()) == {26, 27}
    # Not by position: neighbours in the test split are shown under other things.
    first = {kind for image, kind, severity in table("sample5", 400) if image < 15 and severity == 1}
    assert 5 < len(first) < 15


def test_the_full_set_is_all_of_it():
    assert Counter(table("full", 3)) == Counter((i, k, s) for i in range(3) for k in range(15) for s in range(1, 6))


def test_what_an_image_meets_does_not_depend_on_the_other_images_beside_it():
    """Its pairs follow from its rank; its picture under a pair from nothing but its own position."""
    x = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    index = torch.tensor([5, 900, 17, 3, 44, 8])
    for kind in kinds():
        whole = corrupted_bytes(x, kind, 4, dataset="d", index=index)
        single = torch.cat(
            [corrupted_bytes(x[i : i + 1], kind, 4, dataset="d", index=index[i : i + 1]) for i in range(6)]
        )
        assert torch.equal(whole, single)
        near = corrupt(x.float() / 255, kind, 4, dataset="d", index=index) * 255
        # 32 bits are enough but where something is rounded on the way.
        assert float((near - whole).abs().mean()) < 0.6


def test_the_hash_is_a_bijection_that_spreads_single_bits():
    numbers = mix(torch.arange(100_000))
    assert len(numbers.unique()) == 100_000
    changed = mix(torch.tensor([12345])) ^ mix(torch.tensor([12345 ^ (1 << 40)]))
    assert 16 < bin(int(changed) & (2**64 - 1)).count("1") < 48


PINNED = "27d87d560e7fc1f12bfa61bf1b4ea17ab985b0515aaf6b614e61f2394433230a"


def test_the_sample_of_the_digits_is_the_same_everywhere():
    """If this fails every corrupted accuracy changes: then raise the protocol version."""
    data = DataModule("digits", 128)
    assert sum(len(v.images) for v, _ in data.test_reading("sample5")[1]) == 2000
    assert data.corrupted_digest("sample5") == PINNED


def test_the_images_handed_out_are_those_of_the_table():
    data = DataModule("digits", 128)
    _, parts = data.test_reading("sample5")
    ((seen, loader),) = parts
    made = loader.images.images
    source = data._source.test
    for at in (0, 3, 777, 1999):
        image, kind, severity = (int(column[at]) for column in (seen.images, seen.kinds, seen.severities))
        clean = source.images[image : image + 1]
        expected = corrupted_bytes(clean, kinds()[kind], severity, dataset="digits", index=torch.tensor([image]))
        assert torch.equal(made[at], expected[0])
        assert int(loader.images.labels[at]) == int(source.labels[image])


def test_one_reading_counts_once_and_is_made_once():
    data = DataModule("digits", 128)
    first = next(data.test_reading("sample5")[1])[1].images
    assert data.test_reads == 1
    assert next(data.test_reading("sample5")[1])[1].images is first
    assert data.test_reads == 2


def test_what_memory_cannot_keep_is_made_in_parts_and_comes_out_the_same(monkeypatch):
    images = Resident(torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8), torch.arange(30) % 3)
    device, positions = torch.device("cpu"), torch.arange(30)

    def made(which):
        source = shown.Shown(which, images, positions, "d", device)
        parts = list(source)
        return source, parts, torch.cat([part.images for _, part in parts]), torch.cat([v.kinds for v, _ in parts])

    whole, (_,), expected, kind = made("full")
    assert whole.digest
    monkeypatch.setattr(shown, "PART", 7 * 75 * 64)
    monkeypatch.setattr(shown, "KEPT", 1000)
    streamed, parts, found, same = made("full")
    assert len(parts) == 5
    assert streamed.digest is None
    assert torch.equal(found, expected)
    assert torch.equal(kind, same)
    monkeypatch.setattr(shown, "SAMPLED", 10 * 5 * 64)
    fewer, parts, *_ = made("sample5")
    assert len(fewer.positions) == 10
    assert sum(len(v.images) for v, _ in parts) == 50


def test_accuracies_by_hand():
    names = ["a", "b"]
    kind, severity = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([1, 1, 2, 5, 5])
    found = robustness(names, kind, severity, torch.tensor([True, False, True, True, True]))
    assert found["kinds"] == {"a": [0.5, 1.0, None, None, None], "b": [None, None, None, None, 1.0]}
    assert found["counts"] == {"a": [2, 1, 0, 0, 0], "b": [0, 0, 0, 0, 2]}
    assert found["n"] == 5
    assert corrupted_accuracy(found["kinds"], found["counts"]) == 0.8


def test_an_output_that_is_not_finite_recognises_nothing():
    z = torch.tensor([[1.0, 2.0], [float("inf"), 0.0], [float("nan"), 0.0]])
    assert hits(z, torch.tensor([1, 0, 0])).tolist() == [True, False, False]
