"""The rows of a label in memory, the bounded cache that keeps them there, and their postings."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from attrs import frozen

from tenantkb.adapters.lexical import postings
from tenantkb.adapters.lexical.schema import COLUMNS, LABEL_BITS, SELECTED, first_and_last
from tenantkb.domain.bm25 import Integers, Statistics
from tenantkb.domain.errors import Remedy, StoreDamagedError
from tenantkb.domain.selection import Selection
from tenantkb.ports.engine import Ids, Keys, Postings

Positions = npt.NDArray[np.intp]

_BYTES_OF_AN_ID: Final = 320
"""A ``ChunkId`` of 64 characters, with its place in a list and in a table."""

_NUMBERS: Final = (
    "SELECT row.number, row.source_path FROM row"  # noqa: S608 # a constant
    f" WHERE row.number BETWEEN :first AND :last AND {SELECTED}"
)


@frozen(eq=False)
class LabelRows:
    """The rows of one label at one generation, by ascending number.

    Attributes:
        numbers: Shape ``(rows,)``.
        ids: As many.
    """

    numbers: npt.NDArray[np.int64]
    ids: Ids

    @property
    def label_number(self) -> int:
        """The number of the label, of which there is a row."""
        return int(self.numbers[0]) >> LABEL_BITS

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.numbers.nbytes + _BYTES_OF_AN_ID * len(self.ids)

    def positions_of(self, numbers: npt.NDArray[np.int64]) -> Positions:
        """Where those of the rows are that are there."""
        positions = np.searchsorted(self.numbers, numbers)
        positions[positions == len(self.numbers)] = 0
        found: Positions = positions[self.numbers[positions] == numbers]
        return found


Rows = TypeVar("Rows", bound=LabelRows)

Others = Callable[[str, LabelRows, Sequence[int]], Sequence[int]]
"""Which of some rows of a label, by number, are selected by what there is no column for."""


class _Entry(NamedTuple, Generic[Rows]):
    generation: int
    tenant_id: str
    rows: Rows


class LabelCache(Generic[Rows]):
    """Rows by label, least recently used first out, within a number of bytes.

    A label makes room at the cost of the tenant that takes most of it: whoever reads many labels
    drops its own first, and no small tenant's.

    Args:
        limit: Bytes. A label that takes more is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._entries: OrderedDict[str, _Entry[Rows]] = OrderedDict()
        self._bytes: Counter[str] = Counter()

    def of(
        self,
        connection: sqlite3.Connection,
        labels: Sequence[str],
        load: Callable[[str, int], Rows],
    ) -> Iterator[tuple[str, Rows]]:
        """Those of the labels that have rows, with these.

        Args:
            connection: Within the transaction that answers.
            labels: Those that are asked for.
            load: Reads the rows of a label, given its number.
        """
        for label, number, generation in numbered(connection, labels):
            rows = self.get(label, generation)
            if rows is None:
                with self._held(label):
                    rows = self.get(label, generation)
                    if rows is None:
                        rows = load(label, number)
                        self.put(label, generation, _owner(connection, label), rows)
            if rows.ids:
                yield label, rows

    def get(self, label: str, generation: int) -> Rows | None:
        """The rows of a label, if they are here and of this generation."""
        with self._lock:
            entry = self._entries.get(label)
            if entry is None or entry.generation != generation:
                return None
            self._entries.move_to_end(label)
            return entry.rows

    def put(self, label: str, generation: int, tenant_id: str, rows: Rows) -> None:
        """Keep the rows of a label in the place of an earlier generation's."""
        with self._lock:
            self._drop(label)
            if rows.size > self._limit:
                return
            self._entries[label] = _Entry(generation, tenant_id, rows)
            self._bytes[tenant_id] += rows.size
            while self._bytes.total() > self._limit:
                largest = max(self._bytes, key=self._bytes.__getitem__)
                self._drop(next(k for k, e in self._entries.items() if e.tenant_id == largest))

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()
            self._bytes.clear()

    def _held(self, label: str) -> AbstractContextManager[object]:
        """Held by the one thread that loads a label while others wait for it."""
        with self._lock:
            return self._loading[label]

    def _drop(self, label: str) -> None:
        entry = self._entries.pop(label, None)
        if entry is not None:
            self._bytes[entry.tenant_id] -= entry.rows.size


def numbered(
    connection: sqlite3.Connection, labels: Iterable[str]
) -> Iterator[tuple[str, int, int]]:
    """Those of the labels that are known, each with its number and its generation."""
    query = "SELECT label, number, generation FROM label WHERE label = ?"
    for label in dict.fromkeys(labels):
        yield from connection.execute(query, (label,)).fetchall()


def _owner(connection: sqlite3.Connection, label: str) -> str:
    """The tenant whose rows are stored under a label."""
    found = connection.execute(
        "SELECT tenant_id FROM row_count WHERE label = ? LIMIT 1", (label,)
    ).fetchone()
    return "" if found is None else str(found[0])


def chosen(
    connection: sqlite3.Connection,
    label: str,
    rows: LabelRows,
    selection: Selection,
    others: Others,
) -> Positions | None:
    """Which rows of a label are selected; ``None`` for all."""
    if not selection.equalities and selection.path is None:
        return None
    first, last = first_and_last(rows.label_number)
    found = connection.execute(
        _NUMBERS, columns(selection.equalities) | {"first": first, "last": last}
    )
    numbers: Sequence[int] = [number for number, path in found if selection.fits(path)]
    if not selection.equalities.keys() <= COLUMNS.keys():
        numbers = others(label, rows, numbers)
    return rows.positions_of(np.array(numbers, np.int64))


def columns(equalities: Mapping[str, str]) -> dict[str, object]:
    """The parameters of :data:`adapters.lexical.schema.SELECTED`."""
    return {column: equalities.get(key) for key, column in COLUMNS.items()}


def postings_of(
    connection: sqlite3.Connection,
    labels: Iterable[tuple[str, LabelRows]],
    selection: Selection,
    terms: Sequence[str],
    others: Others,
) -> Postings:
    """The postings of labels with rows, see :meth:`ports.engine.Lexical.postings`.

    Raises:
        StoreDamagedError: they are not those of the rows.
    """
    statistics, keys = [], []
    frequencies: list[Integers] = []
    lengths: list[Integers] = [np.zeros((0, 3), np.int64)]
    for label, rows in labels:
        found = postings.of_label(connection, rows.label_number, terms)
        positions = rows.positions_of(found.numbers)
        if len(positions) < len(found.numbers):
            raise StoreDamagedError("there are postings of no row", remedy=Remedy.REPAIR_STORE)
        selected: slice | npt.NDArray[np.bool_] = slice(None)
        of_these = chosen(connection, label, rows, selection, others)
        if of_these is not None:
            mask = np.zeros(len(rows.numbers), np.bool_)
            mask[of_these] = True
            selected = mask[positions]
        statistics.append(found.statistics)
        keys.append((label, rows.ids, positions[selected]))
        frequencies.append(found.frequencies[selected].transpose(1, 2, 0))
        lengths.append(found.lengths[selected])
    if len(frequencies) != 1:  # as of many a tenant, and a copy is large
        frequencies.insert(0, np.zeros((len(terms), 3, 0), np.uint32))
        frequencies = [np.concatenate(frequencies, axis=2)]
    return Postings(
        Statistics.total(statistics),
        Keys(keys),
        frequencies[0].transpose(2, 0, 1),
        np.concatenate(lengths),
    )
