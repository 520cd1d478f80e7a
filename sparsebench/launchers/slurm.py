"""Slurm: one array job whose elements share the store, submitted through submitit.

    sparsebench run standard --launcher slurm --workers 16 --accelerator gpu --slurm partition=gpu time=4:00:00

Waits in a queue are long and stages are short, so a stage is no Slurm job of its own: an element of the array is a
worker that lives as long as there is work (``slurm_element``). This process only watches the store, shows progress and
publishes. With ``detach`` it leaves at once; a second job, which depends on the array, then does what it would have
done: the same command line with ``--attach RUN``. That job computes nothing, since it has neither the devices nor the
time: what the array left undone is reported as failed, and the same command goes on with it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from sparsebench.errors import UsageError
from sparsebench.files import write_atomic
from sparsebench.grid.jobs import Context, Job
from sparsebench.grid.store import Store
from sparsebench.launchers import JobByJob, Listener, Outcome, Progress
from sparsebench.launchers.slurm_element import Element, is_done
from sparsebench.launchers.slurm_parameters import for_elements, for_publishing, submitit
from sparsebench.launchers.slurm_queue import ENDED, states

LOOK_SECONDS = 2.0
"""How often the store is looked at."""
ASK_SECONDS = 10.0
"""How often Slurm is asked; its controller serves everybody."""
SETTLE_SECONDS = 5.0
"""How long after the end of all elements a shared file system may still bring news."""
REQUEUES = 100
"""How often an element that ran into its time limit is put back into the queue."""


class Detached(Exception):
    """The work goes on without this process; says where."""


class SlurmLauncher(JobByJob):
    """``workers`` elements, each with the devices for one job (``per_device`` jobs); see the module.

    Args:
        parameters: submitit's, by their names there (``partition``, ``time``, ``mem_gb``, ``setup``, ...).
        detach: leave after submitting, by raising ``Detached``.
        attach: the run to watch instead of submitting one.
        command: words of the command line, for the job that publishes.

    Raises:
        UsageError: submitit or Slurm is not there, or a parameter makes no sense.
    """

    def __init__(
        self,
        workers: int,
        context: Context,
        parameters: dict[str, Any] | None = None,
        detach: bool = False,
        attach: str | None = None,
        command: Sequence[str] = (),
    ):
        hardware, self._parameters = context.hardware, dict(parameters or {})
        if hardware.nodes > 1 and (context.time_limit or hardware.per_device > 1):
            raise UsageError("--time-limit and --per-device: not with several --nodes; ranks of a team end together")
        self._cluster = self._parameters.pop("cluster", "slurm")
        if self._cluster == "slurm" and not shutil.which("sbatch"):
            raise UsageError("--launcher slurm: no sbatch on this machine's PATH; submit from a login node")
        self.run_id = attach or f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}"
        store = Path(context.store).absolute()
        self._context = replace(
            context,
            store=str(store),
            run_id=self.run_id,
            method_files=tuple(str(Path(file).absolute()) for file in context.method_files),
            hardware=replace(hardware, data_root=hardware.data_root and str(Path(hardware.data_root).absolute())),
        )
        self.logs = store / "slurm" / self.run_id
        self._store, self._workers = Store(store), workers
        self._detach, self._attached, self._command = detach, attach is not None, list(command)
        self._elements: list[Any] = self._remembered() if attach else []
        self._states: dict[str, str] = {}
        self._open: dict[str, Job] = {}
        self._looked = self._asked = 0.0
        self._ended_since: float | None = None
        self._for_elements = for_elements(hardware, self._parameters)

    def run(self, jobs: dict[str, Job], waits: dict[str, set[str]], listener: Listener) -> Progress:
        """Submit the array and watch it until all jobs are done or cannot be.

        Raises:
            Detached: as asked for; both jobs are submitted.
            UsageError: Slurm refuses the array.
        """
        if not self._attached:
            self._submit(Element(jobs, waits, self._context))
        if self._detach:
            raise self._leave()
        progress = super().run(jobs, waits, lambda p: listener(replace(p, running={"array": self._label()})))
        for result in self._results().values():
            progress.damaged |= result.damaged if isinstance(result, Progress) else set()
        return progress

    @property
    def room(self) -> int:
        return 1  # the elements know themselves what is ready; here jobs are only waited for

    def submit(self, job_id: str, job: Job) -> None:
        self._open[job_id] = job

    def finished(self, timeout: float) -> list[Outcome]:
        time.sleep(min(timeout, max(0.0, self._looked + LOOK_SECONDS - time.monotonic())))
        if time.monotonic() < self._looked + LOOK_SECONDS:
            return []
        self._looked = time.monotonic()
        self._ask()
        outcomes = [outcome for name, job in self._open.items() if (outcome := self._outcome(name, job))]
        if not outcomes and self._over:
            outcomes = self._undone()
        for outcome in outcomes:
            del self._open[outcome.job_id]
        return outcomes

    def close(self, kill: bool = False) -> None:
        """Cancel what still waits or runs; after the last job there is nothing for it to do."""
        for element in self._elements:
            if self._states.get(element.job_id) not in ENDED:
                element.cancel(check=False)
        if self._elements:
            self._store.forget_failures(self.run_id)

    @property
    def _over(self) -> bool:
        """Whether all elements ended, and long enough ago."""
        if not all(self._states.get(element.job_id) in ENDED for element in self._elements):
            self._ended_since = None
            return False
        self._ended_since = self._ended_since or time.monotonic()
        return time.monotonic() >= self._ended_since + SETTLE_SECONDS

    def _outcome(self, name: str, job: Job) -> Outcome | None:
        if is_done(job, self._store):
            return Outcome(name)
        error = self._store.failure(self.run_id, job.id)
        return Outcome(name, error) if error else None

    def _ask(self) -> None:
        if time.monotonic() >= self._asked + ASK_SECONDS:
            self._asked = time.monotonic()
            self._states |= states(self._elements)

    def _submit(self, element: Element) -> None:
        self._elements = self._submitted(self._executor(self._for_elements), [element] * self._workers)
        ids = [element.job_id for element in self._elements]
        write_atomic(self.logs / "array.json", json.dumps({"elements": ids, "tasks": self._elements[0].num_tasks}))

    def _remembered(self) -> list[Any]:
        try:
            array = json.loads((self.logs / "array.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"--attach {self.run_id}: no such run; there is no {self.logs / 'array.json'}") from None
        kind = submitit().SlurmJob if self._cluster == "slurm" else submitit().LocalJob
        return [kind(self.logs, name, tasks=list(range(array["tasks"]))) for name in array["elements"]]

    def _leave(self) -> Detached:
        """Submit the job that publishes, and forget the array: it is nobody's to cancel."""
        array = self._elements[0].job_id.split("_")[0]
        words = [word for word in self._command if word != "--detach"]
        executor = self._executor(for_publishing(self._parameters, array))
        again = submitit().helpers.CommandFunction(
            [sys.executable, "-m", "sparsebench", *words, "--attach", self.run_id]
        )
        (publishing,) = self._submitted(executor, [again])
        elements, self._elements = len(self._elements), []
        return Detached(
            f"submitted: array {array} of {elements} elements, then job {publishing.job_id}, which publishes\n"
            f"logs:      {self.logs}\n"
            f"watch:     sparsebench {shlex.join([*words, '--attach', self.run_id])}"
        )

    def _executor(self, parameters: dict[str, Any]) -> Any:
        """submitit's; its errors about parameters become ours."""
        try:
            executor = submitit().AutoExecutor(self.logs, self._cluster, slurm_max_num_timeout=REQUEUES)
            executor.update_parameters(**parameters)
        except (AssertionError, NameError, ValueError, RuntimeError) as error:
            raise UsageError(f"--slurm: {' '.join(str(error).split())}") from None
        return executor

    def _submitted(self, executor: Any, tasks: list[Any]) -> list[Any]:
        try:
            return executor.submit_array(tasks)
        except submitit().core.utils.FailedJobError as error:
            raise UsageError(f"Slurm refuses the job: {' '.join(str(error).split())}") from None

    def _label(self) -> str:
        counts = Counter(self._states.get(element.job_id, "submitted") for element in self._elements)
        return "Slurm: " + ", ".join(f"{count} {state.lower()}" for state, count in counts.items())

    def _results(self) -> dict[str, Any]:
        """What the first rank of each element that came to its end returned, or the last line of its traceback."""
        found = {}
        for element in self._elements:
            path = element.task(0).paths.result_pickle
            if path.exists():
                how, result = submitit().core.utils.pickle_load(path)
                found[element.job_id] = result if how == "success" else result.strip().splitlines()[-1]
        return found

    def _undone(self) -> list[Outcome]:
        """Why something is not done though all elements ended: the failure they reported, or how they ended."""
        results = self._results()
        failed = [result.failed for result in results.values() if isinstance(result, Progress)]
        ends = Counter(
            result if isinstance(result := results.get(name), str) else self._states[name]
            for name in (element.job_id for element in self._elements)
        )
        counted = ", ".join(f"{end} ({count})" for end, count in ends.most_common())
        lost = f"all elements of the Slurm array ended before this was done: {counted}; logs: {self.logs}"
        return [Outcome(name, next((f[name] for f in failed if name in f), lost)) for name in self._open]
