"""Two processes give what one gives: scores, masks, weights, metrics; each test image counted once."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparsebench.cli import main
from sparsebench.grid.store import Store
from sparsebench.record import Record

BOARD = """
name: together
version: 1
title: One process and two
tasks:
  - {base: digits-mlp, name: mlp, network_arguments: {hidden: [16, 12]}, recipe: {epochs: 2, mask_every: 3}}
  - {base: digits-resnet8, name: smooth, network: smooth, network_arguments: {}, recipe: {epochs: 2, mask_every: 3}}
methods: [snip@init]
sparsities: [0.5]
seeds: [0]
"""
HERE = Path(__file__).parent


METHODS = str(HERE / "odd_digits.py")
OTHERS = [
    "magnitude@ramp", "movement@ramp", "movement@gmp+kd", "str", "lamp@lrr(rate=0.5)", "rigl(alpha=1.0)",
    "grasp@init", "synflow@init", "iterative_snip@init", "random_search@init",
    "gradient@finetune", "lap@finetune", "obd@finetune", "woodfisher@finetune", "chita@finetune",
    "wanda@oneshot", "obc@oneshot", "taylor@finetune", "fpgm@finetune", "bn_scale@finetune",
    "magnitude/2:4@finetune", "magnitude/block4x4@finetune", "magnitude@finetune+unbalanced",
    "magnitude@imp(rate=0.5)+ap", "magnitude@imp(rate=0.5)+shuffle",
]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Store, Store]:
    """The board run by one process and by crews of two."""
    folder = tmp_path_factory.mktemp("ddp")
    return run(folder, 1, "--methods", METHODS), run(folder, 2, "--methods", METHODS)


def run(folder: Path, devices: int, *options: str) -> Store:
    (folder / "together.yaml").write_text(BOARD)
    store = folder / f"store{devices}"
    places = ["--store", str(store), "--results", str(folder / f"results{devices}")]
    sparsebench("run", str(folder / "together.yaml"), *options, *places, "--devices", str(devices), "--workers", "1")
    return Store(store)


def sparsebench(*command: str) -> str:
    """In a process of its own: what the method files patch must not reach other tests."""
    whole = [sys.executable, "-m", "sparsebench", *command, "--accelerator", "cpu"]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def records(store: Store) -> dict[str, dict]:
    return {path.stem: Record.load(path).data for path in store.records.glob("*.json")}


def test_masks_are_equal_exactly_and_weights_to_float_tolerance(both):
    # On either task eleven pruned networks, and the optimiser at a rewind point.
    assert compared(*both) == 2 * (11 + 1)


@pytest.mark.slow
def test_so_they_are_whatever_prunes(tmp_path):
    options = ["--tasks", "smooth", "--methods", f"{METHODS}:snip@init", *OTHERS]
    one, two = run(tmp_path, 1, *options), run(tmp_path, 2, *options)
    assert compared(one, two) == 1 + len(OTHERS)
    assert [rule for record in records(two).values() for rule in record["audit"] if not rule["passed"]] == []


def compared(one: Store, two: Store) -> int:
    """How many files beside the weights were equal: masks exactly, numbers to float tolerance."""
    assert one.done_stages() == two.done_stages() != set()
    further = 0
    for stage in one.done_stages():
        files = one.stage_report(stage)["files"]
        assert files.keys() == two.stage_report(stage)["files"].keys()
        for file in files:
            mine, theirs = load_file(one.stage(stage) / file), load_file(two.stage(stage) / file)
            assert mine.keys() == theirs.keys()
            further += file != "weights.safetensors"
            for name, value in mine.items():
                if value.dtype == torch.bool:
                    assert torch.equal(value, theirs[name]), f"{one.stage_report(stage)['label']}: mask of {name}"
                else:
                    torch.testing.assert_close(theirs[name], value, rtol=1e-5, atol=1e-5)
    return further


def test_losses_and_metrics_are_equal(both):
    one, two = map(records, both)
    assert one.keys() == two.keys()
    for cell, mine in one.items():
        theirs = two[cell]
        assert theirs["curves"]["losses"] == pytest.approx(mine["curves"]["losses"], rel=1e-6)
        assert theirs["metrics"].keys() == mine["metrics"].keys()
        numbers = {name: value for name, value in mine["metrics"].items() if value is not None}
        assert {name: theirs["metrics"][name] for name in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-6)
        assert theirs["per_class"] == mine["per_class"]
        assert theirs["sparsity"] == mine["sparsity"]


def test_every_rule_holds_on_both_ranks_and_no_test_image_counts_twice(both):
    for world, store in zip((1, 2), both, strict=True):
        for record in records(store).values():
            details = {rule["rule"]: rule["detail"] for rule in record["audit"]}
            assert all(rule["passed"] for rule in record["audit"])
            assert details[8].startswith("399 of 399 test images")
            assert record["provenance"]["world_size"] == world
            if record["cell"]["method"] != "dense":
                assert details[4] == f"1 digest(s) on {world} of {world} process(es)"


@pytest.mark.slow
def test_two_nodes_started_by_torchrun(both, tmp_path):
    """One process a node; the same stages as one process'. Damage is mended, and what is done stays done."""
    torchrun(both[0].folder.parent, tmp_path)
    store = Store(tmp_path / "s")
    found = records(store)
    assert found.keys() < records(both[0]).keys()
    assert {record["provenance"]["world_size"] for record in found.values()} == {2}
    stages = store.done_stages()
    assert len(stages) == 2
    for stage in stages:
        for file in both[0].stage_report(stage)["files"]:
            mine, theirs = (load_file(folder.stage(stage) / file) for folder in (both[0], store))
            for name, value in mine.items():
                torch.testing.assert_close(theirs[name], value, rtol=1e-5, atol=1e-5)

    assert "nothing to do" in torchrun(both[0].folder.parent, tmp_path)
    damage(store)
    assert "is damaged; set aside as" in torchrun(both[0].folder.parent, tmp_path)
    assert {cell: record["metrics"] for cell, record in records(store).items()} == {
        cell: record["metrics"] for cell, record in found.items()
    }


