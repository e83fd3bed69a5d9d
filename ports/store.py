"""Stores as use cases see them, by role. One object, the guard, plays all three.

There is no unscoped call: every method takes a scope, which only :mod:`domain.context` makes, and
refuses whatever is none, at run time too. A use case for reading cannot name ``export``.

All methods raise ``AuthenticationError`` for a scope whose caller's standing has ended,
``AccessDeniedError`` for anything that is not a scope of the right kind, and ``StoreError`` if the
store does not answer or is damaged. They may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from tenantkb.domain.checks import Check
from tenantkb.domain.context import OperatorScope, ReadScope, WriteScope
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.inventory import Inventory
from tenantkb.domain.rows import ANY, Criteria, Match, StampedRow
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Postings, RawRow, Vector


class ReadingStore(Protocol):
    """Reads what a scope admits; no other row exists for it, in results, order or errors."""

    def profile(self) -> EmbedderProfile | None:
        """The embedder of the collection's vectors; ``None`` before the first bind.

        Raises:
            StoreMismatchError: the collection's ids are of another scheme than the installation's.
        """
        ...

    def query(
        self, scope: ReadScope, vector: Vector, limit: int, criteria: Criteria = ANY
    ) -> list[Match]:
        """The ``limit`` admitted rows nearest to ``vector`` (shape ``(dimension,)``, unit length).

        Returns:
            Best first, equal scores by id. Fewer than ``limit`` only where the scope holds fewer
            (an approximate index may miss neighbours, never add any).
        """
        ...

    def has_postings(self) -> bool:
        """Whether :meth:`postings` answers any."""
        ...

    def postings(
        self, scope: ReadScope, terms: Sequence[str], criteria: Criteria = ANY
    ) -> Postings | None:
        """What lexical scores are made of; ``None`` where the store cannot tell.

        The keys are those of admitted audiences. Whether a row is one that the caller may see is
        known once it has been read, see :meth:`compare`.

        Args:
            scope: Its labels' rows are what the statistics count.
            terms: Distinct ones.
            criteria: Narrow the rows, and not the statistics.
        """
        ...

    def compare(
        self, scope: ReadScope, vector: Vector, keys: Sequence[RowKey], criteria: Criteria = ANY
    ) -> list[Match]:
        """Those of some rows that are admitted, with their similarity to ``vector``.

        Args:
            scope: Rows outside it are answered like missing ones.
            vector: Shape ``(dimension,)``, unit length.
            keys: Distinct ones.
            criteria: Rows that do not fulfil them are left out.

        Returns:
            In the order of :meth:`query`.
        """
        ...

    def get(self, scope: ReadScope | WriteScope, ids: Sequence[ChunkId]) -> list[StampedRow]:
        """The admitted rows with these ids, in their order, once for each time an id is given."""
        ...

    def scan(
        self,
        scope: ReadScope | WriteScope,
        criteria: Criteria = ANY,
        after: RowKey | None = None,
    ) -> Iterator[StampedRow]:
        """Every admitted row by ascending id, then label, beyond ``after``; read in pages."""
        ...

    def count(self, scope: ReadScope) -> Mapping[tuple[str, str], int]:
        """How many rows of each (tenant, repository) the scope admits; none where there are none.

        Stores that keep count answer at once, others read what is in scope.
        """
        ...


class WritingStore(ReadingStore, Protocol):
    """Writes within one repository of one tenant."""

    def keys(self, scope: WriteScope) -> Iterator[RowKey]:
        """The address of every row in the scope, in any order; the rows are not looked at."""
        ...

    def inventory(self, scope: WriteScope, *, lasting: bool) -> Inventory | None:
        """What the last synchronisation with this scope has stored, if nobody has written since.

        Args:
            scope: A job's.
            lasting: Whether the job will write, and then keep the next inventory.
        """
        ...

    def keep_inventory(self, scope: WriteScope, inventory: Inventory) -> None:
        """Remember what is stored, unless others have written since :meth:`inventory`."""
        ...

    def for_job(self, scope: WriteScope, seconds: float) -> WriteScope:
        """The scope of a job that begins now and may finish within ``seconds`` of its admission.

        Raises:
            AuthenticationError: the caller's standing has ended: nothing may begin.
        """
        ...

    def bind(self, profile: EmbedderProfile) -> None:
        """Remember the embedder at the first call; afterwards make sure that it is the same one.

        Raises:
            StoreMismatchError: the collection holds another embedder's vectors, or ids of another
                scheme than the installation's.
            StoreLockedError: another process is writing.
        """
        ...

    def upsert(self, scope: WriteScope, rows: Sequence[StampedRow], vectors: Vectors) -> None:
        """Write rows whole: nothing of an earlier row under the same key remains.

        After an error none of the rows, or the first so many of them, have been written, each
        whole.

        Args:
            scope: Must admit every row.
            rows: Distinct keys.
            vectors: Shape ``(len(rows), dimension)``.

        Raises:
            ScopeViolationError: the scope does not admit a row; nothing is written.
            InvalidInputError: a key twice, or vectors that are not finite; nothing is written.
            StoreMismatchError: no :meth:`bind` yet, or vectors of another dimension.
        """
        ...

    def move(self, scope: WriteScope, moves: Sequence[tuple[RowKey, StampedRow]]) -> None:
        """Put rows in the place of stored ones; each keeps the vector of the one that it replaces.

        What is missing or not of the scope's repository is skipped.

        Raises:
            ScopeViolationError: the scope does not admit a new row; nothing is written.
        """
        ...

    def delete(self, scope: WriteScope, keys: Sequence[RowKey]) -> int:
        """Delete those of the rows that exist and that the scope admits; returns how many."""
        ...

    def writing(self, scope: WriteScope) -> AbstractContextManager[None]:
        """A unit of work: rows and state that are written within it are one, if the store can.

        It is held for one batch, never while something is extracted or embedded.
        """
        ...


class OperatingStore(Protocol):
    """Reaches the rows of all tenants, for an operator."""

    def for_job(self, scope: OperatorScope, seconds: float) -> OperatorScope:
        """See :meth:`WritingStore.for_job`."""
        ...

    def profile(self) -> EmbedderProfile | None:
        """See :meth:`ReadingStore.profile`."""
        ...

    def bind(self, profile: EmbedderProfile) -> None:
        """See :meth:`WritingStore.bind`."""
        ...

    def export(
        self, scope: OperatorScope, after: RowKey | None = None
    ) -> Iterator[tuple[RawRow, Vector]]:
        """Every row with its vector, as it is stored, malformed or not, by id, then label."""
        ...

    def fetch(self, scope: OperatorScope, keys: Sequence[RowKey]) -> list[tuple[RawRow, Vector]]:
        """The rows with these keys that exist, with their vectors, in any order."""
        ...

    def restore(self, scope: OperatorScope, rows: Sequence[StampedRow], vectors: Vectors) -> None:
        """Write rows whole, whosesoever they are; after an error, as :meth:`WritingStore.upsert`.

        Args:
            scope: Shows that an operator asks for it; must have the right to stamp each row.
            rows: Distinct keys.
            vectors: Shape ``(len(rows), dimension)``, finite, of any length.

        Raises:
            AccessDeniedError: a row is the shared tenant's and the operator no curator; nothing is
                written.
            InvalidInputError, StoreMismatchError: as for :meth:`WritingStore.upsert`.
        """
        ...

    def discard(self, scope: OperatorScope, keys: Sequence[RowKey]) -> int:
        """Delete those of the rows that exist, whosesoever they are; returns how many."""
        ...

    def reindex(
        self, scope: OperatorScope, vectors_of: Callable[[Sequence[RawRow]], Vectors]
    ) -> Iterator[int]:
        """See :meth:`ports.engine.Reindexable.reindex`.

        Raises:
            NotSupportedError: the store has no index that could be lost apart from its rows.
        """
        ...

    def truncate(self, scope: OperatorScope) -> int:
        """Delete all rows at once and forget the embedder; returns how many rows there were."""
        ...


class ExaminedStore(OperatingStore, ReadingStore, Protocol):
    """A store that is being examined: read as a caller reads it, and as an operator does."""

    def examine(self) -> Iterator[Check]:
        """The checks of the engine's own, see :class:`ports.engine.Examinable`."""
        ...

    def remedy(self, key: str) -> str | None:
        """See :meth:`ports.engine.Examinable.remedy`."""
        ...
