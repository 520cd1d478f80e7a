"""Wiring: what a network does to its signals between one weighted layer and the next, seen in one forward pass.

Beside every tensor of the pass travels a **signal** of its shape: the energy (sum of squared weights) that the nearest
weighted layers put into each entry. Reshapes, slices, pools and concatenations move it as they move the tensor. What
later layers take from an output channel is the derivative of all they receive by what that channel sends.

| call | signal |
| --- | --- |
| linear, convolution | a new one: squares of the weights, summed over inputs and kernel positions |
| batch norm with running statistics | times ``gamma^2 / (var + eps)`` |
| product with a constant | times its square |
| activation | unchanged for the next layer; as a branch of a sum it is the identity skip and counts 1 |
| sum | sum of its branches; a constant adds nothing |
| pooling, mean over positions, dropout | unchanged |
| all else: attention, layer norm, softmax, matrix products, products of two signals | 1 |

Where a signal ends (in a call of the last row, in the network's output) it is received once, as by an identity.
Not seen is what runs as one compiled kernel; its results count as constants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from sparsebench.trace import SMOOTH, Trace, take

_LAYER = re.compile(r"linear|conv(_transpose)?[123]d")
_POOL = re.compile(r"(?:adaptive_)?(?:max|avg)_pool([123])d.*")
_SUM = re.compile(r"[ir]?(add|sub)")
_PRODUCT = re.compile(r"[ir]?mul|multiply")
_QUOTIENT = re.compile(r"i?(true)?div|divide")
_ACTIVATION = re.compile(
    r"relu6?|clamp(_min)?|hardtanh|threshold|tanh|sigmoid|logsigmoid|hardsigmoid|softplus|softsign|tanhshrink"
    r"|hardshrink|softshrink|rrelu|abs|" + "|".join(SMOOTH)
)
_SAME = re.compile(
    r"(feature_)?(alpha_)?dropout[123]?d?|to|type|type_as|float|half|double|bfloat16|cpu|cuda|contiguous|clone|detach"
    r"|positive|neg"
)
_MOVE = re.compile(
    r"(un)?flatten|reshape|view(_as)?|(un)?squeeze|permute|transpose|swapaxes|swapdims|movedim|t|getitem|chunk"
    r"|(tensor_)?split|unbind|narrow|select|index_select|expand(_as)?|repeat|roll|flip|pad|cat|concat|stack|mean"
    r"|pixel_(un)?shuffle|channel_shuffle"
)


@dataclass(frozen=True)
class Use:
    """One call of a layer of weight ``[n_out, n_in / groups, ...]``; transposed: ``[n_in, n_out / groups, ...]``."""

    name: str
    """The parameter's name."""
    before: Tensor
    """What arrives at each input, ``[n_in]``, float64; 1 where no layer comes before."""
    after: Tensor
    """What is taken from each output, ``[n_out]``, float64; 1 where no layer comes after."""
    groups: int = 1
    transposed: bool = False


def uses(model: nn.Module, run: Callable[[], Any]) -> list[Use]:
    """Every call of a linear or convolution layer of a model, in order.

    Args:
        run: calls the model, in the mode it shall be seen in; a batch of one is enough.

    >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> net.load_state_dict({"0.weight": torch.tensor([[1.0], [2.0]]), "2.weight": torch.tensor([[3.0, 4.0]])})
    <All keys matched successfully>
    >>> first, last = uses(net, lambda: net(torch.ones(1, 1)))
    >>> first.after.tolist(), last.before.tolist()
    ([9.0, 16.0], [1.0, 4.0])
    """
    wiring = _Wiring(model)
    with torch.no_grad(), wiring.ends(model), wiring:
        run()
    return wiring.found()


def connections(weight: Tensor, groups: int = 1, transposed: bool = False) -> Tensor:
    """Squared weights, summed over kernel positions: ``[groups, n_out / groups, n_in / groups]``, float64."""
    squares = weight.detach().double().square().flatten(1).view(*weight.shape[:2], -1).sum(2)
    table = squares.unflatten(0, (groups, -1))
    return table.transpose(1, 2) if transposed else table


