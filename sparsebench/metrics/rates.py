"""Dead-neuron rates from counts: the definitions as arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tally:
    """Numbers of units of one rectifier."""

    units: int
    channels: int
    outputs: int
    """Outputs every unit had: examples, or examples x sequence positions."""
    static: int = 0
    closure: int = 0
    const: int = 0
    permanent: int = 0
    zeros: int = 0
    """Outputs that were exactly 0, of the units that are not static, over all examples."""
    static_channels: int = 0
    channel_zeros: int = 0


@dataclass(frozen=True)
class Rates:
    """Shares of the units of one rectifier, or of all of them; None where there is nothing to measure."""

    units: int = 0
    static: float | None = None
    """Every incoming weight pruned; a bias or norm shift is ignored."""
    dynamic: float | None = None
    """Output exactly 0 on an example, mean over examples; static units are not counted again."""
    dynamic_alive: float | None = None
    """``dynamic / (1 - static)``: the rate among the other units; read it beside ``dynamic``."""
    total: float | None = None
    """``static + dynamic``, the dead-neuron rate (DNR)."""
    permanent: float | None = None
    """Not static, but 0 on every example."""
    static_const: float | None = None
    """The part of ``static`` whose output is a positive constant (from a bias or norm shift)."""
    static_closure: float | None = None
    """No kept path from the input: as ``static``, inputs that are themselves cut off counting as pruned."""
    static_channel: float | None = None
    """As ``static``, of whole channels: at every position."""
    dynamic_channel: float | None = None
    """As ``dynamic``, of whole channels: zero at every position of an example."""
    neg_preact: float | None = None
    """Share of the inputs of smooth activations that are <= 0."""


@dataclass(frozen=True)
class DeadNeuronRates(Rates):
    """Rates over all rectifiers, every unit weighing the same, and of each activation in call order."""

    examples: int = 0
    sites: Mapping[str, Rates] | None = None

    def as_dict(self) -> dict[str, Any]:
        """All values, those of sites as mappings, too."""
        return {**vars(self), "sites": {name: dict(vars(rates)) for name, rates in (self.sites or {}).items()}}


def relu_rates(tallies: Sequence[Tally]) -> dict[str, float | int | None]:
    """The rates of one or several rectifiers taken together, as arguments of ``Rates``; none of none.

    >>> r = relu_rates([Tally(units=4, channels=4, outputs=10, static=1, zeros=15)])
    >>> r["static"], r["dynamic"], r["dynamic_alive"], r["total"]
    (0.25, 0.375, 0.5, 0.625)
    """
    if not tallies:
        return {}
    units = sum(t.units for t in tallies)
    channels = sum(t.channels for t in tallies)
    static = sum(t.static for t in tallies)
    zeros = sum(t.zeros / t.outputs for t in tallies)
    return {
        "units": units,
        "static": static / units,
        "dynamic": zeros / units,
        "dynamic_alive": zeros / (units - static) if static < units else None,
        "total": (static + zeros) / units,
        "permanent": sum(t.permanent for t in tallies) / units,
        "static_const": sum(t.const for t in tallies) / units,
        "static_closure": sum(t.closure for t in tallies) / units,
        "static_channel": sum(t.static_channels for t in tallies) / channels,
        "dynamic_channel": sum(t.channel_zeros / t.outputs for t in tallies) / channels,
    }
