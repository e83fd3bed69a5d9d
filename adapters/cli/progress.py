"""Progress on the standard error stream: bars on a terminal, a line a phase elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ConsoleProgress:
    """Implements :class:`ports.progress.Progress`; used as a context manager.

    Args:
        console: Where to write, the standard error stream.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = _bars(console) if console.is_terminal else None
        self._task: TaskID | None = None
        self._total = 0

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def phase(self, name: str, total: int | None = None) -> None:
        if self._bars is None:
            self._console.print(name if total is None else f"{name}: {total:,}", markup=False)
            return
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._total = total or 0
        self._task = self._bars.add_task(name, total=total)

    def expect(self, steps: int) -> None:
        if self._bars is not None and self._task is not None:
            self._total += steps
            self._bars.update(self._task, total=self._total)

    def advance(self, steps: int = 1) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, steps)


def _bars(console: Console) -> Progress:
    from rich.progress import (  # what a pipe does not need
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
