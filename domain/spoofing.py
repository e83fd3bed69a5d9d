"""Claims that a client makes about what only the server decides, and when they become too many.

A submitted record may carry the fields of a stamp. They are never used: a claim that equals the
server's own value is harmless, and any other is a *spoof*. In ``overwrite`` mode a spoof is
replaced and reported; in ``reject`` mode it refuses the whole submission. Spoofed fields are
counted per identity in a sliding window, and past a threshold ``overwrite`` becomes ``reject`` for
that identity until the window has emptied.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import attrs
from attrs import Attribute, frozen, validators

from tenantkb.domain import fields
from tenantkb.domain.stamps import TenantStamp


class SpoofMode(Enum):
    """What a spoof does.

    ``OVERWRITE``: the server's value replaces it. ``REJECT``: nothing of the submission is stored.
    """

    OVERWRITE = "overwrite"
    REJECT = "reject"


@frozen
class Spoof:
    """One claim that the server does not share.

    Attributes:
        field: The stamped field, one of :data:`domain.fields.STAMP`.
        chunk_id: The id that the server made for the chunk; ``None`` where none can be made.
        claimed: What the client sent: any JSON value, of any size.
        actual: The server's value; ``None`` where the row does not carry the field.
    """

    field: str
    chunk_id: str | None
    claimed: Any = attrs.field(hash=False)
    actual: str | None


def spoofs_of(record: Mapping[str, Any], stamp: TenantStamp, chunk_id: str | None) -> list[Spoof]:
    """The claims of a record that differ from its stamp, by field.

    Nothing is normalised: another type, another case, white space or a look-alike letter differs.

    Args:
        record: What the client sent, valid or not.
        stamp: What the server stamps the row with.
        chunk_id: The row's id, where it has one.
    """
    actual = stamp.metadata()
    return [
        Spoof(key, chunk_id, record[key], actual.get(key))
        for key in sorted(fields.STAMP & record.keys())
        if record[key] != actual.get(key)
    ]


def _positive(_: Any, attribute: Attribute[timedelta], value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{attribute.name} must be positive: {value}")


@frozen
class SpoofLimit:
    """How many spoofed fields an identity is granted.

    Attributes:
        threshold: The most that are overwritten within one window, at least 0.
        window: How long a spoof counts.
    """

    threshold: int = attrs.field(default=100, validator=validators.ge(0))
    window: timedelta = attrs.field(default=timedelta(hours=1), validator=_positive)


@frozen
class SpoofWindow:
    """The recent spoofs of one identity. A spoof at ``t`` counts before ``t + limit.window``.

    Attributes:
        limit: What is granted.
        runs: Instants with their numbers of spoofs, in the order of arrival. While the threshold is
            not passed there are at most as many as it says; afterwards only the newest matters.
        passed: Whether the threshold has been passed since the window was last empty.
    """

    limit: SpoofLimit
    runs: tuple[tuple[datetime, int], ...] = ()
    passed: bool = False

    def is_escalated(self, now: datetime) -> bool:
        """Whether a spoof is rejected at ``now`` whatever the mode."""
        return self.passed and bool(self._counting(now))

    def after(self, spoofs: int, now: datetime) -> SpoofWindow:
        """The window after so many more spoofs (0 changes nothing) at ``now``."""
        if not spoofs:
            return self
        runs = (*self._counting(now), (now, spoofs))
        passed = self.is_escalated(now) or sum(count for _, count in runs) > self.limit.threshold
        return SpoofWindow(self.limit, (max(runs),) if passed else runs, passed)

    def _counting(self, now: datetime) -> tuple[tuple[datetime, int], ...]:
        return tuple(run for run in self.runs if now - run[0] < self.limit.window)
