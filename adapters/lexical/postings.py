"""Lexical postings: which terms stand in which rows, kept by blocks of rows.

A block is 1024 successive numbers of rows. The entries of its rows, one for each term of each
field, lie in 1024 records, by the term's *code*; a record more holds the lengths of all rows'
fields. A batch of new rows therefore writes a few records a row, and they lie together; a question
reads, for each of its terms, one record a block.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from tenantkb.adapters.lexical.schema import (
    BLOCK_BITS,
    LABEL_BITS,
    RECORD_BITS,
    places_of,
)
from tenantkb.domain import lexical
from tenantkb.domain.bm25 import Integers, Statistics
from tenantkb.domain.errors import Remedy, StoreDamagedError
from tenantkb.domain.lexical import Counts, Frequencies, field_lengths

_FORMAT: Final = "blocks-2"
"""Of what is kept; it changes whenever a row would be kept as other bytes."""

_ENTRY: Final = np.dtype(
    [("term", "<u8"), ("count", "<u4"), ("row", "<u2"), ("field", "u1"), ("unused", "u1")]
)
"""The code of a term, and how often it stands in a field of a row of the block; 16 bytes, since
processors are slow with what is not aligned."""
_FIELDS: Final = len(Counts._fields)
_LENGTHS: Final = np.dtype([("row", "<u4"), ("fields", "<u4", (_FIELDS,))])
_IN_BLOCK: Final = (1 << BLOCK_BITS) - 1
_RECORDS: Final = 1 << RECORD_BITS
"""Of a block; a term's is told by the lowest bits of its code."""


@frozen(eq=False)
class LabelPostings:
    """The postings of one label.

    Attributes:
        statistics: Of its rows.
        numbers: Shape ``(matches,)``: the rows in which one of the terms stands, ascending.
        frequencies: Shape ``(matches, terms, 3)``.
        lengths: Shape ``(matches, 3)``.
    """

    statistics: Statistics
    numbers: npt.NDArray[np.int64]
    frequencies: Integers
    lengths: Integers


def made_by() -> str:
    """What makes postings: the tokeniser, and the form in which they are kept."""
    return f"{lexical.TOKENISER}+{_FORMAT}"


@lru_cache(maxsize=2**16)
def code_of(term: str) -> int:
    """What stands for a term: 64 bits of the BLAKE2b hash of its UTF-8 form (RFC 7693).

    Two terms of one code would count as one. Among a million terms there are two such with a
    probability of 3 in 10**8.
    """
    return int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "little")


def add(connection: sqlite3.Connection, rows: Iterable[tuple[int, Counts]]) -> None:
    """Write the postings of rows, by number, that have none."""
    blocks: defaultdict[int, list[tuple[int, Counts]]] = defaultdict(list)
    for number, counts in rows:
        blocks[number >> BLOCK_BITS].append((number & _IN_BLOCK, counts))
    for block, of_block in sorted(blocks.items()):
        entries, lengths = _tabulated(of_block)
        connection.execute(
            "INSERT INTO block VALUES (?, ?) ON CONFLICT (block) DO UPDATE"
            " SET lengths = CAST(lengths || excluded.lengths AS BLOB)",
            (block, lengths.tobytes()),
        )
        connection.executemany(
            "INSERT INTO posting VALUES (?, ?) ON CONFLICT (place) DO UPDATE"
            " SET entries = CAST(entries || excluded.entries AS BLOB)",
            ((block << RECORD_BITS | record, found) for record, found in _records(entries)),
        )


