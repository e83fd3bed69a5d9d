"""The audit log: a file to which lines of JSON are appended."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from stat import S_ISREG
from typing import Any

from attrs import field, frozen

from tenantkb.adapters.runtime.folders import sync_folder
from tenantkb.adapters.runtime.process import name_of_this_process
from tenantkb.domain.errors import AuditError
from tenantkb.domain.stamps import format_instant
from tenantkb.ports.audit import AuditRecord, Detail


@frozen
class JsonLinesAuditLog:
    """Implements :class:`ports.audit.AuditLog`, for any number of processes.

    The file is opened anew for each record, so that it may be renamed away at any time, and for
    appending alone. A line that a full disk or a crash has cut short stays, and the next record
    begins on a line of its own.

    Attributes:
        path: The file; its folder is made with it.
    """

    path: Path

    def append(self, record: AuditRecord) -> None:
        try:
            self._append(f"{_line(record)}\n".encode("ascii"))
        except OSError as error:
            reason = error.strerror or error
            raise AuditError(f"the audit log {self.path} cannot be written: {reason}") from error

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if not S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no regular file")
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with the descriptor
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not size:
            sync_folder(self.path.parent)


@frozen
class MemoryAuditLog:
    """Implements :class:`ports.audit.AuditLog` for rows in memory: it is gone with them.

    Attributes:
        records: All so far.
    """

    records: list[AuditRecord] = field(factory=list)

    def append(self, record: AuditRecord) -> None:
        self.records.append(record)


def _line(record: AuditRecord) -> str:
    """A record in ASCII, whatever bytes a file's name is made of."""
    return json.dumps(
        {
            "version": 1,
            "act": record.act,
            "name": record.name,
            "event": record.event.value,
            "at": format_instant(record.at),
            "tenant": record.identity.tenant_id,
            "agent": record.identity.agent_id,
            "roles": sorted(role.value for role in record.identity.roles),
            "process": name_of_this_process(),
            "details": {name: _told(value) for name, value in record.details.items()},
        }
    )


def _told(value: Detail) -> Any:
    return str(value.absolute()) if isinstance(value, Path) else value
