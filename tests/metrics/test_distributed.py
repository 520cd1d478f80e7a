"""Two processes with unequal shares of the data get the rates that one process gets from all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparsebench.metrics.dead_neurons import DeadNeuronRates, dead_neuron_rates


def measure(batches: list[Tensor]) -> DeadNeuronRates:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4), nn.GELU()
    )
    masks = {"0.weight": torch.ones(3, 1, 3, 3, dtype=torch.bool)}
    masks["0.weight"][1] = False
    return dead_neuron_rates(net, batches, masks)


def data() -> list[Tensor]:
    return list(torch.randn(30, 1, 4, 4, generator=torch.Generator().manual_seed(1)).split(10))


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(measure(data()[:1] if rank == 0 else data()[1:]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path):
    processes = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(60) for process in processes] == [0, 0]
    one = measure(data())
    assert one.examples == 30
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=False) == one


if __name__ == "__main__":
    worker(int(sys.argv[1]), sys.argv[2])