@dataclass
class _Signal:
    """Three tensors of the shape of the tensor they travel beside."""

    through: Tensor
    """The energy as a layer receives it."""
    local: Tensor
    """The energy as a sum counts it: 1 behind an activation."""
    owner: Tensor
    """Number of the channel an entry belongs to, from 1; padding belongs to 0."""

    def map(self, function: Callable[[Tensor], Tensor]) -> _Signal:
        return _Signal(function(self.through), function(self.local), function(self.owner))

    def times(self, factor: Tensor | float) -> _Signal:
        return _Signal(self.through * factor, self.local * factor, self.owner)


class _Wiring(Trace):
    def __init__(self, model: nn.Module):
        super().__init__(model)
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._signals = WeakTensorKeyDictionary()
        self._layers: list[tuple[str | None, Tensor, Tensor, int, bool]] = []
        self._received: list[Tensor] = []
        self._outputs: list[Any] = []
        self._channels = 2  # 1 is the owner of what no layer sent.

    @contextmanager
    def ends(self, model: nn.Module) -> Iterator[None]:
        """The model's inputs carry 1; its outputs are noted."""

        def enter(module, args, kwargs):
            self._send(_tensors((args, kwargs)), None)

        handles = [
            model.register_forward_pre_hook(enter, with_kwargs=True),
            model.register_forward_hook(lambda module, args, out: self._outputs.append(out)),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def found(self) -> list[Use]:
        with torch.enable_grad():
            self._end(self._outputs)
            received = sum(self._received)
        sent = [layer[2] for layer in self._layers]
        depends = isinstance(received, Tensor) and received.requires_grad
        taken = torch.autograd.grad(received, sent, allow_unused=True) if depends else [None] * len(sent)
        return [
            Use(name, before, torch.ones_like(rows) if after is None else after, groups, transposed)
            for (name, before, rows, groups, transposed), after in zip(self._layers, taken, strict=True)
            if name is not None
        ]

    def intercept(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        given = (args, kwargs)
        # Read before the call: one in place gives its argument back.
        known = [self._signals[x] for x in _tensors(given) if x in self._signals]
        first = self._signals.get(args[0]) if args and isinstance(args[0], Tensor) else None
        strange = [x for x in _tensors(given) if x.is_floating_point() and x not in self._signals]
        out = func(*args, **kwargs)
        results = [x for x in _tensors(out) if x.is_floating_point()]
        with torch.enable_grad():
            if _LAYER.fullmatch(name):
                self._layer(name, out, args, kwargs)
            elif known and not results:
                self._send(_tensors(out), None)
            elif known and _MOVE.fullmatch(name) and not strange:
                self._move(name, func, given, out)
            elif known:
                signal = self._next(name, given, known, first, results[0])
                if signal is None:
                    self._received += map(_identity, known)
                self._send(results, signal)
        return out

    def _send(self, tensors: list[Tensor], signal: _Signal | None) -> None:
        for x in tensors:
            self._signals[x] = signal or _ones(x)

    def _layer(self, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
        (x, weight, _, _, _, _, groups), *_ = take(
            args, kwargs, "input", "weight", "bias", "stride", "padding", "", "groups"
        )
        axis, transposed = 1 - weight.dim(), "transpose" in name
        table = connections(weight, groups or 1, transposed)
        signal = self._signals.get(x) or _ones(x)
        before = _at_channels(signal, axis)
        self._received.append((before * table.sum(1).flatten()).sum())
        rows = table.sum(2).flatten().requires_grad_()
        numbers = torch.arange(self._channels, self._channels + len(rows), device=rows.device).double()
        self._channels += len(rows)
        sent, owner = (v.view(-1, *[1] * (-axis - 1)).expand(out.shape).contiguous() for v in (rows, numbers))
        self._signals[out] = _Signal(sent, sent, owner)
        self._layers.append((self._names.get(id(weight)), before.detach(), rows, groups or 1, transposed))

    def _next(
        self, name: str, given: tuple, known: list[_Signal], first: _Signal | None, out: Tensor
    ) -> _Signal | None:
        """The signal of a call's result; None where it ends."""
        args, kwargs = given
        if _SUM.fullmatch(name) and kwargs.get("alpha", 1) == 1:
            return self._sum(known, out)
        if _PRODUCT.fullmatch(name) and len(known) == 1 and len(args) == 2:
            factor = args[1] if first else args[0]
            return known[0].times(_square(factor)) if out.shape == known[0].owner.shape else None
        if first is None:
            return None
        if _SAME.fullmatch(name):
            return first
        if _ACTIVATION.fullmatch(name):
            return _Signal(first.through, torch.ones_like(first.local), first.owner)
        if _QUOTIENT.fullmatch(name) and len(known) == 1 and len(args) == 2 and out.shape == first.owner.shape:
            return first.times(1 / _square(args[1]))
        if name == "batch_norm":
            return _normalised(first, args, kwargs)
        if pool := _POOL.fullmatch(name):
            positions = tuple(range(-int(pool[1]), 0))
            return first.map(lambda t: t.amax(positions, keepdim=True).expand(out.shape))
        return None

    def _sum(self, branches: list[_Signal], out: Tensor) -> _Signal:
        """A constant leaves the signal as it is; of several branches those behind an activation count 1."""
        owner = max((s.owner.expand(out.shape) for s in branches), key=lambda o: float(o.max()))
        if len(branches) == 1:
            through, local = branches[0].through, branches[0].local
        else:
            through = local = sum(s.local for s in branches)
            self._received += [_identity(_Signal(s.through - s.local, s.local, s.owner)) for s in branches]
        return _Signal(through.expand(out.shape), local.expand(out.shape), owner)

    def _move(self, name: str, func: Any, given: tuple, out: Any) -> None:
        """Do to the signals what was done to the tensors."""
        # A view of the tensor need not be possible on the signal, whose memory may be laid out otherwise.
        func = torch.Tensor.reshape if name == "view" else func

        def run(part: str) -> list[Tensor]:
            args, kwargs = tree_map(lambda v: getattr(self._signals.get(v), part, v) if _is_tensor(v) else v, given)
            return tree_leaves(func(*args, **kwargs))

        for x, *parts in zip(tree_leaves(out), run("through"), run("local"), run("owner"), strict=True):
            self._signals[x] = _Signal(*parts)

    def _end(self, values: Any) -> None:
        self._received += [_identity(self._signals[x]) for x in _tensors(values) if x in self._signals]


def _at_channels(signal: _Signal, axis: int) -> Tensor:
    """What arrives at each channel, the mean over all positions but padding."""
    through, owner = (
        t.movedim(axis, -1).flatten(0, -2) if t.dim() > 1 else t[None] for t in (signal.through, signal.owner)
    )
    inside = owner > 0
    return (through * inside).sum(0) / inside.sum(0).clamp(min=1)


def _identity(signal: _Signal) -> Tensor:
    """What an identity receives: the mean over the entries of each channel, summed over channels."""
    owner = signal.owner.round().long()
    share = (owner > 0) / owner.flatten().bincount()[owner]
    return (signal.through * share).sum()


def _normalised(signal: _Signal, args: tuple, kwargs: dict) -> _Signal | None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    (_, _, var, gamma, _, training, _, eps), *_ = take(args, kwargs, *names)
    if var is None or training:
        return None
    factor = (1 if gamma is None else _square(gamma)) / (var.detach().double() + (1e-5 if eps is None else eps))
    return signal.times(factor.view(-1, *[1] * (signal.owner.dim() - 2)))


def _square(factor: Tensor | float) -> Tensor | float:
    return factor.detach().double().square() if isinstance(factor, Tensor) else float(factor) ** 2


def _ones(x: Tensor) -> _Signal:
    ones = torch.ones(x.shape, dtype=torch.float64, device=x.device)
    return _Signal(ones, ones, ones)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
