"""Slurm: what submitit is asked for, what is refused, what became of the array, what its elements remember."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.grid import board as boards
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context, FailedBefore, dependencies, perform
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.launchers import JobByJob, Outcome
from sparsebench.launchers.slurm import SlurmLauncher
from sparsebench.launchers.slurm_element import Noting
from sparsebench.launchers.slurm_parameters import for_elements, for_publishing, read_parameters
from sparsebench.launchers.slurm_queue import states
from tests.launchers.small import board_text

pytest.importorskip("submitit", reason="sparsebench[slurm] is not installed")

SLURM = ["--launcher", "slurm", "--accelerator", "cpu", "--checkpoint-seconds", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "small.yaml").write_text(board_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


def stage_job():
    whole = plan(boards.from_text(board_text(), "small.yaml").cells)
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
