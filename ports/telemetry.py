"""What the application counts for those who run it."""

from __future__ import annotations

from typing import Protocol


class IsolationFaults(Protocol):
    """Rows that a store answered and that the caller may not read.

    Each one is a fault of the store, of a filter or of the data; it was withheld.
    """

    def record(self, row_id: str) -> None:
        """Count and log one withheld row. Its content and owner must not reach the caller."""
        ...

    def count(self) -> int:
        """How many were withheld since the start of the process."""
        ...
