"""Perform: what each phase does to the network on its way through a stage."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import singledispatch

from safetensors.torch import load_file
from torch import Tensor, nn

from sparsebench import tree
from sparsebench.activation import activated
from sparsebench.allocation import kept_count
from sparsebench.batch_norm import reestimate
from sparsebench.callbacks.ranks import agree, rank_zeros
from sparsebench.criteria import is_structured
from sparsebench.functional import Pruning, pruning
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.pruners import scoring_data
from sparsebench.grid.state import UNTOUCHED, State, initial_net, shuffled, state_hash, top1, without_units
from sparsebench.grid.store import Store
from sparsebench.grid.teacher import distillation_of
from sparsebench.grid.training import CHECKPOINT, train
from sparsebench.masks import Masks
from sparsebench.metrics.flops import macs
from sparsebench.models.narrow import narrowed
from sparsebench.phases import Narrow, Phase, Prune, Recalibrate, Reinit, Rewind, Shuffle, Train
from sparsebench.protocol import derived_seed
from sparsebench.ranks import alone, from_leader
from sparsebench.registry import criterion
from sparsebench.scope import scope_of
from sparsebench.snapshot import state_digest
from sparsebench.structured import compose


@singledispatch
def perform(phase: Phase, state: State, store: Store, data, hardware: Hardware) -> None:
    """Carry out one phase."""
    raise TypeError(f"no way to carry out {phase!r}")


@perform.register
def _(phase: Train, state: State, store: Store, data, hardware: Hardware) -> None:
    folder = store.stage(state.stage.id)
    from_leader(lambda: folder.mkdir(parents=True, exist_ok=True))
    distillation = distillation_of(phase, state, store, data, hardware)
    train(state, phase, data, folder / CHECKPOINT, hardware, distillation)
    state.report["macs"] = macs(state.net, data.input_shape).dense


@perform.register
def _(phase: Prune, state: State, store: Store, data, hardware: Hardware) -> None:
    before, began = state_hash(state.net), time.perf_counter()
    result, notes = scored(state, phase, data) if phase.ap is None else activating(state, phase, store, data, hardware)
    state.report["score_seconds"] += time.perf_counter() - began
    state.report["score_passes"] += result.passes
    state.note(7, state_hash(state.net) == before, UNTOUCHED)
    if is_structured(phase.scorer.criterion):
        take_out(state, result.masks, data)
        if result.found:
            state.report["search"] = result.found
    else:
        if state.masks is not None:
            state.note(3, result.masks.nested_in(state.masks), f"{result.masks.kept} kept within {state.masks.kept}")
        state.before = {name: weight.detach().clone() for name, weight in scope_of(state.net).prunable.items()}
        result.apply(state.net)
        state.masks = result.masks
        notes += [f"layer {name} emptied" for name in state.masks.emptied]
    for text in notes:
        state.flag(text)
    state.report["val_top1_before"] = top1(state.net, data.val_dataloader())


@perform.register
def _(phase: Rewind, state: State, store: Store, data, hardware: Hardware) -> None:
    point = state.stage.rewind_point
    state.net = fresh_net(state, data, hardware)
    if point:
        expected = store.stage_report(point)["final_digest"]  # checks the files before they are read
        state.net.load_state_dict(load_file(store.stage(point) / "weights.safetensors"))
        state.optimizer = tree.load(store.stage(point) / "optimizer.safetensors")
    else:
        expected = initial_digest(state, store)
        state.optimizer = None
    where = f"equal by digest to the state at {phase.to:g} of the dense training"
    state.note(6, state_digest(state.net) == expected, where)
    state.start = phase.to
    sparse_again(state, data)


@perform.register
def _(phase: Shuffle, state: State, store: Store, data, hardware: Hardware) -> None:
    state.masks = shuffled(state.masks, state.seed)
    Pruning(state.masks, state.before).apply(state.net)


@perform.register
def _(phase: Reinit, state: State, store: Store, data, hardware: Hardware) -> None:
    state.net = fresh_net(state, data, hardware, draw=1)
    sparse_again(state, data)
    state.optimizer = None


@perform.register
def _(phase: Recalibrate, state: State, store: Store, data, hardware: Hardware) -> None:
    with alone():
        state.report["recalibrated"] = reestimate(state.net, data.probe(phase.examples))


@perform.register
def _(phase: Narrow, state: State, store: Store, data, hardware: Hardware) -> None:
    task = state.task
    found = narrowed(
        task.network, task.network_arguments, data.input_shape, data.num_classes, phase.sparsity, phase.match
    )
    state.arguments = found.arguments
    state.net = fresh_net(state, data, hardware)


def scored(state: State, phase: Prune, data) -> tuple[Pruning, list[str]]:
    """The pruning a phase asks for, and what is odd about its scores.

    Every rank scores on all of the data, as one process does, and takes what the first one found.
    """
    seed, notes = derived_seed(state.seed, "masks"), []
    options = {"notes": notes, **phase.scorer.arguments}
    if is_structured(phase.scorer.criterion):
        # The sparsity is of the network with all its units; whole units may have gone beyond it on the rung before.
        kept = kept_count(1 - phase.sparsity, state.prunable)
        sparsity = max(0.0, 1 - kept / scope_of(state.net).size)
    else:
        sparsity = phase.sparsity
        options |= {"masks": state.masks, "invert": phase.scorer.invert}
    with alone():
        found = pruning(
            state.net,
            phase.scorer.criterion,
            sparsity=sparsity,
            allocation=phase.scorer.allocation,
            data=scoring_data(phase.scorer, data, seed),
            seed=seed,
            **options,
        )
    return Pruning(agree(found.masks), rank_zeros(found.weights), found.passes, found.found), notes


def activating(state: State, phase: Prune, store: Store, data, hardware: Hardware) -> tuple[Pruning, list[str]]:
    """As ``scored``, with a part of the pruning left to AP."""
    passes, notes = [], []

    def base(masks: Masks, sparsity: float) -> Masks:
        found, odd = scored(replace(state, masks=masks), replace(phase, sparsity=sparsity, ap=None), data)
        passes.append(found.passes)
        notes.extend(text for text in odd if text not in notes)
        return found.masks

    found = activated(
        phase.ap,
        phase.sparsity,
        Masks.dense(state.net, scope_of(state.net).prunable) if state.masks is None else state.masks,
        scope_of(state.net).prunable,
        cycle_start(state, store, data, hardware),
        base,
        floor=criterion.entry(phase.scorer.criterion).traits.get("floor", 0),
        seed=derived_seed(state.seed, "ap", state.trainings),
    )
    state.report["ap"] = {"alive": found.alive, "asked": found.asked, "removed": found.removed}
    return Pruning(agree(found.masks), passes=sum(passes)), notes


def cycle_start(state: State, store: Store, data, hardware: Hardware) -> dict[str, Tensor]:
    """Prunable weights at the start of the training that the stage's parent ended with, 0 where pruned by now.

    Copies of what that training began with: initial weights, a rewind point, or the end of the stage before it.
    """
    report = store.stage_report(state.stage.parent)  # checks the files before they are read
    before, draw = report["parent"], 0
    kinds = [phase["phase"] for phase in report["phases"]]
    for kind in kinds[: len(kinds) - kinds[::-1].index("Train")]:
        if kind == "Rewind":
            before, draw = report["rewind_point"], 0
        elif kind == "Reinit":
            before, draw = None, 1
    net = fresh_net(state, data, hardware, draw)
    if before:
        store.stage_report(before)
        net.load_state_dict(load_file(store.stage(before) / "weights.safetensors"))
    if state.masks is not None:
        state.masks.apply(net)
    return {name: weight.detach() for name, weight in scope_of(net).prunable.items()}


def take_out(state: State, masks: Masks, data) -> None:
    """Remove units physically, and remember which in the shapes of the network with all of them."""
    without_units(state.net, masks, data.input_shape)
    state.structure = masks if state.structure is None else compose(state.structure, masks)


def fresh_net(state: State, data, hardware: Hardware, draw: int = 0) -> nn.Module:
    """The network at initialisation with all its units."""
    net = initial_net(state.task, state.seed, data.input_shape, data.num_classes, draw, state.arguments)
    return net.to(hardware.device)


def sparse_again(state: State, data) -> None:
    """Take the pruned weights and units out of a network that has them."""
    if state.structure is not None:
        without_units(state.net, state.structure, data.input_shape)
    if state.masks is not None:
        state.masks.apply(state.net)


def initial_digest(state: State, store: Store) -> str:
    """What the first stage of the chain recorded of its initial network."""
    report, parent = state.report, state.stage.parent
    while "initial_digest" not in report:
        report = store.stage_report(parent)
        parent = report["parent"]
    return report["initial_digest"]
