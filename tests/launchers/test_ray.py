"""A real Ray cluster of two nodes on this machine: shared work, lost workers and nodes, parts of a GPU."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

import sparsebench
from sparsebench.cli import main
from sparsebench.cli.display import Display
from sparsebench.errors import UsageError
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.plan import plan
from sparsebench.launchers import Outcome
from sparsebench.launchers.nodes import MARK, Shared, complaint, digest, end, share
from sparsebench.record import Record
from tests.launchers.small import board_text, in_one_process, metrics_of
from tests.survival.workplace import wait_for

ray = pytest.importorskip("ray")
from sparsebench.launchers.ray import RayLauncher  # noqa: E402

SPY = """
import os
import time
from multiprocessing import parent_process
from pathlib import Path

import sparsebench.grid.perform as perform

METHODS = ["magnitude@gmp", "random/erk@init", "magnitude@finetune(epochs=0.5)"]
HERE = Path(__file__).parent
train = perform.train


def noted(state, *rest):
    with open(HERE / "began.log", "a") as log:
        log.write(f"{state.stage.id} {os.environ['RAY_RAYLET_PID']} {parent_process().pid} {os.getpid()}\\n")
    while (HERE / "wait").exists() and state.stage.label.split()[1] in (HERE / "wait").read_text():
        time.sleep(0.05)
    train(state, *rest)


if "RAY_RAYLET_PID" in os.environ:  # not in the process of the tests, which reads this file too
    perform.train = noted
