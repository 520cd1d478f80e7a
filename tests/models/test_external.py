"""Networks of other libraries, fitted to our images."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sparsebench.errors import UsageError
from sparsebench.models import build


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("torchvision:resnet18", (1, 32, 32)),
        ("torchvision:squeezenet1_1", (2, 64, 64)),
        ("torchvision:mobilenet_v3_small", (3, 32, 32)),
        ("torchvision:vit_b_16", (1, 32, 32)),
        ("torchvision:googlenet", (1, 64, 64)),
    ],
)
def test_torchvision_takes_our_channels_and_classes(name, shape):
    net = build(name, shape, 7)
    assert net.training
    assert net(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:vit_tiny_patch16_224"])
def test_timm_takes_our_channels_and_classes(name):
    pytest.importorskip("timm")
    assert build(name, (1, 32, 32), 7)(torch.randn(2, 1, 32, 32)).shape == (2, 7)


def test_missing_timm_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="pip install timm"):
        build("timm:resnet10t", (3, 32, 32), 10)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("torchvision:resnet19", (3, 32, 32), "did you mean 'resnet1"),
        ("torchvison:resnet18", (3, 32, 32), "did you mean 'torchvision'"),
        ("torchvision:alexnet", (3, 8, 8), "cannot be built for 3x8x8"),
        ("torchvision:vit_b_16", (3, 32, 48), "square images, not 32x48"),
    ],
)
def test_what_is_impossible_is_explained(name, shape, message):
    with pytest.raises(UsageError, match=message):
        build(name, shape, 10)


def test_listing_imports_no_torch():
    code = (
        "import sys, sparsebench.models, sparsebench.data\n"
        "from sparsebench.registry import dataset, network\n"
        "assert 'resnet8' in network.names() and 'digits' in dataset.names()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
