"""Load: the finished network of a cell, from its record and the store."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparsebench.errors import UsageError
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.stages import Loaded, load_stage, task_data
from sparsebench.grid.state import initial_net
from sparsebench.grid.store import Store
from sparsebench.masks import Masks
from sparsebench.structured import expand
from sparsebench.tasks import Task, from_settings


@dataclass(frozen=True)
class StoredCell:
    """A cell's network as it was measured, and its task's at initialisation."""

    loaded: Loaded
    whole: nn.Module
    task: Task
    data: Any

    @property
    def as_measured(self) -> tuple[nn.Module, Masks]:
        """The network in the shape it was measured in, and its masks."""
        return self.loaded.net, self.loaded.masks or Masks.dense(self.loaded.net)

    @property
    def in_full(self) -> tuple[nn.Module, Masks]:
        """The same in the shape of the dense network, with zeros where units were taken out."""
        if self.loaded.structure is None:
            return self.as_measured
        net = deepcopy(self.whole)
        expand(net, self.loaded.net, self.loaded.structure)
        return net, self.loaded.structure

    @property
    def is_smaller(self) -> bool:
        return self.loaded.structure is not None or bool(self.loaded.arguments)

    @property
    def network_arguments(self) -> dict[str, Any]:
        return {**self.task.network_arguments, **self.loaded.arguments}

    def example(self, images: int) -> Tensor:
        """Inputs from the training split."""
        return self.data.probe(images)[0][0][:images]


def load_cell(record: dict[str, Any], store: Store, hardware: Hardware) -> StoredCell:
    """The network of a finished cell.

    Raises:
        UsageError: the cell failed, or its stages are not in the store.
    """
    cell = record["cell"]
    stage = (record.get("parents") or [None])[-1]
    if stage is None or not (store.stage(stage) / "stage.json").exists():
        raise UsageError(
            f"the network of cell {record['cell_id']} is not in the store {store.folder}: records hold numbers, "
            f"stores hold networks; run it here first: sparsebench run {record['board']} --tasks {cell['task']} "
            f"--methods '{cell['method']}' --seeds {cell['seed']}"
        )
    task = from_settings(record["settings"]["task"])
    data = task_data(task, hardware, store, cell["seed"])
    loaded = load_stage(stage, store, task, cell["seed"], data, hardware)
    whole = initial_net(task, cell["seed"], data.input_shape, data.num_classes).to(hardware.device)
    return StoredCell(loaded, whole, task, data)
