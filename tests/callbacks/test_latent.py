"""LatentSparsity: every rule follows a plain loop; what is pruned is 0 outside the step; exact resume; real cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from itertools import pairwise

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import sparsebench.callbacks.latent_rules as latent_rules
from sparsebench.allocation import kept_count
from sparsebench.callbacks import LatentSparsity, Pruner, RandomState, Rewind
from sparsebench.callbacks.latent_rules import TopKAST
from sparsebench.errors import UsageError
from sparsebench.functional import pruning
from sparsebench.masks import Masks
from sparsebench.snapshot import state_digest
from tests.callbacks.latent_loops import EVERY, LOOPS, MAKERS, RULES, SPARSITY, STEPS, Plain, data, in_order
from tests.grid.conftest import RESNET, run_inline, tiny_board


def latents_of(pruner: LatentSparsity) -> dict:
    return pruner._upkeep.latent


class Spy(L.Callback):
    """Pruned entries are 0 in every forward pass and right after every ``optimizer.step``."""

    def __init__(self, pruner):
        self.pruner, self.looks, self.weights = pruner, 0, None

    def on_train_start(self, trainer, pl_module):
        self.weights = dict(self.pruner.target(pl_module).named_parameters())
        pl_module.net.register_forward_pre_hook(self.look)
        trainer.optimizers[0].register_step_post_hook(self.look)

    def look(self, *_):
        self.looks += 1
        assert all((self.weights[n][~mask] == 0).all() for n, mask in self.pruner.masks.items())


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("optimizer", list(MAKERS))
@pytest.mark.parametrize("rule", RULES)
def test_the_trajectory_is_that_of_a_loop_by_hand(make_trainer, rule, optimizer, clip):
    pruner, module = LatentSparsity(rule, SPARSITY, every=EVERY, on="net"), Plain(optimizer)
    spy = Spy(pruner)
    make_trainer([pruner, spy], max_epochs=2, gradient_clip_val=clip).fit(module, in_order())
    loop = LOOPS[rule](optimizer, clip)
    loop.run()
    assert clip is None or loop.norm > clip
    assert spy.looks == 2 * STEPS
    for n, mask in pruner.masks.items():
        assert torch.equal(mask, loop.a[n]), n
        torch.testing.assert_close(latents_of(pruner)[n], loop.w[n].detach(), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(
            module.net.get_parameter(n).detach(), loop.effective()[n].detach(), rtol=1e-8, atol=0
        )
        assert (module.net.get_parameter(n)[~mask] == 0).all()
        for kind, value in module.trainer.optimizers[0].state[module.net.get_parameter(n)].items():
            if value.shape == mask.shape:
                expected = loop.optimizer_state[loop.w[n]][kind] * mask
                torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-12)
    for n in ("0.bias", "4.bias"):
        torch.testing.assert_close(module.net.get_parameter(n), loop.params[n], rtol=1e-8, atol=1e-10)
    if rule == "str":
        learned = torch.stack([s.detach() for s in loop.s.values()])
        torch.testing.assert_close(pruner._upkeep.thresholds.detach(), learned, rtol=1e-8, atol=1e-10)
        assert learned.std() > 1e-3
    if rule == "movement":
        torch.testing.assert_close(pruner._upkeep.scores["0.weight"], loop.scores["0.weight"], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_counts_are_exact_at_every_update_and_weights_return(make_trainer, rule):
    pruner, module = LatentSparsity(rule, SPARSITY, every=2, on="net"), Plain()
    dense = list(module.state_dict())
    make_trainer([pruner], max_epochs=2).fit(module, in_order())
    total = pruner.masks.total
    planned = pruner.plan(STEPS)
    assert [e["step"] for e in pruner.history] == list(planned)
    assert [e["kept"] for e in pruner.history] == [kept_count(1 - s, total) for s in planned.values()]
    assert pruner.on_schedule
    assert pruner.history[-1]["digest"] == pruner.masks.digest()
    assert pruner.masks.kept == kept_count(1 - SPARSITY, total)
    assert pruner.leaked == 0
    assert sum(e["returned"] for e in pruner.history) > 0
    assert list(module.state_dict()) == dense
    assert sum(int((module.net.get_parameter(n) != 0).sum()) for n in pruner.masks) > 0.9 * pruner.masks.kept
    pruner.history[-1]["asked"] = 0.5
    assert not pruner.on_schedule


class Save(L.Callback):
    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("rule", RULES)
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(fit, make_module, tmp_path, rule, optimizer):
    def pruner():
        return LatentSparsity(rule, SPARSITY, every=4)

    first = pruner()
    whole = fit(first, RandomState(), Save(tmp_path / "last.ckpt"), module=make_module(optimizer), max_epochs=4)
    again, module = pruner(), make_module(optimizer)
    torch.rand(9)
    fit(again, RandomState(), module=module, max_epochs=4, ckpt_path=tmp_path / "last.ckpt")
    assert state_digest(module) == state_digest(whole)
    assert again.masks == first.masks
    assert again.history == first.history
    a, b = first.state_dict()["upkeep"], again.state_dict()["upkeep"]
    assert all(torch.equal(a["latent"][n], b["latent"][n]) for n in a["latent"])
    with pytest.raises(UsageError, match="resume with the same"):
        LatentSparsity("str" if rule != "str" else "topkast").load_state_dict(first.state_dict())


class Convolutions(L.LightningModule):
    def __init__(self, fast: bool):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten())
        self.net.to(memory_format=torch.channels_last if fast else torch.contiguous_format)
        self.fast = fast

    def training_step(self, batch, index):
        return cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9, weight_decay=1e-3, fused=self.fast)


def images():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, 5, 5, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :4].mean((2, 3)).argmax(1)), 8)


@pytest.mark.parametrize("rule", RULES)
def test_channels_last_and_fused_optimisers_give_the_same_weights(make_trainer, rule):
    ends = []
    for fast in (False, True):
        module = Convolutions(fast)
        make_trainer([LatentSparsity(rule, 0.7, every=2)], max_epochs=2).fit(module, images())
        ends.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
        assert not fast or module.net[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-5)


class Scaled(Convolutions):
    """Overflows once, in the third step."""

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        return loss * torch.inf if self.trainer.global_step == 2 and self.overflows else loss


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_scaled_gradients_are_read_unscaled_and_a_skipped_step_changes_nothing(make_trainer, rule, fused):
    ends = []
    for scale, overflows in ((1.0, False), (2.0**12, False), (2.0**12, True)):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        module, pruner = Scaled(fused), LatentSparsity(rule, 0.7, every=2)
        module.overflows = overflows
        spy = Spy(pruner)
        trainer = make_trainer([pruner, spy], max_epochs=2, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        trainer.fit(module, images())
        assert spy.looks > 30
        ends.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
        assert torch.isfinite(ends[-1]).all()
        assert pruner.leaked == 0
        state = pruner._upkeep.state_dict()
        learned = [*state["latent"].values(), *state.get("scores", {}).values(), state.get("thresholds", ends[-1])]
        assert all(torch.isfinite(v).all() for v in learned)
    torch.testing.assert_close(ends[0], ends[1], rtol=0.05, atol=0.02)


def test_a_step_not_taken_puts_the_effective_weights_back():
    net, dense = Plain().net, Plain().net
    params = dict(net.named_parameters())
    upkeep = TopKAST(params, Masks.dense(net), None, "uniform", extra=0.1, decay=None)
    upkeep.change(upkeep.next_masks(0.5))
    upkeep.mask_weights()
    before = state_digest(net)
    net(torch.randn(3, 12).double()).sum().backward()
    upkeep.mask_gradients()
    assert state_digest(net) != before
    upkeep.put_back()
    assert state_digest(net) == before
    assert all(torch.equal(upkeep.latent[n], dense.get_parameter(n)) for n in upkeep.latent)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_without_a_loss_changes_nothing(make_trainer, rule):
    class Skips(Plain):
        def training_step(self, batch, index):
            return None if index == 3 else super().training_step(batch, index)

    class Digests(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, index):
            state = pruner.state_dict()["upkeep"]
            state.get("optimizer", {}).pop("param_groups", None)  # the rate moves on
            digests.append((state_digest(pl_module), str(state)))

    pruner = LatentSparsity(rule, SPARSITY, every=10, on="net", **({} if rule == "topkast" else {"end": 0.1}))
    digests: list = []
    make_trainer([pruner, Spy(pruner), Digests()], max_epochs=1).fit(Skips(), in_order())
    assert [a == b for a, b in pairwise(digests)] == [i == 3 for i in range(7)]


def test_a_diverged_training_keeps_its_counts_and_zeros(make_trainer):
    class Diverges(Plain):
        def training_step(self, batch, index):
            return super().training_step(batch, index) * (torch.nan if self.trainer.global_step == 5 else 1.0)

    for rule in RULES:
        pruner, module = LatentSparsity(rule, SPARSITY, every=2, on="net"), Diverges()
        make_trainer([pruner], max_epochs=2).fit(module, in_order())
        assert not torch.isfinite(module.net[0].weight).all()
        assert pruner.on_schedule
        assert pruner.leaked == 0
        assert all((module.net.get_parameter(n)[~m] == 0).all() for n, m in pruner.masks.items())


def test_refusals(make_trainer):
    with pytest.raises(UsageError, match="unknown rule 'topcast'"):
        LatentSparsity("topcast")
    with pytest.raises(UsageError, match="no argument 'extra'"):
        LatentSparsity("movement", extra=0.1)
    for wrong in ({"every": 0}, {"extra": 2.0}, {"decay": -1.0}):
        with pytest.raises(UsageError, match="must be at least 1"):
            LatentSparsity("topkast", **wrong)
    with pytest.raises(UsageError, match="STR learns"):
        LatentSparsity("str", allocation="erk")
    for allocation in ("2:4", "like:snip"):
        with pytest.raises(UsageError, match="any density"):
            LatentSparsity("topkast", allocation=allocation)
    with pytest.raises(UsageError, match="latent weights"):
        make_trainer([LatentSparsity("topkast"), Rewind()], max_epochs=1).fit(Plain(), in_order())

    class Manual(Plain):
        automatic_optimization = False

    class Searches(Plain):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters())

    for module, reason in ((Manual(), "automatic optimisation"), (Searches(), "LBFGS")):
        with pytest.raises(UsageError, match=reason):
            make_trainer([LatentSparsity("topkast")], max_epochs=1).fit(module, in_order())
    assert issubclass(LatentSparsity, Pruner)


SCRIPT = """
import json, os, sys
import lightning as L, torch
from torch.utils.data import DataLoader
from sparsebench.callbacks import LatentSparsity
from sparsebench.functional import pruning
from sparsebench.masks import Masks
from sparsebench.snapshot import state_digest
from tests.callbacks.latent_loops import Plain, data

