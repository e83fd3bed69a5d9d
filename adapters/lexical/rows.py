"""Reading and writing rows with their postings and counts, within a transaction."""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tenantkb.adapters.lexical import postings
from tenantkb.adapters.lexical.schema import (
    BLOCK_BITS,
    COLUMNS,
    LABEL_BITS,
    RECORD_BITS,
    TOKENISER,
)
from tenantkb.domain import fields
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.lexical import Counts
from tenantkb.ports.engine import RawRow

_PARAMETERS: Final = 500
"""Of one statement at most; SQLite before 3.32 took no more than 999."""


class Stored(NamedTuple):
    """A stored row: its number, and what it is counted under."""

    number: int
    tenant_id: str
    repo_slug: str


def setting(connection: sqlite3.Connection, name: str) -> Any:
    """What is remembered under a name; ``None`` where nothing is."""
    found = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if found is None else found[0]


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


def put(connection: sqlite3.Connection, written: Sequence[tuple[RawRow, Counts]]) -> list[int]:
    """Write rows with distinct keys and their words, in the place of those with the same keys.

    Returns:
        Their numbers.
    """
    stored = find(connection, [row.key for row, _ in written])
    postings.remove(connection, [row.number for row in stored.values()])
    fresh = Counter(row.label for row, _ in written if row.key not in stored)
    unused = {label: _numbers(connection, label, count) for label, count in fresh.items()}
    numbers = [
        stored[row.key].number if row.key in stored else next(unused[row.label])
        for row, _ in written
    ]
    connection.executemany(
        "INSERT OR REPLACE INTO row (number, label, id, tenant_id, repo_slug, type, kind,"
        " source_path, class_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (number, *row.key, *(_text(row.metadata, key) for key in COLUMNS))
            for number, (row, _) in zip(numbers, written, strict=True)
        ),
    )
    connection.execute(
        "UPDATE setting SET value = '' WHERE name = ? AND value != ?",
        (TOKENISER, postings.made_by()),
    )
    words = (counts for _, counts in written)
    postings.add(connection, zip(numbers, words, strict=True))
    owners = Counter(
        (
            row.label,
            _text(row.metadata, fields.TENANT_ID) or "",
            _text(row.metadata, fields.REPO_SLUG) or "",
        )
        for row, _ in written
    )
    owners.subtract((key.label, row.tenant_id, row.repo_slug) for key, row in stored.items())
    _count(connection, owners)
    renew(connection, {row.label for row, _ in written})
    return numbers


def delete(connection: sqlite3.Connection, found: Mapping[RowKey, Stored]) -> None:
    """Delete stored rows."""
    numbers = [row.number for row in found.values()]
    postings.remove(connection, numbers)
    connection.executemany("DELETE FROM row WHERE number = ?", ((number,) for number in numbers))
    owners: Counter[tuple[str, str, str]] = Counter()
    owners.subtract((key.label, row.tenant_id, row.repo_slug) for key, row in found.items())
    _count(connection, owners)
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


def drop_orphans(connection: sqlite3.Connection) -> None:
    """Delete the postings of blocks that no row is in."""
    connection.execute(
        "DELETE FROM block WHERE block NOT IN (SELECT number >> ? FROM row)", (BLOCK_BITS,)
    )
    connection.execute(
        "DELETE FROM posting WHERE place >> ? NOT IN (SELECT block FROM block)", (RECORD_BITS,)
    )


def _text(metadata: Mapping[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) else None


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
