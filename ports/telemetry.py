"""What the application counts for those who run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.spoofing import Spoof, SpoofLimit


class IsolationFaults(Protocol):
    """Rows that a store answered and that the caller may not read.

    Each one is a fault of the store, of a filter or of the data; it was withheld.
    """

    def record(self, what: str) -> None:
        """Count and log one withheld row, by its id; content and owner stay from the caller."""
        ...

    def count(self) -> int:
        """How many were withheld since the start of the process."""
        ...


class SpoofTelemetry(Protocol):
    """Claims of writers that the server does not share, see :mod:`domain.spoofing`.

    They are counted in the installation's state; here each is told to those who run it.
    """

    def record(self, writer: AgentIdentity, spoofs: Sequence[Spoof]) -> None:
        """Log a writer's spoofs."""
        ...

    def escalated(self, writer: AgentIdentity, limit: SpoofLimit) -> None:
        """Log that a writer has spoofed too often: for a while, all its spoofs are rejected."""
        ...
