"""The one way to a store: scopes in front of it, a second check behind it.

An adapter cannot forget the rules of isolation, because it has none: it is given labels and
conditions and answers what it has. What may be asked and written, and whether an answered row is
one that the caller may see, is decided here, once for all stores.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import numpy as np
from attrs import field, frozen

from tenantkb.domain.checks import Check
from tenantkb.domain.context import OperatorScope, ReadScope, Scope, WriteScope
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    MalformedRowError,
    NotSupportedError,
    ScopeViolationError,
)
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.inventory import Inventory
from tenantkb.domain.rows import ANY, Criteria, Match, StampedRow, read_row, require_criteria
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import SharedNamespace, private_label, team_label
from tenantkb.domain.vectors import nearest, require_query, require_vectors
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import (
    CountsRows,
    Engine,
    Examinable,
    LabelCount,
    Lexical,
    ListsKeys,
    LosesIndex,
    Postings,
    RawRow,
    Reindexable,
    Transactional,
    Vector,
)
from tenantkb.ports.state import Inventories
from tenantkb.ports.telemetry import IsolationFaults

S = TypeVar("S", WriteScope, OperatorScope)


@frozen
class GuardedStore:
    """An engine behind the rules of isolation; plays every role of :mod:`ports.store`.

    What a store answers and the caller may not see is withheld. It is counted and logged as an
    isolation fault if it is still there when the row is read once more: in between, somebody may
    have changed it.

    Attributes:
        engine: The store.
        clock: By which scopes expire.
        faults: Counts what is withheld.
        namespace: The shared one of this installation; a scope of another one is none here.
        vectors_of: By which an index is made anew that a killed writer has left behind, before
            anything reads it; without it, that is an error.
        inventories: What synchronisations have stored: every write makes those void that it may
            contradict, before it begins and when it is done. Without them nothing is remembered.
    """

    engine: Engine
    clock: Clock
    faults: IsolationFaults
    namespace: SharedNamespace = field(factory=SharedNamespace)
    vectors_of: Callable[[Sequence[RawRow]], Vectors] | None = None
    inventories: Inventories | None = None

    def for_job(self, scope: S, seconds: float) -> S:
        self._require(scope, WriteScope, OperatorScope)
        return scope.lasting(seconds, job=secrets.token_hex(8))

    def profile(self) -> EmbedderProfile | None:
        profile = self.engine.profile()
        if profile is not None:
            self._require_ids()
        return profile

    def bind(self, profile: EmbedderProfile) -> None:
        self.engine.bind(profile, self.namespace.ids).require(profile)
        self._require_ids()

    def _require_ids(self) -> None:
        """Refuse a store whose ids are derived by another scheme than this installation's.

        Raises:
            StoreMismatchError: they are.
        """
        scheme = self.engine.ids()
        if scheme is not None:
            scheme.require(self.namespace.ids, self.engine.place)

    def query(
        self, scope: ReadScope, vector: Vector, limit: int, criteria: Criteria = ANY
    ) -> list[Match]:
        self._require(scope, ReadScope)
        selection = Selection.of(scope, require_criteria(criteria))
        profile = self.profile()
        if profile is None:
            return []
        require_query(profile, vector)
        if limit < 1:
            return []
        asked, withheld = limit, dict[RowKey, None]()
        while True:
            found = self.engine.nearest(selection, vector, asked)
            scores = {raw.key: score for raw, score in found}
            raws = (raw for raw, _ in found)
            admitted = list(_answered(scope, selection, raws, withheld.setdefault))
            if len(admitted) >= limit or len(found) < asked:
                break
            asked = 2 * asked  # what was withheld must leave no gap
        for key in withheld:
            self._count_fault(scope, key)
        return [Match(row, scores[row.key]) for row in admitted[:limit]]

    def has_postings(self) -> bool:
        engine = self.engine
        return isinstance(engine, Lexical) and engine.postings(Selection((), {}), ()) is not None

    def postings(
        self, scope: ReadScope, terms: Sequence[str], criteria: Criteria = ANY
    ) -> Postings | None:
        self._require(scope, ReadScope)
        selection = Selection.of(scope, require_criteria(criteria))
        if not isinstance(self.engine, Lexical):
            return None
        found = self.engine.postings(selection, terms)
        if found is not None and any(label not in scope.labels for label, _, _ in found.keys.parts):
            self.faults.record("postings of rows under another label")
            return None  # what such a store has counted cannot be relied on either
        return found

    def compare(
        self, scope: ReadScope, vector: Vector, keys: Sequence[RowKey], criteria: Criteria = ANY
    ) -> list[Match]:
        self._require(scope, ReadScope)
        selection = Selection.of(scope, require_criteria(criteria))
        asked = [key for key in keys if key.label in scope.labels]
        profile = self.engine.profile()
        if profile is None or not asked:
            return []
        require_query(profile, vector)
        fetched = {raw.key: (raw, found) for raw, found in self.engine.fetch(asked)}
        raws = (raw for raw, _ in fetched.values())
        rows: dict[tuple[str, str], StampedRow] = {}
        vectors = []
        for row in self._admitted(scope, selection, raws):
            key = row.key
            rows[key.id, key.label] = row
            vectors.append(fetched[key][1])
        if not rows:
            return []
        best = nearest(list(rows), np.stack(vectors), vector, len(rows))
        return [Match(rows[key], score) for key, score in best]

    def get(self, scope: ReadScope | WriteScope, ids: Sequence[ChunkId]) -> list[StampedRow]:
        self._require(scope, ReadScope, WriteScope)
        wanted = _chunk_ids(ids)
        if not wanted:
            return []
        found: dict[ChunkId, list[StampedRow]] = {}
        raws = self.engine.get(scope.labels, list(dict.fromkeys(wanted)))
        for row in self._admitted(scope, Selection.of(scope), raws):
            found.setdefault(row.id, []).append(row)
        return [
            row
            for row_id in wanted
            for row in sorted(found.get(row_id, ()), key=lambda each: each.key)
        ]

    def scan(
        self,
        scope: ReadScope | WriteScope,
        criteria: Criteria = ANY,
        after: RowKey | None = None,
    ) -> Iterator[StampedRow]:
        self._require(scope, ReadScope, WriteScope)
        selection = Selection.of(scope, require_criteria(criteria))
        return self._admitted(scope, selection, self.engine.scan(selection, after))

    def keys(self, scope: WriteScope) -> Iterator[RowKey]:
        self._require(scope, WriteScope)
        if not isinstance(self.engine, ListsKeys):
            return (row.key for row in self.scan(scope))
        return self._keys_within(scope, self.engine.keys(Selection.of(scope)))

    def _keys_within(self, scope: WriteScope, keys: Iterable[RowKey]) -> Iterator[RowKey]:
        for key in keys:
            if key.label in scope.labels:
                yield key
            else:
                self.faults.record(key.id)

    def inventory(self, scope: WriteScope, *, lasting: bool) -> Inventory | None:
        self._require(scope, WriteScope)
        if self.inventories is None or self.engine.profile() is None:
            return None
        of = scope.tenant_id, scope.repo_slug, scope.label
        if lasting:
            return self.inventories.open_inventory(*of, scope.job)
        return self.inventories.inventory(*of)

    def keep_inventory(self, scope: WriteScope, inventory: Inventory) -> None:
        self._require(scope, WriteScope)
        if self.inventories is not None:
            of = scope.tenant_id, scope.repo_slug, scope.label
            self.inventories.keep_inventory(*of, scope.job, inventory)

    @contextmanager
    def _changing(
        self, scope: WriteScope | OperatorScope, rows: Sequence[StampedRow] | None = None
    ) -> Iterator[None]:
        """A write, around which inventories are made void.

        Before it, since it may be killed; behind it, since another job may begin meanwhile.

        Args:
            scope: Whose labels are written.
            rows: What an operator writes; ``None`` where that is not known.
        """
        if self.inventories is None:
            yield
            return
        owners = labels = None
        if isinstance(scope, WriteScope):
            owners, labels = {(scope.tenant_id, scope.repo_slug)}, scope.labels
        elif rows is not None:
            owners = {(row.stamp.tenant_id, row.stamp.repo_slug) for row in rows}
        self.inventories.void_inventories(owners, labels, scope.job)
        try:
            yield
        finally:
            self.inventories.void_inventories(owners, labels, scope.job)

    def count(self, scope: ReadScope) -> Mapping[tuple[str, str], int]:
        self._require(scope, ReadScope)
        rows: Counter[tuple[str, str]] = Counter()
        if not isinstance(self.engine, CountsRows):
            rows.update((row.stamp.tenant_id, row.stamp.repo_slug) for row in self.scan(scope))
            return rows
        for count in self.engine.counts(scope.labels):
            if count.label in scope.labels and _is_of(count):
                rows[count.tenant_id, count.repo_slug] += count.rows
            else:
                self.faults.record(f"{count.rows} rows under another label")
        return +rows

    def upsert(self, scope: WriteScope, rows: Sequence[StampedRow], vectors: Vectors) -> None:
        self._require(scope, WriteScope)
        require_vectors(self.profile(), len(rows), vectors)
        written = self._writable(scope, rows)
        if written:
            with self._changing(scope):
                self.engine.put(written, vectors, exact=False)

    def move(self, scope: WriteScope, moves: Sequence[tuple[RowKey, StampedRow]]) -> None:
        self._require(scope, WriteScope)
        self._require_ids()
        _require_distinct([key for key, _ in moves])
        written = self._writable(scope, [row for _, row in moves])
        there = self._covered(scope, [key for key, _ in moves])
        allowed = [(key, raw) for (key, _), raw in zip(moves, written, strict=True) if key in there]
        if allowed:
            with self._changing(scope):
                self.engine.move(allowed)

    def delete(self, scope: WriteScope, keys: Sequence[RowKey]) -> int:
        self._require(scope, WriteScope)
        covered = self._covered(scope, keys)
        if not covered:
            return 0
        with self._changing(scope):
            return self.engine.delete(sorted(covered))

    def writing(self, scope: WriteScope) -> AbstractContextManager[None]:
        self._require(scope, WriteScope)
        if isinstance(self.engine, Transactional):
            return self.engine.transaction()
        return nullcontext()

    def export(
        self, scope: OperatorScope, after: RowKey | None = None
    ) -> Iterator[tuple[RawRow, Vector]]:
        self._require(scope, OperatorScope)
        return self.engine.export(after)

    def fetch(self, scope: OperatorScope, keys: Sequence[RowKey]) -> list[tuple[RawRow, Vector]]:
        self._require(scope, OperatorScope)
        return list(self.engine.fetch(list(dict.fromkeys(keys)))) if keys else []

    def restore(self, scope: OperatorScope, rows: Sequence[StampedRow], vectors: Vectors) -> None:
        self._require(scope, OperatorScope)
        require_vectors(self.profile(), len(rows), vectors)
        for row in rows:
            scope.require_may_stamp(_stamped(row).stamp.tenant_id)
        if written := _raw(rows):
            with self._changing(scope, rows):
                self.engine.put(written, vectors, exact=True)

    def discard(self, scope: OperatorScope, keys: Sequence[RowKey]) -> int:
        self._require(scope, OperatorScope)
        if not keys:
            return 0
        with self._changing(scope):
            return self.engine.delete(list(dict.fromkeys(keys)))

    def reindex(
        self, scope: OperatorScope, vectors_of: Callable[[Sequence[RawRow]], Vectors]
    ) -> Iterator[int]:
        self._require(scope, OperatorScope)
        if not isinstance(self.engine, Reindexable):
            raise NotSupportedError(
                "this store has no index apart from its rows: there is nothing to make anew"
            )
        return self.engine.reindex(vectors_of)

    def truncate(self, scope: OperatorScope) -> int:
        self._require(scope, OperatorScope)
        with self._changing(scope):
            return self.engine.truncate()

    def examine(self) -> Iterator[Check]:
        return self.engine.examine() if isinstance(self.engine, Examinable) else iter(())

    def remedy(self, key: str) -> str | None:
        return self.engine.remedy(key) if isinstance(self.engine, Examinable) else None

    def _require(self, scope: Scope, *kinds: type[Scope]) -> None:
        """Refuse whatever is no scope of these kinds, of the very class: nothing else can be one.

        Raises:
            AccessDeniedError: it is none.
            AuthenticationError: it is one, and has expired.
        """
        if type(scope) not in kinds:
            raise AccessDeniedError(
                f"a store is called under a {' or '.join(kind.__name__ for kind in kinds)}, "
                f"not under a {type(scope).__name__}"
            )
        if scope.namespace != self.namespace:
            raise AccessDeniedError("the scope is of another installation")
        scope.require_valid(self.clock.now())
        if self.vectors_of is not None and not isinstance(scope, OperatorScope):
            self._mend(self.vectors_of)

    def _mend(self, vectors_of: Callable[[Sequence[RawRow]], Vectors]) -> None:
        engine = self.engine
        if isinstance(engine, LosesIndex) and engine.needs_reindex():
            if not isinstance(engine, Reindexable):
                raise TypeError("an engine that loses its index can make it anew")
            for _ in engine.reindex(vectors_of):
                pass

    def _admitted(
        self, scope: ReadScope | WriteScope, selection: Selection, raws: Iterable[RawRow]
    ) -> Iterator[StampedRow]:
        """The rows of an answer that the caller may see; the others are counted as they come."""
        return _answered(scope, selection, raws, partial(self._count_fault, scope))

    def _count_fault(self, scope: ReadScope | WriteScope, key: RowKey) -> None:
        """Count a row that was withheld, unless that has changed by now."""
        again = [raw for raw in self.engine.get([key.label], [key.id]) if raw.key == key]
        withheld: list[RowKey] = []
        for _ in _answered(scope, Selection.of(scope), again, withheld.append):
            pass
        if withheld:
            self.faults.record(key.id)

    def _writable(self, scope: WriteScope, rows: Sequence[StampedRow]) -> list[RawRow]:
        """Rows as an engine takes them.

        Raises:
            ScopeViolationError: the scope does not admit one, or it would replace a row of another
                repository; what is damaged and lies in the scope, its owner may replace.
        """
        for row in rows:
            if not scope.admits(_stamped(row).stamp):
                raise _violation(scope, row.id)
        written = _raw(rows)
        for key, stored in self._stored(scope, [row.key for row in rows]).items():
            if stored is not None and not scope.admits(stored.stamp):
                raise _violation(scope, key.id)
        return written

    def _covered(self, scope: WriteScope, keys: Sequence[RowKey]) -> set[RowKey]:
        """Those of the keys that are stored, and whose rows are of the scope's repository."""
        return {
            key
            for key, row in self._stored(scope, keys).items()
            if row is not None and scope.admits(row.stamp)
        }

    def _stored(self, scope: WriteScope, keys: Sequence[RowKey]) -> dict[RowKey, StampedRow | None]:
        """What is stored under the keys whose label is in scope; ``None`` for what is no row."""
        asked = {key for key in keys if key.label in scope.labels}
        if not asked:
            return {}
        ids = _chunk_ids([key.id for key in keys if key in asked])
        found = self.engine.get(scope.labels, list(dict.fromkeys(ids)))
        return {raw.key: _placed(scope, raw) for raw in found if raw.key in asked}


