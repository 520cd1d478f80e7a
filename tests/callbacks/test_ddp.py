"""Two processes hold the same masks, and score as one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import lightning as L
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from sparsebench.callbacks import DynamicSparsity
from sparsebench.functional import pruning, scores

SCRIPT = """
import json, os, sys
import lightning as L, torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from sparsebench.callbacks import DynamicSparsity, Pruner, Iterative
from sparsebench.functional import scores
from sparsebench.snapshot import state_digest

torch.set_num_threads(1)
torch.manual_seed(int.from_bytes(os.urandom(4), "big"))  # unseeded ranks
weights, data, out = torch.load(sys.argv[1], weights_only=True), torch.load(sys.argv[2], weights_only=True), sys.argv[3]

class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))
        if weights is not None:
            self.net.load_state_dict(weights)
    def forward(self, x):
        return self.net(x)
    def training_step(self, batch, index):
        return cross_entropy(self(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

def fit(pruner, steps):
    module = Module()
    trainer = L.Trainer(max_steps=steps, accelerator="cpu", devices=2, strategy="ddp", callbacks=[pruner], logger=False,
                        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
                        use_distributed_sampler=False)
    # Every other example, as a distributed sampler without shuffling gives them.
    rank = int(os.environ.get("LOCAL_RANK", 0))
    trainer.fit(module, DataLoader(TensorDataset(*(t[rank::2] for t in data)), 8))
    return {"digest": pruner.masks.digest(), "counts": pruner.masks.counts, "kept": [e["kept"] for e in pruner.history],
            "weights": state_digest(module), "leaked": pruner.leaked}

results = {
    "snip": fit(Pruner("snip", 0.8, batches=2, on="net"), 2),
    "grasp": fit(Pruner("grasp", 0.8, batches=2, on="net"), 2),
    "magnitude": fit(Pruner("magnitude", 0.9, schedule=Iterative(2, 1.0), on="net"), 4),
    "rigl": fit(DynamicSparsity("rigl", 0.8, every=1, end=1.0, on="net"), 5),
    "set": fit(DynamicSparsity("set", 0.8, every=1, end=1.0, on="net"), 5),
}
rank = torch.distributed.get_rank()
exact = Module().net.double()
share = [tuple(t[rank:32:2].double() if t.is_floating_point() else t[rank:32:2] for t in data)]
torch.save({name: scores(exact, name, share) for name in ("snip", "grasp", "gradient", "fisher")}, f"{out}/{rank}.pt")
json.dump(results, open(f"{out}/{rank}.json", "w"))
"""


def test_unseeded_ranks_agree_and_score_as_one_process(tmp_path: Path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))
    data = (torch.randn(64, 12), torch.randint(0, 4, (64,)))
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    torch.save(data, tmp_path / "data.pt")
    script = tmp_path / "ranks.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "weights.pt"), str(tmp_path / "data.pt"), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    for result in ranks[0].values():
        assert result["leaked"] == 0
    assert set(ranks[0]["rigl"]["kept"]) == set(ranks[0]["set"]["kept"]) == {51}

    # A batch of 8 on each of two ranks is one of 16: growth takes the absolute mean of the gradients.
    assert ranks[0]["rigl"]["digest"] == rigl_in_one_process(deepcopy(net), data)

    # Two batches of 8 on each of two ranks are the first 32 examples.
    for name in ("snip", "grasp"):
        batch = next(iter(DataLoader(TensorDataset(*data), 32)))
        assert ranks[0][name]["digest"] == pruning(net, name, sparsity=0.8, data=[batch]).masks.digest()

    exact, whole = net.double(), [(data[0][:32].double(), data[1][:32])]
    for found in (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)):
        for name, by_layer in found.items():
            for layer, expected in scores(exact, name, whole).items():
                torch.testing.assert_close(by_layer[layer], expected, rtol=1e-9, atol=1e-15)


def rigl_in_one_process(net: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> str:
    """Digest of RigL's masks after five steps, an update at each of them."""

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, index):
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    rigl = DynamicSparsity("rigl", 0.8, every=1, end=1.0, on="net")
    switches = ["logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"]
    trainer = L.Trainer(max_steps=5, accelerator="cpu", callbacks=[rigl], **dict.fromkeys(switches, False))
    trainer.fit(Module(), DataLoader(TensorDataset(*data), 16))
    return rigl.masks.digest()
