"""Pruner: pruned weights are exactly 0 after every step, whatever trains them; checkpoints carry everything."""

from __future__ import annotations

from math import cos, pi

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import sparsebench
from sparsebench.callbacks import Cubic, Iterative, OneShot, Pruner, RandomState
from sparsebench.callbacks.pruner import first_batches
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.snapshot import state_digest


class Probe(L.Callback):
    """Looks at weights and optimiser state right after every single ``optimizer.step``."""

    def __init__(self, pruner: Pruner):
        self.pruner, self.looks = pruner, 0

    def on_train_start(self, trainer, pl_module):
        params = dict(self.pruner.target(pl_module).named_parameters())

        def look(*_):
            self.looks += 1
            for name, mask in self.pruner.masks.items():
                assert (params[name][~mask] == 0).all(), f"{name} leaked"
                for optimizer in trainer.optimizers:
                    for value in optimizer.state.get(params[name], {}).values():
                        if value is not None and value.shape == mask.shape:
                            assert (value[~mask] == 0).all(), f"state of {name} leaked"

        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(look)


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("sgd", {}),
        ("adamw", {}),
        ("adamw", {"precision": "bf16-mixed"}),
        ("sgd", {"accumulate_grad_batches": 2}),
        ("sgd", {"gradient_clip_val": 0.1}),
    ],
    ids=["sgd", "adamw", "bf16", "accumulate", "clip"],
)
@pytest.mark.parametrize(
    "schedule", ["oneshot", Iterative(3, 0.7), Cubic(0.0, 0.8, 2)], ids=["oneshot", "iter", "cubic"]
)
def test_zero_after_every_step(fit, make_module, optimizer, settings, schedule):
    pruner = Pruner("magnitude", 0.9, schedule=schedule)
    probe = Probe(pruner)
    module = fit(pruner, probe, module=make_module(optimizer), max_epochs=2, **settings)
    assert probe.looks == 12 // settings.get("accumulate_grad_batches", 1)
    assert pruner.masks.kept == round(0.1 * (12 * 16 + 16 * 16 + 16 * 4))
    assert pruner.leaked == 0
    assert all((module.get_parameter(n)[m] != 0).all() for n, m in pruner.masks.items())
    assert all(entry["nested"] for entry in pruner.history)
    sparsities = [entry["sparsity"] for entry in pruner.history]
    assert sparsities == sorted(sparsities)


class Reviver(L.Callback):
    """Another's callback that writes into pruned weights in the middle of the first epoch."""

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        if trainer.current_epoch == 0 and index == 2:
            with torch.no_grad():
                pl_module.body[0].weight.add_(1.0)


def test_weights_that_another_revives_are_counted_and_masked_again(fit, make_module):
    for epochs in (1, 2):
        pruner = Pruner("magnitude", 0.9)
        module = fit(pruner, Reviver(), module=make_module(), max_epochs=epochs)
        # Weight decay took the weights into their momentum.
        pruned = ~pruner.masks["body.0.weight"]
        assert pruner.leaked == 2 * int(pruned.sum())
    assert (module.body[0].weight[pruned] == 0).all()


