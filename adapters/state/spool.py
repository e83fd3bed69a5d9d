"""The spool of a synchronisation as a temporary SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import orjson

from tenantkb.domain.rows import Row
from tenantkb.domain.sync import Change


class SqliteSpool:
    """Implements :class:`ports.spool.Spool`.

    SQLite's nameless database lies in the system's folder for temporary files, takes about the size
    of the extracted text there and a few megabytes of memory, and is gone with the process, however
    that ends (https://www.sqlite.org/inmemorydb.html, "Temporary Databases").
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            """
            CREATE TABLE chunk (
                position INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                metadata BLOB NOT NULL,
                change TEXT NOT NULL
            );
            CREATE TABLE stale (position INTEGER PRIMARY KEY, id TEXT NOT NULL);
            BEGIN;
            """
        )

    def add(self, row: Row) -> bool:
        cursor = self._database.execute(
            "INSERT OR IGNORE INTO chunk (id, metadata, change) VALUES (?, ?, ?)",
            (row.id, orjson.dumps(row.metadata), Change.ADDED.value),
        )
        return cursor.rowcount == 1

    def get(self, row_id: str) -> Row | None:
        found = self._database.execute(
            "SELECT metadata FROM chunk WHERE id = ?", (row_id,)
        ).fetchone()
        return None if found is None else Row(row_id, orjson.loads(found[0]))

    def mark(self, row_id: str, change: Change) -> None:
        self._database.execute("UPDATE chunk SET change = ? WHERE id = ?", (change.value, row_id))

    def count(self, change: Change) -> int:
        return self._number("SELECT count(*) FROM chunk WHERE change = ?", change.value)

    def rows(self, change: Change) -> Iterator[Row]:
        found = self._database.execute(
            "SELECT id, metadata FROM chunk WHERE change = ? ORDER BY position", (change.value,)
        )
        return (Row(row_id, orjson.loads(metadata)) for row_id, metadata in found)

    def add_stale(self, row_id: str) -> None:
        self._database.execute("INSERT INTO stale (id) VALUES (?)", (row_id,))

    def stale_count(self) -> int:
        return self._number("SELECT count(*) FROM stale")

    def stale(self) -> Iterator[str]:
        found = self._database.execute("SELECT id FROM stale ORDER BY position")
        return (row_id for (row_id,) in found)

    def close(self) -> None:
        self._database.close()

    def _number(self, query: str, *parameters: str) -> int:
        (number,) = self._database.execute(query, parameters).fetchone()
        return int(number)
