"""Counters of one process, and their log lines."""

from __future__ import annotations

import logging
from threading import Lock

_logger = logging.getLogger("tenantkb.isolation")


class LoggedIsolationFaults:
    """Implements :class:`ports.telemetry.IsolationFaults`."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = Lock()

    def record(self, row_id: str) -> None:
        with self._lock:
            self._count += 1
        _logger.error("isolation fault: the store answered row %s out of scope; withheld", row_id)

    def count(self) -> int:
        return self._count