class Manual(L.LightningModule):
    """Two optimisers, several steps of each in one training_step, clipping by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(12, 12), nn.Linear(12, 4)
        self.norms = []

    def forward(self, x):
        return self.critic(self.generator(x))

    def training_step(self, batch, index):
        for optimizer, part in zip(self.optimizers(), (self.generator, self.critic), strict=True):
            for _ in range(3):
                optimizer.zero_grad()
                self.manual_backward(cross_entropy(self(batch[0]), batch[1]))
                self.norms.append(part.weight.grad.count_nonzero().item())
                self.clip_gradients(optimizer, 0.01)
                optimizer.step()

    def configure_optimizers(self):
        return (
            torch.optim.SGD(self.generator.parameters(), 0.1, momentum=0.9),
            torch.optim.AdamW(self.critic.parameters(), 0.01),
        )


def test_manual_optimisation_with_several_steps_of_two_optimisers(fit):
    pruner = Pruner("snip", 0.75, schedule=OneShot())
    probe = Probe(pruner)
    module = fit(pruner, probe, module=Manual(), max_epochs=1)
    assert probe.looks == 6 * 6
    assert pruner.masks.kept == 48
    # What the user clips by hand holds kept entries only.
    assert max(module.norms[0::6]) <= pruner.masks.counts["generator.weight"]
    assert max(module.norms[3::6]) <= pruner.masks.counts["critic.weight"]


def test_weights_stay_zero_also_under_the_optimisers_that_lightning_does_not_see(fit, make_module):
    class Raw(make_module):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, index):
            optimizer = self.optimizers(use_pl_optimizer=False)
            optimizer.zero_grad()
            cross_entropy(self(batch[0]), batch[1]).backward()
            optimizer.step()

    pruner = Pruner("magnitude", 0.9)
    module = fit(pruner, module=Raw(), max_epochs=1)
    assert all((module.get_parameter(n)[~m] == 0).all() for n, m in pruner.masks.items())


def test_clipping_sees_kept_weights_only(make_module, make_trainer):
    module = make_module("sgd")
    module.body.eval()  # no dropout, so that a loop by hand can follow
    twin = make_module("sgd")
    twin.load_state_dict(module.state_dict())
    twin.eval()
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(24, 12, generator=generator), torch.randint(0, 4, (24,), generator=generator)
    loader = DataLoader(TensorDataset(x, y), 8)
    pruner = Pruner("random", 0.9)
    make_trainer([pruner], max_epochs=1, gradient_clip_val=0.05).fit(module, loader)

    pruner.masks.apply(twin)
    params = dict(twin.named_parameters())
    momentum = {n: torch.zeros_like(p) for n, p in params.items()}
    for step, (inputs, labels) in enumerate(loader):
        grads = dict(
            zip(params, torch.autograd.grad(cross_entropy(twin(inputs), labels), params.values()), strict=True)
        )
        grads = {n: g * pruner.masks[n] if n in pruner.masks else g for n, g in grads.items()}
        norm = sum(g.square().sum() for g in grads.values()).sqrt()
        for n, p in params.items():
            g = grads[n] * min(1.0, 0.05 / float(norm + 1e-6)) + 0.1 * p.detach()
            momentum[n] = 0.9 * momentum[n] + g if step else g
            p.data -= 0.1 * (1 + cos(pi * step / 100)) / 2 * momentum[n]
        pruner.masks.apply(twin)
    for n, p in module.named_parameters():
        torch.testing.assert_close(p, params[n], rtol=1e-4, atol=1e-6)


def test_the_checkpoint_is_one_of_the_dense_class_and_masks_reload(fit, make_module, tmp_path):
    pruner = Pruner("magnitude/erk", 0.9, schedule=OneShot())
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=10, save_top_k=-1)
    fit(pruner, saver, module=make_module("adamw"), max_steps=10, max_epochs=-1)
    checkpoint = torch.load(saver.best_model_path or next(tmp_path.glob("*.ckpt")), weights_only=True)
    dense = make_module()
    assert list(checkpoint["state_dict"]) == list(dense.state_dict())
    dense.load_state_dict(checkpoint["state_dict"])
    stored = Masks(checkpoint["callbacks"]["Pruner[]"]["masks"])
    assert stored == pruner.masks.to("cpu")
    assert stored.kept == round(0.1 * stored.total)
    assert all((dense.get_parameter(n)[~m] == 0).all() for n, m in stored.items())


class SaveEpoch(L.Callback):
    """Saves at the end of the first epoch, as the grid does."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


