"""N:M, blocks, rows and borrowed layer counts: masks against loops over groups, blocks and rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sparsebench.allocation import split_allocation
from sparsebench.audit import exact_count
from sparsebench.budget import Budget
from sparsebench.errors import UsageError
from sparsebench.functional import prune, pruning, scores
from sparsebench.masks import Masks
from sparsebench.patterns import Block, matrix, pattern_of, unmatrix
from sparsebench.selection import again, select
from tests.networks import NETWORKS, batches, network


@pytest.mark.parametrize("shape", [(3, 8), (4, 8, 3, 3), (5, 4, 1, 2), (6,), (2, 3, 4)])
def test_the_matrix_has_input_channels_innermost_and_comes_back(shape):
    weight = torch.arange(float(np.prod(shape))).view(shape)
    table = matrix(weight).numpy()
    if len(shape) == 4:
        for o, i, y, x in np.ndindex(*shape):
            assert table[o, (y * shape[3] + x) * shape[1] + i] == weight[o, i, y, x]
    assert (unmatrix(matrix(weight), shape) == weight).all()


@pytest.mark.parametrize(("text", "n", "m"), [("2:4", 2, 4), ("4:8", 4, 8), ("1:4", 1, 4)])
def test_n_of_m_keeps_the_best_of_every_group(text, n, m):
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv": (6, 8, 3, 3), "odd": (6, 3, 3, 3), "fc": (5, 16)}
    raw = {name: torch.randint(0, 9, s, generator=generator).float() for name, s in shapes.items()}  # with ties
    masks = select(raw, n / m, allocation=text)
    assert masks["odd"].all()
    conv, kept = raw["conv"].numpy(), masks["conv"].numpy()
    for o, y, x in np.ndindex(6, 3, 3):
        for first in range(0, 8, m):
            group = conv[o, first : first + m, y, x]
            best = sorted(np.argsort(-group, kind="stable")[:n].tolist())
            assert kept[o, first : first + m, y, x].nonzero()[0].tolist() == best
    assert masks["fc"].view(-1, m).sum(1).tolist() == [n] * (5 * 16 // m)
    assert exact_count(masks, 1 - n / m, text)[0]
    spoiled = {name: mask.clone() for name, mask in masks.items()}
    spoiled["fc"][0, :m] = True
    assert not exact_count(Masks(spoiled), 1 - n / m, text)[0]


def test_n_of_m_within_earlier_masks_stays_within_them():
    raw = {"fc": torch.tensor([[4.0, 3.0, 2.0, 1.0]])}
    before = Masks({"fc": torch.tensor([[False, False, False, True]])})
    assert select(raw, 0.5, allocation="2:4", masks=before) == before


@pytest.mark.parametrize("text", ["block1x4", "block4x4", "uniform/block2x2", "erk/block2x3"])
def test_blocks_are_whole_and_the_best_that_fit(text):
    generator = torch.Generator().manual_seed(1)
    shapes = {"conv": (6, 5, 3, 3), "fc": (7, 10)}
    raw = {name: torch.rand(s, generator=generator) for name, s in shapes.items()}
    rule, pattern = split_allocation(text)
    masks = select(raw, 0.4, allocation=text)
    assert exact_count(masks, 0.6, text)[0]
    # The loop: mean score of every block, best first, until one does not fit.
    blocks = []
    for name in shapes:
        table = matrix(raw[name]).numpy()
        for r in range(0, table.shape[0], pattern.rows):
            for c in range(0, table.shape[1], pattern.columns):
                part = table[r : r + pattern.rows, c : c + pattern.columns]
                blocks.append((-float(part.astype(np.float64).mean()), part.size, name, r, c))
    if rule == "global":
        left, kept = round(0.4 * (270 + 70)), set()
        for _, size, *place in sorted(blocks, key=lambda block: block[0]):
            if size > left:
                break
            left -= size
            kept.add(tuple(place))
        for _, _, name, r, c in blocks:
            mask = matrix(masks[name])[r : r + pattern.rows, c : c + pattern.columns]
            assert mask.all() if (name, r, c) in kept else not mask.any()
    else:
        assert masks.kept <= round(0.4 * 340)
        assert all(0 < kept < masks[name].numel() for name, kept in masks.counts.items())


def test_blocks_are_nested_over_several_levels_and_refuse_masks_of_another_kind():
    raw = {"fc": torch.rand(8, 12, generator=torch.Generator().manual_seed(2))}
    masks = None
    for density in (0.75, 0.5, 0.2):
        smaller = select(raw, density, allocation="block2x2", masks=masks)
        assert masks is None or smaller.nested_in(masks)
        masks = smaller
    with pytest.raises(UsageError, match="whole blocks"):
        select(raw, 0.2, allocation="block4x4", masks=select(raw, 0.5))
    with pytest.raises(UsageError, match="a block has 96 weights and only 48"):
        select(raw, 0.5, allocation="block8x12")


def test_rows_hold_equal_counts_and_add_up():
    raw = {"conv": torch.rand(6, 5, 3, 3), "fc": torch.rand(7, 9)}
    for density in (0.5, 0.37, 0.1):
        masks = select(raw, density, allocation="row")
        assert masks.kept == round(density * (270 + 63))
        for name, mask in masks.items():
            per_row = mask.flatten(1).sum(1)
            assert int(per_row.max() - per_row.min()) <= 1
            for row, score in zip(mask.flatten(1), raw[name].flatten(1), strict=True):
                kept = int(row.sum())
                assert row.nonzero().flatten().tolist() == sorted(score.argsort(descending=True)[:kept].tolist())


def test_a_row_that_has_no_room_gives_its_share_to_others():
    before = torch.ones(2, 4, dtype=torch.bool)
    before[0, 1:] = False
    masks = select({"fc": torch.rand(2, 4)}, 0.5, allocation="row", masks=Masks({"fc": before}))
    assert masks["fc"].sum(1).tolist() == [1, 3]


@pytest.mark.parametrize("allocation", ["global", "row", "2:4", "block2x2", "erk"])
def test_again_keeps_as_many_in_the_same_places(allocation):
    generator = torch.Generator().manual_seed(3)
    raw = {"a": torch.rand(6, 8, generator=generator), "b": torch.rand(4, 16, generator=generator)}
    budget = Budget(0.5, allocation, Masks({n: torch.ones_like(s, dtype=torch.bool) for n, s in raw.items()}))
    first = budget.select(raw)
    assert all((budget.again(n, raw[n], first) == first[n]).all() for n in raw)
    other = {n: again(torch.rand(s.shape, generator=generator), first[n], allocation) for n, s in raw.items()}
    assert Masks(other).counts == first.counts
    assert Masks(other) != first
    assert exact_count(Masks(other), 0.5, allocation)[0]


def test_uniform_plus_protects_the_first_convolution_and_the_classifier():
    net = network("resnet8")
    masks = prune(net, "random/uniform+", sparsity=0.9)
    counts, sizes = masks.counts, {n: m.numel() for n, m in masks.items()}
    assert masks.kept == round(0.1 * masks.total)
    assert counts["conv.weight"] == sizes["conv.weight"]
    assert counts["classifier.weight"] == round(0.2 * sizes["classifier.weight"])
    rest = [counts[n] / sizes[n] for n in counts if n not in ("conv.weight", "classifier.weight")]
    assert max(rest) - min(rest) < 0.02
    with pytest.raises(UsageError, match=r"uniform\+ keeps the first convolution.*prune less"):
        prune(network("resnet8"), "random/uniform+", sparsity=0.995)


def test_like_takes_the_layer_counts_of_another_criterion():
    net = network("vgg")
    theirs = pruning(net, "snip", sparsity=0.9, data=batches()).masks
    mine = pruning(net, "random", allocation="like:snip", sparsity=0.9, data=batches()).masks
    assert mine.counts == theirs.counts
    assert mine != theirs
    raw = scores(net, "random")
    for name, mask in mine.items():
        assert float(raw[name][mask].min()) > float(raw[name][~mask].max())


def test_inverted_scores_keep_the_lowest():
    net = network("mlp")
    raw = torch.cat([s.flatten() for s in scores(net, "magnitude").values()])
    masks = pruning(net, "magnitude", sparsity=0.9, invert=True).masks
    kept = torch.cat([m.flatten() for m in masks.values()])
    assert int(kept.sum()) == round(0.1 * kept.numel())
    assert float(raw[kept].max()) <= float(raw[~kept].max())
    assert float(raw[kept].mean()) < 0.1 * float(raw[~kept].mean())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("method", ["magnitude/2:4", "magnitude/4:8", "snip/2:4", "synflow/2:4", "magnitude/block4x4"])
def test_patterns_on_every_kind_of_network(kind, method):
    net, rule = network(kind), method.partition("/")[2]
    if (kind, rule) == ("mlp", "4:8"):
        with pytest.raises(UsageError, match="600 of 1880 weights dense"):
            prune(net, method, sparsity=0.5, data=batches())
        return
    masks = prune(net, method, sparsity=0.5, data=batches())
    assert exact_count(masks, 0.5, rule)[0]
    for name, mask in masks.items():
        assert not (net.get_parameter(name)[~mask] != 0).any()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("4:2", "0 < N < M"),
        ("0:4", "0 < N < M"),
        ("block1x1", "at least two entries"),
        ("uniform/2:4", "fixes the count of every row itself"),
        ("row/block2x2", "fixes the count of every row itself"),
        ("2:4/uniform", "rule before the pattern"),
        ("uniform/blok2x2", "is no pattern"),
    ],
)
def test_nonsense_is_refused(text, reason):
    with pytest.raises(UsageError, match=reason):
        split_allocation(text)


def test_n_of_m_has_one_sparsity_and_needs_a_tensor_it_fits():
    with pytest.raises(UsageError, match=r"keeps 0\.5 of the weights.*sparsity=0\.5"):
        prune(nn.Linear(8, 4), "magnitude/2:4", sparsity=0.75)
    with pytest.raises(UsageError, match="no multiple of 4 in weight, which would leave 28 of 28 weights dense"):
        prune(nn.Linear(7, 4), "magnitude/2:4", sparsity=0.5)


def test_pattern_of():
    assert pattern_of("block16x16") == Block(16, 16)
    assert pattern_of("erk") is None
