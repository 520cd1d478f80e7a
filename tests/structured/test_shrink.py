"""Shrunk networks: same outputs as the masked ones, sizes and work as counted by hand, ready to train and to load."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.metrics.flops import macs
from sparsebench.models import build
from sparsebench.scope import scope_of
from sparsebench.structured import shrink, structured_count, structured_masks, unit_groups, units_of
from tests.networks import NETWORKS, batches, network

KINDS = list(NETWORKS)
IMAGE = torch.randn(5, 1, 8, 8)


def alive(net: nn.Module) -> nn.Module:
    """No norm or bias at its initial value: an entry that shrinking forgets would show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.3)
        last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        nn.init.normal_(last.weight, generator=generator)
    return net.eval()


def both(net: nn.Module, masks: Masks, x: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    """The masked and the shrunk network."""
    masked, small = deepcopy(net), deepcopy(net)
    masks.apply(masked)
    shrink(small, masks, x)
    return masked, small


def relative_difference(a: nn.Module, b: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        out = a(x)
        return float((out - b(x)).abs().max() / out.abs().max())


@pytest.mark.parametrize("density", [0.7, 0.42])
@pytest.mark.parametrize("kind", [*KINDS, "wide resnet8", "wide vit", "wide vgg"])
def test_masked_and_shrunk_networks_give_the_same_outputs(kind, density):
    wide = {"wide resnet8": "resnet8", "wide vit": "vit_digits", "wide vgg": "vgg8"}
    net = alive(build(wide[kind], (1, 8, 8), 10) if kind in wide else network(kind))
    masks = structured_masks(net, IMAGE, "random_filter", density, allocation="global", seed=1)
    masked, small = both(net, masks, IMAGE)
    assert relative_difference(masked, small, IMAGE) < 1e-5
    assert scope_of(small).size == structured_count(masks, scope_of(net)) < density * scope_of(net).size + 1
    assert list(small.state_dict()) == list(net.state_dict())


LARGER = {
    "resnet18": lambda: build("resnet18", (3, 32, 32), 10, width=16),
    "torchvision resnet18": lambda: torchvision.models.resnet18(num_classes=10, width_per_group=64),
    "torchvision mobilenet": lambda: torchvision.models.mobilenet_v2(num_classes=10, width_mult=0.35),
    "torchvision vit": lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 192, num_classes=10),
    "torchvision swin": lambda: torchvision.models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=10),
    "torchvision densenet": lambda: torchvision.models.DenseNet(8, (2, 3), 16, bn_size=2, num_classes=10),
    "torchvision vgg": lambda: torchvision.models.VGG(
        torchvision.models.vgg.make_layers([8, "M", 512], batch_norm=True), num_classes=10
    ),
}


@pytest.mark.parametrize("name", LARGER)
def test_larger_networks_too(name):
    torch.manual_seed(0)
    net, x = alive(LARGER[name]()), torch.randn(2, 3, 32, 32)
    if name.endswith("vgg"):
        net.classifier = alive(nn.Sequential(nn.Linear(512 * 49, 12), nn.ReLU(), nn.Linear(12, 10)))
    masks = structured_masks(net, x, "random_filter", 0.6)
    masked, small = both(net, masks, x)
    assert relative_difference(masked, small, x) < 1e-5
    assert scope_of(small).size == structured_count(masks, scope_of(net)) < scope_of(net).size


def test_convolutions_that_are_flattened_into_linear_layers():
    net = alive(
        nn.Sequential(
            nn.Conv2d(1, 6, 3, bias=False),
            nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
            nn.PReLU(6),
            nn.ConvTranspose2d(6, 5, 2),
            nn.Sigmoid(),
            nn.Flatten(),
            nn.Linear(5 * 49, 8),
            nn.Sigmoid(),
            nn.Linear(8, 3),
        )
    )
    masks = structured_masks(net, IMAGE, "random_filter", 0.4)
    masked, small = both(net, masks, IMAGE)
    assert relative_difference(masked, small, IMAGE) < 1e-5
    assert small[6].in_features == 49 * small[3].out_channels == 49 * int(masks["3.bias"].sum())
    assert small[2].num_parameters == small[1].num_features == small[0].out_channels == small[3].in_channels < 6


def units(net: nn.Module, masks: Masks) -> dict[str, int]:
    return {name: int(kept.sum()) for name, kept in units_of(net, masks, IMAGE).items()}


def test_params_and_work_of_a_shrunk_residual_network_by_hand():
    net = network("resnet8")
    masks = structured_masks(net, IMAGE, "random_filter", 0.4, allocation="global", seed=3)
    stem, a, b, first, c, second = units(net, masks).values()
    _, small = both(net, masks, IMAGE)
    weights = (stem * 9, stem * a * 18, stem * b * 9 + b * first * 9 + stem * first)
    weights += (first * c * 9 + c * second * 9 + first * second, second * 10)
    norms = 2 * (2 * stem + a + 2 * first + b + 2 * second + c)
    assert sum(p.numel() for p in small.parameters()) == sum(weights) + norms + 10
    assert scope_of(small).size == sum(weights)
    work = sum(w * n for w, n in zip(weights, (64, 64, 16, 4, 1), strict=True))
    assert macs(small, (1, 8, 8)).dense == work == macs(small, (1, 8, 8)).sparse
    assert macs(net, (1, 8, 8), masks).sparse == work


