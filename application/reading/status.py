"""What an identity may know about the state of the knowledge base."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from attrs import frozen

from tenantkb.application.reading.base import ReadUseCase
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.identity import AgentIdentity
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.synclog import SyncLog
from tenantkb.ports.telemetry import SpoofTelemetry


@frozen
class RepositoryStatus:
    """One repository, as far as the caller may see it.

    Attributes:
        tenant_id: Owner.
        repo_slug: The repository.
        rows: Readable rows.
        last_sync: Aware instant of the newest finished synchronisation that wrote rows for the
            caller's eyes; ``None`` where none is recorded.
    """

    tenant_id: str
    repo_slug: str
    rows: int
    last_sync: datetime | None


@frozen
class StatusReport:
    """The state of the knowledge base for one caller.

    Attributes:
        repositories: By tenant and repository.
        embedder: The embedder in force. Not what the collection remembers: from that, a caller
            without rows could tell whether other tenants have any.
        spoofs: Fields that the caller has spoofed in this process.
        spoofs_rejected: Whether the caller has spoofed so many of late that all are rejected.
    """

    repositories: list[RepositoryStatus]
    embedder: EmbedderProfile
    spoofs: int
    spoofs_rejected: bool

    @property
    def rows(self) -> int:
        """All readable rows."""
        return sum(repository.rows for repository in self.repositories)


@frozen
class Status(ReadUseCase):
    """Count the readable rows.

    Attributes:
        embedder: The one in force.
        log: When which repository was last synchronised.
        spoofs: What writers claimed in vain.
    """

    embedder: Embedder
    log: SyncLog
    spoofs: SpoofTelemetry

    def __call__(self, identity: AgentIdentity | None) -> StatusReport:
        """The state for this caller.

        Raises:
            AuthenticationError: no valid identity.
        """
        scope = self._scope(identity)
        rows = Counter(
            (str(row.metadata["tenantId"]), str(row.metadata["repoSlug"]))
            for row in self._scan(scope)
        )
        last: dict[tuple[str, str], datetime] = {}
        for record in self.log.last(scope.labels):
            key = (record.tenant_id, record.repo_slug)
            last[key] = max(record.finished_at, last.get(key, record.finished_at))
        return StatusReport(
            repositories=[
                RepositoryStatus(tenant, repo, count, last.get((tenant, repo)))
                for (tenant, repo), count in sorted(rows.items())
            ],
            embedder=self.embedder.profile,
            spoofs=self.spoofs.count(scope.reader),
            spoofs_rejected=self.spoofs.is_escalated(scope.reader, self.clock.now()),
        )
