"""When which repository was last synchronised."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from attrs import frozen


@frozen
class SyncRecord:
    """One finished synchronisation.

    Attributes:
        tenant_id: Owner of the repository.
        repo_slug: The repository.
        access_label: The audience of what was written, see :mod:`domain.tenancy`; who may not see
            the rows may not see the record either.
        finished_at: Aware instant.
        complete: Whether every file could be read and every stale row was deleted.
    """

    tenant_id: str
    repo_slug: str
    access_label: str
    finished_at: datetime
    complete: bool


class SyncLog(Protocol):
    """The last synchronisation of every (tenant, repository, audience); survives crashes.

    It says nothing about which rows exist: only the store knows that.
    """

    def record(self, record: SyncRecord) -> None:
        """Replace the record of the same tenant, repository and audience."""
        ...

    def last(self, labels: Collection[str]) -> list[SyncRecord]:
        """The records whose audience is among ``labels``, by tenant, repository and label."""
        ...
