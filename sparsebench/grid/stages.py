"""Stages: carries out the phases of one stage and stores what comes of it."""

from __future__ import annotations

import json
import time
from functools import singledispatch
from hashlib import sha256

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from sparsebench import tree
from sparsebench.files import write_atomic
from sparsebench.functional import next_masks
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import Stage
from sparsebench.grid.state import (
    UNTOUCHED,
    State,
    data_of,
    digests_of_ranks,
    fingerprint,
    fresh_report,
    initial_net,
    shuffled,
    top1,
)
from sparsebench.grid.store import CorruptStage, Store
from sparsebench.grid.training import scoring_data, train
from sparsebench.masks import Masks
from sparsebench.phases import Phase, Prune, Reinit, Rewind, Shuffle, Train, describe
from sparsebench.protocol import derived_seed
from sparsebench.snapshot import state_digest

DENSE_KEYS = "state_dict keys are those of the dense network"


def run_stage(stage: Stage, store: Store, hardware: Hardware) -> None:
    """Compute a stage and store it, unless it is there; two processes never compute the same one."""
    with store.lock(stage.id):
        if (store.stage(stage.id) / "stage.json").exists():
            return
        began = time.perf_counter()
        data = task_data(stage, hardware)
        state, reads = begin(stage, store, data, hardware), data.test_reads
        keys = set(state.net.state_dict())
        for phase in stage.phases:
            perform(phase, state, store, data, hardware)
        audit_stage(state, keys, data.test_reads - reads, hardware)
        state.report["val_top1"] = top1(state.net, data.val_dataloader())
        state.report["wall_seconds"] = time.perf_counter() - began
        save(state, store)


def audit_stage(state: State, keys: set[str], test_reads: int, hardware: Hardware) -> None:
    """Note what holds of every stage, whatever its phases: rules 4, 5 and 8."""
    if state.masks is not None:
        digests = digests_of_ranks(state.masks)
        same = len(set(digests)) == 1 and len(digests) == hardware.devices
        state.note(4, same, f"{len(set(digests))} digest(s) on {len(digests)} of {hardware.devices} process(es)")
    odd = sorted(keys ^ set(state.net.state_dict()))
    state.note(5, not odd, f"{DENSE_KEYS} but for {', '.join(odd[:3])}" if odd else DENSE_KEYS)
    state.note(8, test_reads == 0, f"test set read {test_reads} time(s) while training")


def task_data(stage: Stage, hardware: Hardware):
    """The data module of a stage's or a cell's task."""
    recipe = stage.task.recipe
    return data_of(
        stage.task.dataset,
        recipe.global_batch,
        recipe.augment,
        hardware.data_root,
        hardware.download,
        hardware.device,
    )


def begin(stage: Stage, store: Store, data, hardware: Hardware) -> State:
    """The parent's result, or the network at initialisation."""
    net = initial_net(stage.task, stage.seed, data.input_shape, data.num_classes).to(hardware.device)
    masks = None
    if stage.parent:
        masks = load_stage(stage.parent, store, net)
    state = State(stage, net, masks, trainings=stage.trainings_before, report=fresh_report())
    if not stage.parent:
        state.report["initial_digest"] = state_digest(net)
    return state


def load_stage(name: str, store: Store, net) -> Masks | None:
    """Load a stored stage's weights into a network of its kind; returns its masks.

    Raises:
        CorruptStage: damaged or of another network.
    """
    report = store.stage_report(name)
    folder = store.stage(name)
    try:
        # Keys too many are rule 5's to report; keys that are missing leave nothing to evaluate.
        missing, _ = net.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CorruptStage(name, f"{folder / 'weights.safetensors'}: {error}") from None
    if missing:
        raise CorruptStage(name, f"{folder / 'weights.safetensors'}: lacks {', '.join(missing[:3])}")
    return Masks.load(folder / "masks.safetensors") if "masks.safetensors" in report["files"] else None


