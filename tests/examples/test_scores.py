"""Scores of training images against other computations of the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from sparsebench.diet.el2n import el2n
from sparsebench.diet.forgetting import forgetting
from sparsebench.diet.grand import grand
from sparsebench.diet.input_norm import input_norm
from sparsebench.models import build
from sparsebench.registry import example_score


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(9, 1, 8, 8, generator=generator), torch.randint(10, (9,), generator=generator)


def exact_grand(net: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of a perceptron: GraNd^2 = sum over layers of ||delta||^2 (||input||^2 + 1), delta by hand, backwards."""
    layers = [module for module in net if isinstance(module, nn.Linear)]
    inputs, outputs, h = [], [], x.flatten(1)
    for layer in layers:
        inputs.append(h)
        outputs.append(layer(h))
        h = outputs[-1].relu()
    delta = outputs[-1].softmax(1) - one_hot(y, 10)
    total = 0.0
    for layer, a, below in zip(reversed(layers), reversed(inputs), [*reversed(outputs[:-1]), None], strict=True):
        total = total + delta.square().sum(1) * (a.square().sum(1) + 1)
        if below is not None:
            delta = (delta @ layer.weight) * (below > 0)
    return total.sqrt()


def test_grand_of_a_perceptron_is_the_exact_formula(batch):
    torch.manual_seed(0)
    net = build("mlp", (1, 8, 8), 10, hidden=(12, 7)).eval()
    with torch.no_grad():
        net.fc1.bias.normal_()
        expected = exact_grand(net, *batch)
    torch.testing.assert_close(grand(net, *batch), expected, rtol=1e-5, atol=1e-6)


def test_grand_of_a_convolutional_network_is_that_of_batches_of_one(batch):
    torch.manual_seed(0)
    net = build("resnet8", (1, 8, 8), 10, width=4).eval()
    x, y = batch
    one_by_one = []
    for image, label in zip(x, y, strict=True):
        net.zero_grad()
        cross_entropy(net(image[None]), label[None]).backward()
        one_by_one.append(torch.cat([p.grad.flatten() for p in net.parameters()]).norm())
    torch.testing.assert_close(grand(net, x, y), torch.stack(one_by_one), rtol=1e-4, atol=1e-5)


def test_el2n_is_the_distance_to_the_label(batch):
    torch.manual_seed(0)
    net, (x, y) = build("mlp", (1, 8, 8), 10, hidden=(12,)).eval(), batch
    p = torch.exp(net(x) - net(x).logsumexp(1, keepdim=True))
    expected = torch.cdist(p, one_hot(y, 10).float()).diagonal()
    found = el2n(net, x, y)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not found.requires_grad
    sure = el2n(nn.Identity(), torch.tensor([[50.0, 0.0], [50.0, 0.0]]), torch.tensor([0, 1]))
    assert sure.tolist() == pytest.approx([0.0, 2**0.5])


def test_input_norm(batch):
    expected = [sum(float(v) ** 2 for v in image.flatten()) ** 0.5 for image in batch[0]]
    assert input_norm(*batch).tolist() == pytest.approx(expected, rel=1e-5)


def test_forgetting_counts_transitions_from_right_to_wrong():
    generator = torch.Generator().manual_seed(0)
    right = torch.rand(30, 8, generator=generator) < 0.5
    right[:, 5], right[:, 6] = False, True
    count = forgetting(8)
    for visit in right:  # in two batches, the second half first
        for images in (torch.arange(4, 8), torch.arange(4)):
            count.visit(images, visit[images])
    expected = [sum(a and not b for a, b in pairwise(h)) for h in right.T.tolist()]
    assert count.scores()[[0, 1, 2, 3, 4, 6, 7]].tolist() == [expected[i] for i in (0, 1, 2, 3, 4, 6, 7)]
    assert (float(count.scores()[5]), float(count.scores()[6])) == (float("inf"), 0.0)


def test_images_that_were_not_visited_are_as_before():
    count = forgetting(2)
    count.visit(torch.tensor([0, 1]), torch.tensor([True, True]))
    count.visit(torch.tensor([0]), torch.tensor([False]))
    count.visit(torch.tensor([0, 1]), torch.tensor([False, False]))
    assert count.scores().tolist() == [1.0, 1.0]


def test_a_count_goes_on_where_it_was():
    count, other = forgetting(2), forgetting(2)
    count.visit(torch.tensor([0, 1]), torch.tensor([True, False]))
    other.load_state_dict(count.state_dict())
    for each in (count, other):
        each.visit(torch.tensor([0, 1]), torch.tensor([False, False]))
    assert other.scores().tolist() == count.scores().tolist() == [1.0, float("inf")]


def test_random_is_a_function_of_the_generator():
    random = example_score.get("random")
    a, b, c = (random(50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert sorted(a.tolist()) == list(range(50))


def test_every_score_says_what_it_looks_at():
    kinds = {name: entry.traits["of"] for name, entry in example_score.entries.items()}
    assert kinds == {
        "el2n": "network", "grand": "network", "forgetting": "training", "input_norm": "image", "random": "seed",
    }  # fmt: skip