class Kill(L.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise KeyError("killed")


@pytest.mark.parametrize("saver", ["hook", "ModelCheckpoint"])
@pytest.mark.parametrize(
    "schedule",
    [OneShot(), OneShot(0.7), Iterative(3, 0.9), Cubic(0.0, 0.9, 2)],
    ids=["init", "late", "iterative", "cubic"],
)
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(fit, make_module, tmp_path, schedule, saver):
    def callbacks():
        return Pruner("snip", 0.9, schedule=schedule), RandomState()

    pruner, random_state = callbacks()
    whole = fit(pruner, random_state, max_epochs=3)
    saving = SaveEpoch(tmp_path / "last.ckpt") if saver == "hook" else ModelCheckpoint(tmp_path, filename="last")
    with pytest.raises(KeyError, match="killed"):
        fit(*callbacks(), saving, Kill(9), max_epochs=3)
    torch.manual_seed(99)
    torch.rand(7)
    again, random_state = callbacks()
    module = make_module()
    resumed = fit(again, random_state, module=module, max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert state_digest(resumed) == state_digest(whole)
    assert again.masks == pruner.masks
    assert again.history == pruner.history


def test_resumed_in_the_middle_of_an_epoch_the_schedule_goes_on(fit, make_module, tmp_path):
    def pruner():
        return Pruner("magnitude", 0.9, schedule=Cubic(0.0, 1.0, 1))

    saver = ModelCheckpoint(tmp_path, every_n_train_steps=4, filename="mid")
    with pytest.raises(KeyError, match="killed"):
        fit(pruner(), saver, Kill(5))
    again = pruner()
    fit(again, module=make_module(), ckpt_path=tmp_path / "mid.ckpt")
    assert [entry["step"] for entry in again.history] == list(range(1, 13))
    assert again.masks.kept == round(0.1 * again.masks.total)


def test_another_method_may_not_resume_it(fit, make_module, tmp_path):
    fit(Pruner("magnitude", 0.5), SaveEpoch(tmp_path / "c.ckpt"), max_epochs=1)
    with pytest.raises(UsageError, match=r"'magnitude/global'.*'random/global'"):
        fit(Pruner("random", 0.5), ckpt_path=tmp_path / "c.ckpt")


def test_state_of_a_denser_training_is_masked_wherever_it_comes_from(fit, make_module):
    """A callback behind the Pruner brings in optimiser state, as a rewind point does."""

    class BringIn(L.Callback):
        def on_train_start(self, trainer, pl_module):
            for p in pl_module.parameters():
                trainer.optimizers[0].state[p]["momentum_buffer"] = torch.ones_like(p)

    masks = sparsebench.prune(make_module(), "random", sparsity=0.9)
    pruner = Pruner(masks=masks)
    fit(pruner, Probe(pruner), BringIn(), max_epochs=1)
    assert pruner.leaked == 0
    assert pruner.masks == masks
    assert pruner.history == []


@pytest.mark.parametrize("own_generator", [True, False])
def test_reading_the_training_loader_leaves_the_order_of_examples(
    make_module, make_trainer, make_loader, own_generator
):
    class Order(L.Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.seen.append(batch[0].sum().item())

    seen = []
    for schedule in (None, Iterative(3, 0.9)):
        order, loader = Order(), make_loader()
        if own_generator:
            loader.generator = loader.sampler.generator = torch.Generator().manual_seed(3)
        callbacks = [order] if schedule is None else [order, Pruner("snip", 0.5, schedule=schedule)]
        torch.manual_seed(0)
        make_trainer(callbacks, max_epochs=2).fit(make_module(), loader)
        seen.append(order.seen)
    assert seen[0] == seen[1]


def test_first_batches_do_not_disturb_persistent_workers():
    data = TensorDataset(torch.arange(8.0))
    loader = DataLoader(data, 2, num_workers=1, persistent_workers=True)
    training = iter(loader)
    next(training), next(training)
    assert first_batches(loader, 1)[0][0].tolist() == [0.0, 1.0]
    assert [b[0].tolist() for b in training] == [[4, 5], [6, 7]]


def test_a_submodule_alone(fit, make_module):
    pruner = Pruner("magnitude", 0.5, on="body.0")
    module = fit(pruner, max_epochs=1)
    assert list(pruner.masks) == ["weight"]
    assert (module.body[0].weight == 0).sum() == 96
    assert (module.body[4].weight != 0).all()


def test_include_and_exclude_reach_own_layers_and_keep_the_classifier(fit, make_module):
    class Own(make_module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            return self.body(x) @ self.scale

    pruner = Pruner("snip", 0.5, include=["scale"], exclude=["body.6.*"])
    module = fit(pruner, module=Own(), max_epochs=1)
    assert set(pruner.masks) == {"scale", "body.0.weight", "body.4.weight"}
    assert (module.scale == 0).sum() == pruner.masks["scale"].numel() - pruner.masks.counts["scale"]


def test_tied_and_frozen_layers_of_a_stranger(fit, make_module):
    class Tied(make_module):
        def __init__(self):
            super().__init__()
            self.body[4] = nn.Linear(16, 16)
            self.body.insert(5, nn.Linear(16, 16))
            self.body[5].weight = self.body[4].weight
            self.body[0].weight.requires_grad_(False)

    pruner = Pruner("magnitude", 0.75)
    module = fit(pruner, module=Tied(), max_epochs=1)
    assert set(pruner.masks) == {"body.4.weight", "body.7.weight"}
    assert (module.body[5].weight[~pruner.masks["body.4.weight"]] == 0).all()
    assert (module.body[0].weight != 0).all()


def test_attention_projections_are_pruned_and_tokens_are_not(fit, make_module):
    class Attends(make_module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
            self.token = nn.Parameter(torch.randn(1, 1, 12))

        def forward(self, x):
            x = torch.cat([self.token.expand(len(x), -1, -1), x[:, None]], 1)
            return self.body(self.attention(x, x, x)[0][:, 0])

    pruner = Pruner("grasp", 0.8)
    module = fit(pruner, Probe(pruner), module=Attends(), max_epochs=1)
    assert {"attention.in_proj_weight", "attention.out_proj.weight"} <= set(pruner.masks)
    assert (module.attention.in_proj_weight == 0).sum() > 0
    assert (module.token != 0).all()


def test_data_may_be_an_iterator_read_once(fit):
    data = iter([(torch.randn(8, 12), torch.randint(0, 4, (8,)))])
    pruner = Pruner("snip", 0.9, schedule=Iterative(3, 0.9), data=data)
    fit(pruner)
    assert len(pruner.history) == 3


def test_a_training_that_ends_before_its_schedule_says_so(fit):
    class Stop(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = True

    with pytest.warns(UserWarning, match="before the schedule did"):
        fit(Pruner("magnitude", 0.9, schedule=OneShot(0.9)), Stop(), min_epochs=0)


def test_after_an_exception_nothing_holds_the_weights(fit, make_module):
    module = make_module()
    with pytest.raises(KeyError):
        fit(Pruner("magnitude", 0.9), Kill(3), module=module)
    optimizer = module.trainer.optimizers[0]
    assert not optimizer._optimizer_step_post_hooks


def test_refusals(fit, make_module):
    with pytest.raises(UsageError, match=r"sparsity 1\.0"):
        Pruner(sparsity=1.0)
    with pytest.raises(UsageError, match="magnitude/igq; write that"):
        Pruner("lamp/igq")
    with pytest.raises(UsageError, match="unknown criterion 'magnitud'"):
        Pruner("magnitud")
    with pytest.raises(UsageError, match="no argument 'temperature'"):
        Pruner("snip", temperature=3)
    with pytest.raises(UsageError, match="another network"):
        fit(Pruner(masks=Masks({"fc.weight": torch.ones(2, 2, dtype=torch.bool)})))
    with pytest.raises(UsageError, match="max_epochs or max_steps"):
        fit(Pruner("magnitude", 0.9), max_epochs=-1, max_steps=-1)
