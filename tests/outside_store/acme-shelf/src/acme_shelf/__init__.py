"""A store for tenantkb in one file of JSON lines.

Each line is one write, so that a write is there or not. What the lines say is kept in memory;
before each call those that other processes have added are read. It is made to be read: a shelf that
lives for long has to be written anew now and then, which this one is not.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.domain.checks import Check, State
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import StoreDamagedError, StoreError, StoreMismatchError
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.domain.vectors import nearest
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import RawRow, Vector

REPLACE_SHELF = "replace-shelf"
"""The remedy of a shelf that cannot be read."""

Line = dict[str, Any]

_PAGE = 500


def open_shelf(settings: StoreSettings) -> ShelfEngine:
    """The store of the kind ``shelf``: what ``options`` holds are arguments of its own."""
    return ShelfEngine(settings.path, **settings.options)


class ShelfEngine:
    """Implements ``tenantkb.ports.engine.Engine``, and ``Examinable``.

    Args:
        path: The folder of the file.
        durable: Whether a write is on the disk before it is acknowledged.
    """

    def __init__(self, path: Path, durable: bool = True) -> None:
        self._file = Path(path) / "shelf.jsonl"
        self._durable = durable
        self._threads = threading.RLock()
        self._forget()

    @property
    def place(self) -> str:
        return str(self._file)

    def profile(self) -> EmbedderProfile | None:
        with self._reading():
            return self._profile

    def ids(self) -> IdScheme | None:
        with self._reading():
            return self._ids

    def bind(self, profile: EmbedderProfile, ids: IdScheme = IdScheme.CONTENT) -> EmbedderProfile:
        with self._writing() as file:
            if self._profile is None:
                bound = {"name": profile.name, "dimension": profile.dimension, "ids": ids.value}
                self._append(file, bound)
            return self._profile or profile

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        with self._reading():
            found = {
                (row.id, row.label): (row, stored)
                for row, stored in self._rows.values()
                if selection.matches(row.label, row.metadata)
            }
        if not found:
            return []
        vectors = np.stack([stored for _, stored in found.values()])
        best = nearest(list(found), vectors, vector, limit)
        return [(_copied(found[key][0]), score) for key, score in best]

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        return [row for row, _ in self.fetch([RowKey(label, i) for label in labels for i in ids])]

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        return (row for row, _ in self.export(after) if selection.matches(row.label, row.metadata))

    def put(self, rows: Sequence[RawRow], vectors: Vectors, *, exact: bool) -> None:
        with self._writing() as file:
            if self._profile is None:
                raise StoreMismatchError("the shelf has not been bound to an embedder yet")
            self._append(file, {"put": list(map(_encoded, rows, vectors))})

    def move(self, moves: Sequence[tuple[RowKey, RawRow]]) -> None:
        with self._writing() as file:
            there = [(key, row, self._rows[key][1]) for key, row in moves if key in self._rows]
            gone = [list(key) for key, _, _ in there]
            put = [_encoded(row, vector) for _, row, vector in there]
            self._append(file, {"delete": gone, "put": put})

    def delete(self, keys: Sequence[RowKey]) -> int:
        with self._writing() as file:
            there = [list(key) for key in keys if key in self._rows]
            self._append(file, {"delete": there})
            return len(there)

    def export(self, after: RowKey | None = None) -> Iterator[tuple[RawRow, Vector]]:
        with self._reading():
            keys = sorted(self._rows, key=lambda key: (key.id, key.label))
        if after is not None:
            keys = [key for key in keys if (key.id, key.label) > (after.id, after.label)]
        for start in range(0, len(keys), _PAGE):
            yield from self.fetch(keys[start : start + _PAGE])  # those that are still there

    def fetch(self, keys: Sequence[RowKey]) -> Iterable[tuple[RawRow, Vector]]:
        with self._reading():
            found = [self._rows[key] for key in keys if key in self._rows]
        return [(_copied(row), vector.copy()) for row, vector in found]

    def truncate(self) -> int:
        with self._writing() as file:
            count = len(self._rows)
            self._begin(file)
            return count

    def close(self) -> None:
        """Nothing is open between two calls."""

    def examine(self) -> Iterator[Check]:
        remedy = self.remedy(REPLACE_SHELF)
        try:
            with self._reading():
                yield Check("shelf.file", State.OK, "every line can be read")
        except StoreError as error:
            yield Check("shelf.file", State.ERROR, str(error), remedy)

    def remedy(self, key: str) -> str | None:
        if key == REPLACE_SHELF:
            return f"Move {self.place} away, and synchronise again or restore a backup."
        return None

    # The file

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What is remembered is what the file says; nothing is made where there is none."""
        with self._threads, _translated(self.place):
            if not self._file.exists():
                self._forget()
                yield
                return
            with self._file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                self._catch_up(file)
                yield

    @contextmanager
    def _writing(self) -> Iterator[BinaryIO]:
        """The same, and no other process reads or writes meanwhile."""
        with self._threads, _translated(self.place):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._catch_up(file)
                if not self._header:
                    self._begin(file)
                file.seek(self._end)
                file.truncate()  # what a writer that was killed has left of its last line
                yield file

    def _begin(self, file: BinaryIO) -> None:
        """Make the file an empty one, which no process takes for what it was before."""
        self._forget()
        file.seek(0)
        file.truncate()
        self._header = _line({"shelf": 1, "is": uuid4().hex})
        self._write(file, self._header)

    def _append(self, file: BinaryIO, line: Line) -> None:
        self._write(file, _line(line))
        self._apply(line)

    def _write(self, file: BinaryIO, text: bytes) -> None:
        file.write(text)
        file.flush()
        if self._durable:
            os.fsync(file.fileno())
        self._end += len(text)

    def _catch_up(self, file: BinaryIO) -> None:
        header = file.readline()
        if header != self._header or not self._header:
            self._forget()
            if not header.endswith(b"\n"):
                return
            self._header, self._end = header, len(header)
        file.seek(self._end)
        for text in file:
            if not text.endswith(b"\n"):
                return
            try:
                self._apply(json.loads(text))
            except (ValueError, KeyError, TypeError) as error:
                raise StoreDamagedError(
                    f"{self.place} has a line that is none of ours: {error}", remedy=REPLACE_SHELF
                ) from error
            self._end += len(text)

    def _forget(self) -> None:
        self._header = b""
        self._end = 0
        self._profile: EmbedderProfile | None = None
        self._ids: IdScheme | None = None
        self._rows: dict[RowKey, tuple[RawRow, Vector]] = {}

    def _apply(self, line: Line) -> None:
        if "name" in line:
            self._profile = EmbedderProfile(line["name"], line["dimension"])
            self._ids = IdScheme(line.get("ids", IdScheme.CONTENT))
        for label, row_id in line.get("delete", ()):
            self._rows.pop(RowKey(label, ChunkId(row_id)), None)
        for label, row_id, metadata, numbers in line.get("put", ()):
            row = RawRow(label, ChunkId(row_id), metadata)
            vector = np.frombuffer(base64.b64decode(numbers), "<f4")
            self._rows[row.key] = row, vector.astype(np.float32)


def _encoded(row: RawRow, vector: Vector) -> list[Any]:
    numbers = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [row.label, row.id, dict(row.metadata), numbers]


def _copied(row: RawRow) -> RawRow:
    """A row that a caller may change without changing the shelf."""
    return row._replace(metadata=dict(row.metadata))


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Nothing of the file system gets out but as a ``StoreError``."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{place} cannot be used: {error.strerror or error}") from error
