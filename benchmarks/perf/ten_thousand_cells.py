"""Are planning, status and report of 10,000 cells quick? Bars: 2 seconds and 500 MB each, on one core.

    python benchmarks/perf/ten_thousand_cells.py [--cells N] [--repeats R] [--folder DIR]

Every figure is a whole process, interpreter start included, pinned to one core: median wall time of the repeats, its
range, the median time until something is said, and the largest resident set. "first" is a report without anything
remembered of earlier ones, "after its run" the first after the run that made, published and drew the board, "again" the
next one, "one changed" one after a record got another accuracy: it is read, and everything is ranked, written and drawn
again. A report says its tables before it writes pages and draws figures. The yardstick is what a report that ranks anew
must load: where that takes longer than at another time, the machine is slower, and so is the rest. Modules are compiled
and files are in the page cache. ``--cells`` (a multiple of 2,000) gives a growth curve, ``--folder`` keeps and reuses
the synthetic results. What was found: NOTES.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

SECONDS, MEGABYTES = 2.0, 500.0
CELLS_OF_A_SEED = 2000
YARDSTICK = "yardstick: import pandas"
FRESH_SECONDS = 3.5
"""Until a report remembers a new file."""
PLAN = """
import sys
from sparsebench.grid import board
from sparsebench.grid.plan import plan
whole = plan(board.load(sys.argv[1]).cells)
print(f"{len(whole.cells)} cells, {len(whole.stages)} stages")
"""
CHANGE = """
import sys
from sparsebench.record import Record
data = Record.load(sys.argv[1]).data
metrics = data["metrics"]
Record({**data, "metrics": {**metrics, "top1": 1 - metrics["top1"]}}).save(sys.argv[1])
"""
# This process imports nothing large: a child's peak memory counts what it was forked from.


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--cells", type=int, default=10_000, help="a multiple of 2,000")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--folder", type=Path, help="where the synthetic results stay (default: a temporary folder)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        seeds = max(1, round(chosen.cells / CELLS_OF_A_SEED))
        if not (folder / "store").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, Path(__file__).with_name("synthetic.py"), folder, str(seeds)], check=True)
        for name, (command, prepare) in commands(folder).items():
            measure(command, prepare)  # compiles modules
            tell(name, [measure(command, prepare) for _ in range(chosen.repeats)])


def commands(folder: Path) -> dict[str, tuple[list[str], Callable[[], None]]]:
    """What is timed, and what happens before each time."""
    board, where = str(folder / "board.yaml"), ["--store", f"{folder}/store", "--results", f"{folder}/results"]
    program = [sys.executable, "-m", "sparsebench"]
    report = [*program, "report", board, *where]

    def nothing() -> None: ...

    def forget() -> None:
        shutil.rmtree(folder / "store" / "cache", ignore_errors=True)

    def unsay() -> None:
        for said in (folder / "store" / "cache").rglob("said.json"):
            said.unlink()

    def change() -> None:
        record = next((folder / "results").glob("*/*/*.json"))
        subprocess.run([sys.executable, "-c", CHANGE, record], check=True)
        time.sleep(FRESH_SECONDS)

    return {
        YARDSTICK: ([sys.executable, "-c", "import pandas"], nothing),
        "plan": ([sys.executable, "-c", PLAN, board], nothing),
        "status": ([*program, "status", board, *where], nothing),
        "report --no-figures, first": ([*report, "--no-figures"], forget),
        "report --no-figures, again": ([*report, "--no-figures"], nothing),
        "report --no-figures, one changed": ([*report, "--no-figures"], change),
        "report, first": (report, forget),
        "report, after its run": (report, unsay),
        "report, again": (report, nothing),
        "report, one changed": (report, change),
    }


def measure(command: list[str], prepare: Callable[[], None]) -> tuple[float, float, float]:
    """Wall time and time until the first output in seconds, and peak memory in MB, of one process on one core."""
    prepare()
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    child = subprocess.Popen(command, env=compiled, stdout=subprocess.PIPE, preexec_fn=one_core)
    child.stdout.read(1)
    said = time.perf_counter() - began
    child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return seconds, said, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def tell(name: str, runs: list[tuple[float, float, float]]) -> None:
    seconds, said, memories = zip(*runs, strict=True)
    memory = max(memories)
    verdict = "met" if median(seconds) < SECONDS and memory < MEGABYTES else "MISSED"
    verdict = "" if name == YARDSTICK else verdict
    spread = f"({min(seconds):.2f} to {max(seconds):.2f})"
    print(
        f"{name:34}{median(seconds):7.2f} s {spread:17} said {median(said):5.2f} s {memory:6.0f} MB   {verdict}",
        flush=True,
    )


if __name__ == "__main__":
    main()
