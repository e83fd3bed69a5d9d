"""What files gave when they were last extracted, in one file for each workspace.

Such a file is never relied on: it is read as a whole or not at all, each part of it has a digest,
and where anything is wrong with it, it counts as not there. It is written beside, and then takes
the place of the earlier one, so that a crash leaves one or the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

from filelock import FileLock, Timeout

from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import Block, FileCache, FileStatus, KeptFile

_FORMAT: Final = b"tenantkb files 1\n"
_TAIL: Final = 8 + 32  # the length of the index, and its SHA-256
_UNSETTLED: Final = 2_000_000_000
"""Nanoseconds for which a new status tells nothing: file systems count time in steps of up to so
much."""


class _Entry(NamedTuple):
    """What is kept of a file.

    Attributes:
        status: As in :class:`ports.extraction.FileStatus`.
        settled: Whether it was old when it was noted, so that no later change can have the same.
        content: Digest of the file's content.
        digest: Digest of its lines.
        lines: How many these are.
        told: Its diagnostics.
        start: Where its lines begin.
        size: How many bytes they have.
    """

    status: FileStatus
    settled: bool
    content: str
    digest: str
    lines: int
    told: tuple[Diagnostic, ...]
    start: int
    size: int

    def kept(self) -> KeptFile:
        """What whoever finds it is told."""
        return KeptFile(Block(self.digest, self.lines, None), self.told)

    def as_json(self) -> list[Any]:
        """The entry as values of JSON."""
        told = [
            [each.path, each.reason, each.severity.value, each.detail, each.affects_all]
            for each in self.told
        ]
        return [self.status, *self[1:5], told, self.start, self.size]

    @classmethod
    def of_json(cls, values: list[Any]) -> Self:
        """The inverse of :meth:`as_json`."""
        status, settled, content, digest, lines, told, start, size = values
        diagnostics = tuple(
            Diagnostic(path, reason, Severity(severity), detail, affects_all)
            for path, reason, severity, detail, affects_all in told
        )
        return cls(FileStatus(*status), settled, content, digest, lines, diagnostics, start, size)


class _Lines:
    """The lines of a cache file, and what it tells of each of its entries."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.entries = _index(file)

    def read(self, entry: _Entry) -> bytes | None:
        """The lines of an entry; ``None`` where they are damaged."""
        try:
            data = os.pread(self._file.fileno(), entry.size, entry.start)
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == entry.digest else None


def _index(file: IO[bytes]) -> dict[str, _Entry]:
    """The entries of a cache file, by key; none where anything is wrong with it."""
    try:
        size = os.fstat(file.fileno()).st_size
        head = os.pread(file.fileno(), len(_FORMAT), 0)
        tail = os.pread(file.fileno(), _TAIL, max(size - _TAIL, 0))
        length = int.from_bytes(tail[:8], "big")
        start = size - _TAIL - length
        if head != _FORMAT or start < len(_FORMAT):
            return {}
        index = os.pread(file.fileno(), length, start)
        if hashlib.sha256(index).digest() != tail[8:]:
            return {}
        return {key: _Entry.of_json(values) for key, values in json.loads(index).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}


