"""What operators did, for those who have to answer for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from tenantkb.domain.identity import AgentIdentity

Detail = str | int | bool | Path | None
"""What may be told of an act: counts, names of collections and files, never what a row holds."""


class ActEvent(Enum):
    """A point in an operator's act.

    ``BEGUN``: nothing has been done yet. ``DONE``: all of it. ``FAILED``: an error broke it off.
    ``INTERRUPTED``: a signal did. An act without one of the last three is at work, or was killed.
    """

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@frozen(kw_only=True)
class AuditRecord:
    """One point in an operator's act.

    Attributes:
        act: Random id that the records of one act share.
        name: What is done, such as ``export``.
        event: Which point this is.
        at: Aware instant.
        identity: Who does it, as authenticated.
        details: At the beginning the arguments, at the end what came of it.
    """

    act: str
    name: str
    event: ActEvent
    at: datetime
    identity: AgentIdentity
    details: Mapping[str, Detail] = field(factory=dict)


class AuditLog(Protocol):
    """Keeps the records of all operators' acts of an installation; nothing is ever taken away."""

    def append(self, record: AuditRecord) -> None:
        """Keep a record, durably, before this returns.

        Raises:
            AuditError: it cannot be kept.
        """
        ...
