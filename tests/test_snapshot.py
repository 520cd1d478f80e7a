"""Snapshots: everything comes back, and nothing is shared with the living training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsebench.snapshot import Snapshot, state_digest


@pytest.fixture
def training():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    step(net, optimizer, scheduler)
    return net, optimizer, scheduler


def step(net, optimizer, scheduler):
    optimizer.zero_grad()
    net(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    scheduler.step()


def take(training):
    net, optimizer, scheduler = training
    return Snapshot.take(net, [optimizer], [scheduler])


def pointers(value):
    if isinstance(value, torch.Tensor):
        return {value.untyped_storage().data_ptr()}
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return set().union(*map(pointers, children)) if children else set()


def test_everything_comes_back(training):
    snapshot = take(training)
    before = snapshot.digest()
    for _ in range(3):
        step(*training)
    assert take(training).digest() != before
    snapshot.restore(training[0], [training[1]], [training[2]])
    assert take(training).digest() == before
    assert training[1].param_groups[0]["lr"] == 0.1


def test_no_storage_is_shared_before_or_after_restoring(training):
    net, optimizer, scheduler = training
    snapshot = take(training)
    before = snapshot.digest()
    living = pointers(net.state_dict()) | pointers(optimizer.state_dict())
    assert not living & pointers(snapshot.tree)
    snapshot.restore(net, [optimizer], [scheduler])
    living = pointers(net.state_dict()) | pointers(optimizer.state_dict())
    assert not living & pointers(snapshot.tree)
    step(net, optimizer, scheduler)
    assert snapshot.digest() == before


def test_a_restored_training_goes_on_as_the_first_time(training):
    snapshot = take(training)
    runs = []
    for _ in range(2):
        snapshot.restore(training[0], [training[1]], [training[2]])
        torch.manual_seed(1)
        for _ in range(3):
            step(*training)
        runs.append(take(training).digest())
    assert runs[0] == runs[1]


def test_a_file_gives_back_the_same_snapshot(training, tmp_path):
    snapshot = take(training)
    snapshot.save(tmp_path / "s")
    assert Snapshot.load(tmp_path / "s").digest() == snapshot.digest()


def test_state_digest_sees_buffers(training):
    net = training[0]
    before = state_digest(net)
    net[1].running_var[0] += 1e-6
    assert state_digest(net) != before


def test_a_file_restores_the_momentum_of_channels_last_weights(tmp_path):
    """The fused optimisers read parameter and momentum side by side in memory."""

    def train(optimizer, steps):
        for t in range(steps):
            optimizer.zero_grad()
            x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(t))
            net(x.contiguous(memory_format=torch.channels_last)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, fused=True)
    train(optimizer, 3)
    Snapshot.take(net, [optimizer]).save(tmp_path / "point.safetensors")
    train(optimizer, 2)
    expected = net.weight.detach().clone()
    again = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, fused=True)
    Snapshot.load(tmp_path / "point.safetensors").restore(net, [again])
    train(again, 2)
    assert torch.equal(net.weight, expected)
