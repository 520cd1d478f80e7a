"""Scope: which tensors may be pruned and, for every other one, the reason why not.

Prunable are the weights of convolutions, linear layers and attention projections. Biases, norm
parameters, embeddings, class and position tokens never are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from sparsebench.errors import UsageError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_WEIGHTS = {
    (nn.Linear, *_CONVOLUTIONS): ("weight",),
    (nn.MultiheadAttention,): ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    (nn.Bilinear,): ("weight",),
}


@dataclass(frozen=True)
class Scope:
    """The prunable parameters in model order and the reason for every other one."""

    prunable: dict[str, nn.Parameter]
    excluded: dict[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(p.shape) for name, p in self.prunable.items()}

    @property
    def size(self) -> int:
        return sum(p.numel() for p in self.prunable.values())


def scope_of(model: nn.Module, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> Scope:
    """The scope of a model.

    Args:
        include: patterns (``fnmatch``) of further parameter names that may be pruned, for layers of one's own;
            frozen weights and those tied to an embedding stay out all the same.
        exclude: patterns of names that may not, such as ``"fc.*"`` to keep the classifier dense; stronger
            than ``include``.

    Raises:
        UsageError: nothing is prunable, a pattern matches nothing, or the model is reparametrised or lazy.

    >>> scope_of(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))).excluded["1.weight"]
    'parameter of BatchNorm1d (norm)'
    """
    include, exclude = list(include), list(exclude)
    names = [name for name, _ in model.named_parameters()]
    for pattern in include + exclude:
        if not any(fnmatch(name, pattern) for name in names):
            raise UsageError(f"scope pattern {pattern!r} matches no parameter of {type(model).__name__}")
    prunable, excluded = {}, {}
    owners = {
        f"{path}.{leaf}" if path else leaf: module
        for path, module in model.named_modules()
        for leaf in module._parameters
    }
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, _EMBEDDINGS)}
    for name, param in model.named_parameters():
        leaf = name.rpartition(".")[2]
        if leaf.endswith("_orig") or ".parametrizations." in f".{name}":
            raise UsageError(
                f"parameter {name!r} is reparametrised: masks go on plain weights; call "
                "torch.nn.utils.prune.remove or parametrize.remove_parametrizations first"
            )
        if is_lazy(param):
            raise UsageError(f"parameter {name!r} has no shape yet: run one batch through the lazy layers first")
        if any(fnmatch(name, p) for p in exclude):
            reason = "excluded by the caller"
        elif not param.requires_grad:
            reason = "frozen"
        elif id(param) in embeddings:
            reason = "embedding" if isinstance(owners[name], _EMBEDDINGS) else "tied to an embedding"
        elif any(fnmatch(name, p) for p in include):
            reason = None
        else:
            reason = _why_not(leaf, owners[name])
        if reason:
            excluded[name] = reason
        else:
            prunable[name] = param
    if not prunable:
        raise UsageError(
            f"{type(model).__name__} has no prunable weights (convolution, linear or attention layers); "
            "name some with include="
        )
    return Scope(prunable, excluded)


def _why_not(leaf: str, module: nn.Module) -> str | None:
    """The reason a parameter is not prunable by its kind, None if it is."""
    kind = type(module).__name__
    if "bias" in leaf:
        return "bias"
    for kinds, leaves in _WEIGHTS.items():
        if isinstance(module, kinds) and leaf in leaves:
            return None
    if isinstance(module, _NORMS) or "norm" in kind.lower():
        return f"parameter of {kind} (norm)"
    return f"not a weight of a convolution, linear or attention layer ({kind})"
