"""The small-dense control: the widest network that fits, found against trying all widths."""

from __future__ import annotations

import pytest

from sparsebench.errors import UsageError
from sparsebench.metrics.flops import macs
from sparsebench.models import build
from sparsebench.models.narrow import narrowed
from sparsebench.registry import network
from sparsebench.scope import scope_of

SHAPE = (1, 8, 8)
CASES = {
    "mlp": ("hidden", [(k, k, k) for k in range(1, 101)]),
    "resnet8": ("width", list(range(1, 17))),
    "vgg8": ("width", list(range(1, 17))),
    "vit_digits": ("dim", list(range(4, 65, 4))),
}


def size(net, match: str) -> int:
    return scope_of(net).size if match == "params" else macs(net, SHAPE).dense


@pytest.mark.parametrize("match", ["params", "flops"])
@pytest.mark.parametrize("name", CASES)
def test_the_widest_that_is_no_larger(name, match):
    argument, widths = CASES[name]
    sizes = {width: size(build(name, SHAPE, 10, **{argument: width}), match) for width in widths}
    for sparsity in (0.0, 0.5, 0.8):
        allowed = round(round(1 - sparsity, 12) * sizes[widths[-1]])
        best = max((w for w in widths if sizes[w] <= allowed), key=lambda w: sizes[w])
        found = narrowed(name, {}, SHAPE, 10, sparsity, match)
        assert found.arguments == {argument: best}
        assert (found.size, found.allowed) == (sizes[best], allowed)


def test_layers_keep_their_proportions():
    found = narrowed("lenet_300_100", {}, (1, 28, 28), 10, 0.9, "params").arguments["hidden"]
    assert found[0] / found[1] == pytest.approx(3, rel=0.1)


def test_every_shipped_network_says_what_its_width_is():
    for name in network.names():
        entry = network.entry(name)
        assert entry.traits["width"] in entry.params
        assert "step" not in entry.traits or entry.traits["step"] in entry.params


def test_refusals():
    with pytest.raises(UsageError, match="does not say which of its arguments is its width"):
        narrowed("torchvision:resnet18", {}, (3, 32, 32), 10, 0.5, "params")
    with pytest.raises(UsageError, match=r"dim=4 has \d+ already; ask for less sparsity"):
        narrowed("vit_digits", {}, SHAPE, 10, 0.9999, "params")
