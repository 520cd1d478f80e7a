"""Units: what one filter, neuron or head owns, in every tensor of the network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Member:
    """The entries of one parameter or buffer, along one dimension, that belong to each unit."""

    name: str
    dim: int
    index: Tensor
    """[units, width]: unit u owns the entries ``index[u]`` along ``dim``."""
    role: str
    """``filter`` (prunable weight that computes the unit), ``norm`` (scale of a batch norm), ``vector`` (bias, shift,
    slope), ``buffer`` (running statistics) or ``input`` (slices of the weights that read the unit)."""

    @property
    def width(self) -> int:
        return self.index.shape[1]

    def rows(self, tensor: Tensor) -> Tensor:
        """What each unit owns of the tensor, flat: [units, entries].

        >>> from torch import arange, tensor
        >>> Member("fc.weight", 1, tensor([[0], [2]]), "input").rows(arange(6).view(2, 3))
        tensor([[0, 3],
                [2, 5]])
        """
        return tensor.movedim(self.dim, 0)[self.index.to(tensor.device)].flatten(1)


@dataclass(frozen=True, eq=False)
class UnitGroup:
    """Units that are kept or removed one by one, each with all it owns."""

    name: str
    """Parameter name of its first filter in model order."""
    members: tuple[Member, ...]
    gates: tuple[tuple[Member, ...], ...]
    """For every layer that computes the units: the parameters in which the unit's output is linear, so that
    ``sum theta * dL/dtheta`` over them is the derivative by a factor on that output (after its batch norm)."""
    attribute: str | None = None
    """Path of a module's attribute that counts the units, such as ``blocks.0.attention.heads``."""

    @property
    def size(self) -> int:
        return self.members[0].index.shape[0]

    def of(self, *roles: str) -> list[Member]:
        return [member for member in self.members if member.role in roles]

    def __repr__(self) -> str:
        return f"UnitGroup({self.name!r}, {self.size} units, {len(self.members)} members)"
