"""Slurm: what submitit is asked for, elements that share a store, and a real Slurm where it is installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.grid import board as boards
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context, FailedBefore, dependencies, perform
from sparsebench.grid.plan import plan
from sparsebench.grid.run import run
from sparsebench.grid.store import Store
from sparsebench.launchers import JobByJob, Outcome
from sparsebench.launchers.slurm import SlurmLauncher
from sparsebench.launchers.slurm_element import Noting
from sparsebench.launchers.slurm_parameters import for_elements, for_publishing, read_parameters
from sparsebench.launchers.slurm_queue import states
from sparsebench.masks import Masks
from sparsebench.record import Record

pytest.importorskip("submitit", reason="sparsebench[slurm] is not installed")

BOARD = """
name: small
version: 1
title: Small board
tasks:
  - {base: digits-mlp, name: small-mlp, network_arguments: {hidden: [16, 12]}, recipe: {epochs: EPOCHS, mask_every: 4}}
methods: [magnitude@gmp, random/erk@init]
sparsities: [0.75]
seeds: [0]
"""
SPY = """
import os
import sparsebench.grid.perform as perform
from sparsebench import criterion

METHODS = ["magnitude@gmp", "random/erk@init", "broken@init"]
train = perform.train


def note(what):
    with open(os.environ["SPY_LOG"], "a") as log:
        log.write(what + "\\n")


def counted(state, *rest):
    train(state, *rest)
    if "SPY_LOG" in os.environ:  # the process of the tests reads this file too, and goes on to other tests
        note(state.stage.id)


perform.train = counted


@criterion(needs="weight")
def broken(weight):
    '''score = none'''
    note("broken")
    raise RuntimeError("no scores today")
"""
"""A method file: every worker imports it; it notes each training brought to its end and each try of a broken method."""
SLURM = ["--launcher", "slurm", "--accelerator", "cpu", "--checkpoint-seconds", "0"]
LOCAL = [*SLURM, "--slurm", "cluster=local", "time=30"]


def board_of(epochs: int) -> boards.Board:
    return boards.from_text(BOARD.replace("EPOCHS", str(epochs)), "small.yaml")


def metrics_of(folder: Path) -> dict[str, dict]:
    records = map(Record.load, (folder / ".sparsebench" / "records").glob("*.json"))
    return {record.data["cell_id"]: record.data["metrics"] for record in records}


def wait_for(condition, seconds: float = 90):
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a board of so many epochs gives in one process: metrics by cell, and its store."""
    known = {}

    def get(epochs: int) -> tuple[dict[str, dict], Store]:
        if epochs not in known:
            store = tmp_path_factory.mktemp("store")
            result = run(board_of(epochs), Context(str(store), Hardware(), "test"), 1, launcher="inline")
            assert not result.failed
            known[epochs] = {cell: record.data["metrics"] for cell, record in result.records.items()}, Store(store)
        return known[epochs]

    return get