torch.set_num_threads(1)
results, rank = {}, int(os.environ.get("LOCAL_RANK", 0))
for rule in ("topkast", "str", "movement"):
    pruner, module = LatentSparsity(rule, 0.8, every=3, on="net"), Plain()
    if rank:
        torch.nn.init.ones_(module.net[0].weight)  # overwritten by rank 0's
    trainer = L.Trainer(max_steps=8, accelerator="cpu", devices=2, strategy="ddp", callbacks=[pruner], logger=False,
                        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
                        use_distributed_sampler=False)
    part = [(x[rank::2], y[rank::2]) for x, y in data()]
    trainer.fit(module, DataLoader(part, batch_size=None))
    results[rule] = {"digest": pruner.masks.digest(), "weights": state_digest(module), "leaked": pruner.leaked}
results["criterion"] = pruning(Plain().net, "movement", sparsity=0.8, data=part).masks.digest()
json.dump(results, open(f"{sys.argv[1]}/{rank}.json", "w"))
"""


@pytest.mark.slow
def test_two_processes_agree_and_prune_as_one_does(make_trainer, tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(script), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    for rule in RULES:
        pruner = LatentSparsity(rule, 0.8, every=3, on="net")
        make_trainer([pruner], max_steps=8, max_epochs=-1).fit(Plain(), in_order())
        assert ranks[0][rule]["digest"] == pruner.masks.digest()
        assert ranks[0][rule]["leaked"] == 0
    assert ranks[0]["criterion"] == pruning(Plain().net, "movement", sparsity=0.8, data=data()).masks.digest()


CELLS = ["topkast", "topkast(allocation='erk',extra=0.2,decay=3)", "str", "movement@ramp", "movement@gmp"]
CELLS += ["movement/global@ramp", "magnitude@ramp"]


def test_real_cells_pass_their_audit(tmp_path):
    board = tiny_board(*CELLS, sparsities=(0.9,), task=RESNET)
    result = run_inline(board, tmp_path)
    assert not result.failed
    details = {}
    for record in result.records.values():
        assert record.audit_passed, (record.cell["method"], record.audit_failures)
        sparsity = record.data["sparsity"]
        assert record.cell["method"] == "dense" or sparsity["kept"] == kept_count(0.1, sparsity["prunable"])
        details[record.cell["method"]] = record.data["audit"][2]["detail"]
    assert "move by definition" in details["topkast"]
    assert "nested" in details["magnitude@ramp"]
    assert sum("move by definition" in text for text in details.values()) == len(CELLS) - 1


def test_latent_counts_that_drift_fail_the_audit(tmp_path, monkeypatch):
    original = latent_rules.topkast_masks

    def one_more(*arguments):
        forward, wider = (deepcopy(masks) for masks in original(*arguments))
        first = next(iter(forward.values())).view(-1)
        first[(~first).nonzero()[0]] = True
        return forward, type(wider)({n: m | forward[n] for n, m in wider.items()})

    monkeypatch.setattr(latent_rules, "topkast_masks", one_more)
    board = tiny_board("topkast")
    record = next(r for r in run_inline(board, tmp_path).records.values() if r.cell["method"] != "dense")
    assert {r["rule"] for r in record.data["audit"] if not r["passed"]} == {1, 3}