@singledispatch
def perform(phase: Phase, state: State, store: Store, data, hardware: Hardware) -> None:
    """Carry out one phase."""
    raise TypeError(f"no way to carry out {phase!r}")


@perform.register
def _(phase: Train, state: State, store: Store, data, hardware: Hardware) -> None:
    folder = store.stage(state.stage.id)
    folder.mkdir(parents=True, exist_ok=True)
    train(state, phase, data, folder / "checkpoint.ckpt", hardware)


@perform.register
def _(phase: Prune, state: State, store: Store, data, hardware: Hardware) -> None:
    before, began = fingerprint(state.net), time.perf_counter()
    seed = derived_seed(state.seed, "masks")
    previous, notes = state.masks, []
    state.masks = next_masks(
        state.net,
        phase.scorer.criterion,
        sparsity=phase.sparsity,
        allocation=phase.scorer.allocation,
        data=scoring_data(phase.scorer.criterion, data, seed),
        masks=previous,
        seed=seed,
        notes=notes,
        **phase.scorer.arguments,
    )
    state.report["score_seconds"] += time.perf_counter() - began
    state.note(7, fingerprint(state.net) == before, UNTOUCHED)
    if previous is not None:
        state.note(3, state.masks.nested_in(previous), f"{state.masks.kept} kept within {previous.kept}")
    for text in [*notes, *(f"layer {name} emptied" for name in state.masks.emptied)]:
        state.flag(text)
    state.masks.apply(state.net)
    state.report["val_top1_before"] = top1(state.net, data.val_dataloader())


@perform.register
def _(phase: Rewind, state: State, store: Store, data, hardware: Hardware) -> None:
    point = state.stage.rewind_point
    if point:
        load_stage(point, store, state.net)
        state.optimizer = tree.load(store.stage(point) / "optimizer.safetensors")
        expected = store.stage_report(point)["final_digest"]
    else:
        state.net = initial_net(state.task, state.seed, data.input_shape, data.num_classes).to(hardware.device)
        expected = initial_digest(state, store)
        state.optimizer = None
    where = f"equal by digest to the state at {phase.to:g} of the dense training"
    state.note(6, state_digest(state.net) == expected, where)
    state.start = phase.to
    state.masks.apply(state.net)


@perform.register
def _(phase: Shuffle, state: State, store: Store, data, hardware: Hardware) -> None:
    state.masks = shuffled(state.masks, state.seed)
    state.masks.apply(state.net)


@perform.register
def _(phase: Reinit, state: State, store: Store, data, hardware: Hardware) -> None:
    state.net = initial_net(state.task, state.seed, data.input_shape, data.num_classes, draw=1).to(hardware.device)
    state.masks.apply(state.net)
    state.optimizer = None


def initial_digest(state: State, store: Store) -> str:
    """What the first stage of the chain recorded of its initial network."""
    report, parent = state.report, state.stage.parent
    while "initial_digest" not in report:
        report = store.stage_report(parent)
        parent = report["parent"]
    return report["initial_digest"]


def save(state: State, store: Store) -> None:
    """Write the stage's files, ``stage.json`` last."""
    stage, folder = state.stage, store.stage(state.stage.id)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in state.net.state_dict().items()}
    write_atomic(folder / "weights.safetensors", safetensors_bytes(weights))
    files = ["weights.safetensors"]
    if state.masks is not None:
        state.masks.save(folder / "masks.safetensors")
        files.append("masks.safetensors")
    if stage.keeps_optimizer:
        tree.save(state.optimizer, folder / "optimizer.safetensors")
        files.append("optimizer.safetensors")
    report = {
        "id": stage.id,
        "label": stage.label,
        "parent": stage.parent,
        "rewind_point": stage.rewind_point,
        "phases": [describe(phase) for phase in stage.phases],
        "final_digest": state_digest(state.net),
        "files": {file: sha256((folder / file).read_bytes()).hexdigest() for file in files},
        **state.report,
    }
    write_atomic(folder / "stage.json", json.dumps(report, indent=1))
