"""The vectors of a label in memory."""

from __future__ import annotations

import sqlite3
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from tenantkb.adapters.lexical.labels import LabelRows, Positions
from tenantkb.adapters.lexical.schema import first_and_last
from tenantkb.domain.errors import Remedy, StoreDamagedError
from tenantkb.domain.ids import ChunkId
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Ids, Vector

VECTOR: Final = np.dtype("<f4")

_MARGIN: Final = 1e-4
"""More than two products of unit vectors in single precision can be wrong by."""


@frozen(eq=False)
class LabelVectors(LabelRows):
    """The rows of one label at one generation, with their vectors.

    Attributes:
        vectors: Shape ``(rows, dimension)``, of any length.
        scales: Shape ``(rows,)``: what gives a vector unit length; 1 for a vector of zeros.
    """

    vectors: Vectors
    scales: npt.NDArray[np.float32]

    @property
    def size(self) -> int:
        return super().size + self.vectors.nbytes + self.scales.nbytes

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


def load(connection: sqlite3.Connection, dimension: int, label: str, number: int) -> LabelVectors:
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
