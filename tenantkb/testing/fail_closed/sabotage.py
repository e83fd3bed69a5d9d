"""Stores whose filter somebody has broken, whatever store it is, and a guard without its check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pytest
from attrs import evolve, frozen

from tenantkb.application import guard
from tenantkb.domain.context import WriteScope
from tenantkb.domain.errors import MalformedRowError
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.rows import StampedRow, read_row
from tenantkb.domain.selection import Selection
from tenantkb.ports.engine import Engine, RawRow, Vector
from tenantkb.testing.wrappers import WrappedEngine

_FOREIGN: Final = ("team:acme", "team:beta", "private:acme:bob")

Relabel = Callable[[Sequence[str], Sequence[str]], Sequence[str]]
"""The labels that are filtered by, of those asked for and of all that there are."""


@frozen
class Relabelled(WrappedEngine):
    """A store that filters by other labels than it is asked for.

    Attributes:
        relabel: Which ones.
        conditions: Whether it looks at anything else.
    """

    relabel: Relabel
    conditions: bool = True

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        return self.inner.nearest(self._broken(selection), vector, limit)

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        return self.inner.get(self._labels(labels), ids)

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        return self.inner.scan(self._broken(selection), after)

    def _broken(self, selection: Selection) -> Selection:
        labels = self._labels(selection.labels)
        return evolve(
            selection, labels=labels, equalities=selection.equalities if self.conditions else {}
        )

    def _labels(self, asked: Sequence[str]) -> tuple[str, ...]:
        there = sorted({found.label for found, _ in self.inner.export()})
        return tuple(dict.fromkeys(self.relabel(asked, there)))


@frozen
class Unconditional(WrappedEngine):
    """A store that filters by labels alone: neither by criteria nor by the repository."""

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        return self.inner.nearest(Selection(selection.labels, {}), vector, limit)

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        return self.inner.scan(Selection(selection.labels, {}), after)


@frozen
class Babbling(WrappedEngine):
    """A store that answers every read with everything that it holds."""

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        return [(found, 1.0) for found in self._everything()]

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        return self._everything()

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        return self._everything()

    def _everything(self) -> Iterator[RawRow]:
        return (found for found, _ in self.inner.export())


SABOTAGES: Final[dict[str, Callable[[Engine], Engine]]] = {
    "removed": lambda engine: Relabelled(engine, lambda asked, there: there, conditions=False),
    "inverted": lambda engine: Relabelled(
        engine, lambda asked, there: [label for label in there if label not in asked]
    ),
    "weakened": lambda engine: Relabelled(engine, lambda asked, there: [*asked, *_FOREIGN]),
    "babbling": Babbling,
}
"""Filters by audience that are broken, by how."""

UNCONDITIONAL: Final = "without conditions"
NOTICED: Final = frozenset({"removed", "babbling"})
"""Those whose answers are of others whoever asks, and are still there when they are read again."""

BROKEN_FILTERS: Final[dict[str, Callable[[Engine], Engine]]] = {
    **SABOTAGES,
    UNCONDITIONAL: Unconditional,
}
"""These, and the one that lets rows of a writer's other repositories through."""


@contextmanager
def no_second_check() -> Iterator[None]:
    """Whatever an engine answers, and is a row at all, is handed on."""

    def parsed(_: object, raw: RawRow) -> StampedRow | None:
        try:
            return read_row(raw.id, raw.metadata)
        except MalformedRowError:
            return None

    def answered(
        scope: object, selection: object, raws: Iterable[RawRow], withheld: object
    ) -> Iterator[StampedRow]:
        rows = (parsed(scope, raw) for raw in raws)
        return (row for row in rows if row is not None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "_placed", parsed)
        patch.setattr(guard, "_answered", answered)
        patch.setattr(
            guard.GuardedStore,
            "_admitted",
            lambda self, scope, selection, raws: answered(scope, selection, raws, {}),
        )
        patch.setattr(WriteScope, "admits", lambda scope, stamp: True)
        yield
