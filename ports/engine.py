"""What an adapter of a store implements: few primitives over raw rows.

An engine knows nothing of identities. It is given labels and conditions
(:class:`domain.selection.Selection`) and answers what is stored under them, as it is stored. Around
every engine stands one guard (:class:`application.guard.GuardedStore`), which turns scopes into
selections, checks what is written, parses, checks and counts what is answered, and is the only
thing that use cases see.

The suite :class:`tenantkb.testing.EngineSuite` holds an engine to this module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self, overload, runtime_checkable

import numpy as np
import numpy.typing as npt
from attrs import frozen

from tenantkb.domain.bm25 import Integers, Statistics
from tenantkb.domain.checks import Check
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.ports.embedding import Vectors

Vector = npt.NDArray[np.float32]
"""One embedding, shape ``(dimension,)``."""


class RawRow(NamedTuple):
    """A row as it is stored, sound or not.

    Attributes:
        label: The access label that it is stored under; empty where it has none.
        id: Its id.
        metadata: Its flat metadata. Of a sound row, text, 64-bit integers, finite floats and
            booleans.
    """

    label: str
    id: ChunkId
    metadata: Mapping[str, Any]

    @property
    def key(self) -> RowKey:
        """The row's address."""
        return RowKey(self.label, self.id)


class LabelCount(NamedTuple):
    """How many rows of one repository are stored under one label."""

    label: str
    tenant_id: str
    repo_slug: str
    rows: int


class Ids(Sequence[ChunkId]):
    """Many ids, and the place of each, for which a table is made when one is first asked for."""

    def __init__(self, ids: Sequence[ChunkId]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> ChunkId: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ChunkId]: ...
    def __getitem__(self, index: int | slice) -> ChunkId | Sequence[ChunkId]:
        return self._ids[index]

    @cached_property
    def places(self) -> Mapping[ChunkId, int]:
        """Where each id stands."""
        return {row_id: place for place, row_id in enumerate(self._ids)}


@frozen
class Keys(Sequence[RowKey]):
    """The addresses of many rows, each made when it is asked for: few of them ever are.

    Attributes:
        parts: A label, ids of its rows, and which of these are meant, ascending.
    """

    parts: Sequence[tuple[str, Ids, Integers]] = ()

    def __len__(self) -> int:
        return sum(len(meant) for _, _, meant in self.parts)

    @overload
    def __getitem__(self, index: int) -> RowKey: ...
    @overload
    def __getitem__(self, index: slice) -> list[RowKey]: ...
    def __getitem__(self, index: int | slice) -> RowKey | list[RowKey]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        for label, ids, meant in self.parts:
            if position < len(meant):
                return RowKey(label, ids[meant[position]])
            position -= len(meant)
        raise IndexError(index)

    def at(self, positions: Integers) -> list[RowKey]:
        """Those at some positions, ascending ones."""
        found: list[RowKey] = []
        start = 0
        for label, ids, meant in self.parts:
            first, end = np.searchsorted(positions, (start, start + len(meant)))
            places = meant[positions[first:end] - start].tolist()
            found += [RowKey(label, ids[place]) for place in places]
            start += len(meant)
        return found

    def positions(self, keys: Collection[RowKey]) -> dict[RowKey, int]:
        """Where those of some keys are that are among these."""
        found: dict[RowKey, int] = {}
        start = 0
        for label, ids, meant in self.parts:
            wanted = [key for key in keys if key.label == label and key.id in ids.places]
            places = np.array([ids.places[key.id] for key in wanted], np.int64)
            at = np.searchsorted(meant, places)
            for key, place, position in zip(wanted, places.tolist(), at.tolist(), strict=True):
                if position < len(meant) and meant[position] == place:
                    found[key] = start + position
            start += len(meant)
        return found


