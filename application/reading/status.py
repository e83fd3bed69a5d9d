"""What a caller may know about the state of the knowledge base."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from tenantkb.domain.context import TenantContext, require_context
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.spoofing import SpoofLimit
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.state import State
from tenantkb.ports.store import ReadingStore
from tenantkb.ports.telemetry import IsolationFaults


@frozen
class RepositoryStatus:
    """One repository, as far as the caller may see it.

    Attributes:
        tenant_id: Owner.
        repo_slug: The repository.
        rows: Readable rows.
        head: The revision that the last push named, of a repository of the caller's own tenant;
            ``None`` where none is known.
        last_sync: Aware instant of the newest finished synchronisation that wrote rows for the
            caller's eyes; ``None`` where none is recorded.
    """

    tenant_id: str
    repo_slug: str
    rows: int
    last_sync: datetime | None
    head: str | None = None


@frozen
class StatusReport:
    """The state of the knowledge base for one caller.

    Attributes:
        repositories: By tenant and repository.
        embedder: The embedder in force. Not what the collection remembers: from that, a caller
            without rows could tell whether other tenants have any.
        spoofs: Fields that the caller has spoofed, as far as the installation remembers.
        spoofs_rejected: Whether the caller has spoofed so many of late that all are rejected.
        isolation_faults: Rows that were withheld from anybody since the start of this process.
        lexical: What a question's words are compared with: ``full`` (all rows in scope), or
            ``candidates`` (the nearest rows, where the store has no postings that are up to date).
    """

    repositories: list[RepositoryStatus]
    embedder: EmbedderProfile
    spoofs: int
    spoofs_rejected: bool
    isolation_faults: int
    lexical: Literal["full", "candidates"]

    @property
    def rows(self) -> int:
        """All readable rows."""
        return sum(repository.rows for repository in self.repositories)


@frozen
class Status:
    """Count the readable rows.

    Attributes:
        store: Where the rows lie.
        embedder: The one in force.
        state: When which repository was last synchronised, and what writers claimed in vain.
        spoof_limit: How many claims are granted.
        faults: What was withheld.
    """

    store: ReadingStore
    embedder: Embedder
    state: State
    spoof_limit: SpoofLimit
    faults: IsolationFaults

    def __call__(self, context: TenantContext) -> StatusReport:
        """The state for this caller.

        Raises:
            AuthenticationError: no valid standing.
            StoreError: the store failed.
        """
        scope = require_context(context).reading()
        rows = self.store.count(scope)
        last: dict[tuple[str, str], datetime] = {}
        for record in self.state.syncs(scope.labels):
            key = (record.tenant_id, record.repo_slug)
            last[key] = max(record.finished_at, last.get(key, record.finished_at))
        spoofs = self.state.spoofs(context.identity, self.spoof_limit)
        return StatusReport(
            repositories=[
                RepositoryStatus(
                    tenant,
                    repo,
                    count,
                    last.get((tenant, repo)),
                    self.state.known(tenant, repo).head
                    if tenant == context.identity.tenant_id
                    else None,
                )
                for (tenant, repo), count in sorted(rows.items())
            ],
            embedder=self.embedder.profile,
            spoofs=spoofs.total,
            spoofs_rejected=spoofs.window.is_escalated(context.admitted_at),
            isolation_faults=self.faults.count(),
            lexical="full" if self.store.has_postings() else "candidates",
        )
