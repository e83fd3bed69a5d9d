"""What those who run an installation are told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Lock

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.records import printable, shown
from tenantkb.domain.spoofing import Spoof, SpoofLimit

_logger = logging.getLogger("tenantkb.isolation")


class LoggedIsolationFaults:
    """Implements :class:`ports.telemetry.IsolationFaults`."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = Lock()

    def record(self, what: str) -> None:
        with self._lock:
            self._count += 1
        _logger.error(
            "isolation fault: the store answered row %s out of scope; withheld", printable(what)
        )

    def count(self) -> int:
        return self._count


class LoggedSpoofs:
    """Implements :class:`ports.telemetry.SpoofTelemetry`."""

    def record(self, writer: AgentIdentity, spoofs: Sequence[Spoof]) -> None:
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

    def escalated(self, writer: AgentIdentity, limit: SpoofLimit) -> None:
        _logger.warning(
            "%s/%s has spoofed more than %d fields; until it has not for %s, its spoofs are "
            "rejected, and counted without a log line",
            writer.tenant_id,
            writer.agent_id,
            limit.threshold,
            limit.window,
        )
