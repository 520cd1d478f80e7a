"""Dead-neuron rates on networks small enough to read them off, and against a loop over forward hooks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn, tensor
from torch.nn import functional as F

from sparsebench.errors import UsageError
from sparsebench.metrics.dead_neurons import dead_neuron_rates, zero_masks


class Calls(nn.Module):
    """Applies a function to its input in the forward pass."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def linear(weight: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    weight = tensor(weight)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = tensor(bias)
    return layer


def small_cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(24, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip


def random_masks(model: nn.Module, density: float) -> dict[str, Tensor]:
    """Random masks in which some whole filters are gone."""
    generator = torch.Generator().manual_seed(1)
    masks = {}
    for name, p in model.named_parameters():
        if p.ndim > 1:
            masks[name] = torch.rand(p.shape, generator=generator) < density
            masks[name][::3] = False
    return masks


def test_two_units_by_eye():
    """Unit 0 is silent on one input of four, unit 1 on three; nothing is pruned."""
    net = nn.Sequential(linear([[1.0], [-1.0]]), nn.ReLU())
    rates = dead_neuron_rates(net, [tensor([[1.0], [2.0]]), tensor([[3.0], [-1.0]])])
    assert (rates.static, rates.dynamic, rates.total, rates.permanent) == (0, 0.5, 0.5, 0)
    assert (rates.units, rates.examples, list(rates.sites)) == (2, 4, ["1"])


def test_permanent_is_silent_on_all():
    net = nn.Sequential(linear([[1.0], [1.0]], [0.0, -9.0]), nn.ReLU())
    rates = dead_neuron_rates(net, [tensor([[1.0], [2.0]])])
    assert (rates.permanent, rates.dynamic) == (0.5, 0.5)


def test_static_units_are_not_dynamic_and_may_be_positive_constants():
    """Three units without weights, of bias +1 (a constant), -1 and 0; one unit that fires half the time."""
    net = nn.Sequential(linear([[0.0], [0.0], [0.0], [1.0]], [1.0, -1.0, 0.0, 0.0]), nn.ReLU())
    masks = {"0.weight": tensor([[False], [False], [False], [True]])}
    rates = dead_neuron_rates(net, [tensor([[1.0], [-1.0]])], masks)
    assert (rates.static, rates.static_const) == (0.75, 0.25)
    assert (rates.dynamic, rates.dynamic_alive, rates.total) == (0.125, 0.5, 0.875)
    assert rates.permanent == 0


def test_all_static_leaves_no_rate_among_the_living():
    net = nn.Sequential(linear([[0.0]]), nn.ReLU())
    rates = dead_neuron_rates(net, [tensor([[1.0]])], {"0.weight": tensor([[False]])})
    assert (rates.static, rates.dynamic, rates.dynamic_alive) == (1, 0, None)


def test_batch_norm_shift_makes_a_constant():
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU())
    net[1].bias.data = tensor([0.5, -0.5])
    masks = {"0.weight": torch.zeros(2, 1, 1, 1, dtype=torch.bool)}
    net[0].weight.data.zero_()
    rates = dead_neuron_rates(net, [torch.randn(4, 1, 3, 3)], masks)
    assert (rates.static, rates.static_const, rates.units) == (1, 0.5, 18)


