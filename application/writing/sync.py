"""Make the stored rows of one repository equal to its workspace."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from attrs import evolve, frozen

from tenantkb.application.writing.base import Intake, WriteUseCase, leased
from tenantkb.application.writing.create import cache_of, create
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext, WriteScope, require_context
from tenantkb.domain.errors import InvalidInputError, NoSourceError, Remedy
from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity
from tenantkb.domain.paths import RootKind, require_source_path
from tenantkb.domain.records import shown
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Change, Refusal, SyncPlan, require_deletable
from tenantkb.ports.clock import Clock
from tenantkb.ports.extraction import FileCaches, SourceRegistry
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
        deletable_share: Largest share, 0 to 1, of the stored rows that may be deleted unasked.
        confirmed: Whether any number of rows may be deleted, and the workspace may be empty.
        sources: What reads the workspace; by default the installation's sources.
        full: Whether every file is read and cut and every row compared, whatever is known from
            earlier runs.
    """

    workspace: Path
    repo_slug: str
    root_kind: RootKind = RootKind.NEO_WORKSPACE
    visibility: Visibility = Visibility.TEAM
    dry_run: bool = False
    deletable_share: float = 0.5
    confirmed: bool = False
    sources: SourceRegistry | None = None
    full: bool = False


@frozen
class SyncReport:
    """What a synchronisation found and did.

    Attributes:
        plan: The counts that were carried out, or would be in a dry run.
        deleted: Stale rows deleted, or to be deleted in a dry run; 0 where none may be.
        extraction: Chunks by source, and every skipped file.
        dry_run: Whether nothing was written.
        refused: Chunks that the embedder refuses; the stale rows of their files stay.
    """

    plan: SyncPlan
    deleted: int
    extraction: ExtractionReport
    dry_run: bool
    refused: tuple[Refusal, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left undone."""
        return self.extraction.is_complete and not self.refused


@frozen(kw_only=True)
class Sync(WriteUseCase):
    """Extract, stamp, compare with the store, embed what is new, delete what is stale last.

    Every batch is written whole, and what is stored is compared with what is wanted at each run, so
    after an interruption at any point the same call finishes the job without embedding twice. Rows
    of a file that cannot be read or parsed, or of which the embedder refuses a chunk, stay; all
    other stale ones are deleted, unless something failed that tells of many files, as a source. Two
    jobs for one repository follow one another.

    Attributes:
        sources: The installation's sources.
        clock: For the end of the run, which the state records.
        caches: What files gave earlier.
    """

    sources: SourceRegistry
    clock: Clock
    caches: FileCaches | None = None

    def __call__(
        self, context: TenantContext, request: SyncRequest, progress: Progress = SILENT
    ) -> SyncReport:
        """Synchronise one repository.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller may not write this repository.
            InvalidInputError: the workspace is not a folder.
            NoSourceError: no source finds anything in it, and that was not confirmed; nothing was
                written.
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
            lines = _Lines(Intake(spool, scope), request.root_kind)
            owner = scope.tenant_id, scope.repo_slug, scope.label
            cached = cache_of(self.caches, *owner, root=request.workspace, fresh=request.full)
            sources = request.sources or self.sources
            created = create(sources, request.workspace, lines, progress, cached=cached)
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
            if extraction.is_empty and plan.stored == 0 and not request.confirmed:
                raise _no_source(request.workspace, extraction)
            deletes = extraction.tells_what_is_gone
            if deletes and not request.confirmed:
                empty = extraction.total == 0
                share = request.deletable_share
                require_deletable(plan.stale, plan.stored, share, lists_nothing=empty)
            if request.dry_run:
                return SyncReport(plan, plan.stale if deletes else 0, extraction, dry_run=True)
            complete = extraction.is_complete
            written = self._write(
                scope,
                spool,
                progress,
                stale=deletes,
                finish=lambda whole: self._record(scope, complete=complete and whole),
            )
        return SyncReport(
            plan.without(written.refused),
            written.deleted,
            extraction,
            dry_run=False,
            refused=written.refused,
        )

    def _compare_all(
        self, scope: WriteScope, spool: Spool, extraction: ExtractionReport, progress: Progress
    ) -> int:
        """Mark every wanted row, note every stale one; return how many others stay."""
        kept_paths = extraction.kept()
        kept = 0
        for stored in self.store.scan(scope):
            if not self._compare(stored, spool):
                if stored.path.source_path in kept_paths:
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

    def __init__(self, intake: Intake, root_kind: RootKind) -> None:
        self.intake = intake
        self._refused: dict[str, Diagnostic] = {}
        self._root_kind = root_kind

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The files with chunks that no row can be made of."""
        return tuple(self._refused.values())

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
            severity = Severity.FAILURE if _is_source_path(path) else Severity.WARNING
            found = Diagnostic(path, "cannot be stored", severity, str(error))
            self._refused.setdefault(path, found)  # of the chunks of a file, the first will do


def _is_source_path(path: str) -> bool:
    try:
        require_source_path(path)
    except InvalidInputError:
        return False
    return True


def _no_source(workspace: Path, extraction: ExtractionReport) -> NoSourceError:
    skipped = ", ".join(f"{reason} ({count:,})" for reason, count in extraction.skipped().items())
    found = f", and skipped {skipped}" if skipped else ""
    return NoSourceError(
        f"no source found anything in {workspace}{found}; nothing was written",
        remedy=Remedy.CHOOSE_SOURCES,
    )