"""
"""A method file: every crew imports it; notes on which node a training begins, and waits before it if told to."""
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one CPU each; the second may be replaced."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    made.add_node(**NODE)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the board gives in this process, by cell."""
    return in_one_process(board_text(), tmp_path_factory.mktemp("s"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the board and the spy."""
    (tmp_path / "small.yaml").write_text(board_text())
    (tmp_path / "spy.py").write_text(SPY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


def command(cluster, *options: str) -> list[str]:
    words = ["run", "small.yaml", "--launcher", "ray", "--methods", "spy.py", "--accelerator", "cpu"]
    return [*words, "--checkpoint-seconds", "0", *(["--ray-address", cluster.address] if cluster else []), *options]


@dataclass
class Training:
    """One that began: process ids of the node's Ray, of the Ray worker, of the crew's process."""

    stage: str
    node: int
    worker: int
    process: int


def began(folder: Path) -> dict[str, Training]:
    """What the spies noted, by stage."""
    log = folder / "began.log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return {stage: Training(stage, *map(int, processes)) for stage, *processes in lines}


def pid_of(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def gone(pid: int) -> bool:
    """Whether a process ended; one that nobody has waited for yet did."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def last_stage(board, method: str) -> tuple[str, str]:
    """A cell's label and its last stage."""
    cell = next(cell for cell in board.cells if method in cell.method.name)
    return cell.label, plan(board.cells).chains[cell.id][-1]


@pytest.fixture
def other_code(tmp_path) -> Path:
    """A folder with another version of the package."""
    package = Path(sparsebench.__file__).parent
    shutil.copytree(package, tmp_path / "other" / "sparsebench", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "other" / "sparsebench" / "protocol.py", "a") as file:
        file.write("# changed\n")
    return tmp_path / "other"


def test_the_nodes_share_a_board_and_it_equals_one_process(
    cluster, folder, undisturbed, other_code, monkeypatch, capfd
):
    """And a node with other code, which joins once the work has begun, does none of it."""
    _, expected = undisturbed
    before = dict(os.environ), os.getcwd()
    nodes = {pid_of(node) for node in cluster.list_all_nodes()}
    late = []

    def one_joins(self, progress):
        if not late:
            late.append(cluster.add_node(**NODE, env_vars={"PYTHONPATH": str(other_code)}))

    monkeypatch.setattr(Display, "update", one_joins)
    try:
        assert main(command(cluster)) == 0
    finally:
        cluster.remove_node(late[0])
    assert metrics_of(folder) == expected
    trainings = began(folder).values()
    assert {training.node for training in trainings} == nodes
    assert len({training.process for training in trainings}) == 2, "a process serves more than one job"
    assert (dict(os.environ), os.getcwd()) == before
    assert not ray.is_initialized()
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("note: node ")
    assert "another version of sparsebench" in said
    assert not list((folder / ".sparsebench").glob(f"{MARK}*"))


@pytest.mark.slow
def test_a_lost_worker_and_a_lost_node_cost_their_cells_and_no_others(
    cluster, folder, undisturbed, monkeypatch, capsys
):
    board, expected = undisturbed
    label_of = {stage: label for label, stage in (last_stage(board, "gmp"), last_stage(board, "erk"))}
    (folder / "wait").write_text("magnitude@gmp random/erk@init")
    other, lost = cluster.list_all_nodes()[-1], {}

    def disturb(self, progress):
        """Once both are about to train, each on its node: the node of one goes, and the Ray worker of the other."""
        if lost or not label_of.keys() <= began(folder).keys():
            return
        trainings = [began(folder)[stage] for stage in label_of]
        for training in trainings:
            if training.node == pid_of(other):
                lost[label_of[training.stage]] = "the node it ran on left the Ray cluster"
            else:
                lost[label_of[training.stage]] = "the Ray worker died; out of memory or killed"
                os.kill(training.worker, signal.SIGKILL)
        cluster.remove_node(other, allow_graceful=False)
        wait_for(lambda: all(gone(training.process) for training in trainings))
        (folder / "wait").unlink()

    monkeypatch.setattr(Display, "update", disturb)
    assert main(command(cluster)) == 1
    err = capsys.readouterr().err
    assert len(set(lost.values())) == 2
    for label, why in lost.items():
        assert f"1 cell failed ({label}): {why}" in err
    assert metrics_of(folder).keys() == expected.keys() - {cell.id for cell in board.cells if cell.label in lost}

    cluster.add_node(**NODE)
    assert main(command(cluster)) == 0
    assert metrics_of(folder) == expected


@pytest.mark.slow
def test_a_job_that_hangs_is_stopped_and_the_next_one_finds_a_crew(cluster, folder, undisturbed, capsys):
    board, expected = undisturbed
    label, stage = last_stage(board, "gmp")
    (folder / "wait").write_text("magnitude@gmp")
    assert main(command(cluster, "--workers", "1", "--time-limit", "10")) == 1
    err = capsys.readouterr().err
    assert f"1 cell failed ({label}): took longer than --time-limit 10 s and was stopped" in err
    assert gone(began(folder)[stage].process)
    assert metrics_of(folder).keys() == expected.keys() - {cell.id for cell in board.cells if cell.label == label}


@pytest.mark.slow
def test_two_processes_of_one_task_train_a_cell(cluster, folder, undisturbed):
    _, expected = undisturbed
    large = cluster.add_node(**{**NODE, "num_cpus": 2})
    node = pid_of(large)
    try:
        assert main([*command(cluster, "--devices", "2"), "--methods", "spy.py:random/erk@init"]) == 0
    finally:
        cluster.remove_node(large)
    records = [Record.load(path).data for path in (folder / ".sparsebench" / "records").glob("*.json")]
    assert {record["provenance"]["world_size"] for record in records} == {2}
    assert {training.node for training in began(folder).values()} == {node}
    for record in records:
        assert record["metrics"]["nll"] == pytest.approx(expected[record["cell_id"]]["nll"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_behind_of_a_cluster_started_here(folder, how):
    (folder / "wait").write_text("magnitude@gmp")
    mark, options = uuid4().hex, command(None, "--ray-address", "local")
    hear = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsebench", *options],
        env={**os.environ, "MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear,
    )
    try:
        wait_for(lambda: began(folder))
        assert len(marked(mark)) > 5
        os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
        out, _ = process.communicate(timeout=60)
        # Ray's own agents outlive a driver that was shot, in Ray 2.60 for minutes.
        agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent") if how == signal.SIGKILL else ()
        wait_for(lambda: not [what for what in marked(mark).values() if not what.startswith(agents)], 30)
    finally:
        process.kill()
        for left in marked(mark):
            os.kill(left, signal.SIGKILL)
    assert "Traceback" not in out
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert out.splitlines()[-1].startswith("sparsebench: stopped")


def marked(mark: str) -> dict[int, str]:
    """Processes that inherited the mark, and what they are."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_text()
    return found


def test_jobs_share_a_declared_gpu_and_nodes_may_join(cluster, tmp_path, monkeypatch):
    """Two jobs at a time on it, with a job that only looks around: there is no real GPU here."""

    def look_around(job_id, job, context, shared):
        folder, most = Path(context.store), 0
        (folder / job_id).touch()
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            most = max(most, len(list(folder.glob("job-*"))))
            if most > 1:
                limit = min(limit, time.monotonic() + 1)
            time.sleep(0.05)
        (folder / job_id).unlink()
        return Outcome(job_id, f"{most} on {os.environ['CUDA_VISIBLE_DEVICES']}")

    monkeypatch.setattr("sparsebench.launchers.ray.work", look_around)
    monkeypatch.setattr("sparsebench.launchers.ray.LOOK_SECONDS", 0.0)
    context = Context(str(tmp_path), Hardware("gpu", per_device=2), "test")
    with pytest.raises(UsageError, match=r"no node of the Ray cluster has 1 CPUs and 0\.5 GPUs"):
        RayLauncher(10, context, cluster.address)
    added = [cluster.add_node(**{**NODE, "num_cpus": 8}, num_gpus=1)]
    cluster.wait_for_nodes()
    cpu = replace(context, hardware=Hardware())
    launcher = RayLauncher(10, cpu, cluster.address, auto=True)
    try:
        assert launcher._context.hardware.accelerator == "gpu"
        launcher.close()
        launcher = RayLauncher(10, context, cluster.address)
        for name in ("job-1", "job-2", "job-3", "job-4"):
            launcher.submit(name, None)
        outcomes = []
        wait_for(lambda: outcomes.extend(launcher.finished(1)) or len(outcomes) == 4)
        assert {outcome.error for outcome in outcomes} == {"2 on 0"}
        assert launcher.room == 2 + 1
        added.append(cluster.add_node(**{**NODE, "num_cpus": 8}, num_gpus=2))
        wait_for(lambda: launcher.room == 6 + 1)
    finally:
        launcher.close(kill=True)
        for node in added:
            cluster.remove_node(node)


def vanished(context: Context) -> Shared:
    shared = share(context)
    end(shared)
    return shared


DISAGREE = {
    "another file system": ("launchers.ray.share", vanished, "does not see the store"),
    "other code": ("launchers.nodes.source_files", list, "has another version of sparsebench"),
    "other packages": ("launchers.nodes.package_versions", lambda: (("torch", "1.0"),), "has other packages (torch"),
}


@pytest.mark.parametrize("difference", DISAGREE)
def test_a_node_that_differs_is_named_before_any_work(cluster, folder, monkeypatch, capsys, difference):
    place, other, says = DISAGREE[difference]
    monkeypatch.setattr(f"sparsebench.{place}", other)
    assert main(command(cluster)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sparsebench: node ")
    assert says in line
    assert not began(folder)
    assert not ray.is_initialized()


def test_what_a_node_must_have(tmp_path):
    method, data, store = tmp_path / "mine.py", tmp_path / "data", tmp_path / "store"
    for made in (data, store):
        made.mkdir()
    method.write_text("METHODS = []")
    context = Context(str(store), Hardware(data_root=str(data)), "test", (str(method),))
    shared = share(context)
    assert complaint(shared) is None
    assert [path.name for path in store.iterdir()] == [shared.mark.name]
    method.write_text("METHODS = ['other']")
    assert f"{method} as it is here" in complaint(shared)
    method.unlink()
    assert f"{method} as it is here" in complaint(shared)
    assert f"no folder {data}/gone" in complaint(replace(shared, methods=(), data=f"{data}/gone"))
    end(shared)
    assert f"does not see the store {store}" in complaint(shared)


def test_sources_differ_by_content_and_name(tmp_path):
    one, two = tmp_path / "a.py", tmp_path / "b.py"
    for path in (one, two):
        path.write_text("same")
    assert len({digest([one]), digest([two]), digest([one, two]), digest([])}) == 4
    before = digest([one])
    one.write_text("other")
    assert digest([one]) != before


MISTAKES = {
    "--launcher ray --nodes 2": ["--nodes 2", "on one node", "slurm"],
    "--launcher ray --ray-address 127.0.0.1:1": ["127.0.0.1:1", "refused", "--ray-address", "ray start --head"],
    "--launcher ray --ray-address ray://head:10001": ["ray://head:10001", "HOST:PORT"],
    "--launcher ray --ray-address head": ["Ray cluster head", "HOST:PORT"],
    "--ray-address 127.0.0.1:1": ["--ray-address is for --launcher ray"],
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line(folder, capsys, typed):
    assert main(["run", "small.yaml", "--accelerator", "cpu", *typed.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in MISTAKES[typed]), line
    assert not list((folder / ".sparsebench").glob(f"{MARK}*"))


def test_without_ray_the_package_is_named(folder, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "sparsebench.launchers.ray")
    monkeypatch.delitem(sys.modules, "sparsebench.launchers.ray_cluster")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["run", "small.yaml", "--accelerator", "cpu", "--launcher", "ray"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "sparsebench: --launcher ray needs the package ray: pip install 'sparsebench[ray]'"
