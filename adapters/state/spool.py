"""The spool of a run as a temporary SQLite database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from tenantkb.adapters.state.database import translated
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.sync import Change
from tenantkb.ports.spool import Entry

_TABLES: Final = """
    CREATE TABLE entry (
        position INTEGER PRIMARY KEY,
        label TEXT NOT NULL,
        id TEXT NOT NULL,
        payload TEXT NOT NULL,
        change TEXT NOT NULL,
        twin_label TEXT,
        twin_id TEXT,
        stored_label TEXT,
        stored_id TEXT,
        UNIQUE (id, label)
    );
    CREATE INDEX entry_by_twin ON entry (twin_id, twin_label) WHERE twin_id IS NOT NULL;
    CREATE TABLE stale (position INTEGER PRIMARY KEY, label TEXT NOT NULL, id TEXT NOT NULL);
    BEGIN;
"""


class SqliteSpool:
    """Implements :class:`ports.spool.Spool`, for one thread at a time.

    SQLite's nameless database lies in the system's folder for temporary files, takes about the size
    of the extracted text there and a few megabytes of memory, and is gone with the process, however
    that ends (https://www.sqlite.org/inmemorydb.html, "Temporary Databases").
    """

    def __init__(self) -> None:
        self._place = f"the scratch file in {_folder()}"
        with translated(self._place):
            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._database.executescript(_TABLES)

    def add(self, key: RowKey, payload: Mapping[str, Any], twin: RowKey | None = None) -> bool:
        text = orjson.dumps(payload).decode()
        with translated(self._place):
            cursor = self._database.execute(
                "INSERT OR IGNORE INTO entry (label, id, payload, change, twin_label, twin_id)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (*_columns(key), text, Change.ADDED.value, *_columns(twin)),
            )
        return cursor.rowcount == 1

    def get(self, key: RowKey) -> Mapping[str, Any] | None:
        found = self._first("SELECT payload FROM entry WHERE label = ? AND id = ?", *_columns(key))
        if found is None:
            return None
        payload: dict[str, Any] = orjson.loads(found[0])
        return payload

    def by_twin(self, twin: RowKey) -> RowKey | None:
        found = self._first(
            "SELECT label, id FROM entry WHERE twin_label = ? AND twin_id = ?", *_columns(twin)
        )
        return None if found is None else _key(*found)

    def stored(self, key: RowKey) -> RowKey | None:
        found = self._first(
            "SELECT stored_label, stored_id FROM entry WHERE label = ? AND id = ?", *_columns(key)
        )
        return None if found is None else _key(*found)

    def mark(self, key: RowKey, change: Change, stored: RowKey | None = None) -> RowKey | None:
        found = self._first(
            "SELECT position, stored_label, stored_id FROM entry WHERE label = ? AND id = ?",
            *_columns(key),
        )
        if found is None:
            return None
        position, label, row_id = found
        with translated(self._place):
            self._database.execute(
                "UPDATE entry SET change = ?, stored_label = ?, stored_id = ? WHERE position = ?",
                (change.value, *_columns(stored), position),
            )
        return _key(label, row_id)

    def count(self, change: Change) -> int:
        return self._number("SELECT count(*) FROM entry WHERE change = ?", change.value)

    def entries(self, change: Change) -> Iterator[Entry]:
        for label, row_id, payload, twin_label, twin_id, stored_label, stored_id in self._all(
            "SELECT label, id, payload, twin_label, twin_id, stored_label, stored_id"
            " FROM entry WHERE change = ? ORDER BY position",
            change.value,
        ):
            yield Entry(
                RowKey(label, ChunkId(row_id)),
                orjson.loads(payload),
                _key(twin_label, twin_id),
                _key(stored_label, stored_id),
            )

    def add_stale(self, key: RowKey) -> None:
        with translated(self._place):
            self._database.execute("INSERT INTO stale (label, id) VALUES (?, ?)", _columns(key))

    def stale_count(self) -> int:
        return self._number("SELECT count(*) FROM stale")

    def stale(self) -> Iterator[RowKey]:
        for label, row_id in self._all("SELECT label, id FROM stale ORDER BY position"):
            yield RowKey(label, ChunkId(row_id))

    def close(self) -> None:
        self._database.close()

    def _first(self, query: str, *parameters: str | None) -> tuple[Any, ...] | None:
        with translated(self._place):
            found: tuple[Any, ...] | None = self._database.execute(query, parameters).fetchone()
        return found

    def _number(self, query: str, *parameters: str) -> int:
        found = self._first(query, *parameters)
        return 0 if found is None else int(found[0])

    def _all(self, query: str, *parameters: str) -> Iterator[tuple[Any, ...]]:
        with translated(self._place):
            cursor = self._database.execute(query, parameters)
        while True:
            with translated(self._place):
                rows = cursor.fetchmany(100)
            if not rows:
                return
            yield from rows


def _folder() -> str:
    """Where SQLite's temporary files are (https://www.sqlite.org/tempfiles.html, section 5)."""
    named = (os.environ.get(name, "") for name in ("SQLITE_TMPDIR", "TMPDIR"))
    for folder in (*named, "/var/tmp", "/usr/tmp", "/tmp"):  # noqa: S108 # named, and not used
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return str(os.curdir)


def _columns(key: RowKey | None) -> tuple[str | None, str | None]:
    return (None, None) if key is None else (key.label, str(key.id))


def _key(label: str | None, row_id: str | None) -> RowKey | None:
    return None if label is None or row_id is None else RowKey(label, ChunkId(row_id))
