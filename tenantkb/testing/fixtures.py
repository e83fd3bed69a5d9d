"""What the suites need to know of a store: two fixtures, and what cannot be asked of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar, Protocol

import pytest

from tenantkb.domain.ids import RowKey
from tenantkb.ports.engine import Engine, RawRow, Vector

MakeEngine = Callable[[], Engine]
"""Opens the store under test: the same data at every call, empty at the first one of a test."""

Stored = Mapping[RowKey, tuple[Mapping[str, Any], bytes]]
"""Rows by address: metadata as an export gives them, and the bytes of the vector."""


class Behind(Protocol):
    """Reads and writes a store's data behind the engine's back, as whoever has its files could."""

    def plant(self, row: RawRow, vector: Vector) -> None:
        """Write a row, however malformed, in a store that is bound.

        Args:
            row: Its label may be another one than its metadata tell, or empty.
            vector: Shape ``(dimension,)``.
        """
        ...

    def stored(self) -> Stored:
        """Every row there is."""
        ...


class StoreSuite:
    """Base of the suites. A subclass, named ``Test…``, provides both fixtures for one store.

    Attributes:
        store: Name of the store, for the matrix that ``--matrix`` prints.
        exact_rows: A selection of up to so many rows is searched exactly; ``None`` where every one
            is, however large.
        holds_any_metadata: Whether null, objects and empty lists can be planted as metadata.
    """

    store: ClassVar[str] = ""
    exact_rows: ClassVar[int | None] = None
    holds_any_metadata: ClassVar[bool] = False

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        """Opens the store under test."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture make_engine")

    @pytest.fixture
    def behind(self) -> Behind:
        """Reads and writes behind the back of what :meth:`make_engine` opens."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture behind")

    @pytest.fixture
    def engine(self, make_engine: MakeEngine) -> Iterator[Engine]:
        """The store, empty and not bound to an embedder."""
        with closing(make_engine()) as opened:
            yield opened

    def is_exact(self, rows: int) -> bool:
        """Whether a selection of so many rows is searched exactly."""
        return self.exact_rows is None or rows <= self.exact_rows
