"""Lexical postings: which terms stand in which rows, kept by blocks of rows.

A block is 256 successive numbers of rows. For each of its terms it has one record, the entries of
all its rows one after the other, and one record of all its rows' field lengths. A batch of new rows
therefore writes few pages that lie together, and a question reads a term by one look-up a block.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from tenantkb.adapters.stores.sqlite.schema import BLOCK_BITS, LABEL_BITS
from tenantkb.domain.bm25 import Statistics
from tenantkb.domain.errors import Remedy, StoreDamagedError
from tenantkb.domain.lexical import Frequencies, field_lengths

_ENTRY: Final = np.dtype([("row", "<u2"), ("name", "<u2"), ("path", "<u2"), ("content", "<u4")])
"""A row of the block, and how often the term stands in its fields. What does not fit counts as the
most that does: 65,535 times in one name.
"""
_LENGTHS: Final = np.dtype([("row", "<u2"), ("fields", "<u4", (3,))])
_FIELDS: Final = ("name", "path", "content")
_IN_BLOCK: Final = (1 << BLOCK_BITS) - 1

Integers = npt.NDArray[np.int64]


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
    numbers: Integers
    frequencies: Integers
    lengths: Integers


def add(
    connection: sqlite3.Connection, rows: Iterable[tuple[int, Mapping[str, Frequencies]]]
) -> None:
    """Write the postings of rows, by number, that have none."""
    blocks: defaultdict[int, list[tuple[int, Mapping[str, Frequencies]]]] = defaultdict(list)
    for number, terms in rows:
        blocks[number >> BLOCK_BITS].append((number & _IN_BLOCK, terms))
    for block, of_block in sorted(blocks.items()):
        lengths = np.array([(row, field_lengths(terms)) for row, terms in of_block], _LENGTHS)
        connection.execute(
            "INSERT INTO block VALUES (?, ?) ON CONFLICT (block) DO UPDATE"
            " SET lengths = CAST(lengths || excluded.lengths AS BLOB)",
            (block, lengths.tobytes()),
        )
        connection.executemany(
            "INSERT INTO posting VALUES (?, ?, ?) ON CONFLICT (block, term) DO UPDATE"
            " SET entries = CAST(entries || excluded.entries AS BLOB)",
            ((block, term, entries) for term, entries in _inverted(of_block)),
        )


def _inverted(
    rows: Sequence[tuple[int, Mapping[str, Frequencies]]],
) -> Iterator[tuple[str, bytes]]:
    """The entries of rows by ascending term."""
    occurring = list(chain.from_iterable(terms for _, terms in rows))
    names = sorted(set(occurring))
    codes = {term: code for code, term in enumerate(names)}
    of_term = np.fromiter(map(codes.__getitem__, occurring), np.intp, len(occurring))
    order = np.argsort(of_term, kind="stable")
    counted = chain.from_iterable(chain.from_iterable(terms.values() for _, terms in rows))
    frequencies = np.fromiter(counted, np.int64).reshape(-1, len(_FIELDS))[order]
    entries = np.empty(len(occurring), _ENTRY)
    sizes = [len(terms) for _, terms in rows]
    entries["row"] = np.repeat([row for row, _ in rows], sizes)[order]
    for column, name in enumerate(_FIELDS):
        most = np.iinfo(_ENTRY[name]).max
        entries[name] = np.minimum(frequencies[:, column], most)
    start = 0
    for term, count in zip(names, np.bincount(of_term).tolist(), strict=True):
        yield term, entries[start : start + count].tobytes()
        start += count


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
            connection.execute("DELETE FROM block WHERE block = ?", (block,))
            connection.execute("DELETE FROM posting WHERE block = ?", (block,))
            return
        connection.execute("UPDATE block SET lengths = ? WHERE block = ?", (kept, block))
    records = connection.execute(
        "SELECT term, entries FROM posting WHERE block = ?", (block,)
    ).fetchall()
    if not records:
        return
    items = [_items(found, _ENTRY) for _, found in records]
    entries = np.concatenate(items)
    leaving = np.isin(entries["row"], gone)
    ends = np.cumsum([*map(len, items)])
    starts = np.concatenate(([0], ends[:-1]))
    emptied, shortened = [], []
    for record in np.flatnonzero(np.logical_or.reduceat(leaving, starts)):
        part = slice(starts[record], ends[record])
        kept = entries[part][~leaving[part]].tobytes()
        term = records[record][0]
        if kept:
            shortened.append((kept, block, term))
        else:
            emptied.append((block, term))
    connection.executemany("UPDATE posting SET entries = ? WHERE block = ? AND term = ?", shortened)
    connection.executemany("DELETE FROM posting WHERE block = ? AND term = ?", emptied)


def of_label(
    connection: sqlite3.Connection, label_number: int, terms: Sequence[str]
) -> LabelPostings:
    """Read the postings of distinct terms.

    Raises:
        StoreDamagedError: an entry is of no row.
    """
    shift = LABEL_BITS - BLOCK_BITS
    blocks = label_number << shift, ((label_number + 1) << shift) - 1
    numbers, found = _joined(
        connection.execute("SELECT block, lengths FROM block WHERE block BETWEEN ? AND ?", blocks),
        _LENGTHS,
    )
    order = np.argsort(numbers)
    numbers, lengths = numbers[order], found["fields"][order].astype(np.int64)
    occurrences: dict[str, tuple[Integers, npt.NDArray[Any]]] = {}
    matching = np.zeros(len(numbers), np.bool_)
    for term in terms:
        at, entries = _joined(
            connection.execute(
                "SELECT posting.block, posting.entries FROM block CROSS JOIN posting"
                " ON posting.block = block.block AND posting.term = ?"
                " WHERE block.block BETWEEN ? AND ?",
                (term, *blocks),
            ),
            _ENTRY,
        )
        rows = np.searchsorted(numbers, at)
        if not np.isin(at, numbers).all():
            raise _damaged()
        occurrences[term] = rows, entries
        matching[rows] = True
    place = np.cumsum(matching) - 1
    frequencies = np.zeros((int(matching.sum()), len(terms), len(_FIELDS)), np.int64)
    for index, (rows, entries) in enumerate(occurrences.values()):
        for column, name in enumerate(_FIELDS):
            frequencies[place[rows], index, column] = entries[name]
    name, path, content = lengths.sum(axis=0).tolist()
    statistics = Statistics(
        len(numbers),
        (name, path, content),
        {term: len(rows) for term, (rows, _) in occurrences.items()},
    )
    return LabelPostings(statistics, numbers[matching], frequencies, lengths[matching])


def _joined(
    records: Iterable[tuple[int, bytes]], kind: np.dtype[Any]
) -> tuple[Integers, npt.NDArray[Any]]:
    """The items of some blocks' records, and the numbers of their rows."""
    found = list(records)
    sizes = [len(record) // kind.itemsize for _, record in found]
    if any(len(record) % kind.itemsize for _, record in found):
        raise _damaged()
    joined = np.frombuffer(b"".join(record for _, record in found), kind)
    blocks = np.array([block for block, _ in found], np.int64)
    return (np.repeat(blocks, sizes) << BLOCK_BITS) | joined["row"], joined


def _items(record: bytes, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    try:
        return np.frombuffer(record, kind)
    except ValueError as error:
        raise _damaged() from error


def _damaged() -> StoreDamagedError:
    return StoreDamagedError("postings are damaged", remedy=Remedy.REPAIR_STORE)


def of_row(
    connection: sqlite3.Connection, number: int, terms: Sequence[str]
) -> tuple[dict[str, Frequencies], Frequencies | None]:
    """What is kept of one row: its entries among these terms, and its field lengths."""
    block, row = number >> BLOCK_BITS, number & _IN_BLOCK
    kept: dict[str, Frequencies] = {}
    query = "SELECT entries FROM posting WHERE block = ? AND term = ?"
    for term in terms:
        for (record,) in connection.execute(query, (block, term)):
            entries = _items(record, _ENTRY)
            for _, name, path, content in entries[entries["row"] == row].tolist():
                kept[term] = name, path, content
    for (record,) in connection.execute("SELECT lengths FROM block WHERE block = ?", (block,)):
        lengths = _items(record, _LENGTHS)
        for _, (name, path, content) in lengths[lengths["row"] == row].tolist():
            return kept, (name, path, content)
    return kept, None
