"""The store in a SQLite file, which holds the installation's state as well.

A question is answered by an exact cosine over the labels in scope, whose vectors are kept in
memory. Each label has a generation in the file, read in the same transaction as everything else
about the question, so that what any process has written is seen by the next question, and what it
has written under other labels costs nothing.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Final

import numpy as np

from tenantkb.adapters.lexical.labels import (
    LabelCache,
    LabelRows,
    chosen,
    columns,
    numbered,
    postings_of,
)
from tenantkb.adapters.lexical.postings import made_by
from tenantkb.adapters.lexical.rows import Stored, by_key, find, recount, renew, setting
from tenantkb.adapters.lexical.schema import BLOCK_BITS, SELECTED, TOKENISER
from tenantkb.adapters.state.database import REPLACE_FILE, Database
from tenantkb.adapters.state.leases import Leases
from tenantkb.adapters.state.sqlite import StateTables
from tenantkb.adapters.stores.sqlite import examination, tables
from tenantkb.adapters.stores.sqlite.schema import (
    EMBEDDER_DIMENSION,
    EMBEDDER_NAME,
    FILE,
    ID_SCHEME,
    STORE_FILE,
)
from tenantkb.adapters.stores.sqlite.vectors import VECTOR, LabelVectors, load
from tenantkb.domain.checks import Check
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import StoreError, StoreMismatchError
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.domain.vectors import nearest
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import LabelCount, Postings, RawRow, Vector

_PAGE: Final = 1000
"""Rows that a scan reads at a time."""

_EXPORT_PAGE: Final = 256

_SCAN: Final = (
    "SELECT row.id, content.metadata FROM row JOIN content USING (number) WHERE row.label = :label"  # noqa: S608 # a constant
    f" AND row.id >= :id AND (row.id > :id OR :own) AND {SELECTED} ORDER BY row.id LIMIT :limit"
)
_KEY_PAGE: Final = 10_000
_KEYS: Final = (
    f"SELECT row.id FROM row WHERE row.label = :label AND row.id > :id AND {SELECTED}"  # noqa: S608 # a constant
    " ORDER BY row.id LIMIT :limit"
)
_TRUNCATE: Final = (
    "DELETE FROM row",
    "DELETE FROM content",
    "DELETE FROM vector",
    "DELETE FROM row_count",
    "DELETE FROM block",
    "DELETE FROM posting",
    "DELETE FROM label",
    "DELETE FROM setting",
    "DELETE FROM sync",
    "DELETE FROM known",
    "DELETE FROM ingestion",
    "DELETE FROM inventory",
)
_FORGET: Final = (
    "DELETE FROM sync WHERE tenant_id = ?",
    "DELETE FROM known WHERE tenant_id = ?",
    "DELETE FROM spoof WHERE tenant_id = ?",
    "DELETE FROM ingestion WHERE tenant_id = ?",
    "DELETE FROM inventory WHERE tenant_id = ?",
)
_FORGET_LABELS: Final = (
    "DELETE FROM label WHERE NOT EXISTS (SELECT * FROM row WHERE row.label = label.label)"
)


class SqliteEngine(StateTables):
    """Implements :class:`ports.engine.Engine`, its capabilities, and :class:`ports.state.State`.

    What is *reindexed* are the postings and counts, which follow from the rows. After
    :meth:`truncate` nothing is known of any repository either; spoofs stay counted.

    Args:
        path: The folder. Made by the first write, for its user alone.
        wait: Seconds to wait for other writers, and for leases.
        cache_bytes: Memory for vectors.
    """

    def __init__(self, path: Path, *, wait: float = 60.0, cache_bytes: int = 256 * 2**20) -> None:
        self._path = path.absolute()
        super().__init__(
            Database(self._path / FILE, STORE_FILE, wait), Leases(self._path / "leases", wait)
        )
        self._cache = LabelCache[LabelVectors](cache_bytes)
        # More threads than processors would only take the interpreter from one another.
        self._turns = threading.Semaphore(os.cpu_count() or 1)

    @property
    def place(self) -> str:
        return str(self._path)

    def profile(self) -> EmbedderProfile | None:
        with self._turns, self._database.reading() as connection:
            return tables.profile(connection)

    def ids(self) -> IdScheme | None:
        with self._turns, self._database.reading() as connection:
            return tables.ids(connection)

    def bind(self, profile: EmbedderProfile, ids: IdScheme = IdScheme.CONTENT) -> EmbedderProfile:
        bound = self.profile()
        if bound is not None:
            return bound
        with self._database.writing() as connection:
            bound = tables.profile(connection)
            if bound is None:
                connection.executemany(
                    "INSERT INTO setting VALUES (?, ?)",
                    (
                        (EMBEDDER_NAME, profile.name),
                        (EMBEDDER_DIMENSION, profile.dimension),
                        (ID_SCHEME, ids.value),
                        (TOKENISER, made_by()),
                    ),
                )
            return bound or profile

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        query = np.ascontiguousarray(vector, VECTOR)
        numbers: dict[tuple[str, str], int] = {}
        parts = []
        with self._turns, self._database.reading() as connection:
            others = partial(_others, connection, selection)
            for label, rows in self._vectors(connection, selection.labels):
                of_these = chosen(connection, label, rows, selection, others)
                found = rows.candidates(query, limit, of_these)
                parts.append(rows.vectors[found])
                keys = ((rows.ids[position], label) for position in found.tolist())
                numbers.update(zip(keys, rows.numbers[found].tolist(), strict=True))
            if not numbers:
                return []
            with np.errstate(over="ignore", invalid="ignore"):  # of vectors of absurd length
                best = nearest(list(numbers), np.concatenate(parts), query, len(numbers))[:limit]
            metadata = tables.metadata(connection, [numbers[key] for key, _ in best])
        return [
            (RawRow(label, ChunkId(row_id), metadata[numbers[row_id, label]]), score)
            for (row_id, label), score in best
        ]

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        keys = (RowKey(label, row_id) for label in labels for row_id in ids)
        with self._database.reading() as connection:
            found = by_key(
                connection, "content.metadata FROM row JOIN content USING (number)", keys
            )
            return [tables.raw(*row) for row in found]

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        return heapq.merge(
            *(self._scan(label, selection, after) for label in dict.fromkeys(selection.labels)),
            key=attrgetter("id", "label"),
        )

    def keys(self, selection: Selection) -> Iterator[RowKey]:
        for label in dict.fromkeys(selection.labels):
            page = columns(selection.equalities) | {"label": label, "id": "", "limit": _KEY_PAGE}
            while True:
                with self._database.reading() as connection:
                    found = connection.execute(_KEYS, page).fetchall()
                yield from (RowKey(label, ChunkId(row_id)) for (row_id,) in found)
                if len(found) < _KEY_PAGE:
                    break
                page["id"] = found[-1][0]

    def put(self, rows: Sequence[RawRow], vectors: Vectors, *, exact: bool) -> None:
        blobs = [vector.tobytes() for vector in np.asarray(vectors, VECTOR)]
        written = [tables.written(row, blob) for row, blob in zip(rows, blobs, strict=True)]
        with self._database.writing() as connection:
            if tables.profile(connection) is None:
                raise StoreMismatchError(f"{self.place} has not been bound to an embedder yet")
            tables.put(connection, written)

    def move(self, moves: Sequence[tuple[RowKey, RawRow]]) -> None:
        if self.profile() is None:
            return
        made = [tables.written(row, b"") for _, row in moves]
        with self._database.writing() as connection:
            found = find(connection, [key for key, _ in moves])
            vectors = tables.blobs(connection, [row.number for row in found.values()])
            written = [
                each._replace(vector=vectors.get(found[key].number, b""))
                for (key, _), each in zip(moves, made, strict=True)
                if key in found
            ]
            kept = {each.row.key for each in written}
            tables.delete(connection, {key: row for key, row in found.items() if key not in kept})
            tables.put(connection, written)

    def delete(self, keys: Sequence[RowKey]) -> int:
        if self.profile() is None:
            return 0
        with self._database.writing() as connection:
            found = find(connection, keys)
            tables.delete(connection, found)
        return len(found)

    def export(self, after: RowKey | None = None) -> Iterator[tuple[RawRow, Vector]]:
        row_id, label = ("", "") if after is None else (after.id, after.label)
        while True:
            with self._database.reading() as connection:
                dimension = tables.dimension(connection)
                found = connection.execute(
                    "SELECT row.id, row.label, content.metadata, vector.vector FROM row"
                    " LEFT JOIN content USING (number) LEFT JOIN vector USING (number)"
                    " WHERE (row.id, row.label) > (?, ?) ORDER BY row.id, row.label LIMIT ?",
                    (row_id, label, _EXPORT_PAGE),
                ).fetchall()
            for row_id, label, metadata, blob in found:
                yield (
                    tables.raw(label, row_id, metadata),
                    tables.vector(label, row_id, blob, dimension),
                )
            if len(found) < _EXPORT_PAGE:
                return

    def fetch(self, keys: Sequence[RowKey]) -> Iterable[tuple[RawRow, Vector]]:
        columns = (
            "content.metadata, vector.vector FROM row"
            " LEFT JOIN content USING (number) LEFT JOIN vector USING (number)"
        )
        with self._database.reading() as connection:
            labels = numbered(connection, (key.label for key in keys))
            kept = {label: self._cache.get(label, generation) for label, _, generation in labels}
            vectors: dict[RowKey, tuple[int, Vector]] = {}
            others = []
            for key in keys:
                if (rows := kept.get(key.label)) is None:
                    others.append(key)
                elif (place := rows.ids.places.get(key.id)) is not None:
                    vectors[key] = int(rows.numbers[place]), rows.vectors[place]
            metadata = tables.metadata(connection, [number for number, _ in vectors.values()])
            dimension = tables.dimension(connection)
            read = list(by_key(connection, columns, others))
        in_memory = [
            (RawRow(*key, metadata[number]), vector) for key, (number, vector) in vectors.items()
        ]
        return in_memory + [
            (tables.raw(label, row_id, metadata), tables.vector(label, row_id, blob, dimension))
            for label, row_id, metadata, blob in read
        ]

    def counts(self, labels: Sequence[str]) -> Iterable[LabelCount]:
        query = "SELECT label, tenant_id, repo_slug, rows FROM row_count WHERE label = ?"
        with self._database.reading() as connection:
            return [
                LabelCount(*found)
                for label in dict.fromkeys(labels)
                for found in connection.execute(query, (label,))
            ]

    def postings(self, selection: Selection, terms: Sequence[str]) -> Postings | None:
        with self._turns, self._database.reading() as connection:
            if setting(connection, TOKENISER) not in (None, made_by()):
                return None
            labels = self._vectors(connection, selection.labels)
            others = partial(_others, connection, selection)
            return postings_of(connection, labels, selection, terms, others)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._database.writing():
            yield

    def reindex(self, vectors_of: Callable[[Sequence[RawRow]], Vectors]) -> Iterator[int]:
        """See :meth:`ports.engine.Reindexable.reindex`.

        Postings and counts are made anew, a block of rows at a time; rows are embedded only where
        their vector is missing or has another dimension.
        """
        if self.profile() is None:
            return
        with self._database.writing() as connection:
            connection.execute("UPDATE setting SET value = '' WHERE name = ?", (TOKENISER,))
            recount(connection)
        last = -1
        while True:
            numbers = self._next_block(last)
            if not numbers:
                break
            self._embed_missing(numbers, vectors_of)
            block = numbers[0] >> BLOCK_BITS
            with self._database.writing() as connection:
                tables.index_block(connection, block)
            last = ((block + 1) << BLOCK_BITS) - 1
            yield len(numbers)
        with self._database.writing() as connection:
            tables.drop_orphans(connection)
            connection.execute(
                "UPDATE setting SET value = ? WHERE name = ?", (made_by(), TOKENISER)
            )

    def examine(self) -> Iterator[Check]:
        return examination.examine(self._database, self._path)

    def remedy(self, key: str) -> str | None:
        if key == REPLACE_FILE:
            return examination.REPLACE
        return None

    def truncate(self) -> int:
        if self.profile() is None:
            return 0
        with self._database.writing() as connection:
            ((rows,),) = connection.execute("SELECT count(*) FROM row").fetchall()
            for statement in _TRUNCATE:
                connection.execute(statement)
        self._cache.clear()
        if not self._database.is_writing:
            with suppress(StoreError):  # others write, and the room is used again
                self._database.shrink()
        return int(rows)

    def forget_tenant(self, tenant_id: str) -> int:
        """Delete all that is known of a tenant: rows, state and counters; returns how many rows.

        A batch at a time, the state last: after an interruption the same call finishes the job.
        """
        deleted = 0
        while True:
            with self._database.writing() as connection:
                found = connection.execute(
                    "SELECT label, id, number, tenant_id, ifnull(repo_slug, '') FROM row"
                    " WHERE tenant_id = ? LIMIT ?",
                    (tenant_id, _PAGE),
                ).fetchall()
                tables.delete(
                    connection,
                    {
                        RowKey(label, ChunkId(row_id)): Stored(*rest)
                        for label, row_id, *rest in found
                    },
                )
                deleted += len(found)
                if len(found) == _PAGE:
                    continue
                for statement in _FORGET:
                    connection.execute(statement, (tenant_id,))
                connection.execute(_FORGET_LABELS)
                break
        self._cache.clear()
        return deleted

    def close(self) -> None:
        self._cache.clear()
        super().close()

    def _vectors(
        self, connection: sqlite3.Connection, labels: Sequence[str]
    ) -> Iterator[tuple[str, LabelVectors]]:
        """Those of the labels that have rows, with these."""
        dimension = tables.dimension(connection)
        return self._cache.of(connection, labels, partial(load, connection, dimension))

    def _scan(self, label: str, selection: Selection, after: RowKey | None) -> Iterator[RawRow]:
        parameters = columns(selection.equalities)
        page: dict[str, object] = {"label": label, "id": "", "own": False, "limit": _PAGE}
        if after is not None:
            page |= {"id": after.id, "own": label > after.label}
        while True:
            with self._database.reading() as connection:
                found = connection.execute(_SCAN, parameters | page).fetchall()
            for row_id, metadata in found:
                row = tables.raw(label, row_id, metadata)
                if selection.matches(label, row.metadata):
                    yield row
            if len(found) < _PAGE:
                return
            page |= {"id": found[-1][0], "own": False}

    def _next_block(self, last: int) -> list[int]:
        """The rows of the first block beyond a number, by their numbers."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT number FROM row WHERE number > ? ORDER BY number LIMIT ?",
                (last, 1 << BLOCK_BITS),
            ).fetchall()
        return [number for (number,) in found if number >> BLOCK_BITS == found[0][0] >> BLOCK_BITS]

    def _embed_missing(
        self, numbers: Sequence[int], vectors_of: Callable[[Sequence[RawRow]], Vectors]
    ) -> None:
        """Give the rows of a block that have no sound vector one."""
        with self._database.reading() as connection:
            size = tables.dimension(connection) * VECTOR.itemsize
            found = connection.execute(
                "SELECT row.number, row.label, row.id, content.metadata"
                " FROM row JOIN content USING (number) LEFT JOIN vector USING (number)"
                " WHERE row.number BETWEEN ? AND ? AND ifnull(length(vector.vector), 0) != ?",
                (numbers[0], numbers[-1], size),
            ).fetchall()
        if not found:
            return
        vectors = vectors_of([tables.raw(*row) for _, *row in found])
        blobs = [vector.tobytes() for vector in np.asarray(vectors, VECTOR)]
        with self._database.writing() as connection:
            for (number, *_), blob in zip(found, blobs, strict=True):
                connection.execute(  # unless the row has gone or got one meanwhile
                    "INSERT OR REPLACE INTO vector SELECT number, ? FROM row WHERE number = ?"
                    " AND NOT EXISTS (SELECT * FROM vector"
                    " WHERE vector.number = row.number AND length(vector) = ?)",
                    (blob, number, size),
                )
            renew(connection, {label for _, label, _, _ in found})


def _others(
    connection: sqlite3.Connection,
    selection: Selection,
    label: str,
    _: LabelRows,
    numbers: Sequence[int],
) -> Sequence[int]:
    """Those of some rows whose metadata are selected."""
    metadata = tables.metadata(connection, numbers)
    return [number for number in numbers if selection.matches(label, metadata[number])]
