"""A scratch list of rows on disk, so that no job holds a corpus in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from tenantkb.domain.ids import RowKey
from tenantkb.domain.sync import Change


class Entry(NamedTuple):
    """What a run has come across.

    Attributes:
        key: The address of a row.
        payload: Flat JSON values.
        twin: Where the same chunk would be under another visibility.
        stored: The stored row that it is made of.
    """

    key: RowKey
    payload: Mapping[str, Any]
    twin: RowKey | None
    stored: RowKey | None


class Spool(Protocol):
    """What one run has come across, in the order in which it was added.

    It is thrown away at :meth:`close`. Every method raises ``StoreFullError`` where there is no
    room for it.
    """

    def add(self, key: RowKey, payload: Mapping[str, Any], twin: RowKey | None = None) -> bool:
        """Append an entry as ``Change.ADDED``; false, and no change, if its key is already there.

        Args:
            key: The address of a row.
            payload: Flat JSON values.
            twin: Where the same chunk would be under another visibility.
        """
        ...

    def get(self, key: RowKey) -> Mapping[str, Any] | None:
        """The payload of the entry with this key."""
        ...

    def by_twin(self, twin: RowKey) -> RowKey | None:
        """The key of the entry with this twin."""
        ...

    def stored(self, key: RowKey) -> RowKey | None:
        """The stored row that the entry with this key is made of, as far as that is known."""
        ...

    def mark(self, key: RowKey, change: Change, stored: RowKey | None = None) -> RowKey | None:
        """Say what has to happen to the entry with this key.

        Args:
            key: The entry.
            change: What has to happen.
            stored: The row that it is made of.

        Returns:
            The stored row that it was to be made of before.
        """
        ...

    def count(self, change: Change) -> int:
        """How many entries are marked so."""
        ...

    def entries(self, change: Change) -> Iterator[Entry]:
        """The entries marked so, in order."""
        ...

    def add_stale(self, key: RowKey) -> None:
        """Note a stored row that is to go."""
        ...

    def stale_count(self) -> int:
        """How many rows :meth:`add_stale` noted."""
        ...

    def stale(self) -> Iterator[RowKey]:
        """The rows noted by :meth:`add_stale`, in order."""
        ...

    def close(self) -> None:
        """Delete the scratch file."""
        ...
