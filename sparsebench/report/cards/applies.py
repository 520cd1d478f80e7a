"""Applies: on which networks and tensors a method works, and which parts go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sparsebench.allocation import allocation, split_allocation
from sparsebench.criteria import is_structured
from sparsebench.errors import UsageError
from sparsebench.methods import Method, parse
from sparsebench.patterns import NM
from sparsebench.phases import Dynamic, Latent, Train
from sparsebench.registry import criterion, modifier, regime
from sparsebench.report.cards.subject import Subject

WEIGHTS = (
    "Any network. Prunable are the weights of convolution, linear and attention layers, first layer and classifier "
    "included; never biases, norm parameters, embeddings, class and position tokens, frozen weights."
)
UNITS = (
    "Filters, neurons and heads of every network whose forward pass torch-pruning can follow. Heads: of attention that "
    "keeps query, key and value in one Linear `qkv`, the output in `proj` and counts `heads`; other attention is left "
    "as it is."
)


def applies(subject: Subject) -> Iterator[str]:
    """Sentences: tensors, networks, what it goes with, how to have it in code of one's own."""
    if subject.part:
        yield from _part(subject)
        return
    yield from _networks(subject.method)
    yield from _together(subject.method)
    yield _own_code(subject.method)


def _networks(method: Method) -> Iterator[str]:
    if method.is_dense:
        yield "Every network; nothing is pruned."
        return
    if method.regime == "small_dense":
        yield "Networks of this suite whose width is an argument; nothing is masked."
        return
    if not method.scorer or not is_structured(method.scorer.criterion):
        yield WEIGHTS
    else:
        yield UNITS
        if criterion.entry(method.scorer.criterion).traits.get("needs") == "norm":
            yield "Only networks with a batch norm behind everything that could be taken out."
    pattern = split_allocation(method.scorer.allocation)[1] if method.scorer else None
    if isinstance(pattern, NM):
        yield (
            f"{pattern.n}:{pattern.m}: tensors whose number of inputs is no multiple of {pattern.m} stay dense; "
            "a network more than a quarter of whose weights would be dense is refused."
        )


def _together(method: Method) -> Iterator[str]:
    """The regimes and allocations that the criterion goes with."""
    if not method.scorer:
        return
    name, rule = method.scorer.criterion, method.scorer.allocation
    rules = [*allocation.names(), "2:4", "block4x4"]
    yield from _goes("Regimes", regime.names(), lambda other: f"{name}/{rule}@{other}")
    yield from _goes("Allocations", rules, lambda other: f"{name}/{other}@{method.regime}")


def _part(subject: Subject) -> Iterator[str]:
    name = subject.part.name
    if subject.part.kind == "regime":
        yield from _goes("Criteria", criterion.names(), lambda other: f"{other}@{name}")
        yield from _goes("Modifiers", modifier.names(), lambda other: f"{subject.method.name}+{other}")
    elif subject.part.kind == "allocation":
        yield from _goes("Criteria", criterion.names(), lambda other: f"{other}/{name}")
    else:
        own = [n for n in regime.names() if regime.entry(n).traits.get("criterion") == "none"]
        yield from _goes(
            "Regimes", regime.names(), lambda other: f"{'' if other in own else 'magnitude@'}{other}+{name}"
        )


def _goes(what: str, names: Iterable[str], written: Callable[[str], str]) -> Iterator[str]:
    """Which of these make a method that makes sense."""
    fit = [name for name in names if _sensible(written(name))]
    if fit:
        yield f"{what}: " + ", ".join(f"`{name}`" for name in fit) + "."


def _sensible(text: str) -> bool:
    try:
        parse(text)
    except UsageError:
        return False
    return True


def _own_code(method: Method) -> str:
    if method.scorer and is_structured(method.scorer.criterion):
        return "In your own code: `sparsebench.prune` before the fit; no callback takes units out of a running one."
    pruners = [phase.pruner for phase in _phases(method) if isinstance(phase, Train) and phase.pruner]
    moving = [pruner.rule for pruner in pruners if isinstance(pruner, Dynamic | Latent)]
    if pruners and method.scorer and criterion.entry(method.scorer.criterion).traits.get("accumulates"):
        moving = [method.scorer.criterion]
    if moving:
        name = "DynamicSparsity" if moving[0] in ("set", "rigl") else "LatentSparsity"
        return f'In a Trainer of your own: `{name}("{moving[0]}")`.'
    if not method.scorer:
        return f"On a board only: `{method.name}` in its list of methods."
    name = f"{method.scorer.criterion}/{method.scorer.allocation}"
    anywhere = f'`sparsebench.prune(model, "{name}", ...)`'
    return f'In a Trainer of your own: `Pruner("{name}")`; on any `nn.Module`: {anywhere}.'


def _phases(method: Method) -> list:
    return method.phases(0.9 if method.fixed_sparsity is None else method.fixed_sparsity)
