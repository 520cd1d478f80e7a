"""DeadNeurons: how many units of a network are silent, epoch by epoch, in any LightningModule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
from torch import Tensor, nn

from sparsebench.callbacks.current_masks import current_masks
from sparsebench.callbacks.epoch_values import tell
from sparsebench.callbacks.probe import collect_probe
from sparsebench.errors import UsageError
from sparsebench.metrics.dead_neurons import dead_neuron_rates, zero_masks
from sparsebench.metrics.static_units import RememberedReach

LOGGED = ("static", "dynamic", "dynamic_alive", "permanent", "neg_preact")


class DeadNeurons(L.Callback):
    """Measures dead-neuron rates on a fixed set of training images at the end of training epochs.

    Args:
        probe: batches ``x`` or ``(x, ...)``, without augmentation; default ``images`` training examples
            collected once before training (see ``collect_probe``: they carry the loader's augmentation).
        every_n_epochs: epochs between measurements.
        images: size of the default probe.
        masks: parameter name -> bool tensor, True = kept; default those of the callback that prunes;
            where none does, weights that are exactly 0 count as pruned (a layer initialised to zeros, too).
        on: dotted path of the module that is run on the inputs; default the LightningModule itself.

    Logs ``dead/static``, ``dead/dynamic``, ``dead/dynamic_alive`` and ``dead/permanent`` (and
    ``dead/neg_preact`` of smooth activations), leaving out what the network does not have. ``history``
    holds one dict a measurement: epoch, global_step, all rates, and those of every site; it is part of
    checkpoints. Definitions: ``sparsebench.metrics.dead_neurons``.

    >>> DeadNeurons(every_n_epochs=5).history
    []
    """

    def __init__(
        self,
        probe: Iterable | None = None,
        every_n_epochs: int = 1,
        images: int = 2048,
        masks: Mapping[str, Tensor] | None = None,
        *,
        on: str = "",
    ):
        if every_n_epochs < 1 or images < 1:
            raise UsageError(f"every_n_epochs={every_n_epochs} and images={images} must be at least 1")
        self.probe = None if probe is None else list(probe)
        self.every_n_epochs, self.images, self.on = every_n_epochs, images, on
        self.fixed_masks = masks
        self.history: list[dict[str, Any]] = []
        self._reach = RememberedReach()

    @property
    def state_key(self) -> str:
        return f"{type(self).__name__}[{self.on}]"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._target(pl_module)
        if self.probe is None:
            self.probe = collect_probe(trainer, self.images)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        target = self._target(pl_module)
        masks = self.fixed_masks or current_masks(trainer, self.on) or zero_masks(target)
        batches = (trainer.precision_plugin.convert_input(batch) for batch in self.probe)
        rates = dead_neuron_rates(target, batches, masks, self._reach).as_dict()
        self.history.append({"epoch": trainer.current_epoch, "global_step": trainer.global_step, **rates})
        tell(trainer, {f"dead/{name}": rates[name] for name in LOGGED if rates[name] is not None})

    def state_dict(self) -> dict[str, Any]:
        return {"history": list(self.history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = list(state["history"])

    def _target(self, module: L.LightningModule) -> nn.Module:
        target = module.get_submodule(self.on)
        if type(target).forward is L.LightningModule.forward:
            raise UsageError(
                f"{type(module).__name__} has no forward(x) to run the probe on: define it, or name "
                'the attribute that holds the network, such as DeadNeurons(on="net")'
            )
        return target
