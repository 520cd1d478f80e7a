"""Dead-neuron rates: which share of the rectified units is silent, and why.

    static(u)   every incoming weight of unit u is pruned               (independent of the data)
    dynamic     mean over examples of the units that are not static and output exactly 0
    DNR         static + dynamic, a share of all units, in [0, 1]

Source: Liu, Ghosh, Tan, Motani, "AP: selective activation for de-sparsifying pruned networks",
arXiv:2212.06145; the paper's wording is followed, the treatment of positions, residuals and biases is ours
(see ``relu_counts`` and ``static_units``). Networks with smooth activations have no exact zeros: they get
``neg_preact`` in a column of its own, and no rates. NaN counts as zero.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.metrics.rates import DeadNeuronRates, Rates, Tally, relu_rates
from sparsebench.metrics.relu_counts import ActivationCounts, ReluSite
from sparsebench.metrics.static_units import RememberedReach
from sparsebench.scoring import untouched


def dead_neuron_rates(
    model: nn.Module,
    batches: Iterable,
    masks: Mapping[str, Tensor] | None = None,
    reach: RememberedReach | None = None,
) -> DeadNeuronRates:
    """Measure a network in evaluation mode; it is left as it was.

    Args:
        batches: tensors ``x`` or tuples ``(x, ...)``; x is moved to the model's device and given to it.
        masks: parameter name -> bool tensor, True = kept; a weight without a mask is fully kept.
        reach: to measure a network again and again, what remembers which units the same masks reach.

    In a distributed run every rank passes its own batches (at least one) and gets the rates over all.

    Raises:
        UsageError: no batches, masks of another network, or inputs of several sizes.

    >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    >>> net[0].weight.data = torch.tensor([[1.0], [0.0]])
    >>> masks = {"0.weight": torch.tensor([[True], [False]])}
    >>> r = dead_neuron_rates(net, [torch.tensor([[1.0], [-1.0]])], masks)
    >>> r.static, r.dynamic, r.dynamic_alive, r.total
    (0.5, 0.25, 0.5, 0.75)
    """
    masks = masks or {}
    _check(model, masks)
    counts = ActivationCounts(model)
    first = None
    with untouched(model, train=False), torch.no_grad(), _uncompiled():
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        with counts:
            for batch in batches:
                x = (batch if isinstance(batch, Tensor) else batch[0]).to(device, non_blocking=True)
                model(x)
                counts.examples += len(x)
                first = x[:1] if first is None else first
        if first is None:
            raise UsageError("no batches to measure dead neurons on: the iterable is empty (a generator used up?)")
        counts.all_reduce()
        reached, connected = (reach or RememberedReach())(model, first, masks) if masks else ({}, {})
    return _rates(counts, reached, connected)


def zero_masks(model: nn.Module) -> dict[str, Tensor]:
    """Masks read from the weights (matrices and kernels): one that is exactly 0 counts as pruned."""
    return {name: p.detach() != 0 for name, p in model.named_parameters() if p.ndim > 1}


def _check(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    params = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in params or params[name].shape != mask.shape:
            raise UsageError(
                f"mask {name!r} of shape {tuple(mask.shape)} fits no parameter of {type(model).__name__}: "
                "names and shapes must be those of its named_parameters(); pass the module they were made for"
            )


def _uncompiled():
    """Compiled networks run eagerly here, so that their calls can be seen."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _rates(counts: ActivationCounts, reached: Mapping[str, Tensor], connected: Mapping[str, Tensor]) -> DeadNeuronRates:
    """Everything is read from the device at once; the rest is arithmetic on whole numbers."""
    sums = [_sums(site, reached.get(name), connected.get(name)) for name, site in counts.relus.items()]
    numbers = [n for row in sums for n in row.values()] + [site.positive for site in counts.smooth.values()]
    read = iter(torch.stack(numbers).tolist() if numbers else [])
    tallies = {
        name: Tally(
            units=site.alive.numel(),
            channels=len(site.alive),
            outputs=site.outputs,
            **{key: next(read) for key in row},
        )
        for (name, site), row in zip(counts.relus.items(), sums, strict=True)
    }
    negative = {name: site.outputs - next(read) for name, site in counts.smooth.items()}
    sites = {name: Rates(**relu_rates([tally])) for name, tally in tallies.items()}
    sites |= {name: Rates(neg_preact=n / counts.smooth[name].outputs) for name, n in negative.items()}
    inputs = sum(site.outputs for site in counts.smooth.values())
    return DeadNeuronRates(
        **relu_rates(list(tallies.values())),
        neg_preact=sum(negative.values()) / inputs if inputs else None,
        examples=counts.examples,
        sites={name: sites[name] for name in counts.order},
    )


def _sums(site: ReluSite, reached: Tensor | None, connected: Tensor | None) -> dict[str, Tensor]:
    """The device-side fields of a ``Tally``; no information on what is reached means that all is."""
    static, closure = (_unreached(site, r) for r in (reached, connected))
    zeros = site.outputs - site.alive
    static_channels = static.flatten(1).all(1) if static.ndim > 1 else static
    channel_zeros = zeros if site.channels is None else site.outputs - site.channels
    return {
        "static": static.sum(),
        "closure": closure.sum(),
        "const": (static & (zeros == 0)).sum(),
        "permanent": (~static & (site.alive == 0)).sum(),
        "zeros": zeros.masked_fill(static, 0).sum(),
        "static_channels": static_channels.sum(),
        "channel_zeros": channel_zeros.masked_fill(static_channels, 0).sum(),
    }


def _unreached(site: ReluSite, reached: Tensor | None) -> Tensor:
    """Bool of the site's unit shape; a hidden feature is reached if it is at any position of the sequence."""
    if reached is None:
        return torch.zeros_like(site.alive, dtype=torch.bool)
    return ~(reached.flatten(0, -2).any(0) if site.features_last else reached[0])
