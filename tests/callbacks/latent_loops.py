"""Top-KAST, STR and movement pruning as plain loops, with no callback, to compare with."""

from __future__ import annotations

from math import cos, pi

import lightning as L
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from sparsebench.allocation import kept_count, layer_counts
from sparsebench.scope import scope_of

RULES = ["topkast", "str", "movement"]
MAKERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.05),
}
STEPS, EVERY, SPARSITY = 16, 3, 0.8


class Plain(L.LightningModule):
    """In float64, without dropout, with a rate that changes every step: a loop by hand can follow it."""

    def __init__(self, optimizer: str = "sgd"):
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)).double()
        self.optimizer = optimizer

    def training_step(self, batch, index):
        return cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = MAKERS[self.optimizer](self.parameters())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate(step: int) -> float:
    return 0.5 * (1 + cos(pi * step / 20))


def data(batches: int = 8):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batches * 8, 12, generator=generator, dtype=torch.float64)
    return [(x[i : i + 8], x[i : i + 8, :4].argmax(1)) for i in range(0, len(x), 8)]


def in_order():
    return DataLoader(data(), batch_size=None)


def top(values: torch.Tensor, k: int) -> torch.Tensor:
    """By sorting, where the library selects."""
    keep = torch.zeros(values.numel(), dtype=torch.bool)
    keep[values.flatten().argsort(descending=True, stable=True)[:k]] = True
    return keep.view(values.shape)


class Loop:
    """A training by hand: dense weights in the optimiser, effective ones through ``functional_call``."""

    def __init__(self, optimizer: str, clip: float | None):
        self.clip = clip
        self.net = Plain(optimizer).net
        self.params = dict(self.net.named_parameters())
        self.w = {n: self.params[n] for n in scope_of(self.net).prunable}
        self.shapes = {n: tuple(w.shape) for n, w in self.w.items()}
        self.extra_params: list = []
        self.optimizer = optimizer

    def run(self) -> None:
        optimizer = MAKERS[self.optimizer]([*self.params.values(), *self.extra_params])
        peak = optimizer.param_groups[0]["lr"]
        self.update(0)
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = self.lr = peak * rate(step)
            self.decay = optimizer.param_groups[0]["weight_decay"]
            optimizer.zero_grad()
            x, y = data()[step % 8]
            seen = self.effective()
            for tensor in seen.values():
                tensor.retain_grad()
            cross_entropy(functional_call(self.net, {**self.params, **seen}, (x,)), y).backward()
            trained = self.gradients({n: t.grad for n, t in seen.items()})
            before = {n: w.detach().clone() for n, w in self.w.items()}
            if self.clip:
                # Gradients of the thresholds are not clipped.
                self.norm = nn.utils.clip_grad_norm_(self.params.values(), self.clip)
            self.before_step()
            optimizer.step()
            with torch.no_grad():
                for n, mask in trained.items():
                    self.w[n].copy_(torch.where(mask, self.w[n], before[n]))
                    for value in optimizer.state[self.w[n]].values():
                        if torch.is_tensor(value) and value.shape == mask.shape:
                            value.mul_(mask)
            self.optimizer_state = optimizer.state
            self.update(step + 1)

    def before_step(self):
        pass

    def ramp(self, step: int, every: int) -> float | None:
        """Sparsity of the cubic ramp to three quarters, then constant; None = no update."""
        last = round(0.75 * STEPS)
        times = [*range(every, last, every), last, *range(last + every, STEPS, every)]
        return SPARSITY * (1 - (1 - min(1, step / last)) ** 3) if step in times else None


class TopKastLoop(Loop):
    def update(self, step):
        if step % EVERY == 0 and step < STEPS:
            for kind, density in (("a", 1 - SPARSITY), ("b", 1 - SPARSITY + 0.1)):
                counts = layer_counts("uniform", self.shapes, density)
                setattr(self, kind, {n: top(w.detach().abs(), counts[n]) for n, w in self.w.items()})

    def effective(self):
        return {n: w * self.a[n] for n, w in self.w.items()}

    def gradients(self, by_effective):
        for n, g in by_effective.items():
            self.w[n].grad = g * self.b[n]
        return self.b

    def before_step(self):
        total = sum(m.numel() for m in self.a.values())
        strength = total / sum(int(m.sum()) for m in self.a.values())
        with torch.no_grad():
            for n, w in self.w.items():
                explored = self.b[n] & ~self.a[n]
                w[explored] -= self.lr * self.decay * (strength - 1) * w[explored]


class MovementLoop(Loop):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.scores = {n: torch.zeros_like(w) for n, w in self.w.items()}
        self.a = {n: torch.ones_like(w, dtype=torch.bool) for n, w in self.w.items()}

    def update(self, step):
        if (sparsity := self.ramp(step, 1)) is not None:
            counts = layer_counts("uniform", self.shapes, 1 - sparsity)
            self.a = {n: top(s, counts[n]) for n, s in self.scores.items()}

    def effective(self):
        return {n: w * self.a[n] for n, w in self.w.items()}

    def gradients(self, by_effective):
        for n, g in by_effective.items():
            self.scores[n] -= self.w[n].detach() * g
            self.w[n].grad = g * self.a[n]
        return self.a


class SoftLoop(Loop):
    """Autograd goes through the threshold; the thresholds are parameters of the same optimiser, as published."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.s = {n: nn.Parameter(torch.zeros((), dtype=torch.float64)) for n in self.w}
        self.extra_params = list(self.s.values())
        self.a = None

    def update(self, step):
        if (sparsity := self.ramp(step, EVERY)) is None:
            return
        kept = kept_count(1 - sparsity, sum(w.numel() for w in self.w.values()))

        def alive(c: float) -> dict:
            return {n: w.detach().abs() > torch.sigmoid(self.s[n].detach() + c) for n, w in self.w.items()}

        low, high = -60.0, 60.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if sum(int(m.sum()) for m in alive(middle).values()) > kept else (low, middle)
        for s in self.s.values():
            s.data += high
        self.a = alive(0.0)
        assert sum(int(m.sum()) for m in self.a.values()) == kept

    def effective(self):
        if self.a is None:
            return {n: w * 1.0 for n, w in self.w.items()}
        return {n: w.sign() * (w.abs() - self.s[n].sigmoid()).relu() * self.a[n] for n, w in self.w.items()}

    def gradients(self, by_effective):
        return {}


LOOPS = {"topkast": TopKastLoop, "str": SoftLoop, "movement": MovementLoop}
