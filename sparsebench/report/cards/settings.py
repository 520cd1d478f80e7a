"""Settings: the sections of a card that say how a method runs: phases, cost, arguments, fingerprint."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from sparsebench.allocation import split_allocation
from sparsebench.fingerprint import plain
from sparsebench.grid.board import Board
from sparsebench.methods import Method
from sparsebench.patterns import NM
from sparsebench.phases import (
    Activating,
    Dynamic,
    Gradual,
    Latent,
    Narrow,
    Phase,
    Prune,
    Recalibrate,
    Reinit,
    Rewind,
    Shuffle,
    Train,
)
from sparsebench.registry import criterion
from sparsebench.report.cards.blocks import Block, Code, Section, Table, Text
from sparsebench.report.cards.subject import Subject, meaning, read
from sparsebench.report.cells import sparsity_label

SPARSITIES = (0.5, 0.75, 0.9, 0.95, 0.98)
"""For what depends on the sparsity, where no board asks for others."""


def settings(subject: Subject, boards: Sequence[Board], sparsities: Sequence[float]) -> Iterator[Section]:
    """Phases, cost, arguments and fingerprint."""
    method = subject.method
    shown = tuple(sparsities or SPARSITIES) if method.fixed_sparsity is None else (method.fixed_sparsity,)
    example = f"Shown on `{method.name}`. " if subject.part else ""
    yield Section("Phases", tuple(_phases(method, shown[len(shown) // 2], example)))
    yield Section("Cost", (Text(f"{example}{_COST}"), _cost(_variants(subject, boards), shown)))
    if rows := list(_arguments(subject, boards)):
        yield Section("Arguments", (Table(("part", "argument", "default", "here", "on boards"), tuple(rows)),))
    fingerprint = tuple((f"`{key}`", plain(value)) for key, value in method.fingerprint().items())
    same = "" if subject.file else f"As `sparsebench show {shlex.quote(method.name)}` prints it."
    said = [Text(text)] if (text := f"{example}{same}".strip()) else []
    yield Section("Fingerprint", (*said, Table(("choice", "here"), fingerprint)))


def _phases(method: Method, sparsity: float, example: str) -> Iterator[Block]:
    yield Text(f"{example}To {sparsity_label(sparsity)} sparsity:")
    yield Code(tuple(f"{place}. {step}" for place, step in enumerate(_steps(method.phases(sparsity)), 1)))


def _steps(phases: Sequence[Phase]) -> Iterator[str]:
    """One line a phase; of rounds that differ in their sparsity alone the first, the number and the last."""
    prunes = [place for place, phase in enumerate(phases) if isinstance(phase, Prune)]
    rounds = [phases[a:b] for a, b in zip(prunes, [*prunes, len(phases)][1:], strict=True)]
    alike = rounds and all(part[1:] == rounds[0][1:] for part in rounds)
    if len(rounds) < 4 or not alike:
        yield from map(phase_text, phases)
        return
    yield from map(phase_text, phases[: prunes[0]])
    yield from map(phase_text, rounds[0])
    levels = ", ".join(sparsity_label(part[0].sparsity).removesuffix(" %") for part in rounds[1:])
    yield f"{len(rounds) - 1} more rounds of the same, to {levels} %"


def phase_text(phase: Phase) -> str:
    """A phase in words.

    >>> phase_text(Rewind(0.0)), phase_text(Train(epochs=0.5, rate=0.1))
    ('rewind to the initial state', "train 0.5 x the task's epochs at 0.1 x its peak rate")
    """
    match phase:
        case Train():
            until = f" up to {phase.until:g} of the schedule" if phase.until < 1 else ""
            how = "in full" if phase.epochs == 1 and phase.rate is None else f"{phase.epochs:g} x the task's epochs"
            rate = "" if phase.rate is None else f" at {phase.rate:g} x its peak rate"
            return f"train {how}{rate}{until}" + "".join(f", {text}" for text in _training_texts(phase))
        case Prune():
            return f"prune to {sparsity_label(phase.sparsity)} by {_scorer_text(phase.scorer)}{_ap_text(phase.ap)}"
        case Rewind():
            return f"rewind to {'the initial state' if phase.to == 0 else f'{phase.to:g} of the dense training'}"
        case Shuffle():
            return "permute the mask within each tensor"
        case Reinit():
            return "draw new initial weights under the mask"
        case Recalibrate():
            return f"estimate batch-norm statistics anew on {phase.examples} training images"
        case Narrow():
            return f"begin with a network that is {sparsity_label(phase.sparsity)} smaller ({phase.match})"


def _training_texts(phase: Train) -> Iterator[str]:
    """What a training does besides."""
    if phase.pruner:
        yield _pruner_text(phase.pruner)
    if phase.unbalanced:
        yield f"on a part of some classes' images ({phase.unbalanced})"
    if phase.distill:
        d = phase.distill
        feature = f", {d.beta:g} x {d.feature}" if d.beta else ""
        yield f"learning from the dense network ({d.alpha:g} x KL at T = {d.temperature:g}, {d.gamma:g} x CE{feature})"


def _pruner_text(pruner: Gradual | Dynamic | Latent) -> str:
    every = f"every {pruner.every} steps" if pruner.every else "every so many steps as the task says"
    target = sparsity_label(pruner.sparsity)
    match pruner:
        case Gradual():
            ramp = f"from {pruner.begin:g} to {pruner.end:g} of it, {every}, along the cubic schedule"
            return f"pruning to {target} by {_scorer_text(pruner.scorer)}{_ap_text(pruner.ap)} {ramp}"
        case Dynamic():
            most = "up to " if pruner.rule == "rigl" else ""
            share = f"{most}{pruner.fraction:g} of each layer's kept weights move {every} until {pruner.end:g} of it"
            return f"{target} sparse throughout ({pruner.allocation}); {share} ({pruner.rule})"
        case Latent():
            given = ", ".join(f"{k}={v!r}" for k, v in pruner.arguments.items())
            return f"{target} sparse by latent weights ({pruner.rule}, {pruner.allocation}; {given}), updated {every}"


def _ap_text(ap: Activating | None) -> str:
    """The part of a pruning that AP does.

    >>> _ap_text(None), _ap_text(Activating(0.02, "positive"))
    ('', ', of it 2 % of the weights alive by AP (positive, movement)')
    """
    if ap is None:
        return ""
    what = "all" if ap.whole else f"{100 * ap.q:g} % of the weights alive"
    return f", of it {what} by AP ({ap.sign}, {ap.score})"


def _scorer_text(scorer) -> str:
    given = ", ".join(f"{k}={v!r}" for k, v in scorer.arguments.items())
    return (
        f"{scorer.criterion}{f'({given})' if given else ''}/{scorer.allocation}{', inverted' if scorer.invert else ''}"
    )


_COST = (
    "Trainings and epochs count everything up to the result, the dense training included (shared with other "
    "methods where they have it too); a pass is one scoring of the network."
)


def _variants(subject: Subject, boards: Sequence[Board]) -> dict[str, Method]:
    """The method as it is written, and as boards that set its arguments run it."""
    found = {"as written": subject.method}
    for board in boards:
        method = read(subject.method.name, board.defaults)
        if method and all(meaning(method) != meaning(other) for other in found.values()):
            found[f"on the {board.name} board"] = method
    return found


def _cost(variants: dict[str, Method], sparsities: Sequence[float]) -> Table:
    header = ("arguments", "sparsity", "trainings", "epochs / dense", "scoring passes", "looks at")
    rows = []
    for name, method in variants.items():
        for sparsity in sparsities:
            phases = method.phases(sparsity)
            trainings = str(sum(isinstance(phase, Train) for phase in phases))
            cost = (trainings, f"{epochs(phases):g} x", passes(method, phases), images(method))
            rows.append((name, sparsity_label(sparsity), *cost))
    if len({row[2:] for row in rows}) == 1:
        rows = [("any", "any", *rows[0][2:])]
    return Table(header, tuple(rows), frozenset(range(1, len(header))))


def epochs(phases: Sequence[Phase]) -> float:
    """Training up to the result in multiples of the task's epochs.

    >>> epochs([Train(), Prune(0.5, None), Rewind(0.1), Train()])
    1.9
    """
    total, at = 0.0, 0.0
    for phase in phases:
        if isinstance(phase, Rewind):
            at = phase.to
        elif isinstance(phase, Train):
            total, at = total + phase.epochs * (phase.until - at), 0.0
    return round(total, 6)


def passes(method: Method, phases: Sequence[Phase]) -> str:
    """How often the network is scored; in words where the task's length decides."""
    rounds = criterion.entry(method.scorer.criterion).traits.get("rounds", 1) if method.scorer else 1
    single = sum(rounds if not _is_nm(phase) else 1 for phase in phases if isinstance(phase, Prune))
    while_training = any(isinstance(phase, Train) and phase.pruner for phase in phases)
    if while_training:
        return f"{single} + every update" if single else "every update"
    return str(single)


def _is_nm(prune: Prune) -> bool:
    return isinstance(split_allocation(prune.scorer.allocation)[1], NM)


def images(method: Method) -> str:
    said = method.fingerprint()["scoring_examples"]
    return "none" if said is None else str(said)


def _arguments(subject: Subject, boards: Sequence[Board]) -> Iterator[tuple[str, ...]]:
    """One row an argument: where it belongs, its default, its value in this method, what boards set."""
    method = subject.method
    values = {method.regime: method.regime_arguments, **dict(method.modifiers)}
    if method.scorer:
        values[method.scorer.criterion] = method.scorer.arguments
    for entry in subject.entries:
        for name, default in entry.params.items():
            here = values.get(entry.name, {}).get(name, default)
            on = [
                f"{b.name}: {b.defaults[entry.name][name]!r}" for b in boards if name in b.defaults.get(entry.name, {})
            ]
            shown = "as the default" if here == default else f"`{here!r}`"
            yield f"{entry.kind} `{entry.name}`", f"`{name}`", f"`{default!r}`", shown, ", ".join(on) or "–"
