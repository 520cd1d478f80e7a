"""Our networks against torchvision's with the same weights, on all image sizes, and nearly empty."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch.nn import functional as F

from sparsebench.errors import UsageError
from sparsebench.models import build
from sparsebench.models.vgg import VGG
from sparsebench.models.vit import VisionTransformer
from sparsebench.registry import network

DIGITS, MNIST, CIFAR, TINY, IMAGENET = (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 224, 224)
SMALL = ["lenet_300_100", "mlp", "resnet8", "resnet20", "vgg8", "vgg11", "vit_digits"]
LARGE = [("vit_tiny", CIFAR), ("resnet50", CIFAR), ("resnet56", CIFAR)]
CASES = [(n, s) for n in SMALL for s in (DIGITS, MNIST, CIFAR)] + [
    ("resnet18", TINY),
    ("resnet18", IMAGENET),
    *LARGE,
]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_learns_at_99_percent_sparsity(name, shape):
    torch.manual_seed(0)
    net = build(name, shape, 7)
    for p in net.parameters():
        if p.dim() > 1:
            p.data *= torch.rand_like(p) < 0.01
    logits = net(torch.randn(2, *shape))
    assert logits.shape == (2, 7)
    F.cross_entropy(logits, torch.tensor([0, 6])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def copy_in_order(source: torch.nn.Module, target: torch.nn.Module) -> None:
    """Weights by position; both define their layers in the same order."""
    theirs = source.state_dict().values()
    ours = target.state_dict()
    target.load_state_dict(dict(zip(ours, theirs, strict=True)))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_computes_what_torchvisions_does(name):
    theirs = torchvision.models.get_model(name, num_classes=5).eval()
    ours = build(name, TINY, 5).eval()
    copy_in_order(theirs, ours)
    x = torch.randn(2, *TINY)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_vit_computes_what_torchvisions_does():
    theirs = torchvision.models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=48, num_classes=5
    ).eval()
    torch.nn.init.normal_(theirs.heads.head.weight)
    ours = VisionTransformer((3, 8, 8), 5, dim=12, depth=2, heads=2, patch=4, activation="gelu").eval()
    state = theirs.state_dict()
    first = ("class_token", "encoder.pos_embedding")
    ordered = [state[name] for name in first] + [v for name, v in state.items() if name not in first]
    ours.load_state_dict(dict(zip(ours.state_dict(), ordered, strict=True)))
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [11, 16, 19])
def test_vgg_has_the_convolutions_of_torchvisions(depth):
    def convolutions(net):
        return [tuple(m.weight.shape) for m in net.modules() if isinstance(m, torch.nn.Conv2d)]

    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"vgg{depth}_bn")
        ours = build(f"vgg{depth}", CIFAR, 10)
    assert convolutions(ours) == convolutions(theirs)


def test_vgg16_fan_in_is_that_of_open_lth():
    """The convolutions of VGG-16, every weight drawn by its fan in, and an average in place of the fifth max-pool."""
    torch.manual_seed(0)
    net, usual = build("vgg16_fan_in", CIFAR, 10), build("vgg16", CIFAR, 10)
    assert [tuple(p.shape) for p in net.parameters()] == [tuple(p.shape) for p in usual.parameters()]
    for module in (m for m in net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)):
        assert module.weight.std().item() == pytest.approx((2 / module.weight[0].numel()) ** 0.5, rel=0.1)
    assert sum(isinstance(m, torch.nn.MaxPool2d) for m in net.modules()) == 4
    assert net.features(torch.zeros(1, *CIFAR)).shape == (1, 512, 2, 2)
    assert not net.classifier.bias.any()


def test_vgg8_uses_every_tap_of_its_kernels_on_digits():
    """On a 1x1 map eight of nine taps of a padded kernel would see only zeros."""
    net = build("vgg8", DIGITS, 10)
    net(torch.randn(8, *DIGITS)).square().sum().backward()
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            assert (module.weight.grad.abs().amax((0, 1)) > 0).all()


def test_vgg_leaves_out_pools_that_would_empty_the_map():
    pools = sum(isinstance(m, torch.nn.MaxPool2d) for m in VGG((1,) * 5, (1,) * 5, DIGITS, 10, 4).modules())
    assert pools == 3


@pytest.mark.parametrize("size", [20, 32, 56])
def test_cifar_resnet_depth(size):
    weights = [n for n, p in build(f"resnet{size}", CIFAR, 10).named_parameters() if p.dim() > 1]
    assert sum("shortcut" not in name for name in weights) == size


def test_small_images_keep_their_resolution_in_the_stem():
    assert build("resnet18", CIFAR, 10).conv.stride == (1, 1)
    assert build("resnet18", TINY, 10).conv.stride == (2, 2)


def test_arguments_reach_the_network():
    assert build("resnet8", DIGITS, 10, width=4).conv.out_channels == 4
    relu = build("vit_digits", DIGITS, 10, activation="relu")
    assert isinstance(relu.blocks[0].activation, torch.nn.ReLU)


@pytest.mark.parametrize(
    ("name", "shape", "args", "message"),
    [
        ("resnet_8", CIFAR, {}, "did you mean 'resnet8'"),
        ("resnet8", CIFAR, {"depth": 3}, "it lets you set width"),
        ("lenet_300_100", MNIST, {"width": 3}, "it lets you set hidden"),
        ("vit_tiny", (3, 30, 30), {}, "patch=4 does not divide 30x30"),
        ("vit_digits", DIGITS, {"heads": 5}, "heads=5 does not divide dim=64"),
        ("vit_digits", DIGITS, {"activation": "tanh"}, "choose one of gelu, relu"),
    ],
)
def test_what_is_impossible_is_explained(name, shape, args, message):
    with pytest.raises(UsageError, match=message):
        build(name, shape, 10, **args)


def test_every_network_says_what_it_is():
    assert all(entry.summary for entry in network.entries.values())
