"""Reading and writing rows within a transaction, with all that follows from them."""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from tenantkb.adapters.state.database import REPLACE_FILE
from tenantkb.adapters.stores.sqlite import postings
from tenantkb.adapters.stores.sqlite.schema import (
    BLOCK_BITS,
    COLUMNS,
    EMBEDDER_DIMENSION,
    EMBEDDER_NAME,
    LABEL_BITS,
    RECORD_BITS,
    TOKENISER,
)
from tenantkb.adapters.stores.sqlite.vectors import VECTOR
from tenantkb.domain import fields, lexical
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import Remedy, StoreDamagedError
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.lexical import Counts, counts_of
from tenantkb.ports.engine import RawRow, Vector

_PARAMETERS: Final = 500
"""Of one statement at most; SQLite before 3.32 took no more than 999."""


class Stored(NamedTuple):
    """A stored row: its number, and what it is counted under."""

    number: int
    tenant_id: str
    repo_slug: str


class Written(NamedTuple):
    """A row that is to be stored: its JSON text, the bytes of its vector, its words."""

    row: RawRow
    metadata: str
    vector: bytes
    counts: Counts


def setting(connection: sqlite3.Connection, name: str) -> Any:
    """What the store remembers under a name; ``None`` where it does not."""
    found = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if found is None else found[0]


def profile(connection: sqlite3.Connection) -> EmbedderProfile | None:
    """The embedder that the store is bound to."""
    ((name, dimension),) = connection.execute(
        "SELECT (SELECT value FROM setting WHERE name = ?),"
        " (SELECT value FROM setting WHERE name = ?)",
        (EMBEDDER_NAME, EMBEDDER_DIMENSION),
    ).fetchall()
    return None if name is None else EmbedderProfile(name, int(dimension))


def dimension(connection: sqlite3.Connection) -> int:
    """Of the vectors; 0 where the store is not bound."""
    return int(setting(connection, EMBEDDER_DIMENSION) or 0)


def raw(label: str, row_id: str, metadata: str | None) -> RawRow:
    """A row of its columns.

    Raises:
        StoreDamagedError: the metadata is missing or cannot be read.
    """
    try:
        return RawRow(label, ChunkId(row_id), orjson.loads(metadata or ""))
    except ValueError as error:
        raise StoreDamagedError(
            f"row {row_id} has no readable metadata", remedy=REPLACE_FILE
        ) from error


def vector(label: str, row_id: str, blob: bytes | None, dimension: int) -> Vector:
    """A vector of its bytes.

    Raises:
        StoreDamagedError: it is missing, or of another dimension.
    """
    if blob is None or len(blob) != dimension * VECTOR.itemsize:
        raise StoreDamagedError(
            f"row {row_id} of {label} has no vector of {dimension} dimensions",
            remedy=Remedy.REPAIR_STORE,
        )
    return np.frombuffer(blob, VECTOR)


def written(row: RawRow, vector: bytes) -> Written:
    """Make a row ready, which takes longer than to write it, and needs no lock."""
    text = orjson.dumps(dict(row.metadata)).decode()
    return Written(row, text, vector, counts_of(row.metadata))


def _text(metadata: Mapping[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) else None


def metadata(connection: sqlite3.Connection, numbers: Collection[int]) -> dict[int, dict[str, Any]]:
    """The metadata of rows by number.

    Raises:
        StoreDamagedError: one has none, or none that can be read.
    """
    # One text of all: each row that SQLite hands over lets other threads run and waits for them.
    ((text,),) = connection.execute(
        "SELECT '[' || group_concat(number || ',' || metadata) || ']' FROM content"
        " WHERE number IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(numbers)).decode(),),
    ).fetchall()
    try:
        items = orjson.loads(text or "[]")
    except ValueError as error:
        raise StoreDamagedError("a row has no readable metadata", remedy=REPLACE_FILE) from error
    found = dict(zip(items[::2], items[1::2], strict=True))
    if lost := set(numbers) - found.keys():
        raise StoreDamagedError(f"row {min(lost)} has lost its metadata", remedy=REPLACE_FILE)
    return found


def blobs(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, bytes]:
    """The bytes of the vectors of rows by number, where there are any."""
    query = "SELECT number, vector FROM vector WHERE number = ?"
    return dict(
        found for number in numbers for found in connection.execute(query, (number,)).fetchall()
    )


def find(connection: sqlite3.Connection, keys: Iterable[RowKey]) -> dict[RowKey, Stored]:
    """Those of the rows that are stored."""
    return {
        RowKey(label, ChunkId(row_id)): Stored(*found)
        for label, row_id, *found in by_key(
            connection, "row.number, ifnull(tenant_id, ''), ifnull(repo_slug, '') FROM row", keys
        )
    }


def by_key(
    connection: sqlite3.Connection, columns: str, keys: Iterable[RowKey]
) -> Iterator[tuple[Any, ...]]:
    """Label, id and some columns, with the tables that they are of, of rows that are stored.

    Each is told once, in any order.
    """
    ids: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for key in keys:
        ids[key.label][key.id] = None
    for label, of_label in ids.items():
        listed = tuple(of_label)
        for start in range(0, len(listed), _PARAMETERS):
            some = listed[start : start + _PARAMETERS]
            yield from connection.execute(
                f"SELECT row.label, row.id, {columns}"  # constants
                f" WHERE row.label = ? AND row.id IN ({parameters(len(some))})",
                (label, *some),
            )


def parameters(count: int) -> str:
    """Of so many values in a list. Not as JSON, which SQLite reads up to the first NUL."""
    return ", ".join("?" * count)


def put(connection: sqlite3.Connection, written: Sequence[Written]) -> None:
    """Write rows whole, in the place of those with the same keys; the last with a key counts."""
    written = list({each.row.key: each for each in written}.values())
    stored = find(connection, [each.row.key for each in written])
    postings.remove(connection, [row.number for row in stored.values()])
    fresh = Counter(each.row.label for each in written if each.row.key not in stored)
    numbers = {label: _numbers(connection, label, count) for label, count in fresh.items()}
    placed = [
        (
            stored[each.row.key].number
            if each.row.key in stored
            else next(numbers[each.row.label]),
            each,
        )
        for each in written
    ]
    connection.executemany(
        "INSERT OR REPLACE INTO row (number, label, id, tenant_id, repo_slug, type, kind,"
        " source_path, class_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (number, *each.row.key, *(_text(each.row.metadata, key) for key in COLUMNS))
            for number, each in placed
        ),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO content VALUES (?, ?)",
        ((number, each.metadata) for number, each in placed),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO vector VALUES (?, ?)",
        ((number, each.vector) for number, each in placed),
    )
    connection.execute(
        "UPDATE setting SET value = '' WHERE name = ? AND value != ?",
        (TOKENISER, lexical.TOKENISER),
    )
    postings.add(connection, ((number, each.counts) for number, each in placed))
    counts = Counter(
        (
            each.row.label,
            _text(each.row.metadata, fields.TENANT_ID) or "",
            _text(each.row.metadata, fields.REPO_SLUG) or "",
        )
        for each in written
    )
    counts.subtract((key.label, row.tenant_id, row.repo_slug) for key, row in stored.items())
    _count(connection, counts)
    renew(connection, {each.row.label for each in written})


