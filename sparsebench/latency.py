"""Latency: how long a forward pass really takes, beside what the multiply-accumulates promise.

    theoretical speed-up = multiply-accumulates of the dense network / of this one, pruned weights left out
    measured speed-up    = median time of the dense network / of this one

Networks are timed in turn, round after round, in another order each time, so that a machine that warms up or is
shared slows all of them alike. Given are medians and quartiles of the rounds, in milliseconds a batch.
Why the two speed-ups differ: docs/why_not_faster.md.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.metrics.flops import macs
from sparsebench.patterns import NM
from sparsebench.scope import scope_of

DENSE, MASKED, SEMI, CSR = "dense", "masked", "2:4", "csr"


@dataclass(frozen=True)
class Variants:
    """One network in the forms its masks allow."""

    networks: dict[str, nn.Module]
    missing: dict[str, str] = field(default_factory=dict)
    """Form -> the reason why it is not there."""


def variants(net: nn.Module, masks: Masks) -> Variants:
    """Copies of a network on its device, in its precision: ``dense``, ``masked`` and what kernels there are for zeros.

    ``masked`` has the pruned weights set to 0; ``2:4`` hands those linear layers whose masks keep at most two of every
    four consecutive inputs to the sparse tensor cores (CUDA, compute capability 8 and above, 16 bits); ``csr`` stores
    the masked linear layers as compressed sparse rows (CPU).

    Raises:
        UsageError: the masks belong to another network.
    """
    dense, masked = deepcopy(net).eval(), deepcopy(net).eval()
    masks.apply(masked)
    found, missing = {DENSE: dense, MASKED: masked}, {}
    for name, convert in ((SEMI, _semi_structured), (CSR, _compressed_rows)):
        form = convert(deepcopy(masked), masks)
        (missing if isinstance(form, str) else found)[name] = form
    return Variants(found, missing)


def latency(
    networks: Mapping[str, nn.Module],
    input_shape: tuple[int, ...],
    *,
    batch_sizes: Iterable[int] = (1, 64),
    threads: Iterable[int] = (1,),
    repeats: int = 15,
    seconds: float = 0.02,
) -> list[dict[str, Any]]:
    """Time the forward passes of networks in evaluation mode, without gradients.

    Args:
        networks: by name, ``dense`` among them, all on one device; such as those of ``variants`` and a shrunk one.
        input_shape: of one input, without the batch dimension.
        threads: numbers of CPU threads to use; of no effect on a GPU.
        repeats: rounds; in each, every network runs for about ``seconds``.

    Returns:
        A row for each batch size, number of threads and network: ``batch``, ``threads``, ``network``, ``ms`` (median),
        ``ms_q1``, ``ms_q3``, ``speedup`` (measured), ``macs`` of one input and ``theoretical`` (None where unknown).

    Raises:
        UsageError: no dense network, networks on several devices, or numbers below 1.
    """
    batch_sizes, threads = tuple(batch_sizes), tuple(threads)
    if DENSE not in networks:
        raise UsageError(f"networks are {', '.join(networks) or 'none'}: one must be {DENSE!r}, the others' measure")
    if min((*batch_sizes, *threads, repeats - 1), default=0) < 1 or not batch_sizes or not threads:
        raise UsageError(f"batch sizes {batch_sizes} and threads {threads} must be 1 or more and repeats ({repeats}) 2")
    devices = {str(p.device) for net in networks.values() for p in net.parameters()}
    if len(devices) != 1:
        raise UsageError(f"networks are on {', '.join(sorted(devices)) or 'no device'}: move all to one")
    work = {name: _work(net, input_shape) for name, net in networks.items()}
    rows = []
    for batch in batch_sizes:
        for count in threads:
            times = _times(networks, (batch, *input_shape), count, repeats, seconds)
            base = median(times[DENSE])
            for name, seen in times.items():
                q1, middle, q3 = (1000 * q for q in quantiles(seen, n=4, method="inclusive"))
                # A converted network does the work of the masked one it was made from.
                todo = work[name] or (work.get(MASKED) if name in (SEMI, CSR) else None)
                rows.append(
                    {
                        "batch": batch,
                        "threads": count,
                        "network": name,
                        "ms": middle,
                        "ms_q1": q1,
                        "ms_q3": q3,
                        "speedup": 1000 * base / middle,
                        "macs": todo,
                        "theoretical": work[DENSE] / todo if todo and work[DENSE] else None,
                    }
                )
    return rows


def render(rows: Iterable[Mapping[str, Any]], missing: Mapping[str, str] | None = None) -> str:
    """The rows as a Markdown table, followed by what could not be measured and why.

    >>> print(render([{"batch": 1, "threads": 1, "network": "dense", "ms": 2.0, "ms_q1": 1.9, "ms_q3": 2.2,
    ...     "speedup": 1.0, "macs": 1500, "theoretical": 1.0}]))
    | batch | threads | network | ms a batch (quartiles) | measured | theoretical |
    | ---: | ---: | --- | ---: | ---: | ---: |
    | 1 | 1 | dense | 2.000 (1.900 to 2.200) | 1.00x | 1.00x |
    """
    lines = [
        "| batch | threads | network | ms a batch (quartiles) | measured | theoretical |",
        "| ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        theoretical = "" if row["theoretical"] is None else f"{row['theoretical']:.2f}x"
        times = f"{row['ms']:.3f} ({row['ms_q1']:.3f} to {row['ms_q3']:.3f})"
        cells = (row["batch"], row["threads"], row["network"], times, f"{row['speedup']:.2f}x", theoretical)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [f"\nNot measured: {name} ({reason})." for name, reason in (missing or {}).items()]
    return "\n".join(lines)


def _times(
    networks: Mapping[str, nn.Module], shape: tuple[int, ...], threads: int, repeats: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds a call of every network, one number a round; the timer waits for a GPU to finish."""
    param = next(networks[DENSE].parameters())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(param.device, param.dtype)
    timers, calls = {}, {}
    modes = {module: module.training for net in networks.values() for module in net.modules()}
    try:
        for name, net in networks.items():
            timers[name] = _timer()("net(x)", globals={"net": net.eval(), "x": x}, num_threads=threads)
        with torch.no_grad():
            for name, timer in timers.items():
                # The first calls choose kernels and allocate; the second measurement tells how long one takes.
                timer.timeit(2)
                calls[name] = max(1, round(seconds / timer.timeit(3).median))
            times: dict[str, list[float]] = {name: [] for name in networks}
            order = list(networks)
            for _ in range(repeats):
                for name in order:
                    times[name].append(timers[name].timeit(calls[name]).median)
                order = order[1:] + order[:1]
    finally:
        for module, training in modes.items():
            module.training = training
    return times


