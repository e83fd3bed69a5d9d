"""Make the stored rows of one repository equal to its workspace."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path

from attrs import evolve, frozen

from tenantkb.application.writing.base import WriteUseCase, batches
from tenantkb.application.writing.create import create
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import shown
from tenantkb.domain.rows import stamped_row
from tenantkb.domain.sync import Change, SyncPlan, change_of
from tenantkb.domain.tenancy import Visibility, WriteScope
from tenantkb.ports.extraction import SourceRegistry
from tenantkb.ports.progress import Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.synclog import SyncLog, SyncRecord
from tenantkb.ports.telemetry import IsolationFaults


@frozen
class SyncRequest:
    """What to synchronise.

    Attributes:
        workspace: Folder of the checkout.
        repo_slug: Repository under which its rows are stored.
        root_kind: What the workspace is.
        visibility: Who may read what is written.
        dry_run: Only plan; nothing is written.
        deletable_share: Largest share, 0 to 1, of the stored rows that may be deleted.
    """

    workspace: Path
    repo_slug: str
    root_kind: RootKind = RootKind.NEO_WORKSPACE
    visibility: Visibility = Visibility.TEAM
    dry_run: bool = False
    deletable_share: float = 0.5


@frozen
class SyncReport:
    """What a synchronisation found and did.

    Attributes:
        plan: The counts that were carried out, or would be in a dry run.
        deleted: Stale rows deleted, or to be deleted in a dry run; 0 after a failure.
        extraction: Chunks by source, and every skipped file.
        dry_run: Whether nothing was written.
    """

    plan: SyncPlan
    deleted: int
    extraction: ExtractionReport
    dry_run: bool


@frozen(kw_only=True)
class Sync(WriteUseCase):
    """Extract, stamp, compare with the store, embed what is new, delete what is stale last.

    Every batch is written whole, and what is stored is compared with what is wanted at each run, so
    after an interruption at any point the same call finishes the job without embedding twice. Stale
    rows are deleted only if every file could be read.

    Attributes:
        registry: The sources.
        log: Remembers when the repository was synchronised.
        faults: Counts rows that the store should not have answered.
    """

    registry: SourceRegistry
    log: SyncLog
    faults: IsolationFaults

    def __call__(
        self, identity: AgentIdentity | None, request: SyncRequest, progress: Progress
    ) -> SyncReport:
        """Synchronise one repository.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the identity may not write this repository.
            InvalidInputError: the workspace is not a folder.
            DeletionGuardError: too many rows would be deleted; nothing was written.
            StoreLockedError: another process is writing; nothing was written.
            StoreMismatchError: the collection holds another embedder's vectors.
            EmbedderError, StoreError: failed on the way; the same call again goes on from there.
        """
        now = self.clock.now()
        scope = WriteScope.of(
            identity,
            self.tenancy,
            now,
            repo_slug=request.repo_slug,
            visibility=request.visibility,
        )
        self._require_embedder(request)
        with closing(self.spool()) as spool:
            progress.phase("Extracting")
            intake = _Intake(spool, scope, request.root_kind, now, progress)
            created = create(self.registry, request.workspace, intake)
            extraction = evolve(created, diagnostics=(*created.diagnostics, *intake.diagnostics))
            progress.phase("Comparing with the store")
            kept = self._compare(scope, spool, extraction, progress)
            plan = SyncPlan(
                added=spool.count(Change.ADDED),
                reembedded=spool.count(Change.REEMBEDDED),
                restamped=spool.count(Change.RESTAMPED),
                unchanged=spool.count(Change.UNCHANGED),
                stale=spool.stale_count(),
                kept=kept,
                duplicates=intake.duplicates,
            )
            deleted = 0
            if extraction.is_complete:
                plan.require_deletable(request.deletable_share)
                deleted = plan.stale
            if not request.dry_run:
                self._write(scope, spool, progress)
                if deleted:
                    self._delete(scope, spool, plan, progress)
                self._record(scope, complete=extraction.is_complete)
        return SyncReport(plan, deleted, extraction, request.dry_run)

    def _require_embedder(self, request: SyncRequest) -> None:
        """Refuse another embedder, or a second writer, before the long work begins."""
        if not request.dry_run:
            self.store.bind(self.embedder.profile)
        elif (profile := self.store.profile()) is not None:
            profile.require(self.embedder.profile)

    def _compare(
        self,
        scope: WriteScope,
        spool: Spool,
        extraction: ExtractionReport,
        progress: Progress,
    ) -> int:
        """Mark every wanted row, note every stale one; return how many unparsable ones stay."""
        unparsable = {
            item.path for item in extraction.diagnostics if item.severity is Severity.WARNING
        }
        kept = 0
        for stored in self.store.scan(scope):
            wanted = spool.get(stored.id)
            if not scope.covers(stored.metadata):
                self.faults.record(stored.id)
            elif wanted is not None:
                spool.mark(stored.id, change_of(wanted, stored))
            elif stored.metadata.get("sourcePath") in unparsable:
                kept += 1
            else:
                spool.add_stale(stored.id)
            progress.advance()
        return kept

    def _delete(self, scope: WriteScope, spool: Spool, plan: SyncPlan, progress: Progress) -> None:
        progress.phase("Deleting stale rows", plan.stale)
        for ids in batches(spool.stale(), self.batch_size):
            self.store.delete(scope, ids)
            progress.advance(len(ids))

    def _record(self, scope: WriteScope, *, complete: bool) -> None:
        self.log.record(
            SyncRecord(scope.tenant_id, scope.repo_slug, scope.label, self.clock.now(), complete)
        )


class _Intake:
    """The write stream of the sources: turns every line into a stamped row of the spool."""

    def __init__(
        self,
        spool: Spool,
        scope: WriteScope,
        root_kind: RootKind,
        now: datetime,
        progress: Progress,
    ) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.duplicates = 0
        self._spool = spool
        self._scope = scope
        self._root_kind = root_kind
        self._now = now
        self._progress = progress

    def write(self, text: str, /) -> None:
        """Take one line."""
        try:
            chunk = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"not JSON: {error}: {shown(text)}") from error
        try:
            row = stamped_row(chunk, self._scope, self._root_kind, self._now)
        except InvalidInputError as error:
            path = str(chunk.get("source", chunk.get("sourcePath", "?")))
            self.diagnostics.append(Diagnostic(path, str(error)))
            return
        if not self._spool.add(row):
            self.duplicates += 1
        self._progress.advance()
