"""Reading and writing rows within a transaction, with all that follows from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from tenantkb.adapters.lexical import postings, rows
from tenantkb.adapters.lexical.rows import Stored
from tenantkb.adapters.lexical.schema import BLOCK_BITS
from tenantkb.adapters.state.database import REPLACE_FILE
from tenantkb.adapters.stores.sqlite.schema import EMBEDDER_DIMENSION, EMBEDDER_NAME, ID_SCHEME
from tenantkb.adapters.stores.sqlite.vectors import VECTOR
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import Remedy, StoreDamagedError, StoreMismatchError
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.lexical import Counts, counts_of
from tenantkb.ports.engine import RawRow, Vector


class Written(NamedTuple):
    """A row that is to be stored: its JSON text, the bytes of its vector, its words."""

    row: RawRow
    metadata: str
    vector: bytes
    counts: Counts


def profile(connection: sqlite3.Connection) -> EmbedderProfile | None:
    """The embedder that the store is bound to."""
    ((name, dimension),) = connection.execute(
        "SELECT (SELECT value FROM setting WHERE name = ?),"
        " (SELECT value FROM setting WHERE name = ?)",
        (EMBEDDER_NAME, EMBEDDER_DIMENSION),
    ).fetchall()
    return None if name is None else EmbedderProfile(name, int(dimension))


def ids(connection: sqlite3.Connection) -> IdScheme | None:
    """How the ids of the rows are derived; ``None`` where the store is not bound.

    Raises:
        StoreMismatchError: it is a scheme that this version does not know.
    """
    if profile(connection) is None:
        return None
    found = rows.setting(connection, ID_SCHEME) or IdScheme.CONTENT
    if found not in list(IdScheme):
        raise StoreMismatchError(f"the store has ids of the unknown scheme {found!r}")
    return IdScheme(found)


def dimension(connection: sqlite3.Connection) -> int:
    """Of the vectors; 0 where the store is not bound."""
    return int(rows.setting(connection, EMBEDDER_DIMENSION) or 0)


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


def put(connection: sqlite3.Connection, written: Sequence[Written]) -> None:
    """Write rows whole, in the place of those with the same keys; the last with a key counts."""
    written = list({each.row.key: each for each in written}.values())
    numbers = rows.put(connection, [(each.row, each.counts) for each in written])
    connection.executemany(
        "INSERT OR REPLACE INTO content VALUES (?, ?)",
        ((number, each.metadata) for number, each in zip(numbers, written, strict=True)),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO vector VALUES (?, ?)",
        ((number, each.vector) for number, each in zip(numbers, written, strict=True)),
    )


def delete(connection: sqlite3.Connection, found: Mapping[RowKey, Stored]) -> None:
    """Delete stored rows."""
    rows.delete(connection, found)
    for table in ("content", "vector"):
        connection.executemany(
            f"DELETE FROM {table} WHERE number = ?",  # noqa: S608 # names of tables
            ((row.number,) for row in found.values()),
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
    rows.drop_orphans(connection)