@cache
def _timer() -> type:
    """torch's timer, whose import warns on machines without CUDA."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from torch.utils.benchmark import Timer
    finally:
        logger.setLevel(level)
    return Timer


def _work(net: nn.Module, input_shape: tuple[int, ...]) -> int | None:
    """Multiply-accumulates of one input, zeros left out; None for a network with converted layers."""
    if any(isinstance(module, _SparseLinear) for module in net.modules()):
        return None
    kept = {name: p.detach() != 0 for name, p in scope_of(net).prunable.items()}
    return macs(net, input_shape, kept).sparse


class _SparseLinear(nn.Module):
    """A linear layer whose weight is stored sparse: ``[..., n_in] -> [..., n_out]``."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, requires_grad=False), bias

    def forward(self, x: Tensor) -> Tensor:
        return linear(x.reshape(-1, x.shape[-1]), self.weight, self.bias).view(*x.shape[:-1], -1)


def _semi_structured(net: nn.Module, masks: Masks) -> nn.Module | str:
    """The network with its 2:4 linear layers on sparse tensor cores, or the reason why not."""
    param = next(net.parameters())
    if param.device.type != "cuda":
        return "sparse tensor cores are a part of CUDA devices; this network is on " + param.device.type
    if torch.cuda.get_device_capability(param.device) < (8, 0):
        return f"{torch.cuda.get_device_name(param.device)} has no sparse tensor cores (compute capability below 8)"
    if param.dtype not in (torch.float16, torch.bfloat16):
        return f"the kernels are for 16 bits, not {param.dtype}: convert the network with .half() or .bfloat16()"
    layers = [layer for layer in _masked_linear(net, masks) if _at_most(masks[f"{layer}.weight"], NM(2, 4))]
    if not layers:
        return "no linear layer's mask keeps at most two of every four inputs"
    return _converted(net, layers, torch.sparse.to_sparse_semi_structured)


def _compressed_rows(net: nn.Module, masks: Masks) -> nn.Module | str:
    """The network with its masked linear layers as compressed sparse rows, or the reason why not."""
    if (device := next(net.parameters()).device.type) != "cpu":
        return f"compressed rows are timed on the CPU; this network is on {device}"
    layers = _masked_linear(net, masks)
    share = sum(masks[f"{layer}.weight"].numel() for layer in layers) / max(1, masks.total)
    if share < 0.5:
        return f"it is for linear layers, and these hold {share:.0%} of the masked weights"
    return _converted(net, layers, Tensor.to_sparse_csr)


def _masked_linear(net: nn.Module, masks: Masks) -> list[str]:
    return [name for name, m in net.named_modules() if type(m) is nn.Linear and name and f"{name}.weight" in masks]


def _at_most(mask: Tensor, pattern: NM) -> bool:
    return pattern.applies(tuple(mask.shape)) and int(pattern.groups(mask).sum(1).max()) <= pattern.n


def _converted(net: nn.Module, layers: list[str], convert: Callable[[Tensor], Tensor]) -> nn.Module | str:
    """Replace the layers that the kernel takes; the reason of the last refusal if it takes none."""
    refusal = ""
    done = 0
    for name in layers:
        layer = net.get_submodule(name)
        try:
            with warnings.catch_warnings():
                # Sparse tensors announce that they are in beta.
                warnings.simplefilter("ignore")
                sparse = _SparseLinear(convert(layer.weight.detach().contiguous()), layer.bias)
                sparse(torch.zeros(2, layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device))
        except (RuntimeError, NotImplementedError) as error:
            refusal = str(error).strip().splitlines()[0]
            continue
        net.set_submodule(name, sparse)
        done += 1
    return net if done else f"no kernel for these layers: {refusal}"