@pytest.mark.slow
def test_a_damaged_stage_is_mended_by_two_ranks(both, tmp_path):
    folder = both[1].folder.parent
    shutil.copytree(both[1].folder, tmp_path / "s")
    damage(Store(tmp_path / "s"))
    command = ["run", str(folder / "together.yaml"), "--methods", METHODS, "--tasks", "smooth"]
    command += ["--store", str(tmp_path / "s"), "--results", str(tmp_path / "r"), "--devices", "2", "--workers", "1"]
    assert "is damaged; set aside as" in sparsebench(*command)
    after, before = records(Store(tmp_path / "s")), records(both[1])
    assert {cell: record["metrics"] for cell, record in after.items()}.items() <= {
        cell: record["metrics"] for cell, record in before.items()
    }.items()


def damage(store: Store) -> None:
    """A byte of a dense network is lost, and so are all records."""
    for path in store.records.glob("*.json"):
        path.unlink()
    dense = next(s for s in sorted(store.done_stages()) if "smooth dense" in store.stage_report(s)["label"])
    weights = store.stage(dense) / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def torchrun(board: Path, folder: Path) -> str:
    """Two nodes of one process each on one method; what both said."""
    command = ["run", str(board / "together.yaml"), "--tasks", "smooth", "--accelerator", "cpu"]
    command += ["--methods", f"{METHODS}:snip@init", "--launcher", "torchrun", "--nodes", "2"]
    command += ["--store", str(folder / "s"), "--results", str(folder / "r")]
    meeting = ["--rdzv-backend", "static", "--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    start = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *meeting]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    nodes = [
        subprocess.Popen([*start, "--node-rank", str(node), "-m", "sparsebench", *command], **pipes)
        for node in range(2)
    ]
    said = [node.communicate(timeout=420)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    return "".join(said)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "3"], "3 devices cannot share the global batch of 128 of task"),
        (["--devices", "0"], "--devices 0: at least 1 is needed"),
        (["--nodes", "2"], "--nodes 2: --launcher local has this machine only"),
        (["--devices", "2", "--launcher", "inline"], "is one process, and a cell shall be trained by 2"),
        (["--launcher", "torchrun"], "was not started by torchrun"),
        (["--per-device", "2"], "--per-device 2: jobs that share a GPU need --accelerator gpu"),
        (["--workers", "2", "--launcher", "inline"], "--launcher inline does one job at a time"),
        (["--checkpoint-seconds", "-1"], "--checkpoint-seconds -1: at least 0 is needed"),
        (["--time-limit", "0"], "--time-limit 0: more than 0 seconds"),
        (["--time-limit", "5", "--launcher", "inline"], "--launcher inline cannot stop itself"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "quick", "--tasks", "digits-mlp", "--methods", "snip", "--accelerator", "cpu", *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob(".sparsebench/stages/*"))


def test_a_rank_that_differs_fails_the_audit_of_the_cell(tmp_path):
    """What only the second rank sees must reach the record, which the first one writes."""
    (tmp_path / "together.yaml").write_text(BOARD)
    command = ["run", str(tmp_path / "together.yaml"), "--tasks", "mlp"]
    command += ["--methods", str(HERE / "careless_rank.py")]
    command += ["--store", str(tmp_path / "s"), "--results", str(tmp_path / "r"), "--devices", "2", "--workers", "1"]
    sparsebench(*command)
    (pruned,) = (r for r in records(Store(tmp_path / "s")).values() if r["cell"]["method"] != "dense")
    failed = {rule["rule"]: rule["detail"] for rule in pruned["audit"] if not rule["passed"]}
    assert failed.keys() == {4, 7}, json.dumps(failed)
    assert failed[4].startswith("2 digest(s) on 2 of 2 process(es)")
    assert failed[7].startswith("rank 1: ")  # and not the first rank's own
