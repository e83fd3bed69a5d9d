"""What an installation remembers besides its rows.

An installation is what shares this state. It survives crashes, and it says nothing about which rows
exist: only the store knows that. Where the store keeps it, rows and state commit together
(:class:`ports.engine.Transactional`); otherwise it is written after the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from attrs import frozen

from tenantkb.domain.deletion import KnownState
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ingestion import IngestionStatus
from tenantkb.domain.inventory import Inventory
from tenantkb.domain.spoofing import SpoofLimit, SpoofWindow


@frozen
class SyncRecord:
    """One finished synchronisation.

    Attributes:
        tenant_id: Owner of the repository.
        repo_slug: The repository.
        access_label: The audience of what was written, see :mod:`domain.stamps`; who may not see
            the rows may not see the record either.
        finished_at: Aware instant.
        complete: Whether every file could be read, every chunk embedded, every stale row deleted.
    """

    tenant_id: str
    repo_slug: str
    access_label: str
    finished_at: datetime
    complete: bool


@frozen
class SpoofCount:
    """How an identity has spoofed.

    Attributes:
        total: How many fields, as far as the installation remembers.
        window: Those that count at present.
    """

    total: int
    window: SpoofWindow


class Inventories(Protocol):
    """What synchronisations have stored; for each tenant, repository and audience the last one.

    Every other write to the rows in question makes an inventory void, and so does the first write
    of a job of its own, until that keeps the next one.
    """

    def open_inventory(
        self, tenant_id: str, repo_slug: str, access_label: str, job: str
    ) -> Inventory | None:
        """What is stored, if that is known; from now on ``job`` may keep what it finds."""
        ...

    def inventory(self, tenant_id: str, repo_slug: str, access_label: str) -> Inventory | None:
        """What is stored, if that is known."""
        ...

    def keep_inventory(
        self, tenant_id: str, repo_slug: str, access_label: str, job: str, inventory: Inventory
    ) -> None:
        """Remember what is stored, unless somebody else has written since ``job`` opened it."""
        ...

    def void_inventories(
        self,
        owners: Collection[tuple[str, str]] | None,
        labels: Collection[str] | None = None,
        job: str = "",
    ) -> None:
        """What is stored is not known any more.

        Args:
            owners: Of which tenants and repositories; ``None`` for all.
            labels: Of which audiences; ``None`` for all.
            job: Who writes; it may keep what it has opened.
        """
        ...


class State(Inventories, Protocol):
    """The durable memory of an installation; shared by its threads and processes.

    Every method raises ``StoreError`` if the state cannot be used.
    """

    def record_sync(self, record: SyncRecord) -> None:
        """Replace the record of the same tenant, repository and audience."""
        ...

    def syncs(self, labels: Collection[str]) -> list[SyncRecord]:
        """The records whose audience is among ``labels``, by tenant, repository and label."""
        ...

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        """What is known of a repository; of one that was never recorded, nothing."""
        ...

    def replace_known(
        self, tenant_id: str, repo_slug: str, expected: KnownState, known: KnownState
    ) -> bool:
        """Replace what is known of a repository, if it is ``expected`` at present.

        Nothing comes between the comparison and the replacement.

        Returns:
            Whether ``known`` is recorded now.
        """
        ...

    def spoofs(self, writer: AgentIdentity, limit: SpoofLimit) -> SpoofCount:
        """How a writer has spoofed; an identity is its tenant and agent, whatever its roles."""
        ...

    def add_spoofs(
        self, writer: AgentIdentity, limit: SpoofLimit, spoofs: int, now: datetime
    ) -> tuple[SpoofCount, SpoofCount]:
        """Count spoofed fields, durably at once; returns the count before and after."""
        ...

    def record_ingestion(self, caller: AgentIdentity, status: IngestionStatus) -> None:
        """Replace what is recorded of an ingestion, durably at once.

        Of each identity, its tenant and agent, the :data:`~domain.ingestion.HISTORY` that were
        recorded first at last are remembered.
        """
        ...

    def ingestion(self, caller: AgentIdentity, ingestion_id: str) -> IngestionStatus | None:
        """What was recorded of an ingestion of this identity; another one's is none."""
        ...

    def lease(
        self, tenant_id: str, repo_slug: str, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """The right to synchronise one repository, for one job at a time; ends with its process.

        Args:
            tenant_id: Owner of the repository.
            repo_slug: The repository.
            waiting: Told once for whom one waits, before the waiting.

        Raises:
            StoreLockedError: another job has had it for longer than one would wait.
        """
        ...

    def close(self) -> None:
        """Release files. Nothing that was recorded depends on it."""
        ...
