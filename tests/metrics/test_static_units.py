"""Static units against an oracle: in a network made linear, a unit varies with the input iff a path is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsebench.metrics.static_units import RememberedReach, reached_units
from sparsebench.models.resnet import resnet8, resnet20
from sparsebench.models.vgg import vgg8
from sparsebench.models.vit import vit_digits
from sparsebench.trace import Trace


class _Linearised(Trace):
    """Rectifiers pass everything on; their inputs are kept."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.inputs: dict[str, Tensor] = {}

    def intercept(self, name, func, args, kwargs):
        if name == "relu":
            self.inputs[self.site()] = args[0].clone()
            return args[0]
        return func(*args, **kwargs)


def masked(net: nn.Module, density: float, seed: int = 0) -> dict[str, Tensor]:
    """Random masks, applied; every other parameter and statistic is random too."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name, p in net.named_parameters():
        p.data = 0.5 + torch.rand(p.shape, generator=generator, dtype=p.dtype)
        if p.ndim == 4:
            masks[name] = torch.rand(p.shape, generator=generator) < density
            p.data *= masks[name] * torch.randn(p.shape, generator=generator).sign()
    return masks


@pytest.mark.parametrize(("build", "density"), [(resnet8, 0.01), (resnet20, 0.005), (vgg8, 0.01)])
def test_closure_equals_variation_of_the_linearised_network(build, density):
    net = build((1, 8, 8), 10).double().eval()
    masks = masked(net, density)
    x = torch.randn(20, 1, 8, 8, dtype=torch.double)
    linearised = _Linearised(net)
    with torch.no_grad(), linearised:
        net(x)
    reached = reached_units(net, x[:1], masks, closure=True)
    assert list(reached) == list(linearised.inputs)
    cut = 0
    for name, value in linearised.inputs.items():
        varies = (value - value[:1]).abs().amax(0) > 1e-9 * value.abs().amax(0)
        assert torch.equal(reached[name][0], varies), name
        cut += int((~varies).sum())
    assert cut > 50, "the masks cut nothing: the test would prove little"


def test_static_equals_sums_over_the_masks_of_a_residual_network():
    net = resnet8((1, 8, 8), 10).eval()
    masks = masked(net, 0.02)
    reached = reached_units(net, torch.ones(1, 1, 8, 8), masks, closure=False)

    def alive(name: str) -> Tensor:
        return masks[name].flatten(1).sum(1) > 0

    source = alive("conv.weight")
    assert torch.equal(reached["relu"][0, :, 0, 0], source)
    for i in range(3):
        block = f"stages.{i}.0"
        source = alive(f"{block}.shortcut.0.weight") if i else source
        source = source | alive(f"{block}.conv2.weight")
        assert torch.equal(reached[f"{block}.relu1"][0, :, -1, -1], alive(f"{block}.conv1.weight"))
        assert torch.equal(reached[f"{block}.relu2"][0, :, 0, 0], source)


def test_transposed_convolution_sums_over_its_inputs():
    net = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, groups=2), nn.ReLU())
    mask = torch.zeros(4, 3, 2, 2, dtype=torch.bool)
    mask[1, 2, 0, 1] = mask[2, 0, 1, 1] = True
    reached = reached_units(net, torch.ones(1, 4, 3, 3), {"0.weight": mask}, closure=False)
    assert reached["1"][0, :, 0, 0].tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize("closure", [False, True])
def test_fused_attention_reaches_through_values_and_projection(closure):
    """Feature 0 has no row in the output projection; with no value weights the closure reaches nothing."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2)

        def forward(self, x):
            return F.relu(self.attention(x, x, x)[0])

    net = Net()
    out = torch.ones(4, 4, dtype=torch.bool)
    out[0] = False
    masks = {
        "attention.out_proj.weight": out,
        "attention.in_proj_weight": torch.ones(12, 4, dtype=torch.bool),
    }
    x = torch.ones(1, 3, 4)
    assert reached_units(net, x, masks, closure=closure)["forward"][0, 0].tolist() == [
        False,
        True,
        True,
        True,
    ]
    masks["attention.in_proj_weight"][8:] = False
    expected = [False, False, False, False] if closure else [False, True, True, True]
    assert reached_units(net, x, masks, closure=closure)["forward"][0, 0].tolist() == expected


def test_hidden_features_of_a_vision_transformer():
    net = vit_digits((1, 8, 8), 10, dim=48, depth=3, heads=3, mlp_ratio=4, activation="relu")
    mask = torch.ones_like(net.blocks[1].fc1.weight, dtype=torch.bool)
    mask[5:] = False
    reached = reached_units(net, torch.ones(1, 1, 8, 8), {"blocks.1.fc1.weight": mask}, closure=True)
    counts = {name: int(r.any(1).sum()) for name, r in reached.items()}
    assert counts == {"blocks.0.activation": 192, "blocks.1.activation": 5, "blocks.2.activation": 192}


def test_reparametrised_weights_show_their_mask():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    nn.utils.prune.custom_from_mask(net[0], "weight", torch.tensor([[1, 0, 0], [0, 0, 0]]))
    assert reached_units(net, torch.ones(1, 3), {}, closure=False)["1"].tolist() == [[True, False]]


def test_signed_constants_do_not_cancel():
    """A table of positions (a buffer) is subtracted: what it cancels must not look unreached."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.bias = nn.Parameter(torch.zeros(2))
            self.register_buffer("table", -torch.ones(2))

        def forward(self, x):
            return F.relu(self.fc(x) + self.table + self.bias)

    mask = torch.tensor([[True, False], [False, True]])
    assert reached_units(Net(), torch.ones(1, 2), {"fc.weight": mask}, closure=True)["forward"].all()


def test_an_added_bias_parameter_is_dropped_and_sums_may_be_in_place():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 3, bias=False)
            self.shortcut = nn.Linear(2, 3, bias=False)
            self.bias = nn.Parameter(torch.ones(3))

        def forward(self, x):
            y = self.fc(x) + self.bias
            y.add_(self.shortcut(x))
            return F.relu(y)

    masks = {name: torch.zeros(3, 2, dtype=torch.bool) for name in ("fc.weight", "shortcut.weight")}
    masks["fc.weight"][0, 1] = masks["shortcut.weight"][1, 0] = True
    for closure in (False, True):
        reached = reached_units(Net(), torch.ones(1, 2), masks, closure=closure)
        assert reached["forward"].tolist() == [[True, True, False]]


@pytest.mark.parametrize("inference", [False, True])
def test_remembered_until_a_mask_changes_in_place_or_is_another(inference, monkeypatch):
    net, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.ones(1, 2)
    asked = []
    monkeypatch.setattr(
        "sparsebench.metrics.static_units.reached_units",
        lambda *args, closure: asked.append(closure) or reached_units(*args, closure=closure),
    )
    with torch.inference_mode(inference):
        masks = {"0.weight": torch.tensor([[True, True], [False, True], [False, False]])}
        reach = RememberedReach()
        assert [r["1"].tolist() for r in reach(net, x, masks)] == [[[True, True, False]]] * 2
        reach(net, x, dict(masks))
        assert len(asked) == (4 if inference else 2)
        masks["0.weight"][0] = False
        assert [r["1"].tolist() for r in reach(net, x, masks)] == [[[False, True, False]]] * 2
        assert [r["1"].tolist() for r in reach(net, x, {"0.weight": ~masks["0.weight"]})] == [[[True] * 3]] * 2