def _tabulated(
    rows: Sequence[tuple[int, Counts]],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The entries and the lengths of rows."""
    fields = list(chain.from_iterable(counts for _, counts in rows))
    sizes = [len(counts) for counts in fields]
    lengths = np.empty(len(rows), _LENGTHS)
    lengths["row"] = [row for row, _ in rows]
    lengths["fields"] = np.reshape([sum(counts.values()) for counts in fields], (-1, _FIELDS))
    entries = np.zeros(sum(sizes), _ENTRY)
    terms, counted = chain.from_iterable(fields), (counts.values() for counts in fields)
    entries["term"] = np.fromiter(map(code_of, terms), np.uint64, len(entries))
    entries["count"] = np.fromiter(chain.from_iterable(counted), np.uint32, len(entries))
    entries["row"] = np.repeat(np.repeat(lengths["row"], _FIELDS), sizes)
    entries["field"] = np.repeat(np.tile(np.arange(_FIELDS), len(rows)), sizes)
    return entries, lengths


def _records(entries: npt.NDArray[Any]) -> Iterator[tuple[int, bytes]]:
    """The entries by record, in the order in which they are given."""
    record = (entries["term"] % _RECORDS).astype(np.uint16)
    written = entries[np.argsort(record, kind="stable")].tobytes()
    start = 0
    for number, count in enumerate(np.bincount(record, minlength=_RECORDS).tolist()):
        end = start + count * _ENTRY.itemsize
        if count:
            yield number, written[start:end]
        start = end


def remove(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Take rows out of their blocks, whatever terms they were written with."""
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for number in numbers:
        rows[number >> BLOCK_BITS].append(number & _IN_BLOCK)
    for block, gone in rows.items():
        _remove(connection, block, np.array(gone))


def _remove(connection: sqlite3.Connection, block: int, gone: npt.NDArray[Any]) -> None:
    for (found,) in connection.execute("SELECT lengths FROM block WHERE block = ?", (block,)):
        lengths = _items(found, _LENGTHS)
        kept = lengths[~np.isin(lengths["row"], gone)].tobytes()
        if not kept:  # nothing is left of the block
            delete(connection, block)
            return
        connection.execute("UPDATE block SET lengths = ? WHERE block = ?", (kept, block))
    records = connection.execute(
        "SELECT place, entries FROM posting WHERE place BETWEEN ? AND ?", places_of(block)
    ).fetchall()
    if not records:
        return
    items = [_items(found, _ENTRY) for _, found in records]
    entries = np.concatenate(items)
    leaving = np.isin(entries["row"], gone)
    ends = np.cumsum([*map(len, items)])
    starts = np.concatenate(([0], ends[:-1]))
    emptied, shortened = [], []
    for number in np.flatnonzero(np.logical_or.reduceat(leaving, starts)):
        part = slice(starts[number], ends[number])
        kept = entries[part][~leaving[part]].tobytes()
        place = records[number][0]
        if kept:
            shortened.append((kept, place))
        else:
            emptied.append((place,))
    connection.executemany("UPDATE posting SET entries = ? WHERE place = ?", shortened)
    connection.executemany("DELETE FROM posting WHERE place = ?", emptied)


def delete(connection: sqlite3.Connection, block: int) -> None:
    """Delete all that is kept of a block."""
    connection.execute("DELETE FROM block WHERE block = ?", (block,))
    connection.execute("DELETE FROM posting WHERE place BETWEEN ? AND ?", places_of(block))


def of_label(
    connection: sqlite3.Connection, label_number: int, terms: Sequence[str]
) -> LabelPostings:
    """Read the postings of distinct terms.

    Raises:
        StoreDamagedError: an entry is of no row.
    """
    shift = LABEL_BITS - BLOCK_BITS
    label = label_number << shift, ((label_number + 1) << shift) - 1
    stored = connection.execute(
        "SELECT block, lengths FROM block WHERE block BETWEEN ? AND ? ORDER BY block", label
    ).fetchall()
    blocks = np.array([block for block, _ in stored], np.int64)
    # A row's slot is its place among all that there is room for in these blocks.
    sizes, found = _joined([record for _, record in stored], _LENGTHS)
    room = len(stored) << BLOCK_BITS
    slots = np.repeat(np.arange(len(stored)) << BLOCK_BITS, sizes) | found["row"]
    if (found["row"] > _IN_BLOCK).any():
        raise _damaged()
    lengths_of = np.full(room, -1)
    lengths_of[slots] = np.arange(len(slots))

    codes = [code_of(term) for term in terms]
    records = sorted({code % _RECORDS for code in codes})
    places = [block << RECORD_BITS | record for record in records for block in blocks.tolist()]
    entered = connection.execute(_ENTRIES, (json.dumps(places),)).fetchall()
    sizes, every = _joined([record for _, record in entered], _ENTRY)
    place = np.array([place for place, _ in entered], np.int64)
    first = np.searchsorted(place % _RECORDS, [*records, _RECORDS])
    ends = np.concatenate(([0], np.cumsum(sizes)))[first].tolist()
    bounds = dict(zip(records, pairwise(ends), strict=True))
    before = np.repeat(np.searchsorted(blocks, place >> RECORD_BITS) << BLOCK_BITS, sizes)
    matching = np.zeros(room, np.bool_)
    of_term = []
    for code in codes:
        start, end = bounds[code % _RECORDS]
        asked = start + np.flatnonzero(every["term"][start:end] == code)
        entries = every.take(asked)
        if ((entries["row"] > _IN_BLOCK) | (entries["field"] >= _FIELDS)).any():
            raise _damaged()
        slot = before.take(asked) | entries["row"]
        matching[slot] = True
        of_term.append((slot, entries))
    matches = np.flatnonzero(matching)
    lengths = lengths_of.take(matches)
    if (lengths < 0).any():
        raise _damaged()
    compact = np.empty(room, np.intp)
    compact[matches] = np.arange(len(matches))
    # Terms and their fields lie apart, since they are scored one by one.
    frequencies = np.zeros((len(terms), _FIELDS, len(matches)), np.uint32)
    occurrences = {}
    for term, counts, (slot, entries) in zip(terms, frequencies, of_term, strict=True):
        row = compact.take(slot)
        counts.put(entries["field"] * np.int64(len(matches)) + row, entries["count"])
        occurs = np.zeros(len(matches), np.bool_)
        occurs[row] = True
        occurrences[term] = int(np.count_nonzero(occurs))
    name, path, content = (int(column.sum(dtype=np.int64)) for column in found["fields"].T)
    statistics = Statistics(len(found), (name, path, content), occurrences)
    return LabelPostings(
        statistics,
        blocks[matches >> BLOCK_BITS] << BLOCK_BITS | matches & _IN_BLOCK,
        frequencies.transpose(2, 0, 1),
        found["fields"].take(lengths, axis=0).astype(np.int64),
    )


_ENTRIES: Final = (
    "SELECT place, entries FROM json_each(?) AS asked"
    " CROSS JOIN posting ON posting.place = asked.value"
)
"""A loop and a look-up, in the order of the places: SQLite changes no order of a CROSS JOIN."""


def _joined(
    records: Sequence[bytes], kind: np.dtype[Any]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
    """How many items each of some records has, and all these items."""
    if any(len(record) % kind.itemsize for record in records):
        raise _damaged()
    sizes = np.array([len(record) // kind.itemsize for record in records], np.intp)
    return sizes, np.frombuffer(b"".join(records), kind)


def _items(record: bytes, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    try:
        return np.frombuffer(record, kind)
    except ValueError as error:
        raise _damaged() from error


def _damaged() -> StoreDamagedError:
    return StoreDamagedError("postings are damaged", remedy=Remedy.REPAIR_STORE)


def agree(connection: sqlite3.Connection, number: int, terms: Mapping[str, Frequencies]) -> bool:
    """Whether what is kept of a row are its terms, see :func:`domain.lexical.terms_of`."""
    coded = {code_of(term): found for term, found in terms.items()}
    return of_row(connection, number) == (coded, field_lengths(terms))


def of_row(
    connection: sqlite3.Connection, number: int
) -> tuple[dict[int, Frequencies], Frequencies | None]:
    """What is kept of one row: its frequencies by the codes of its terms, and its field lengths."""
    block, row = number >> BLOCK_BITS, number & _IN_BLOCK
    kept: defaultdict[int, list[int]] = defaultdict(lambda: [0] * _FIELDS)
    query = "SELECT entries FROM posting WHERE place BETWEEN ? AND ?"
    for (record,) in connection.execute(query, places_of(block)):
        entries = _items(record, _ENTRY)
        if (entries["field"] >= _FIELDS).any():
            raise _damaged()
        for code, count, _, field, _ in entries[entries["row"] == row].tolist():
            kept[code][field] = count
    frequencies = {code: (name, path, content) for code, (name, path, content) in kept.items()}
    for (record,) in connection.execute("SELECT lengths FROM block WHERE block = ?", (block,)):
        lengths = _items(record, _LENGTHS)
        for _, (name, path, content) in lengths[lengths["row"] == row].tolist():
            return frequencies, (name, path, content)
    return frequencies, None
