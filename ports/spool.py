"""A scratch list of rows on disk, so that a synchronisation never holds a corpus in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tenantkb.domain.rows import Row
from tenantkb.domain.sync import Change


class Spool(Protocol):
    """The rows of one run, in the order in which they were added. Thrown away at :meth:`close`."""

    def add(self, row: Row) -> bool:
        """Append a row as ``Change.ADDED``; false, and no change, if its id is already there."""
        ...

    def get(self, row_id: str) -> Row | None:
        """The row with this id."""
        ...

    def mark(self, row_id: str, change: Change) -> None:
        """Say what has to happen to the row with this id."""
        ...

    def count(self, change: Change) -> int:
        """How many rows are marked so."""
        ...

    def rows(self, change: Change) -> Iterator[Row]:
        """The rows marked so, in order."""
        ...

    def add_stale(self, row_id: str) -> None:
        """Note the id of a stored row that the run did not produce."""
        ...

    def stale_count(self) -> int:
        """How many ids :meth:`add_stale` noted."""
        ...

    def stale(self) -> Iterator[str]:
        """The ids noted by :meth:`add_stale`, in order."""
        ...

    def close(self) -> None:
        """Delete the scratch file."""
        ...
