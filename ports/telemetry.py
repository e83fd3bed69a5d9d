"""What the application counts for those who run it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.spoofing import Spoof


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


class SpoofTelemetry(Protocol):
    """Claims of writers that the server does not share, see :mod:`domain.spoofing`.

    An identity is its tenant and agent; its roles and expiry make no difference.
    """

    def record(self, writer: AgentIdentity, spoofs: Sequence[Spoof], now: datetime) -> None:
        """Count the spoofs of a writer at an instant.

        Each is logged as a warning, unless the writer is escalated already.
        """
        ...

    def is_escalated(self, writer: AgentIdentity, now: datetime) -> bool:
        """Whether the writer's spoofs are rejected at ``now`` whatever the mode."""
        ...

    def count(self, writer: AgentIdentity) -> int:
        """How many fields the writer has spoofed, as far as this process remembers."""
        ...
