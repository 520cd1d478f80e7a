"""Trackers: what a run tells TensorBoard, Weights & Biases, MLflow or a CSV file, through Lightning's loggers.

Every stage and every cell is a run of its own there. Values are of whole epochs, are held back and written together,
and never cost a result: a logger that fails is warned of once and left out.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sparsebench.errors import UsageError, unknown
from sparsebench.grid.cell import Cell
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.plan import Stage

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "csv": None}
"""Logger -> the package it needs."""
NONE = "none"
HOLD_SECONDS = 10.0
"""Values are written at the end of a training, and during a long one so often."""

_out_of_order: set[str] = set()
"""Loggers that failed in this process."""


def choose(asked: Sequence[str] | None) -> tuple[str, ...]:
    """The loggers to use; TensorBoard if it is installed and nothing was asked for.

    Raises:
        UsageError: an unknown one, one whose package is missing, or ``none`` beside others.
    """
    if asked is None:
        return ("tensorboard",) if find_spec("tensorboard") else ()
    for name in asked:
        if name not in (*PACKAGES, NONE):
            raise unknown("logger", name, (*PACKAGES, NONE), "sparsebench run --help")
        if PACKAGES.get(name) and not find_spec(PACKAGES[name]):
            raise UsageError(
                f"--logger {name}: the package {PACKAGES[name]} is not installed; pip install 'sparsebench[tracking]'"
            )
    if NONE in asked:
        if len(set(asked)) > 1:
            raise UsageError(f"--logger {' '.join(asked)}: none goes with no other")
        return ()
    return tuple(dict.fromkeys(asked))


class Tracker:
    """One run in each of the loggers. Nothing is opened, nor imported, before there is something to write."""

    def __init__(self, kind: str, title: str, task: str, config: Mapping[str, Any], hardware: Hardware):
        self.kind, self.title, self.task, self.config = kind, title, task, config
        self.names = hardware.loggers if _leading() else ()
        self.folder = Path(hardware.logs)
        self._rows: list[tuple[dict[str, float], int]] = []
        self._open: dict[str, Any] = {}
        self._written = time.monotonic()

    def log(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Note values of an epoch."""
        self._rows.append(({name: float(value) for name, value in metrics.items() if value is not None}, step))
        if time.monotonic() - self._written > HOLD_SECONDS:
            self.write()

    def write(self) -> None:
        """Hand over what was held back."""
        rows, self._rows = self._rows, []
        self._each(lambda logger: log_rows(logger, rows))
        self._written = time.monotonic()

    def close(self, final: Mapping[str, Any] | None = None) -> None:
        """Write the rest and leave; ``final`` numbers stand beside the settings in a table of all runs."""
        numbers = {name: float(value) for name, value in (final or {}).items() if _number(value)}
        rows, self._rows = self._rows, []

        def end(logger: Any) -> None:
            log_rows(logger, rows)
            describe(logger, self.config, numbers)
            logger.finalize("success")
            if type(logger).__name__ == "WandbLogger":
                logger.experiment.finish()

        self._each(end)
        self._open = {}

    def _each(self, act: Callable[[Any], Any]) -> None:
        for name in self.names:
            if name not in _out_of_order:
                try:
                    with unmoved(), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        if name not in self._open:
                            self._open[name] = OPEN[name](self)
                        act(self._open[name])
                except Exception as error:
                    _out_of_order.add(name)
                    said = " ".join(str(error).split())[:200]
                    print(f"logger {name} left out from here on: {type(error).__name__}: {said}", file=sys.stderr)


def log_rows(logger: Any, rows: Iterable[tuple[Mapping[str, float], int]]) -> None:
    """Values and the epochs they are of; TensorBoard gets an event an epoch: half the time of one a value."""
    if type(logger).__name__ != "TensorBoardLogger":
        for metrics, step in rows:
            logger.log_metrics(dict(metrics), step)
        return
    from tensorboard.compat.proto.summary_pb2 import Summary

    for metrics, step in rows:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        logger.experiment.file_writer.add_summary(Summary(value=values), step)