def delete(connection: sqlite3.Connection, found: Mapping[RowKey, Stored]) -> None:
    """Delete stored rows."""
    numbers = [(row.number,) for row in found.values()]
    postings.remove(connection, (row.number for row in found.values()))
    for table in ("row", "content", "vector"):
        connection.executemany(f"DELETE FROM {table} WHERE number = ?", numbers)  # noqa: S608 # names of tables
    counts: Counter[tuple[str, str, str]] = Counter()
    counts.subtract((key.label, row.tenant_id, row.repo_slug) for key, row in found.items())
    _count(connection, counts)
    renew(connection, {key.label for key in found})


def renew(connection: sqlite3.Connection, labels: Collection[str]) -> None:
    """Give labels another generation: what is kept in memory of them is outdated."""
    connection.executemany(
        "UPDATE label SET generation = ? WHERE label = ?",
        ((secrets.randbits(63), label) for label in labels),
    )


def recount(connection: sqlite3.Connection) -> None:
    """Make the counts anew."""
    connection.execute("DELETE FROM row_count")
    connection.execute(
        "INSERT INTO row_count"
        " SELECT label, ifnull(tenant_id, ''), ifnull(repo_slug, ''), count(*) FROM row"
        " GROUP BY 1, 2, 3"
    )


def index_block(connection: sqlite3.Connection, block: int) -> None:
    """Make the postings of a block of rows anew."""
    postings.delete(connection, block)
    found = connection.execute(
        "SELECT number, metadata FROM row JOIN content USING (number) WHERE number BETWEEN ? AND ?",
        (block << BLOCK_BITS, ((block + 1) << BLOCK_BITS) - 1),
    ).fetchall()
    postings.add(connection, ((number, counts_of(orjson.loads(text))) for number, text in found))


def drop_orphans(connection: sqlite3.Connection) -> None:
    """Delete what belongs to no row."""
    for table in ("content", "vector"):
        connection.execute(f"DELETE FROM {table} WHERE number NOT IN (SELECT number FROM row)")  # noqa: S608 # names of tables
    connection.execute(
        "DELETE FROM block WHERE block NOT IN (SELECT number >> ? FROM row)", (BLOCK_BITS,)
    )
    connection.execute(
        "DELETE FROM posting WHERE place >> ? NOT IN (SELECT block FROM block)", (RECORD_BITS,)
    )


def _numbers(connection: sqlite3.Connection, label: str, count: int) -> Iterator[int]:
    """Numbers for new rows of a label."""
    connection.execute(
        "INSERT OR IGNORE INTO label (label, next, generation) VALUES (?, 0, 0)", (label,)
    )
    ((number, position),) = connection.execute(
        "SELECT number, next FROM label WHERE label = ?", (label,)
    ).fetchall()
    connection.execute("UPDATE label SET next = next + ? WHERE label = ?", (count, label))
    first = (number << LABEL_BITS) + position
    return iter(range(first, first + count))


def _count(connection: sqlite3.Connection, changes: Counter[tuple[str, str, str]]) -> None:
    connection.executemany(
        "INSERT INTO row_count VALUES (?, ?, ?, ?)"
        " ON CONFLICT (label, tenant_id, repo_slug) DO UPDATE SET rows = rows + excluded.rows",
        ((*of, change) for of, change in changes.items() if change),
    )
    connection.execute("DELETE FROM row_count WHERE rows = 0")
