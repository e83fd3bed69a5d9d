"""Where rows and their vectors lie.

One collection holds all tenants' rows. There is no unscoped read and no unscoped write: every
method takes a scope, which only :mod:`domain.tenancy` can make, and only from an authenticated
identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.rows import ANY, Criteria, Match, Row
from tenantkb.domain.tenancy import OperatorScope, ReadScope, WriteScope
from tenantkb.ports.embedding import Vectors

Vector = npt.NDArray[np.float32]
"""One embedding, shape ``(dimension,)``."""


class VectorStore(Protocol):
    """A collection of rows, compared by cosine.

    A read answers exactly the rows whose metadata carries, under
    :data:`domain.tenancy.ACCESS_KEY`, one of the scope's labels, and that fulfil the criteria. All
    other rows do not exist for it, in results, in order and in errors alike. The caller checks
    every answered row once more; the store must not rely on that.

    Every method raises ``StoreError`` if the store does not answer or is damaged.
    """

    def profile(self) -> EmbedderProfile | None:
        """The embedder of the collection's vectors; ``None`` before the first :meth:`bind`."""
        ...

    def bind(self, profile: EmbedderProfile) -> None:
        """Remember the embedder at the first call; afterwards make sure that it is the same one.

        Like every write it may take the store's writer lock, which :meth:`close` gives back.

        Raises:
            StoreMismatchError: the collection holds another embedder's vectors.
            StoreLockedError: another process is writing.
        """
        ...

    def query(
        self,
        scope: ReadScope,
        vector: Vector,
        limit: int,
        criteria: Criteria = ANY,
    ) -> list[Match]:
        """The ``limit`` rows nearest to ``vector`` (shape ``(dimension,)``, unit length).

        Returns:
            Best first, equal scores by id. Fewer than ``limit`` only where the scope holds fewer
            (an approximate index may miss neighbours, never add any).
        """
        ...

    def get(self, scope: ReadScope, ids: Sequence[str]) -> list[Row]:
        """The rows with these ids, in the order of ``ids``; what is not in scope is left out."""
        ...

    def scan(
        self, scope: ReadScope | WriteScope, criteria: Criteria = ANY, after: str = ""
    ) -> Iterator[Row]:
        """Every row in scope whose id is greater than ``after``, by ascending id, read in pages.

        A write scope scans the rows that it covers, see :meth:`WriteScope.covers`.
        """
        ...

    def upsert(self, scope: WriteScope, rows: Sequence[Row], vectors: Vectors) -> None:
        """Write rows whole: nothing of an earlier row under the same id remains.

        After an error none of the rows, or the first so many of them, have been written, each
        whole.

        Args:
            scope: Must cover every row.
            rows: Distinct ids.
            vectors: Shape ``(len(rows), dimension)``.

        Raises:
            ScopeViolationError: the scope does not cover a row, or does not own one that is stored
                under its id; nothing is written.
            InvalidInputError: an id twice, or values that no store can hold; nothing is written.
            StoreMismatchError: no :meth:`bind` yet, or vectors of another dimension.
        """
        ...

    def restamp(self, scope: WriteScope, rows: Sequence[Row]) -> None:
        """Replace the metadata of existing rows; their vectors stay, missing ids are skipped.

        Raises:
            ScopeViolationError: as for :meth:`upsert`.
        """
        ...

    def delete(self, scope: WriteScope | OperatorScope, ids: Sequence[str]) -> int:
        """Delete those of the rows that exist and that the scope covers; returns how many."""
        ...

    def export(
        self, scope: OperatorScope, ids: Sequence[str] | None = None
    ) -> Iterator[tuple[Row, Vector]]:
        """Every row, or those with these ids, with their vectors, by ascending id, read in pages.

        Malformed rows are among them. A vector is, bit by bit, the one that :meth:`restore` took;
        of a row that :meth:`upsert` wrote, the one that the store holds, which may differ from what
        was written in the last bits. Rows that are written or deleted meanwhile may be missing; all
        others are there, once.
        """
        ...

    def restore(self, scope: OperatorScope, rows: Sequence[Row], vectors: Vectors) -> None:
        """Write rows whole, whosesoever they and the rows stored under their ids are.

        After an error, as after :meth:`upsert`.

        Args:
            scope: Shows that an operator asks for it.
            rows: Distinct ids, well-formed stamps.
            vectors: Shape ``(len(rows), dimension)``, finite, of any length.

        Raises:
            InvalidInputError: an id twice, a malformed stamp, or values that no store can hold;
                nothing is written.
            StoreMismatchError: no :meth:`bind` yet, or vectors of another dimension.
        """
        ...

    def reindex(
        self, scope: OperatorScope, vectors_of: Callable[[Sequence[Row]], Vectors]
    ) -> Iterator[int]:
        """Make the vector index anew, for it may be damaged; everything else stays.

        It is done when the iterator ends. A row whose exact vector :meth:`restore` had to keep gets
        that one back, all others what ``vectors_of`` gives for them. Until then, and after an error
        or an interruption, rows may be found by no query; the same call finishes the job.

        Args:
            scope: Shows that an operator asks for it.
            vectors_of: The vectors of some rows, shape ``(len(rows), dimension)``.

        Yields:
            How many more rows have their vectors.
        """
        ...

    def truncate(self, scope: OperatorScope) -> int:
        """Delete all rows at once and forget the embedder; returns how many rows there were.

        Afterwards the store is as before its first :meth:`bind`.
        """
        ...

    def close(self) -> None:
        """Release files, connections and the writer lock. The store is not used afterwards."""
        ...
