"""The vectors of a label in memory, and the bounded cache that keeps them there."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, OrderedDict, defaultdict
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import frozen

from tenantkb.adapters.stores.sqlite.schema import LABEL_BITS, first_and_last
from tenantkb.domain.errors import Remedy, StoreDamagedError
from tenantkb.domain.ids import ChunkId
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Ids, Vector

VECTOR: Final = np.dtype("<f4")
Positions = npt.NDArray[np.intp]

_MARGIN: Final = 1e-4
"""More than two products of unit vectors in single precision can be wrong by."""

_BYTES_OF_AN_ID: Final = 320
"""A ``ChunkId`` of 64 characters, with its place in a list and in a table."""


@frozen(eq=False)
class LabelVectors:
    """The rows of one label at one generation, by ascending number.

    Attributes:
        numbers: Shape ``(rows,)``.
        ids: As many.
        vectors: Shape ``(rows, dimension)``, of any length.
        scales: Shape ``(rows,)``: what gives a vector unit length; 1 for a vector of zeros.
    """

    numbers: npt.NDArray[np.int64]
    ids: Ids
    vectors: Vectors
    scales: npt.NDArray[np.float32]

    @property
    def label_number(self) -> int:
        """The number of the label, of which there is a row."""
        return int(self.numbers[0]) >> LABEL_BITS

    @property
    def size(self) -> int:
        """Bytes of memory."""
        arrays = self.numbers.nbytes + self.vectors.nbytes + self.scales.nbytes
        return arrays + _BYTES_OF_AN_ID * len(self.ids)

    def positions_of(self, numbers: npt.NDArray[np.int64]) -> Positions:
        """Where those of the rows are that are there."""
        positions = np.searchsorted(self.numbers, numbers)
        positions[positions == len(self.numbers)] = 0
        found: Positions = positions[self.numbers[positions] == numbers]
        return found

    def candidates(self, query: Vector, limit: int, chosen: Positions | None) -> Positions:
        """Rows among which the nearest are, and few others.

        Args:
            query: Shape ``(dimension,)``, unit length.
            limit: How many nearest ones are wanted.
            chosen: The rows in question; ``None`` for all.
        """
        rows = np.arange(len(self.ids)) if chosen is None else chosen
        if len(rows) <= limit:
            return rows
        # Not `@`, which keeps all cores busy with one question, and makes threads wait for them.
        with np.errstate(over="ignore", invalid="ignore"):  # of vectors of absurd length
            if len(rows) * 4 < len(self.ids):
                scores = np.vecdot(self.vectors[rows], query) * self.scales[rows]
            else:
                scores = np.vecdot(self.vectors, query) * self.scales
                scores = scores if chosen is None else scores[rows]
            # Not `>=`: what cannot be compared is a candidate.
            nearest: Positions = rows[~(scores < np.partition(scores, -limit)[-limit] - _MARGIN)]
        return nearest


def load(connection: sqlite3.Connection, label: str, number: int, dimension: int) -> LabelVectors:
    """Read the vectors of a label.

    Raises:
        StoreDamagedError: one is missing or has not the collection's dimension.
    """
    found = connection.execute(
        "SELECT row.number, row.id, vector.vector FROM row LEFT JOIN vector USING (number)"
        " WHERE row.number BETWEEN ? AND ? ORDER BY row.number",
        first_and_last(number),
    ).fetchall()
    numbers, ids, blobs = zip(*found, strict=True) if found else ((), (), ())
    if {len(blob or b"") for blob in blobs} - {dimension * VECTOR.itemsize}:
        raise StoreDamagedError(
            f"a vector of {label} has not the collection's {dimension} dimensions",
            remedy=Remedy.REPAIR_STORE,
        )
    vectors = np.frombuffer(b"".join(blobs), VECTOR).reshape(-1, dimension)
    return LabelVectors(
        np.array(numbers, np.int64), Ids(list(map(ChunkId, ids))), vectors, _scales(vectors)
    )


def _scales(vectors: Vectors) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # of vectors of absurd length, which are measured once more
        squares = np.vecdot(vectors, vectors).astype(np.float64)
        absurd = ~((squares > 1e-30) & (squares < 1e30))
        exact = vectors[absurd].astype(np.float64)
        squares[absurd] = np.vecdot(exact, exact)
        squares[squares == 0] = 1
        scales: npt.NDArray[np.float32] = (1 / np.sqrt(squares)).astype(np.float32)
    return scales


class _Entry(NamedTuple):
    generation: int
    tenant_id: str
    vectors: LabelVectors


class VectorCache:
    """Vectors by label, least recently used first out, within a number of bytes.

    A label makes room at the cost of the tenant that takes most of it: whoever reads many labels
    drops its own first, and no small tenant's.

    Args:
        limit: Bytes. A label that takes more is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes: Counter[str] = Counter()

    def loading(self, label: str) -> AbstractContextManager[object]:
        """Held by the one thread that loads a label while others wait for it."""
        with self._lock:
            return self._loading[label]

    def get(self, label: str, generation: int) -> LabelVectors | None:
        """The vectors of a label, if they are here and of this generation."""
        with self._lock:
            entry = self._entries.get(label)
            if entry is None or entry.generation != generation:
                return None
            self._entries.move_to_end(label)
            return entry.vectors

    def put(self, label: str, generation: int, tenant_id: str, vectors: LabelVectors) -> None:
        """Keep the vectors of a label in the place of an earlier generation's."""
        with self._lock:
            self._drop(label)
            if vectors.size > self._limit:
                return
            self._entries[label] = _Entry(generation, tenant_id, vectors)
            self._bytes[tenant_id] += vectors.size
            while self._bytes.total() > self._limit:
                largest = max(self._bytes, key=self._bytes.__getitem__)
                self._drop(next(k for k, e in self._entries.items() if e.tenant_id == largest))

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()
            self._bytes.clear()

    def _drop(self, label: str) -> None:
        entry = self._entries.pop(label, None)
        if entry is not None:
            self._bytes[entry.tenant_id] -= entry.vectors.size