@frozen(eq=False)
class Postings:
    """What lexical scores are made of, see :mod:`domain.bm25`.

    Attributes:
        statistics: Of all rows under the labels, whatever else is asked for.
        keys: The selected rows in which one of the terms stands.
        frequencies: Shape ``(keys, terms, 3)``: how often, in name, path and content.
        lengths: Shape ``(keys, 3)``: how long these fields are, in tokens.
    """

    statistics: Statistics
    keys: Keys
    frequencies: Integers
    lengths: Integers

    @classmethod
    def of_nothing(cls, terms: int) -> Self:
        """Those of so many terms where there are no rows."""
        frequencies = np.zeros((0, terms, 3), np.int64)
        return cls(Statistics.total(()), Keys(), frequencies, np.zeros((0, 3), np.int64))


class Engine(Protocol):
    """A collection of rows, each with a vector, compared by cosine.

    A row is addressed by its label and id (:class:`domain.ids.RowKey`). All methods may be called
    from any thread at any time. A method that fails raises a :class:`domain.errors.StoreError`, or
    one of its subclasses where it knows more; nothing of the engine's own gets out. Before the
    first :meth:`bind` the collection is empty, and reading it makes no file and no connection that
    would outlive a crash.
    """

    @property
    def place(self) -> str:
        """Where the rows are, for messages."""
        ...

    def profile(self) -> EmbedderProfile | None:
        """The embedder of the collection's vectors; ``None`` before the first :meth:`bind`.

        Raises:
            StoreMismatchError: what is there is another program's, or of another format.
        """
        ...

    def ids(self) -> IdScheme | None:
        """How the ids of its rows are derived; ``None`` before the first :meth:`bind`.

        A collection that does not say, of an earlier version, has those of ``IdScheme.CONTENT``.
        """
        ...

    def bind(self, profile: EmbedderProfile, ids: IdScheme = IdScheme.CONTENT) -> EmbedderProfile:
        """Remember the embedder, durably, if none is, and return the one that is in force.

        The scheme of ids is remembered with it, and :meth:`ids` tells the one in force. Every job
        that writes begins with it. What a writer that was killed has left beside the rows is made
        good here, or by the next write.

        Raises:
            StoreLockedError: another process is writing, and goes on for longer than one would
                wait.
        """
        ...

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        """The selected rows nearest to a query.

        Args:
            selection: Which rows.
            vector: Shape ``(dimension,)``, unit length.
            limit: How many, at least 1.

        Returns:
            Rows with their cosine similarity, -1 to 1: a vector of zeros has 0. Best first by the
            score rounded to six decimals, equal ones by id and label. Fewer than ``limit`` only
            where fewer are selected; an approximate index may miss neighbours, never add any. A
            store that cannot ask for a path by a pattern may answer as if there were none: who
            asks looks at each row, and asks for more.
        """
        ...

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        """The rows with one of these ids under one of these labels, in any order.

        A row under another label costs what a missing one costs: the label is part of the lookup.
        """
        ...

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        """Every selected row, by ascending id, then label, beyond ``after`` in that order.

        As for :meth:`nearest`, a pattern for the path may be left to who asks. It is read in pages.
        Rows may be written and deleted between two of them; each row that is there all the time is
        answered once.
        """
        ...

    def put(self, rows: Sequence[RawRow], vectors: Vectors, *, exact: bool) -> None:
        """Write rows whole, durably: nothing of an earlier row under the same key remains.

        After an error none of the rows, or the first so many of them, have been written, each
        whole.

        Args:
            rows: Sound ones with distinct keys.
            vectors: Shape ``(len(rows), dimension)``, finite; of unit length, or ``exact``.
            exact: Whether :meth:`export` has to give every vector back bit by bit, of whatever
                length it is; otherwise its last bits may differ.

        Raises:
            StoreMismatchError: no :meth:`bind` yet.
        """
        ...

    def move(self, moves: Sequence[tuple[RowKey, RawRow]]) -> None:
        """Put rows in the place of stored ones, durably; each keeps the vector that it finds there.

        The new row may have the same key or another one. A stored row that is missing is skipped.
        At no moment is neither of the two stored.
        """
        ...

    def delete(self, keys: Sequence[RowKey]) -> int:
        """Delete those of the rows that exist, durably; returns how many."""
        ...

    def export(self, after: RowKey | None = None) -> Iterator[tuple[RawRow, Vector]]:
        """Every row with its vector, malformed ones too, by ascending id, then label.

        It is read in pages. Rows that are written or deleted meanwhile may be missing; all others
        are there, once.
        """
        ...

    def fetch(self, keys: Sequence[RowKey]) -> Iterable[tuple[RawRow, Vector]]:
        """The rows with these keys that exist, with their vectors, in any order."""
        ...

    def truncate(self) -> int:
        """Delete all rows and forget what :meth:`bind` said, durably; returns how many there were.

        Afterwards the collection is as before its first :meth:`bind`.
        """
        ...

    def close(self) -> None:
        """Release files, connections and locks. Nothing that was written depends on it."""
        ...


