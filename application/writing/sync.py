"""Make the stored rows of one repository equal to its workspace."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from attrs import evolve, frozen

from tenantkb.application.writing.base import Intake, WriteUseCase, leased
from tenantkb.application.writing.create import create
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext, WriteScope, require_context
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import shown
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Change, SyncPlan
from tenantkb.ports.clock import Clock
from tenantkb.ports.extraction import SourceRegistry
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.state import SyncRecord


@frozen
class SyncRequest:
    """What to synchronise.

    Attributes:
        workspace: Folder of the checkout.
        repo_slug: Repository under which its rows are stored.
        root_kind: What the workspace is.
        visibility: Who may read what is written.
        dry_run: Only plan; nothing is written.
        deletable_share: Largest share, 0 to 1, of the stored rows that may be deleted; 1 confirms
            all.
        sources: What reads the workspace; by default the installation's sources.
    """

    workspace: Path
    repo_slug: str
    root_kind: RootKind = RootKind.NEO_WORKSPACE
    visibility: Visibility = Visibility.TEAM
    dry_run: bool = False
    deletable_share: float = 0.5
    sources: SourceRegistry | None = None


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
    rows are deleted only if every file could be read. Two jobs for one repository follow one
    another.

    Attributes:
        sources: The installation's sources.
        clock: For the end of the run, which the state records.
    """

    sources: SourceRegistry
    clock: Clock

    def __call__(
        self, context: TenantContext, request: SyncRequest, progress: Progress = SILENT
    ) -> SyncReport:
        """Synchronise one repository.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller may not write this repository.
            InvalidInputError: the workspace is not a folder.
            DeletionGuardError: too many rows would be deleted; nothing was written.
            StoreLockedError: another job for the repository goes on for too long; nothing was
                written.
            StoreMismatchError: the collection holds another embedder's vectors.
            EmbedderError, StoreError: failed on the way; the same call again goes on from there.
        """
        wanted = require_context(context).writing(request.repo_slug, request.visibility)
        scope = self.store.for_job(wanted, self.job_seconds)
        if request.dry_run:
            if (profile := self.store.profile()) is not None:
                profile.require(self.embedder.profile)
            return self._run(scope, request, progress)
        with leased(self.state, scope, progress):
            self.store.bind(self.embedder.profile)  # another embedder is refused before the work
            return self._run(scope, request, progress)

    def _run(self, scope: WriteScope, request: SyncRequest, progress: Progress) -> SyncReport:
        with closing(self.spool()) as spool:
            progress.phase("Extracting")
            lines = _Lines(Intake(spool, scope), request.root_kind, progress)
            created = create(request.sources or self.sources, request.workspace, lines)
            extraction = evolve(created, diagnostics=(*created.diagnostics, *lines.diagnostics))
            progress.phase("Comparing with the store")
            kept = self._compare_all(scope, spool, extraction, progress)
            plan = SyncPlan(
                added=spool.count(Change.ADDED),
                reembedded=spool.count(Change.REEMBEDDED),
                restamped=spool.count(Change.RESTAMPED),
                unchanged=spool.count(Change.UNCHANGED),
                stale=spool.stale_count(),
                kept=kept,
                duplicates=lines.intake.duplicates,
            )
            complete = extraction.is_complete
            if complete:
                plan.require_deletable(request.deletable_share)
            if not request.dry_run:
                self._write(
                    scope,
                    spool,
                    progress,
                    stale=complete,
                    finish=lambda: self._record(scope, complete=complete),
                )
        return SyncReport(plan, plan.stale if complete else 0, extraction, request.dry_run)

    def _compare_all(
        self, scope: WriteScope, spool: Spool, extraction: ExtractionReport, progress: Progress
    ) -> int:
        """Mark every wanted row, note every stale one; return how many unparsable ones stay."""
        unparsable = {
            item.path for item in extraction.diagnostics if item.severity is Severity.WARNING
        }
        kept = 0
        for stored in self.store.scan(scope):
            if not self._compare(stored, spool):
                if stored.path.source_path in unparsable:
                    kept += 1
                else:
                    spool.add_stale(stored.key)
            progress.advance()
        return kept

    def _record(self, scope: WriteScope, *, complete: bool) -> None:
        self.state.record_sync(
            SyncRecord(scope.tenant_id, scope.repo_slug, scope.label, self.clock.now(), complete)
        )


class _Lines:
    """The write stream of the sources: every line is a chunk."""

    def __init__(self, intake: Intake, root_kind: RootKind, progress: Progress) -> None:
        self.intake = intake
        self.diagnostics: list[Diagnostic] = []
        self._root_kind = root_kind
        self._progress = progress

    def write(self, text: str, /) -> None:
        """Take one line."""
        try:
            chunk = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"not JSON: {error}: {shown(text)}") from error
        try:
            self.intake.add(chunk, self._root_kind)
        except InvalidInputError as error:
            path = str(chunk.get(fields.SOURCE, chunk.get(fields.SOURCE_PATH, "?")))
            self.diagnostics.append(Diagnostic(path, str(error)))
            return
        self._progress.advance()