def describe(logger: Any, config: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
    """Settings and final numbers; TensorBoard wants them together, the others want numbers as metrics."""
    if type(logger).__name__ == "TensorBoardLogger":
        logger.log_hyperparams(dict(config), dict(numbers))
        return
    logger.log_hyperparams(dict(config))
    if numbers:
        logger.log_metrics(dict(numbers))


def _tensorboard(tracker: Tracker) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(
        tracker.folder,
        name=f"{tracker.kind}s/{tracker.task}",
        version=_file_name(tracker.title),
        default_hp_metric=False,
    )


def _csv(tracker: Tracker) -> Any:
    from lightning.pytorch.loggers import CSVLogger

    folder = tracker.folder / "csv"
    return CSVLogger(folder, name=f"{tracker.kind}s/{tracker.task}", version=_file_name(tracker.title))


def _wandb(tracker: Tracker) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    tracker.folder.mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(
        name=tracker.title,
        save_dir=tracker.folder,
        project=os.environ.get("WANDB_PROJECT", "sparsebench"),
        group=tracker.task,
        job_type=tracker.kind,
        reinit="finish_previous",
        settings=wandb.Settings(silent=True, console="off"),
    )
    logger._wandb_init.pop("anonymous", None)  # of which W&B warns, even where it is not set
    return logger


def _mlflow(tracker: Tracker) -> Any:
    # Newer versions want to be told that a folder will do.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from filelock import FileLock
    from lightning.pytorch.loggers import MLFlowLogger

    tracker.folder.mkdir(parents=True, exist_ok=True)
    logger = MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", "sparsebench"),
        run_name=tracker.title,
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or (tracker.folder / "mlruns").resolve().as_uri(),
        tags={"kind": tracker.kind, "task": tracker.task},
    )
    with FileLock(tracker.folder / ".mlflow.lock"):  # of several workers the first makes the experiment
        logger.experiment  # noqa: B018
    return logger


OPEN: dict[str, Callable[[Tracker], Any]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "csv": _csv,
}

_current: dict[str, Tracker] = {}
"""The stage this process is at, by its id."""


def stage_tracker(stage: Stage, hardware: Hardware) -> Tracker:
    """The tracker of the stage this process is at."""
    if stage.id not in _current:
        _current.clear()
        config = {"stage": stage.id, "seed": stage.seed, **task_config(stage.task.settings())}
        config["phases"] = ", ".join(type(phase).__name__ for phase in stage.phases)
        title = f"{stage.label.removeprefix(stage.task.name).strip()} {stage.id[:8]}"
        _current[stage.id] = Tracker("stage", title, stage.task.name, config, hardware)
    return _current[stage.id]


def stage_done(stage: Stage, report: Mapping[str, Any], hardware: Hardware) -> None:
    """Add what a stage ended with."""
    tracker = stage_tracker(stage, hardware)
    names = ("val_top1_before", "val_top1", "epochs", "steps", "images", "seconds", "score_seconds")
    tracker.close({name: report[name] for name in names})
    _current.clear()


def cell_done(cell: Cell, record: Mapping[str, Any], hardware: Hardware) -> None:
    """Add the metrics and costs of a cell's record."""
    config = {"cell": cell.id, **cell.key(), **task_config(cell.task.settings()), "stages": " ".join(record["parents"])}
    title = f"{cell.label.removeprefix(cell.task.name).strip()} {cell.id[:8]}"
    final = {f"{part}/{name}": value for part in ("metrics", "cost", "flops") for name, value in record[part].items()}
    final |= {f"sparsity/{name}": record["sparsity"][name] for name in ("achieved", "kept")}
    final["collapsed"] = int(record["collapsed"])
    Tracker("cell", title, cell.task.name, config, hardware).close(final)


def task_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A task's settings on one level, as text or numbers.

    >>> task_config({"name": "t", "recipe": {"epochs": 3, "milestones": (0.5,)}})
    {'settings/name': 't', 'settings/recipe/epochs': 3, 'settings/recipe/milestones': '(0.5,)'}
    """

    def flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from flat(item, f"{name}/{key}")
        else:
            yield name, value if isinstance(value, str | int | float) else str(value)

    return dict(flat(settings, "settings"))


@contextmanager
def unmoved() -> Iterator[None]:
    """Whatever random numbers a logger draws, those of the training stay."""
    from lightning.pytorch.utilities.seed import isolate_rng

    with isolate_rng(include_cuda=False):
        yield


def _leading() -> bool:
    from sparsebench.ranks import leads

    return leads()


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def _file_name(title: str) -> str:
    return title.replace("/", "~")