def test_one_kept_weight_keeps_a_filter_alive_at_every_position():
    """Padding: at the border the kept corner weight sees no pixel; the filter still counts as kept."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU())
    mask = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
    mask[0, 0, 0, 0] = True
    net[0].weight.data = mask.float()
    rates = dead_neuron_rates(net, [torch.ones(1, 1, 2, 2)], {"0.weight": mask})
    assert (rates.static, rates.static_channel) == (0.5, 0.5)
    assert rates.static_closure == 7 / 8, "the corner weight reaches a pixel from one of its four positions"
    assert (rates.dynamic, rates.dynamic_channel) == (3 / 8, 0)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 1, bias=False)
        self.branch = nn.Conv2d(3, 3, 1, bias=False)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x += self.bn(self.branch(x))
        return F.relu(x)


def test_a_sum_is_static_only_if_branch_and_shortcut_are():
    """Channel 0: both pruned. Channel 1: only the branch. Channel 2: only the shortcut."""
    net = Residual()
    masks = {n: torch.ones_like(p, dtype=torch.bool) for n, p in net.named_parameters() if p.ndim > 1}
    masks["stem.weight"][[0, 2]] = False
    masks["branch.weight"][[0, 1]] = False
    rates = dead_neuron_rates(net, [torch.rand(2, 1, 2, 2)], masks)
    assert list(rates.sites) == ["forward", "forward#1"]
    assert rates.sites["forward"].static == pytest.approx(2 / 3)
    assert rates.sites["forward#1"].static == pytest.approx(1 / 3)


def test_closure_follows_dead_inputs():
    """The second layer keeps a weight, but from a unit that has none."""
    net = nn.Sequential(linear([[0.0], [1.0]]), nn.ReLU(), linear([[1.0, 0.0], [0.0, 1.0]]), nn.ReLU())
    rates = dead_neuron_rates(net, [tensor([[1.0]])], zero_masks(net))
    second = rates.sites["3"]
    assert (second.static, second.static_closure) == (0, 0.5)
    assert (rates.static, rates.static_closure) == (0.25, 0.5)


@pytest.mark.parametrize(
    "function",
    [
        F.relu, torch.relu, Tensor.relu, Tensor.relu_, torch.relu_, F.relu6, nn.ReLU(), nn.ReLU(inplace=True),
        nn.ReLU6(), lambda x: F.relu(x, inplace=True), lambda x: F.relu(input=x), lambda x: x.clamp_min(0),
        lambda x: x.clamp(min=0),
    ],
)  # fmt: skip
def test_every_spelling_of_relu_is_seen(function):
    x = tensor([[1.0, -1.0], [-1.0, -2.0]])
    assert dead_neuron_rates(Calls(lambda x: function(x * 1)), [x]).dynamic == 0.75


@pytest.mark.parametrize("function", [torch.tanh, torch.sigmoid, lambda x: x.clamp(0, 1), lambda x: x.clamp(min=1e-6)])
def test_what_is_no_rectifier_has_no_rates(function):
    rates = dead_neuron_rates(Calls(function), [torch.randn(3, 2)])
    assert (rates.units, rates.static, rates.dynamic, rates.total, rates.neg_preact) == (
        0,
        None,
        None,
        None,
        None,
    )


def test_a_reused_module_is_two_sites():
    relu = nn.ReLU()
    net = nn.Sequential(linear([[1.0]]), relu, linear([[-1.0]]), relu)
    rates = dead_neuron_rates(net, [tensor([[1.0], [-1.0]])])
    assert {name: site.dynamic for name, site in rates.sites.items()} == {"1": 0.5, "1#1": 1.0}


def test_two_activations_in_one_forward_are_told_apart():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = linear([[1.0]]), linear([[0.0], [1.0]])

        def forward(self, x):
            return F.relu(self.second(F.gelu(self.first(x))))

    net = Net()
    rates = dead_neuron_rates(net, [tensor([[1.0]])], zero_masks(net))
    assert (rates.static, rates.dynamic) == (0.5, 0)
    assert list(rates.sites) == ["forward", "forward#1"]


@pytest.mark.parametrize("activation", [nn.GELU(), nn.SiLU(), nn.SiLU(inplace=True)])
def test_smooth_activations_have_a_column_of_their_own(activation):
    x = tensor([[1.0, -1.0], [0.0, -2.0]])
    rates = dead_neuron_rates(nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0]]), activation), [x])
    assert (rates.neg_preact, rates.static, rates.dynamic, rates.units) == (0.75, None, None, 0)


def test_hidden_features_are_the_units_of_a_transformer():
    """Two features at three positions of two sequences: zero shares are over six outputs each."""
    net = nn.Sequential(linear([[1.0], [0.0]]), nn.ReLU())
    x = tensor([[[1.0], [1.0], [-1.0]], [[1.0], [1.0], [1.0]]])
    rates = dead_neuron_rates(net, [x], {"0.weight": tensor([[True], [False]])})
    assert (rates.units, rates.static, rates.dynamic, rates.examples) == (2, 0.5, pytest.approx(1 / 12), 2)


def test_encoder_layer_on_tokens():
    torch.manual_seed(0)
    net = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    masks = {n: torch.ones_like(p, dtype=torch.bool) for n, p in net.named_parameters() if n == "linear1.weight"}
    masks["linear1.weight"][:2] = False
    rates = dead_neuron_rates(net, [torch.randn(5, 3, 4)], masks)
    assert (rates.units, rates.static) == (8, 0.25)


def test_against_a_loop_over_hooks():
    """Oracle: outputs collected by forward hooks, counted unit by unit in numpy, masks summed by hand."""
    net = small_cnn()
    masks = random_masks(net, 0.6)
    for name, mask in masks.items():
        dict(net.named_parameters())[name].data[~mask] = 0
    outputs: dict[str, list] = {"2": [], "4": [], "8": []}
    for name, kept in outputs.items():
        net[int(name)].register_forward_hook(lambda m, i, o, kept=kept: kept.append(o.detach().clone().numpy()))
    batches = [torch.randn(n, 2, 6, 6) for n in (5, 5, 3)]
    net.eval()
    for x in batches:
        net(x)
    expected = {}
    for name, layer in (("2", "0"), ("4", "3"), ("8", "7")):
        out = [example for batch in outputs[name] for example in batch]
        dead = [not bool(filter_.any()) for filter_ in masks[f"{layer}.weight"]]
        silent = sum((example[c] == 0).sum() for example in out for c in range(len(dead)) if not dead[c])
        whole = sum((example[c] == 0).all() for example in out for c in range(len(dead)) if not dead[c])
        per_channel = out[0][0].size
        expected[name] = (
            sum(dead) / len(dead),
            silent / (len(out) * len(dead) * per_channel),
            whole / (len(out) * len(dead)),
        )  # fmt: skip
        outputs[name].clear()
    rates = dead_neuron_rates(net, batches, masks)
    measured = {n: (s.static, s.dynamic, s.dynamic_channel) for n, s in rates.sites.items()}
    for name in expected:
        assert measured[name] == pytest.approx(expected[name], abs=1e-12)
    units = {n: s.units for n, s in rates.sites.items()}
    assert units == {"2": 144, "4": 24, "8": 5}
    assert rates.total == pytest.approx(sum((expected[n][0] + expected[n][1]) * u for n, u in units.items()) / 173)


def test_memory_order_changes_nothing():
    net, x = small_cnn(), torch.randn(7, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    masks = random_masks(net, 0.6)
    rates = dead_neuron_rates(net, [x], masks)
    net = net.to(memory_format=torch.channels_last)
    assert dead_neuron_rates(net, [x.contiguous(memory_format=torch.channels_last)], masks) == rates


def test_the_network_is_left_as_it_was():
    net = small_cnn().train()
    net[1].eval()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    random_state = torch.get_rng_state()
    first = dead_neuron_rates(net, [torch.ones(4, 2, 6, 6)], random_masks(net, 0.5))
    assert dead_neuron_rates(net, [torch.ones(4, 2, 6, 6)], random_masks(net, 0.5)) == first
    assert net.training
    assert not net[1].training
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_a_compiled_network_is_seen_through():
    torch._dynamo.reset()
    net = nn.Sequential(linear([[1.0], [-1.0]]), nn.ReLU())
    compiled = torch.compile(net, backend="eager")
    compiled(tensor([[1.0]]))
    assert dead_neuron_rates(compiled, [tensor([[1.0]])]).dynamic == 0.5


def test_half_precision_counts_are_exact():
    """5,000 ones cannot be summed in bfloat16."""
    net = nn.Sequential(linear([[1.0]]), nn.ReLU()).bfloat16()
    x = torch.cat([torch.ones(5000, 1), -torch.ones(1, 1)]).bfloat16()
    assert dead_neuron_rates(net, [x]).dynamic == pytest.approx(1 / 5001, rel=1e-9)


def test_errors_name_the_remedy():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    with pytest.raises(UsageError, match="no batches"):
        dead_neuron_rates(net, [])
    with pytest.raises(UsageError, match="inputs of one size"):
        dead_neuron_rates(net, [torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)])
    with pytest.raises(UsageError, match=r"mask 'net.0.weight' .* fits no parameter"):
        dead_neuron_rates(net, [torch.ones(1, 1, 4, 4)], {"net.0.weight": torch.ones(2, 1, 1, 1, dtype=torch.bool)})
