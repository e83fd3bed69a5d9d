"""Which workspaces change, for as long as somebody looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from tenantkb.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from watchfiles import Change

_QUIET: Final = 300
"""Milliseconds without a change after which those before are told: editors and git write several
files."""

_LONGEST: Final = 5_000
"""Milliseconds after the first change in which nothing is told, however many follow."""

_LOOK: Final = 500
"""Milliseconds in which the watching begins, or ends."""


def changes(folders: Sequence[Path], apart: Sequence[Path]) -> Iterator[set[Path]]:
    """Those of some folders below which something has changed; first, and at once, all of them.

    What changes while the caller is busy is told afterwards, at once, so that nothing is missed.

    Args:
        folders: Existing ones.
        apart: Files and folders where the caller writes: nothing is told of them, of what lies
            below them, or beside them under a longer name, as a database's log. Nor of ``.git``.

    Raises:
        InvalidInputError: a folder cannot be watched, as the system allows too few watches, say.
    """
    from watchfiles import watch

    real = {folder: folder.resolve() for folder in folders}
    silent = [each.resolve() for each in apart]

    def matters(_: Change, path: str) -> bool:
        file = Path(path)
        return ".git" not in file.parts and not any(_belongs(file, each) for each in silent)

    def look() -> None:
        try:
            for number, changed in enumerate(
                watch(
                    *real.values(),
                    watch_filter=matters,
                    debounce=_LONGEST,
                    step=_QUIET,
                    stop_event=stopped,
                    rust_timeout=_LOOK,
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                )
            ):
                files = [Path(path) for _, path in changed]
                found.put(
                    {
                        folder
                        for folder, place in real.items()
                        # From the first look on changes are noticed, so all is told but once.
                        if number == 0 or any(file.is_relative_to(place) for file in files)
                    }
                )
        except OSError as error:
            found.put(error)

    stopped = threading.Event()
    found: SimpleQueue[set[Path] | OSError] = SimpleQueue()
    # The library turns every signal into an interruption of its own; it gets none in a thread.
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        while True:
            waiting = [found.get()]
            while not found.empty():  # what has gathered while the caller was busy is one change
                waiting.append(found.get())
            told: set[Path] = set()
            for each in waiting:
                if isinstance(each, OSError):
                    raise InvalidInputError(f"the workspaces cannot be watched: {each}") from each
                told |= each
            if told:
                yield told
    finally:
        stopped.set()
        watcher.join()


def _belongs(file: Path, own: Path) -> bool:
    beside = file.parent == own.parent and file.name.startswith((f"{own.name}-", f"{own.name}."))
    return beside or file.is_relative_to(own)
