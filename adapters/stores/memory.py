"""A store in memory: exact, without files, gone with its process."""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import define, field

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.domain import fields
from tenantkb.domain.bm25 import Statistics
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.lexical import Frequencies, field_lengths, frequencies_in, terms_of
from tenantkb.domain.selection import Selection
from tenantkb.domain.vectors import nearest, require_vectors
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Ids, Keys, LabelCount, Postings, RawRow, Vector

Stored = tuple[dict[str, Any], Vector]
"""A row's metadata and vector. Neither is changed in place: a row is replaced."""


def open_engine(_settings: StoreSettings) -> MemoryEngine:
    """An empty store: all settings are about other kinds."""
    return MemoryEngine()


class _Indexed(NamedTuple):
    """The terms of a row, and the metadata that they were made of."""

    metadata: Mapping[str, Any]
    terms: Mapping[str, Frequencies]
    lengths: Frequencies


@define(eq=False)
class MemoryEngine:
    """Rows by label and id; see :class:`ports.engine.Engine`.

    Has :class:`ports.engine.CountsRows` and :class:`ports.engine.Lexical`.

    Attributes:
        rows: Metadata and vectors by label, then id; a query reads those of the labels in scope.
    """

    rows: dict[str, dict[ChunkId, Stored]] = field(factory=dict, init=False)
    _profile: EmbedderProfile | None = field(default=None, init=False)
    _ids: IdScheme | None = field(default=None, init=False)
    _indexed: dict[RowKey, _Indexed] = field(factory=dict, init=False, repr=False)
    _sorted: dict[str, list[ChunkId]] = field(factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(factory=threading.RLock, init=False, repr=False)

    @property
    def place(self) -> str:
        return "memory"

    def profile(self) -> EmbedderProfile | None:
        return self._profile

    def ids(self) -> IdScheme | None:
        return self._ids

    def bind(self, profile: EmbedderProfile, ids: IdScheme = IdScheme.CONTENT) -> EmbedderProfile:
        with self._lock:
            self._profile, self._ids = self._profile or profile, self._ids or ids
            return self._profile

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        with self._lock:
            candidates = {
                (row_id, label): stored
                for label in selection.labels
                for row_id, stored in self.rows.get(label, {}).items()
                if selection.matches(label, stored[0])
            }
        if not candidates:
            return []
        vectors = np.stack([stored_vector for _, stored_vector in candidates.values()])
        return [
            (_raw(RowKey(label, row_id), candidates[row_id, label]), score)
            for (row_id, label), score in nearest(list(candidates), vectors, vector, limit)
        ]

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        return [
            row for row, _ in self.fetch([RowKey(label, each) for label in labels for each in ids])
        ]

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        for key, (metadata, _) in self._walk(selection.labels, after):
            if selection.matches(key.label, metadata):
                yield RawRow(key.label, key.id, dict(metadata))

    def keys(self, selection: Selection) -> Iterator[RowKey]:
        walk = self._walk(selection.labels, None)
        return (key for key, (metadata, _) in walk if selection.matches(key.label, metadata))

    def put(self, rows: Sequence[RawRow], vectors: Vectors, *, exact: bool) -> None:
        with self._lock:
            require_vectors(self._profile, len(rows), vectors)
            for row, vector in zip(rows, vectors.copy(), strict=True):
                self._write(row, vector)

    def move(self, moves: Sequence[tuple[RowKey, RawRow]]) -> None:
        with self._lock:
            there = [(key, row, self._stored(key)) for key, row in moves]
            for key, _, stored in there:
                if stored:
                    self._remove(key)
            for _, row, stored in there:
                if stored:
                    self._write(row, stored[1])

    def delete(self, keys: Sequence[RowKey]) -> int:
        with self._lock:
            return sum(self._remove(key) for key in keys)

    def export(self, after: RowKey | None = None) -> Iterator[tuple[RawRow, Vector]]:
        for key, (metadata, vector) in self._walk(list(self.rows), after):
            yield RawRow(key.label, key.id, dict(metadata)), vector.copy()

    def fetch(self, keys: Sequence[RowKey]) -> Iterable[tuple[RawRow, Vector]]:
        with self._lock:
            found = [(key, self._stored(key)) for key in keys]
        return [(_raw(key, stored), stored[1].copy()) for key, stored in found if stored]

    def truncate(self) -> int:
        with self._lock:
            count = sum(map(len, self.rows.values()))
            self.rows, self._indexed, self._sorted = {}, {}, {}
            self._profile = self._ids = None
            return count

    def counts(self, labels: Sequence[str]) -> Iterable[LabelCount]:
        with self._lock:
            counted = Counter(
                (label, str(metadata.get(fields.TENANT_ID)), str(metadata.get(fields.REPO_SLUG)))
                for label in dict.fromkeys(labels)
                for metadata, _ in self.rows.get(label, {}).values()
            )
        return [LabelCount(*owner, rows) for owner, rows in counted.items()]

    def postings(self, selection: Selection, terms: Sequence[str]) -> Postings:
        with self._lock:
            there = [
                (label, list(self.rows.get(label, {}).items()))
                for label in dict.fromkeys(selection.labels)
            ]
        statistics: list[Statistics] = []
        parts: list[tuple[str, Ids, npt.NDArray[np.int64]]] = []
        found: list[_Indexed] = []
        for label, rows in there:
            indexed = [self._terms_of(RowKey(label, row_id), stored[0]) for row_id, stored in rows]
            statistics.append(
                Statistics.of(
                    [each.terms for each in indexed], [each.lengths for each in indexed], terms
                )
            )
            chosen = [
                (row_id, each)
                for (row_id, _), each in zip(rows, indexed, strict=True)
                if not each.terms.keys().isdisjoint(terms)
                and selection.matches(label, each.metadata)
            ]
            parts.append((label, Ids([row_id for row_id, _ in chosen]), np.arange(len(chosen))))
            found += [each for _, each in chosen]
        return Postings(
            Statistics.total(statistics),
            Keys(parts),
            frequencies_in([each.terms for each in found], terms),
            np.array([each.lengths for each in found], np.int64).reshape(-1, 3),
        )

    def close(self) -> None:
        """Nothing to release."""

    def _walk(self, labels: Sequence[str], after: RowKey | None) -> Iterator[tuple[RowKey, Stored]]:
        """The rows of some labels, as they are when their turn comes, by id and label."""
        with self._lock:
            parts = [self._keys_of(label, after) for label in dict.fromkeys(labels)]
        for row_id, label in heapq.merge(*parts):
            key = RowKey(label, row_id)
            if stored := self._stored(key):
                yield key, stored

    def _keys_of(self, label: str, after: RowKey | None) -> Iterator[tuple[ChunkId, str]]:
        """A label's keys in order, beyond one; they are sorted once after each change of them."""
        ids = self._sorted.get(label)
        if ids is None:
            ids = self._sorted[label] = sorted(self.rows.get(label, ()))
        start = 0
        if after is not None:
            beyond = bisect_left if label > after.label else bisect_right
            start = beyond(ids, after.id)
        return zip(islice(ids, start, None), repeat(label))

    def _terms_of(self, key: RowKey, metadata: Mapping[str, Any]) -> _Indexed:
        """The terms of a row, made when they are first asked for."""
        indexed = self._indexed.get(key)
        if indexed is None or indexed.metadata is not metadata:
            terms = terms_of(metadata)
            indexed = self._indexed[key] = _Indexed(metadata, terms, field_lengths(terms))
        return indexed

    def _stored(self, key: RowKey) -> Stored | None:
        return self.rows.get(key.label, {}).get(key.id)

    def _write(self, row: RawRow, vector: Vector) -> None:
        if not self._stored(row.key):
            self._sorted.pop(row.label, None)
        self.rows.setdefault(row.label, {})[row.id] = dict(row.metadata), vector

    def _remove(self, key: RowKey) -> bool:
        self._indexed.pop(key, None)
        self._sorted.pop(key.label, None)
        return self.rows.get(key.label, {}).pop(key.id, None) is not None


def _raw(key: RowKey, stored: tuple[Mapping[str, Any], Vector]) -> RawRow:
    return RawRow(key.label, key.id, dict(stored[0]))
