"""A store in memory: exact, without files, gone with its process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tenantkb.adapters.stores.contract import (
    in_scope,
    nearest,
    require_owned,
    require_query,
    require_vectors,
    restorable,
    writable,
)
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.rows import ANY, Criteria, Match, MetadataValue, Row
from tenantkb.domain.tenancy import OperatorScope, ReadScope, WriteScope
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import Vector


class MemoryStore:
    """Rows in a dictionary, vectors in one array; see :class:`ports.store.VectorStore`.

    May be used from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._profile: EmbedderProfile | None = None
        self._positions: dict[str, int] = {}
        self._ids: list[str] = []
        self._metadata: list[dict[str, MetadataValue]] = []
        self._vectors: Vectors = np.empty((0, 0), np.float32)

    def profile(self) -> EmbedderProfile | None:
        return self._profile

    def bind(self, profile: EmbedderProfile) -> None:
        with self._lock:
            if self._profile is None:
                self._profile = profile
                self._vectors = np.empty((0, profile.dimension), np.float32)
            self._profile.require(profile)

    def query(
        self,
        scope: ReadScope,
        vector: npt.NDArray[np.float32],
        limit: int,
        criteria: Criteria = ANY,
    ) -> list[Match]:
        with self._lock:
            if self._profile is None:
                return []
            require_query(self._profile, vector)
            positions = [
                position
                for position, metadata in enumerate(self._metadata)
                if in_scope(scope, criteria, metadata)
            ]
            if limit < 1 or not positions:
                return []
            ids = [self._ids[position] for position in positions]
            best = nearest(ids, self._vectors[positions], vector, limit)
            return [Match(row=self._row(row_id), score=score) for row_id, score in best]

    def get(self, scope: ReadScope, ids: Sequence[str]) -> list[Row]:
        with self._lock:
            rows = (self._row(row_id) for row_id in ids if row_id in self._positions)
            return [row for row in rows if in_scope(scope, ANY, row.metadata)]

    def scan(
        self, scope: ReadScope | WriteScope, criteria: Criteria = ANY, after: str = ""
    ) -> Iterator[Row]:
        for row_id in sorted(self._positions):
            with self._lock:
                row = self._row(row_id) if row_id in self._positions else None
            if row_id > after and row and in_scope(scope, criteria, row.metadata):
                yield row

    def upsert(self, scope: WriteScope, rows: Sequence[Row], vectors: Vectors) -> None:
        with self._lock:
            require_vectors(self._profile, rows, vectors)
            written = writable(scope, rows)
            self._require_owned(scope, rows)
            self._put(rows, written, vectors)

    def restamp(self, scope: WriteScope, rows: Sequence[Row]) -> None:
        with self._lock:
            written = writable(scope, rows)
            self._require_owned(scope, rows)
            for row, metadata in zip(rows, written, strict=True):
                if row.id in self._positions:
                    self._metadata[self._positions[row.id]] = metadata

    def delete(self, scope: WriteScope | OperatorScope, ids: Sequence[str]) -> int:
        with self._lock:
            covered = [
                row_id
                for row_id in dict.fromkeys(ids)
                if row_id in self._positions
                and scope.covers(self._metadata[self._positions[row_id]])
            ]
            for row_id in covered:
                self._remove(row_id)
            return len(covered)

    def export(
        self, scope: OperatorScope, ids: Sequence[str] | None = None
    ) -> Iterator[tuple[Row, Vector]]:
        for row_id in sorted(self._positions if ids is None else set(ids)):
            with self._lock:
                if row_id not in self._positions:
                    continue
                found = self._row(row_id), self._vectors[self._positions[row_id]].copy()
            yield found

    def restore(self, scope: OperatorScope, rows: Sequence[Row], vectors: Vectors) -> None:
        with self._lock:
            require_vectors(self._profile, rows, vectors)
            self._put(rows, restorable(rows), vectors)

    def reindex(
        self, scope: OperatorScope, vectors_of: Callable[[Sequence[Row]], Vectors]
    ) -> Iterator[int]:
        with self._lock:
            rows = [self._row(row_id) for row_id in self._ids]
            if rows:
                self._vectors[: len(rows)] = vectors_of(rows)
        yield len(rows)

    def truncate(self, scope: OperatorScope) -> int:
        with self._lock:
            count = len(self._ids)
            self._profile = None
            self._positions, self._ids, self._metadata = {}, [], []
            self._vectors = np.empty((0, 0), np.float32)
            return count

    def close(self) -> None:
        """Nothing to release."""

    def _put(
        self,
        rows: Sequence[Row],
        written: Sequence[dict[str, MetadataValue]],
        vectors: Vectors,
    ) -> None:
        self._reserve(len(self._ids) + len(rows))
        for row, metadata, vector in zip(rows, written, vectors, strict=True):
            position = self._positions.setdefault(row.id, len(self._ids))
            if position == len(self._ids):
                self._ids.append(row.id)
                self._metadata.append(metadata)
            self._metadata[position] = metadata
            self._vectors[position] = vector

    def _require_owned(self, scope: WriteScope, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.id in self._positions:
                require_owned(scope, row.id, self._metadata[self._positions[row.id]])

    def _row(self, row_id: str) -> Row:
        return Row(id=row_id, metadata=dict(self._metadata[self._positions[row_id]]))

    def _reserve(self, rows: int) -> None:
        """Make room for ``rows`` vectors; doubling, so that growing costs little in all."""
        capacity, dimension = self._vectors.shape
        if rows > capacity:
            grown = np.empty((max(rows, 2 * capacity), dimension), np.float32)
            grown[: len(self._ids)] = self._vectors[: len(self._ids)]
            self._vectors = grown

    def _remove(self, row_id: str) -> None:
        """The last row moves to the free place, so that the array has no holes."""
        position, last = self._positions.pop(row_id), len(self._ids) - 1
        if position < last:
            self._ids[position] = self._ids[last]
            self._metadata[position] = self._metadata[last]
            self._vectors[position] = self._vectors[last]
            self._positions[self._ids[position]] = position
        self._ids.pop()
        self._metadata.pop()
