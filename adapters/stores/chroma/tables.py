"""Chroma's own SQLite tables, read without Chroma.

Chroma keeps rows and its log of writes in ``chroma.sqlite3``, and the index of vectors in a folder
of files beside it. The tables survive kills; the index may not, and opening a torn one can end the
process. So what has to be known of an index that may be damaged is read here. The tables are those
of chromadb 1.5.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from attrs import frozen

from tenantkb.ports.engine import Vector

DATABASE: Final = "chroma.sqlite3"

_NEEDED: Final = frozenset({"collections", "databases", "segments"})

_ADD, _UPDATE, _UPSERT, _DELETE = range(4)
_FLOAT32: Final = "FLOAT32"


class TableRow(NamedTuple):
    """A row as the tables hold it.

    Attributes:
        id: Its physical id.
        metadata: Its metadata, the adapter's own among them.
        vector: As it was written, if the log still holds it.
    """

    id: str
    metadata: Mapping[str, Any]
    vector: Vector | None


@frozen
class Tables:
    """The tables of one collection.

    Attributes:
        folder: Of Chroma's files.
        collection: Its id in Chroma.
        index: Id of the segment of its vectors, and name of the folder of their files.
        rows: Id of the segment of its rows.
    """

    folder: Path
    collection: str
    index: str
    rows: str

    @classmethod
    def find(cls, folder: Path, name: str) -> Self | None:
        """The tables of a collection; ``None`` if there is none of this name.

        A process that was killed while Chroma made its tables leaves some of them, and no rows.
        """
        if not (folder / DATABASE).exists():
            return None
        with _opened(folder) as database:
            found = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not {name for (name,) in found} >= _NEEDED:
                return None
            segments = {
                scope: (collection, segment)
                for scope, collection, segment in database.execute(
                    "SELECT segments.scope, collections.id, segments.id FROM segments"
                    " JOIN collections ON collections.id = segments.collection"
                    " JOIN databases ON databases.id = collections.database_id"
                    " WHERE collections.name = ? AND databases.name = 'default_database'",
                    (name,),
                )
            }
        if not segments:
            return None
        (collection, index), (_, rows) = segments["VECTOR"], segments["METADATA"]
        return cls(folder, collection, index, rows)

    def metadata(self) -> dict[str, Any]:
        """The metadata of the collection."""
        with _opened(self.folder) as database:
            return {
                key: number if text is None else text
                for key, text, number in database.execute(
                    "SELECT key, str_value, int_value FROM collection_metadata"
                    " WHERE collection_id = ?",
                    (self.collection,),
                )
            }

    def logged_ids(self) -> set[str]:
        """Ids whose vectors the log holds: Chroma gives those to an empty index by itself."""
        with _opened(self.folder) as database:
            return set(self._logged_vectors(database))

    def ids(self) -> list[str]:
        """The physical ids of all rows, and of all that the log has something to say about."""
        with _opened(self.folder) as database:
            return self._ids(database, self._pending(database))

    def all_rows(self, after: str, page: int) -> Iterator[list[TableRow]]:
        """All rows by ascending physical id beyond ``after``, in pages.

        What is in the log and not among the rows yet, because a process was killed in between,
        counts.
        """
        with _opened(self.folder) as database:
            vectors = self._logged_vectors(database)
            pending = self._pending(database)
            remaining = (each for each in self._ids(database, pending) if each > after)
            while ids := list(islice(remaining, page)):
                found = self._metadata(database, ids)
                for row_id in ids:
                    for operation, change in pending.get(row_id, ()):
                        _apply(found, row_id, operation, change)
                yield [
                    TableRow(row_id, found[row_id], vectors.get(row_id))
                    for row_id in ids
                    if row_id in found
                ]

    def drop_index(self) -> None:
        """Remove the index, and Chroma's note of how far it has come.

        Chroma then starts an empty one, and gives it what the log still holds. It has no call for
        that.
        """
        with _opened(self.folder) as database, database:
            database.execute("DELETE FROM max_seq_id WHERE segment_id = ?", (self.index,))
        shutil.rmtree(self.folder / self.index, ignore_errors=True)

    def _ids(self, database: sqlite3.Connection, pending: Mapping[str, object]) -> list[str]:
        found = database.execute(
            "SELECT embedding_id FROM embeddings WHERE segment_id = ?", (self.rows,)
        )
        return sorted({row_id for (row_id,) in found} | pending.keys())

    def _logged_vectors(self, database: sqlite3.Connection) -> dict[str, Vector]:
        """The last vector that the log holds for an id, whether or not the row still exists."""
        return {
            row_id: np.frombuffer(vector, "<f4").astype(np.float32)
            for row_id, vector in database.execute(
                "SELECT id, vector FROM embeddings_queue WHERE topic LIKE ?"
                " AND vector IS NOT NULL AND encoding = ? ORDER BY seq_id",
                (f"%/{self.collection}", _FLOAT32),
            )
        }

    def _pending(self, database: sqlite3.Connection) -> dict[str, list[tuple[int, dict[str, Any]]]]:
        """What the log says, by id, and the rows do not know yet: operation and metadata."""
        pending: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for row_id, operation, metadata in database.execute(
            "SELECT id, operation, metadata FROM embeddings_queue WHERE topic LIKE ? AND seq_id >"
            " (SELECT COALESCE(MAX(seq_id), 0) FROM max_seq_id WHERE segment_id = ?)"
            " ORDER BY seq_id",
            (f"%/{self.collection}", self.rows),
        ):
            change = json.loads(metadata) if metadata else {}
            pending.setdefault(row_id, []).append((operation, change))
        return pending

    def _metadata(
        self, database: sqlite3.Connection, ids: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for row_id, key, text, integer, number, boolean in database.execute(
            "SELECT embedding_id, key, string_value, int_value, float_value, bool_value"
            " FROM embeddings LEFT JOIN embedding_metadata USING (id)"
            " WHERE segment_id = ? AND embedding_id IN (SELECT value FROM json_each(?))",
            (self.rows, json.dumps(ids)),
        ):
            metadata = found.setdefault(row_id, {})
            if boolean is not None:
                metadata[key] = bool(boolean)
            elif key is not None:
                values = (value for value in (text, integer, number) if value is not None)
                metadata[key] = next(values, None)
        return found


def _apply(
    rows: dict[str, dict[str, Any]], row_id: str, operation: int, change: Mapping[str, Any]
) -> None:
    """What Chroma does to a row with one operation of its log; null removes a field."""
    if operation == _DELETE:
        rows.pop(row_id, None)
    elif operation == _UPSERT or (operation == _ADD) is (row_id not in rows):
        merged = {**rows.get(row_id, {}), **change}
        rows[row_id] = {key: value for key, value in merged.items() if value is not None}


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / DATABASE, timeout=60)) as database:
        yield database
