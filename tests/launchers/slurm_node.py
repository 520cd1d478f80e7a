"""A Slurm of one machine in a temporary folder: munged, slurmctld, slurmd; no accounting, no cgroups."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=1000
PartitionName=main Nodes={host} Default=YES MaxTime=60 State=UP
"""


class NoSlurm(Exception):
    """Slurm is not installed here, or does not start."""


@contextmanager
def slurm_node() -> Iterator[Path]:
    """A running Slurm; yields its ``slurm.conf``. All its processes are gone afterwards.

    Raises:
        NoSlurm: why there is none.
    """
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        raise NoSlurm(f"not installed: {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid():
        raise NoSlurm("slurmd must be started by root")
    folder = Path(mkdtemp(prefix="slurm-", dir="/tmp"))
    daemons: list[subprocess.Popen] = []
    try:
        conf = configure(folder)
        environment = os.environ | {"PATH": path, "SLURM_CONF": str(conf)}
        for command in commands(folder, conf):
            log = open(folder / f"{Path(command[0]).name}.out", "w")  # noqa: SIM115
            daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
            time.sleep(0.5)
        wait_until_idle(environment, daemons, folder)
        yield conf
    finally:
        end(daemons, folder)
        shutil.rmtree(folder, ignore_errors=True)


def configure(folder: Path) -> Path:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    # munged refuses a key in a folder that others may write.
    folder.chmod(0o755)
    host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.geteuid()).pw_name
    conf = folder / "slurm.conf"
    conf.write_text(CONFIGURATION.format(folder=folder, host=host, user=user, ports=free_ports()))
    return conf


def commands(folder: Path, conf: Path) -> list[list[str]]:
    munge = [f"--{name}={folder}/munge.{end}" for name, end in MUNGE_FILES.items()]
    return [
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-c", "-f", str(conf)],
        ["slurmd", "-D", "-c", "-f", str(conf)],
    ]


MUNGE_FILES = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def free_ports(count: int = 2) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until_idle(environment: dict[str, str], daemons: list[subprocess.Popen], folder: Path) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        if any(daemon.poll() is not None for daemon in daemons):
            break
        said = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, timeout=30
        )
        if said.stdout.strip() == "idle":
            return
        time.sleep(0.3)
    logs = {log.name: log.read_text(errors="replace")[-500:] for log in folder.glob("*.log")}
    raise NoSlurm(f"Slurm does not start: {logs}")


def end(daemons: list[subprocess.Popen], folder: Path) -> None:
    """Stop the daemons and what they started: every process that has this folder in its command line or environment."""
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in daemons:
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mine = str(folder).encode() in (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if mine and int(process.name) != os.getpid():
            try:
                os.kill(int(process.name), signal.SIGKILL)
            except ProcessLookupError:
                continue