@pytest.fixture(scope="module")
def spy(tmp_path_factory) -> str:
    """One file for all tests: a process takes a criterion of one name from one file only."""
    path = tmp_path_factory.mktemp("spy") / "spy.py"
    path.write_text(SPY)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "small.yaml").write_text(BOARD.replace("EPOCHS", "4"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPY_LOG", str(tmp_path / "spy.log"))
    return tmp_path


@pytest.fixture
def good(spy) -> list[str]:
    """The board's own methods, spied upon."""
    return ["--methods", f"{spy}:magnitude@gmp", f"{spy}:random/erk@init"]


def trained(folder: Path) -> Counter:
    return Counter((folder / "spy.log").read_text().split())


# What is asked for


def test_an_element_asks_for_the_devices_of_a_cell():
    common = {"name": "sparsebench", "nodes": 1, "tasks_per_node": 1}
    assert for_elements(Hardware(threads=3), {"partition": "long", "timeout_min": 60}) == {
        **common,
        "cpus_per_task": 3,
        "timeout_min": 60,
        "slurm_partition": "long",
        "slurm_srun_args": ["--cpus-per-task=3"],
    }
    shared = for_elements(Hardware("gpu", per_device=4, threads=2), {"timeout_min": 60})
    assert (shared["gpus_per_node"], shared["cpus_per_task"], shared["tasks_per_node"]) == (1, 8, 1)
    together = for_elements(Hardware("gpu", devices=4, threads=2), {"gres": "gpu:a100:4"})
    assert "gpus_per_node" not in together
    assert (together["slurm_gres"], together["cpus_per_task"]) == ("gpu:a100:4", 8)
    team = for_elements(Hardware("gpu", devices=4, nodes=2, threads=5), {"cpus_per_task": 9})
    assert (team["nodes"], team["tasks_per_node"], team["gpus_per_node"], team["cpus_per_task"]) == (2, 4, 4, 9)
    assert team["slurm_srun_args"] == ["--cpus-per-task=9", "--distribution=block", "--kill-on-bad-exit=1"]


def test_submitit_makes_the_script_of_it(tmp_path, monkeypatch):
    """The parameters as ``sbatch`` reads them, made by submitit, with an ``sbatch`` that keeps the script."""
    scripts = fake(tmp_path, "sbatch", f'cp "$1" {tmp_path}/kept.$$; echo Submitted batch job 7')
    fake(tmp_path, "srun", "true")
    monkeypatch.setenv("PATH", f"{scripts}:{os.environ['PATH']}")
    context = Context(str(tmp_path), Hardware("gpu", devices=2, threads=3), "test")
    words = ["partition=gpu", "time=4:00:00", "mem_gb=16", 'additional_parameters={"reservation": "us"}']
    launcher = SlurmLauncher(5, context, read_parameters(words), detach=True, command=["run", "quick", "--detach"])
    with pytest.raises(Exception, match="array 7 of 5 elements, then job 7"):
        launcher.run({}, {}, lambda progress: None)
    texts = sorted((path.read_text() for path in tmp_path.glob("kept.*")), key=lambda text: "afterany" in text)
    elements, publishing = [{line[8:] for line in text.splitlines() if line.startswith("#SBATCH")} for text in texts]
    asked = {"--array=0-4%5", "--partition=gpu", "--time=240", "--mem=16GB", "--reservation=us"}
    assert asked | {"--gpus-per-node=2", "--cpus-per-task=6", "--ntasks-per-node=1"} <= elements
    assert {"--dependency=afterany:7", "--time=60", "--partition=gpu", "--cpus-per-task=1"} <= publishing
    assert not any("gpus" in line or "mem" in line or "array" in line for line in publishing)
    assert launcher._elements == [], "a detached array is nobody's to cancel"


def test_the_publishing_job_keeps_what_a_site_demands():
    asked = {"timeout_min": 20, "account": "us", "qos": "low", "gres": "gpu:1", "mem_gb": 200.0, "setup": ["true"]}
    made = for_publishing(asked, "12")
    assert (made["timeout_min"], made["slurm_dependency"]) == (20, "afterany:12")
    assert (made["slurm_account"], made["slurm_qos"], made["slurm_setup"]) == ("us", "low", ["true"])
    assert not {"slurm_gres", "mem_gb", "gpus_per_node"} & made.keys()


def fake(folder: Path, name: str, body: str) -> Path:
    """A program that pretends; the folder to put on the PATH."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / "bin" / name).chmod(0o755)
    return folder / "bin"


# What is refused

REFUSED = {
    "--workers": ([], "say with --workers"),
    "no time": (["--workers", "2"], "say how long an element may live"),
    "typo": (["--workers", "2", "--slurm", "partitoin=x", "time=9"], "did you mean 'partition'?"),
    "no value": (["--workers", "2", "--slurm", "partition"], "KEY=VALUE is needed"),
    "time": (["--workers", "2", "--slurm", "time=4h"], "time=4h: minutes, hours:minutes:seconds or"),
    "nodes": (["--workers", "2", "--slurm", "nodes=2", "time=9"], "follows from --nodes"),
    "team": (
        ["--workers", "2", "--nodes", "2", "--time-limit", "9", "--slurm", "time=9", "cluster=local"],
        "not with several --nodes",
    ),
    "attach": (["--workers", "2", "--attach", "x", "--slurm", "time=9", "cluster=local"], "no such run"),
    "type": (["--workers", "2", "--slurm", "time=9", "mem_gb=much", "cluster=local"], "expected type"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_a_line(case, folder, capsys):
    words, expected = REFUSED[case]
    assert main(["run", "small.yaml", *SLURM, *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert expected in line
    assert not list(Path(".sparsebench").glob("stages/*"))


def test_the_nodes_accelerator_must_be_said_and_options_stay_with_their_launcher(folder, capsys):
    assert main(["run", "small.yaml", "--launcher", "slurm", "--workers", "1"]) == 2
    assert "say --accelerator gpu or cpu" in capsys.readouterr().err
    assert main(["run", "small.yaml", "--detach"]) == 2
    assert "--detach is for --launcher slurm" in capsys.readouterr().err


def test_without_submitit_or_slurm_a_line_says_what_to_do(folder, monkeypatch, capsys):
    command = ["run", "small.yaml", *SLURM, "--workers", "1", "--slurm", "time=9"]
    monkeypatch.setenv("PATH", str(folder))
    assert main(command) == 2
    assert "no sbatch on this machine's PATH" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(command) == 2
    err = capsys.readouterr().err
    assert err == "sparsebench: --launcher slurm needs the package submitit: pip install 'sparsebench[slurm]'\n"


# What became of the array


class Named:
    def __init__(self, job_id: str):
        self.job_id = job_id


QUEUE = "7_0|RUNNING|None\n7_1|PENDING|Resources\n7_2|TIMEOUT|TimeLimit"
ANSWERS = {
    "squeue knows": (f"printf '{QUEUE}\n'", "exit 1", ["RUNNING", "PENDING (Resources)", "TIMEOUT"]),
    "forgotten, no accounting": ("echo slurm: Invalid job id specified >&2; exit 1", "exit 1", ["GONE"] * 3),
    "forgotten, accounting": (
        "echo slurm: Invalid job id specified >&2; exit 1",
        "printf '7_0|COMPLETED|None\n7_1|CANCELLED by 0|None\n'",
        ["COMPLETED", "CANCELLED", "GONE"],
    ),
    "the controller does not answer": ("echo Unable to contact slurm controller >&2; exit 1", "exit 1", None),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_states_of_the_elements(case, tmp_path, monkeypatch):
    squeue, sacct, expected = ANSWERS[case]
    fake(tmp_path, "squeue", squeue)
    monkeypatch.setenv("PATH", f"{fake(tmp_path, 'sacct', sacct)}:{os.environ['PATH']}")
    elements = [Named(f"7_{k}") for k in range(3)]
    found = states(elements)
    assert found == ({} if expected is None else {e.job_id: s for e, s in zip(elements, expected, strict=True)})


# A job that fails is tried once in a run


def stage_job(epochs: int = 4):
    whole = plan(board_of(epochs).cells)
    jobs, _ = dependencies(whole, list(whole.stages), [])
    return next(iter(jobs.values()))


def test_a_failure_is_known_before_the_lock_is_free_and_ends_with_the_run(tmp_path, monkeypatch):
    import sparsebench.grid.stages as stages

    tried, seen = [], []
    store, job = Store(tmp_path).create(), stage_job()
    context = Context(str(tmp_path), Hardware(), "test", run_id="one")

    def fails(stage, store, hardware):
        tried.append(stage.id)
        raise RuntimeError("no\nluck")

    release = type(store.lock(job.id)).release
    monkeypatch.setattr(stages, "run_stage", fails)
    monkeypatch.setattr(
        type(store.lock(job.id)),
        "release",
        lambda lock, *a, **k: (seen.append(store.failure("one", job.id)), release(lock, *a, **k)),
    )
    with pytest.raises(RuntimeError):
        perform(job, context)
    assert seen[0] == "RuntimeError: no luck"
    with pytest.raises(FailedBefore, match="no luck"):
        perform(job, context)
    assert len(tried) == 1
    store.forget_failures("one")
    assert not (tmp_path / "failures").exists()
    with pytest.raises(RuntimeError):
        perform(job, context)
    assert len(tried) == 2


def test_damage_is_no_failure_to_remember(tmp_path, monkeypatch):
    import sparsebench.grid.stages as stages
    from sparsebench.grid.store import CorruptStage

    def damaged(stage, store, hardware):
        raise CorruptStage("parent", "torn")

    monkeypatch.setattr(stages, "run_stage", damaged)
    job = stage_job()
    with pytest.raises(CorruptStage):
        perform(job, Context(str(tmp_path), Hardware(), "test", run_id="one"))
    assert Store(tmp_path).failure("one", job.id) is None


class Pretender(JobByJob):
    """Ends each job as told."""

    room = 1

    def __init__(self, outcomes: list[Outcome]):
        self.outcomes = outcomes

    def submit(self, job_id, job) -> None: ...

    def finished(self, timeout: float) -> list[Outcome]:
        return self.outcomes

    def close(self, kill: bool = False) -> None: ...


def test_what_a_dead_process_could_not_note_its_element_does(tmp_path):
    store, job = Store(tmp_path), stage_job()
    for outcome, noted in (
        (Outcome("j", "the worker process died"), "the worker process died"),
        (Outcome("j", "FailedBefore: the worker process died"), "the worker process died"),
    ):
        noting = Noting(Pretender([outcome]), store, "one")
        noting.submit("j", job)
        assert noting.finished(0) == [outcome]
        assert store.failure("one", job.id) == noted
    for outcome in (Outcome("j", "torn", damaged="parent"), Outcome("j", busy=True), Outcome("j")):
        noting = Noting(Pretender([outcome]), store, "two")
        noting.submit("j", job)
        noting.finished(0)
        assert store.failure("two", job.id) is None


# Elements as processes of this machine


def test_two_elements_share_the_work_and_a_broken_method_is_tried_once(folder, undisturbed, capsys, spy):
    expected, alone = undisturbed(4)
    assert main(["run", "small.yaml", *LOCAL, "--workers", "2", "--methods", spy]) == 1
    said = capsys.readouterr()
    assert "1 cell failed (small-mlp broken@init 0.75 seed 0): RuntimeError: no scores today" in said.err
    assert metrics_of(folder) == expected
    counts = trained(folder)
    assert counts.pop("broken") == 1
    assert counts == dict.fromkeys(alone.done_stages(), 1)
    (logs,) = Path(".sparsebench/slurm").iterdir()
    assert len(json.loads((logs / "array.json").read_text())["elements"]) == 2
    assert not Path(".sparsebench/failures").exists()


@pytest.mark.slow
def test_an_element_that_is_killed_is_replaced_by_the_others(folder, undisturbed, good):
    (folder / "small.yaml").write_text(BOARD.replace("EPOCHS", "60"))
    expected, _ = undisturbed(60)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *LOCAL, "--workers", "2", *good]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob(".sparsebench/stages/*/checkpoint.ckpt")))
    element, *_ = children(children(process.pid)[0])
    os.kill(element, signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert metrics_of(folder) == expected


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_when_all_elements_are_killed_the_reason_is_reported_and_the_same_command_goes_on(
    folder, undisturbed, capsys, good
):
    (folder / "small.yaml").write_text(BOARD.replace("EPOCHS", "60"))
    expected, _ = undisturbed(60)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *LOCAL, "--workers", "1", *good]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob(".sparsebench/stages/*/checkpoint.ckpt")))
    controller = children(process.pid)[0]
    element = children(controller)[0]
    os.kill(controller, signal.SIGKILL)
    os.kill(element, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert "all elements of the Slurm array ended before this was done: INTERRUPTED (1); logs:" in err
    assert main(["run", "small.yaml", *LOCAL, "--workers", "1", *good]) == 0
    assert metrics_of(folder) == expected


@pytest.mark.slow
def test_detached_elements_go_on_and_a_job_publishes(folder, undisturbed, good):
    expected, _ = undisturbed(4)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *LOCAL, "--workers", "2", *good, "--detach"]
    left = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert left.returncode == 0, left.stderr
    assert "submitted: array" in left.stdout
    assert "sparsebench status small.yaml" in left.stdout
    wait_for(Path("results/small/leaderboard.md").exists, 180)
    assert metrics_of(folder) == expected


def masks_of(store: Store) -> dict[str, Masks]:
    return {path.parent.name: Masks.load(path) for path in store.stages.glob("*/masks.safetensors")}


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_two_ranks_give_the_same_masks(nodes, folder, undisturbed, monkeypatch, good):
    """Two devices of one node (worker processes of one task), and two nodes (two tasks, here of one machine)."""
    import sparsebench.launchers.slurm as slurm

    words = ["--devices", "2"]
    if nodes == 2:
        words = ["--nodes", "2"]
        monkeypatch.setattr(slurm, "for_elements", lambda hardware, asked: {"tasks_per_node": 2, "timeout_min": 30})
    assert main(["run", "small.yaml", *LOCAL, "--workers", "2", *words, *good]) == 0
    expected, found = masks_of(undisturbed(4)[1]), masks_of(Store(".sparsebench"))
    assert {name: masks.digest() for name, masks in found.items()} == {n: m.digest() for n, m in expected.items()}
    records = [Record.load(path).data for path in Path(".sparsebench/records").glob("*.json")]
    assert {record["provenance"]["world_size"] for record in records} == {2}


# A real Slurm


@pytest.fixture(scope="module")
def slurm():
    from tests.launchers.slurm_node import NoSlurm, slurm_node

    with pytest.MonkeyPatch.context() as patch:
        try:
            node = slurm_node()
            conf = node.__enter__()
        except NoSlurm as why:
            pytest.skip(str(why))
        try:
            patch.setenv("SLURM_CONF", str(conf))
            patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
            yield
        finally:
            node.__exit__(None, None, None)


def queue(*words: str) -> list[str]:
    return subprocess.run(["squeue", "-h", *words], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_real_slurm_runs_the_array_and_then_the_job_that_publishes(slurm, folder, undisturbed, spy):
    expected, alone = undisturbed(4)
    command = [sys.executable, "-m", "sparsebench", "run", "small.yaml", *SLURM, "--workers", "2"]
    command += ["--slurm", "partition=main", "time=30", "--methods", spy, "--detach"]
    left = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert left.returncode == 0, left.stderr
    waits = [line for line in queue("--format=%E") if "afterany" in line]
    assert len(waits) == 1, "the second job depends on the array"
    wait_for(lambda: not queue(), 180)
    assert metrics_of(folder) == expected
    counts = trained(folder)
    assert counts.pop("broken") == 1
    assert counts == dict.fromkeys(alone.done_stages(), 1)
    published = [Record.load(path) for path in Path("results/small").rglob("*.json")]
    assert sum(record.ok for record in published) == len(expected)
    assert [record.data["error"] for record in published if not record.ok] == ["RuntimeError: no scores today"]
    assert Path("results/small/leaderboard.md").exists()


@pytest.mark.slow
def test_real_slurm_cancelled_in_the_middle(slurm, folder, undisturbed, capsys, good):
    (folder / "small.yaml").write_text(BOARD.replace("EPOCHS", "60"))
    expected, alone = undisturbed(60)
    words = ["run", "small.yaml", *SLURM, "--workers", "2", "--slurm", "time=30", *good]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsebench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: list(folder.glob(".sparsebench/stages/*/checkpoint.ckpt")))
    subprocess.run(["scancel", *set(queue("--format=%F"))], check=True)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert "all elements of the Slurm array ended before this was done: CANCELLED (2)" in err
    assert "worker process died" not in err
    assert main(words) == 0
    assert metrics_of(folder) == expected
    assert trained(folder) == dict.fromkeys(alone.done_stages(), 1)


@pytest.mark.slow
def test_real_slurm_refuses_in_a_line(slurm, folder, capsys):
    assert main(["run", "small.yaml", *SLURM, "--workers", "2", "--slurm", "time=30", "partition=none"]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("sparsebench: Slurm refuses the job:")
    assert "invalid partition" in err
