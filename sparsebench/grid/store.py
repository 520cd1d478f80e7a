"""Store: what has been computed, by name. Done is done; a killed run goes on from what is here.

    stages/<id>/weights.safetensors     the network's plain state_dict
    stages/<id>/masks.safetensors       masks, if it is pruned
    stages/<id>/optimizer.safetensors   a rewind point's optimiser
    stages/<id>/scores.safetensors      scores of training images, of a stage that makes them
    stages/<id>/stage.json              losses, cost, audit; written last: it makes the stage done
    stages/<id>/checkpoint.ckpt         of a training that is under way
    records/<cell>.json                 one record a finished cell
    failures/<run>/<job>.json           what failed, for the other processes of a run; removed with its end

Every file is written to a temporary name and renamed. What cannot be read is named, set aside and computed again.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.files import write_atomic
from sparsebench.record import CorruptRecord, Record


class CorruptStage(SparsebenchError):
    """A stored stage is damaged."""

    def __init__(self, stage: str, why: str):
        super().__init__(f"stage {stage}: {why}")
        self.stage, self.why = stage, why

    def __reduce__(self):
        return type(self), (self.stage, self.why)


class Store:
    """A folder of stages and records."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.stages = self.folder / "stages"
        self.records = self.folder / "records"
        self.aside = self.folder / "damaged"

    def create(self) -> Store:
        """Make the folders.

        Raises:
            UsageError: they cannot be written.
        """
        try:
            for folder in (self.stages, self.records, self.folder / "locks"):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"store {self.folder} cannot be written ({error.strerror}); choose another with --store"
            ) from None
        return self

    def stage(self, name: str) -> Path:
        return self.stages / name

    def done_stages(self) -> set[str]:
        """Stages whose ``stage.json`` exists; their content is checked when it is read."""
        return {path.parent.name for path in self.stages.glob("*/stage.json")}

    def done_cells(self) -> set[str]:
        return {path.stem for path in self.records.glob("*.json")}

    def memory_of(self, results: str | Path) -> Path:
        """Where reports of these results remember what they have read and drawn, see ``sparsebench.report``."""
        place = sha256(str(Path(results).resolve()).encode()).hexdigest()[:16]
        return self.folder / "cache" / place

    def lock(self, name: str) -> FileLock:
        """Held by the process that computes a stage; freed by the system when it dies."""
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "locks" / f"{name}.lock")

    @staticmethod
    def claim(lock: FileLock) -> bool:
        """Take a lock unless another process holds it."""
        with suppress(Timeout):
            lock.acquire(blocking=False)
        return lock.is_locked

    def has_stage(self, name: str) -> bool:
        return (self.stage(name) / "stage.json").exists()

    def has_record(self, cell: str) -> bool:
        return (self.records / f"{cell}.json").exists()

    def failure(self, run: str, job: str) -> str | None:
        """Why a job failed in a run, if it did."""
        try:
            return json.loads((self.folder / "failures" / run / f"{job}.json").read_text(encoding="utf-8"))["error"]
        except FileNotFoundError:
            return None

    def note_failure(self, run: str, job: str, error: str) -> None:
        """Tell the other processes of a run that a job failed; the first word stays."""
        # What made the job fail, such as a full disk, may forbid this too; then it is tried once more.
        with suppress(OSError):
            if self.failure(run, job) is None:
                write_atomic(self.folder / "failures" / run / f"{job}.json", json.dumps({"error": error}))

    def forget_failures(self, run: str) -> None:
        """The run is over; the next one tries again."""
        shutil.rmtree(self.folder / "failures" / run, ignore_errors=True)
        with suppress(OSError):  # other runs have theirs there
            (self.folder / "failures").rmdir()

    def record(self, cell: str) -> Record:
        """The record of a finished cell.

        Raises:
            CorruptRecord: it is missing or damaged.
        """
        return Record.load(self.records / f"{cell}.json")

    def readable_records(self, cells: set[str]) -> tuple[dict[str, Record], list[str]]:
        """The records of some cells that load, and a line about each that was set aside."""
        found, notes = {}, []
        for cell in sorted(cells & self.done_cells()):
            try:
                found[cell] = self.record(cell)
            except CorruptRecord as error:
                notes.append(f"{error}; set aside as {self.set_aside(self.records / f'{cell}.json')}, computed again")
        return found, notes

    def stage_report(self, name: str) -> dict[str, Any]:
        """What ``stage.json`` says, after its files were checked against their digests.

        Raises:
            CorruptStage: something is missing, truncated or altered.
        """
        folder = self.stage(name)
        try:
            report = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
            for file, digest in report["files"].items():
                if sha256((folder / file).read_bytes()).hexdigest() != digest:
                    raise CorruptStage(name, f"{folder / file} does not match its digest")
            return report
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # The last three: JSON, and no report of a stage.
            raise CorruptStage(name, f"{folder / 'stage.json'}: {type(error).__name__}: {error}") from None

    def set_aside_stage(self, name: str) -> Path | None:
        """Move a damaged stage out of the way, unless another run has put a sound one in its place or is about to."""
        lock = self.lock(name)
        if not self.claim(lock):
            return None
        try:
            self.stage_report(name)
        except CorruptStage:
            return self.set_aside(self.stage(name)) if self.stage(name).exists() else None
        finally:
            lock.release()
        return None

    def set_aside(self, path: Path) -> Path:
        """Move a damaged file or stage out of the way; nothing is deleted."""
        self.aside.mkdir(parents=True, exist_ok=True)
        for attempt in range(10_000):
            target = self.aside / f"{path.name}.{attempt}"
            if not target.exists():
                break
        # Another run on this store may have been faster.
        with suppress(FileNotFoundError):
            shutil.move(path, target)
        return target
