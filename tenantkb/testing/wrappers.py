"""Engines around engines: one that tells what it is asked, and a base for those that misbehave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from attrs import frozen

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Engine, RawRow, Vector


class Call(NamedTuple):
    """A method that was called, and with what."""

    name: str
    arguments: tuple[Any, ...]


class _Recorder:
    """Has the methods that another engine has, capabilities included; notes each call."""

    def __init__(self, inner: Engine, calls: list[Call]) -> None:
        self.place = inner.place
        for name in dir(inner):
            method = getattr(inner, name) if name[0] != "_" and name != "place" else None
            if callable(method):
                setattr(self, name, self._noted(name, method, calls))

    @staticmethod
    def _noted(name: str, method: Any, calls: list[Call]) -> Any:
        def noted(*arguments: Any, **named: Any) -> Any:
            calls.append(Call(name, (*arguments, *named.values())))
            return method(*arguments, **named)

        return noted


def recorded(inner: Engine) -> tuple[Engine, list[Call]]:
    """An engine that does what ``inner`` does, and the list of the calls that it gets."""
    calls: list[Call] = []
    return cast(Engine, _Recorder(inner, calls)), calls


@frozen
class WrappedEngine:
    """Does what another engine does. It has none of its capabilities: the guard has to do without.

    Attributes:
        inner: The other engine.
    """

    inner: Engine

    @property
    def place(self) -> str:
        return self.inner.place

    def profile(self) -> EmbedderProfile | None:
        return self.inner.profile()

    def ids(self) -> IdScheme | None:
        return self.inner.ids()

    def bind(self, profile: EmbedderProfile, ids: IdScheme = IdScheme.CONTENT) -> EmbedderProfile:
        return self.inner.bind(profile, ids)

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        return self.inner.nearest(selection, vector, limit)

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        return self.inner.get(labels, ids)

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        return self.inner.scan(selection, after)

    def put(self, rows: Sequence[RawRow], vectors: Vectors, *, exact: bool) -> None:
        self.inner.put(rows, vectors, exact=exact)

    def move(self, moves: Sequence[tuple[RowKey, RawRow]]) -> None:
        self.inner.move(moves)

    def delete(self, keys: Sequence[RowKey]) -> int:
        return self.inner.delete(keys)

    def export(self, after: RowKey | None = None) -> Iterator[tuple[RawRow, Vector]]:
        return self.inner.export(after)

    def fetch(self, keys: Sequence[RowKey]) -> Iterable[tuple[RawRow, Vector]]:
        return self.inner.fetch(keys)

    def truncate(self) -> int:
        return self.inner.truncate()

    def close(self) -> None:
        self.inner.close()
