"""Display: what a run is doing, as a live bar on a terminal and as a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sparsebench.grid import drive

EVERY_SECONDS = 15.0


class Display:
    def __init__(self, title: str):
        self.console = Console(stderr=True)
        self.live = self.console.is_terminal
        self._last = time.monotonic()
        self._began = time.monotonic()
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[now]}"),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=None, now="starting workers")

    def __enter__(self) -> Display:
        if self.live:
            self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        if self.live:
            self._bar.stop()

    def update(self, progress: drive.Progress) -> None:
        done = progress.done + len(progress.failed)
        failed = f", {len(progress.failed)} failed" if progress.failed else ""
        now = " | ".join(list(progress.running.values())[:2])
        if self.live:
            self._bar.update(self._task, completed=done, total=progress.total, now=now + failed)
        elif time.monotonic() - self._last > EVERY_SECONDS:
            self._last = time.monotonic()
            seconds = self._last - self._began
            line = f"{seconds:5.0f} s  {done}/{progress.total} jobs{failed}  {now}"
            self.console.print(line, highlight=False, soft_wrap=True)
