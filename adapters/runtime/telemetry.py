"""Counters of one process, and their log lines."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from typing import Final

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.records import printable, shown
from tenantkb.domain.spoofing import Spoof, SpoofLimit, SpoofWindow

_logger = logging.getLogger("tenantkb.isolation")


class LoggedIsolationFaults:
    """Implements :class:`ports.telemetry.IsolationFaults`."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = Lock()

    def record(self, row_id: str) -> None:
        with self._lock:
            self._count += 1
        _logger.error(
            "isolation fault: the store answered row %s out of scope; withheld", printable(row_id)
        )

    def count(self) -> int:
        return self._count


class LoggedSpoofs:
    """Implements :class:`ports.telemetry.SpoofTelemetry`; safe to use from many threads.

    Every spoof that is overwritten has its log line; those of an escalated writer, which are all
    rejected, have none, so that nobody can flood the log.

    It remembers the identities that spoofed last. Identities are authenticated, so a writer cannot
    make up others to be forgotten.

    Args:
        limit: From where on spoofs are rejected.
        identities: How many identities are remembered, at least 1.
    """

    def __init__(self, limit: SpoofLimit, identities: int = 10_000) -> None:
        self._fresh: Final = (0, SpoofWindow(limit))
        self._identities = identities
        self._records: OrderedDict[tuple[str, str], tuple[int, SpoofWindow]] = OrderedDict()
        self._lock = Lock()

    def record(self, writer: AgentIdentity, spoofs: Sequence[Spoof], now: datetime) -> None:
        if not spoofs:
            return
        with self._lock:
            count, before = self._records.pop(_key(writer), self._fresh)
            after = before.after(len(spoofs), now)
            self._records[_key(writer)] = count + len(spoofs), after
            if len(self._records) > self._identities:
                self._records.popitem(last=False)
        if before.is_escalated(now):
            return
        for spoof in spoofs:
            _logger.warning(
                "spoofed field: %s/%s claims %s=%s for chunk %s; the server's value is %s",
                writer.tenant_id,
                writer.agent_id,
                spoof.field,
                shown(spoof.claimed),
                spoof.chunk_id,
                shown(spoof.actual),
            )
        if after.is_escalated(now):
            _logger.warning(
                "%s/%s has spoofed more than %d fields; until it has not for %s, its spoofs are "
                "rejected, and counted without a log line",
                writer.tenant_id,
                writer.agent_id,
                after.limit.threshold,
                after.limit.window,
            )

    def is_escalated(self, writer: AgentIdentity, now: datetime) -> bool:
        with self._lock:
            _, window = self._records.get(_key(writer), self._fresh)
        return window.is_escalated(now)

    def count(self, writer: AgentIdentity) -> int:
        with self._lock:
            count, _ = self._records.get(_key(writer), self._fresh)
        return count


def _key(writer: AgentIdentity) -> tuple[str, str]:
    return writer.tenant_id, writer.agent_id