@runtime_checkable
class CountsRows(Protocol):
    """The capability to tell numbers of rows without reading the rows."""

    def counts(self, labels: Sequence[str]) -> Iterable[LabelCount]:
        """How many rows of which repository are stored under each of these labels."""
        ...


@runtime_checkable
class ListsKeys(Protocol):
    """The capability to tell which rows there are without reading them."""

    def keys(self, selection: Selection) -> Iterator[RowKey]:
        """The address of every selected row, once, in any order; read in pages, as by ``scan``.

        Args:
            selection: Has no pattern for paths.
        """
        ...


@runtime_checkable
class Lexical(Protocol):
    """The capability to tell which rows have which terms, see :mod:`domain.lexical`."""

    def postings(self, selection: Selection, terms: Sequence[str]) -> Postings | None:
        """The postings of some terms.

        Whatever is stored under other labels changes nothing of the answer.

        Args:
            selection: Which rows. Its equalities and its path narrow the rows and not the
                statistics.
            terms: Distinct ones.

        Returns:
            ``None`` while those that are kept are another tokeniser's, are being made anew, or may
            not be those of the rows.
        """
        ...


@runtime_checkable
class Transactional(Protocol):
    """The capability to make several writes one: they are all there after a crash, or none.

    A store with this capability keeps the installation's state as well
    (:class:`ports.state.State`), so that rows and what is said about them cannot disagree.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Within it, the calling thread's writes to rows and state are one; never held for long."""
        ...


@runtime_checkable
class Reindexable(Protocol):
    """The capability to make an index anew that can be lost or damaged apart from the rows."""

    def reindex(self, vectors_of: Callable[[Sequence[RawRow]], Vectors]) -> Iterator[int]:
        """Make the index anew, from the rows; everything else stays.

        It is done when the iterator ends. Until then, and after an error or an interruption, rows
        may be found by no query; the same call finishes the job.

        Args:
            vectors_of: The vectors of some rows, shape ``(len(rows), dimension)``, for those of
                which none is kept beside the index.

        Yields:
            How many more rows have their vectors.
        """
        ...


@runtime_checkable
class LosesIndex(Protocol):
    """The capability to notice that its index cannot be relied on, since a writer was killed.

    Goes with :class:`Reindexable`. Until the index is made anew, everything that would read it
    raises ``StoreDamagedError``.
    """

    def needs_reindex(self) -> bool:
        """Whether the index has to be made anew before anything reads it."""
        ...


@runtime_checkable
class Examinable(Protocol):
    """The capability to examine itself, beyond what any store can be asked."""

    def examine(self) -> Iterator[Check]:
        """Checks of the engine's own, each with its remedy. Nothing is written."""
        ...

    def remedy(self, key: str) -> str | None:
        """What to do about this engine's errors with this remedy; ``None`` for other remedies."""
        ...