def test_params_and_work_of_a_shrunk_transformer_by_hand():
    net = build("vit_digits", (1, 8, 8), 10, dim=24, depth=1, heads=3)
    masks = structured_masks(net, IMAGE, "random_filter", 0.6, allocation="global")
    heads, neurons = units(net, masks).values()
    assert (heads, neurons) != (3, 48)
    _, small = both(net, masks, IMAGE)
    attention, perceptron = 4 * 24 * 8 * heads, 2 * 24 * neurons
    assert small.blocks[0].attention.heads == heads
    assert scope_of(small).size == 16 * 24 + attention + perceptron + 240
    biases = 24 + 3 * 8 * heads + 24 + neurons + 24 + 10
    fixed = 24 + 5 * 24 + 3 * 2 * 24
    assert sum(p.numel() for p in small.parameters()) == scope_of(small).size + biases + fixed
    products = 2 * 25 * 8 * heads
    assert macs(small, (1, 8, 8)).dense == 4 * 16 * 24 + 5 * (attention + perceptron) + products + 240


@pytest.mark.parametrize("kind", KINDS)
def test_a_shrunk_network_trains(kind):
    net = network(kind)
    shrink(net, structured_masks(net, IMAGE, "l1", 0.5), IMAGE)
    x, y = batches()[0]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = cross_entropy(net(x), y)
        loss.backward()
        losses.append(loss.item())
        assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_mask_file_rebuilds_the_shrunk_network_in_a_new_process(kind, tmp_path):
    net = alive(network(kind))
    structured_masks(net, IMAGE, "l2", 0.4).save(tmp_path / "masks.safetensors")
    shrink(net, Masks.load(tmp_path / "masks.safetensors"), IMAGE)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(99)
    name, arguments = NETWORKS[kind]
    fresh = build(name, (1, 8, 8), 10, **arguments)
    shrink(fresh, Masks.load(tmp_path / "masks.safetensors"), torch.zeros(1, 1, 8, 8))
    fresh.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert relative_difference(net, fresh.eval(), IMAGE) == 0


def test_choosing_masks_does_not_change_the_network():
    net = network("vit")
    params = dict(net.named_parameters())
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    first = structured_masks(net, IMAGE, "l1", 0.6)
    structured_masks(net, IMAGE, "taylor", 0.5, data=batches(), masks=first)
    assert all(params[name] is param for name, param in net.named_parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert net.blocks[0].attention.heads == 2
    assert net.blocks[0].fc1.out_features == 32


def test_a_failure_while_scoring_puts_the_dense_network_back():
    net = network("mlp")
    masks = structured_masks(net, IMAGE, "l1", 0.6)
    with pytest.raises(UsageError, match="needs data"):
        structured_masks(net, IMAGE, "taylor", 0.5, masks=masks)
    assert net.fc1.weight.shape == (20, 64)
    assert net.fc1.out_features == 20


def test_masked_gradients_of_kept_entries_are_those_of_the_shrunk_network():
    net = alive(network("resnet8")).double()
    masks = structured_masks(net, IMAGE.double(), "l1", 0.5)
    masked, small = both(net, masks, IMAGE.double())
    x, y = batches()[0]
    for model in (masked, small):
        cross_entropy(model(x.double()), y).backward()
    dense = dict(masked.named_parameters())
    for name, param in small.named_parameters():
        grad = dense[name].grad[masks[name]].view(param.shape) if name in masks else dense[name].grad
        torch.testing.assert_close(param.grad, grad)


class Shuffled(nn.Module):
    """Channels are reversed between two convolutions, which a graph of operations does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)
        self.classifier = nn.Linear(4, 2)

    def forward(self, x):
        return self.classifier(self.conv2(self.conv1(x).flip(1)).mean((2, 3)))


def test_a_network_that_the_graph_misunderstands_is_refused():
    with pytest.raises(UsageError, match="its dependency graph misses something"):
        structured_masks(alive(Shuffled()), IMAGE, "l1", 0.5)


def test_masks_of_single_weights_and_of_other_networks_are_refused():
    net = network("mlp")
    masks = structured_masks(net, IMAGE, "l1", 0.5)
    holed = {name: mask.clone() for name, mask in masks.items()}
    holed["fc2.weight"][holed["fc2.weight"].nonzero()[0].tolist()[0], :] = False
    with pytest.raises(UsageError, match="not a product of whole units"):
        shrink(net, Masks(holed), IMAGE)
    with pytest.raises(UsageError, match="do not belong"):
        shrink(net, Masks({n: m for n, m in masks.items() if "bias" not in n}), IMAGE)
    with pytest.raises(UsageError, match="another network"):
        shrink(network("vgg"), masks, IMAGE)
    assert net.fc1.out_features == 20
    assert len(unit_groups(net, IMAGE)) == 2