class LocalFileCache:
    """Implements :class:`ports.extraction.FileCache` over an earlier file, and a new one.

    Args:
        earlier: What is kept so far.
        draft: Takes what will be kept; ``None`` where nothing will.
        now: Nanoseconds since 1970.
    """

    def __init__(
        self, earlier: _Lines | None, draft: IO[bytes] | None, now: Callable[[], int]
    ) -> None:
        self._earlier = earlier
        self._draft = draft
        self._now = now
        self._used: dict[str, _Entry] = {}
        self._new: dict[str, _Entry] = {}
        self._changed = False
        self._end = 0
        self._append(_FORMAT)

    def find(self, key: str, status: FileStatus) -> KeptFile | None:
        entry = self._entry(key)
        if entry is None or not entry.settled or entry.status != status:
            return None
        self._used[key] = entry
        return entry.kept()

    def find_content(self, key: str, status: FileStatus, digest: str) -> KeptFile | None:
        entry = self._entry(key)
        if entry is None or entry.content != digest:
            return None
        self._used[key] = entry._replace(status=status, settled=self._is_settled(status))
        self._changed = True
        return entry.kept()

    def text(self, key: str) -> str | None:
        entry = self._used[key]
        data = None if self._earlier is None else self._earlier.read(entry)
        if data is None:
            del self._used[key]
            return None
        return data.decode()

    def keep(
        self,
        key: str,
        status: FileStatus,
        digest: str,
        block: Block,
        diagnostics: tuple[Diagnostic, ...],
    ) -> None:
        self._changed = True
        settled = self._is_settled(status)
        data = (block.text or "").encode()
        self._new[key] = _Entry(
            status, settled, digest, block.digest, block.lines, diagnostics, self._end, len(data)
        )
        self._append(data)

    def finish(self) -> bool:
        """Complete the draft; whether it is to take the place of the earlier file."""
        known = {} if self._earlier is None else self._earlier.entries
        if not self._changed and self._used.keys() == known.keys():
            return False
        for key, entry in self._used.items():
            data = None if self._earlier is None else self._earlier.read(entry)
            if data is not None and key not in self._new:
                self._new[key] = entry._replace(start=self._end)
                self._append(data)
        told = {key: entry.as_json() for key, entry in self._new.items()}
        index = json.dumps(told, separators=(",", ":")).encode()
        self._append(index)
        self._append(len(index).to_bytes(8, "big") + hashlib.sha256(index).digest())
        return self._draft is not None

    def _entry(self, key: str) -> _Entry | None:
        return None if self._earlier is None else self._earlier.entries.get(key)

    def _append(self, data: bytes) -> None:
        """Write to the draft; one that cannot be written is given up, and nothing else is."""
        if self._draft is None:
            return
        try:
            if self._draft.write(data) < len(data):
                self._draft = None
        except OSError:
            self._draft = None
        self._end += len(data)

    def _is_settled(self, status: FileStatus) -> bool:
        return max(status.modified, status.changed) + _UNSETTLED < self._now()


class LocalFileCaches:
    """Implements :class:`ports.extraction.FileCaches` in a folder.

    Args:
        folder: Made by the first extraction, for its user alone; ``None`` where nothing is kept.
        most_bytes: What all files may take; those that were not used for longest go first.
        now: Nanoseconds since 1970.
    """

    def __init__(
        self, folder: Path | None, most_bytes: int, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._now = now

    @contextmanager
    def open(self, *owner: str, root: Path, fresh: bool) -> Iterator[FileCache]:
        if self._folder is None or self._most_bytes == 0:
            yield LocalFileCache(None, None, self._now)
            return
        named = json.dumps([*owner, os.fspath(root.absolute())])
        file = self._folder / hashlib.sha256(named.encode()).hexdigest()[:32]
        with ExitStack() as stack:
            earlier = None
            with suppress(OSError):
                earlier = None if fresh else _Lines(stack.enter_context(file.open("rb")))
            draft = None
            with suppress(OSError, Timeout):
                draft = stack.enter_context(_draft(file))
            cache = LocalFileCache(earlier, draft, self._now)
            yield cache
            with suppress(OSError):  # a disk that is full, say: the next run is slower
                if cache.finish():
                    _path_of(file).replace(file)
                else:
                    os.utime(file)
                self._make_room()

    def _make_room(self) -> None:
        if self._folder is None:
            return
        with os.scandir(self._folder) as entries:
            found = [(entry.stat(), entry.path) for entry in entries if "." not in entry.name]
        total = sum(status.st_size for status, _ in found)
        for status, path in sorted(found, key=lambda each: each[0].st_mtime_ns):
            if total <= self._most_bytes:
                return
            Path(path).unlink(missing_ok=True)
            total -= status.st_size


def _path_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


@contextmanager
def _draft(file: Path) -> Iterator[IO[bytes]]:
    """What is to take the place of a file; of one writer at a time.

    Raises:
        Timeout: there is another one.
    """
    file.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.parent.mkdir(exist_ok=True, mode=0o700)
    draft = _path_of(file)
    with FileLock(f"{file}.lock", timeout=0, mode=0o600):
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                yield stream
        finally:
            draft.unlink(missing_ok=True)