def _answered(
    scope: ReadScope | WriteScope,
    selection: Selection,
    raws: Iterable[RawRow],
    withhold: Callable[[RowKey], object],
) -> Iterator[StampedRow]:
    """The rows that the scope admits and the selection wants.

    What is no row, or lies where the scope does not reach, must not have been answered: its key is
    given to ``withhold``. Under the labels of a write scope other repositories lie as well.
    """
    for raw in raws:
        row = _placed(scope, raw)
        if row is not None and scope.admits(row.stamp):
            if selection.matches(raw.label, raw.metadata):
                yield row
        elif row is None:
            withhold(raw.key)


def _placed(scope: ReadScope | WriteScope, raw: RawRow) -> StampedRow | None:
    """The row, if it is one, lies where its stamp says, and has a label that is in scope."""
    try:
        row = read_row(raw.id, raw.metadata)
    except MalformedRowError:
        return None
    return row if raw.label == row.stamp.label and raw.label in scope.labels else None


def _violation(scope: WriteScope, row_id: ChunkId) -> ScopeViolationError:
    return ScopeViolationError(
        f"row {row_id} is outside what this write may touch, {scope.repo_slug} of "
        f"{scope.tenant_id}; nothing has been written"
    )


def _is_of(count: LabelCount) -> bool:
    """Whether a label is one of the tenant's whose rows are counted under it."""
    private = private_label(count.tenant_id, "")
    return count.label == team_label(count.tenant_id) or count.label.startswith(private)


def _chunk_ids(ids: Sequence[ChunkId]) -> Sequence[ChunkId]:
    for row_id in ids:
        if not isinstance(row_id, ChunkId):
            raise InvalidInputError("a store is asked for a ChunkId, not for any text")
    return ids


def _stamped(row: StampedRow) -> StampedRow:
    if type(row) is not StampedRow:
        raise InvalidInputError("what is written is a StampedRow")
    return row


def _raw(rows: Sequence[StampedRow]) -> list[RawRow]:
    _require_distinct([row.key for row in rows])
    return [RawRow(row.stamp.label, row.id, row.metadata()) for row in rows]


def _require_distinct(keys: Sequence[RowKey]) -> None:
    if len(set(keys)) < len(keys):
        raise InvalidInputError("the same row is given twice in one write")
