"""Teacher: the dense network that a training distils from, as its stage stored it."""

from __future__ import annotations

from safetensors.torch import load_file
from torch import nn

from sparsebench.grid.hardware import Hardware
from sparsebench.grid.state import State, initial_net
from sparsebench.grid.store import Store
from sparsebench.metrics.flops import macs
from sparsebench.models.distillation import Distillation
from sparsebench.phases import Train


def distillation_of(phase: Train, state: State, store: Store, data, hardware: Hardware) -> Distillation | None:
    """What a training learns besides the labels; what the teacher costs is noted.

    The teacher is the dense stage of the task and seed: trained on the task's data, whatever the student sees.

    Raises:
        CorruptStage: the teacher's stage is damaged.
    """
    if phase.distill is None or not phase.distill.needs_teacher:
        return None
    report = store.stage_report(state.stage.teacher)  # checks the files before they are read
    teacher = dense_net(state, store, data).to(hardware.device)
    state.report["teacher_digest"] = report["final_digest"]
    state.report["teacher_macs"] = macs(teacher, data.input_shape).dense
    return Distillation(teacher, phase.distill, state.task.recipe.channels_last)


def dense_net(state: State, store: Store, data) -> nn.Module:
    net = initial_net(state.task, state.seed, data.input_shape, data.num_classes)
    net.load_state_dict(load_file(store.stage(state.stage.teacher) / "weights.safetensors"))
    return net
