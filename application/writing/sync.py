"""Make the stored rows of one repository equal to its workspace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing
from pathlib import Path

from attrs import define, evolve, field, frozen

from tenantkb.application.writing.base import Intake, WriteUseCase, batches, leased
from tenantkb.application.writing.create import cache_of, create
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext, WriteScope, require_context
from tenantkb.domain.errors import InvalidInputError, NoSourceError, Remedy
from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.inventory import Inventory, StoredBlock
from tenantkb.domain.paths import RootKind, require_source_path
from tenantkb.domain.records import shown
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Change, Refusal, SyncPlan, require_deletable
from tenantkb.ports.clock import Clock
from tenantkb.ports.extraction import Block, FileCaches, SourceRegistry
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
        code_mark: Gives another text for other code, which may make other rows of the same lines.
    """

    sources: SourceRegistry
    clock: Clock
    caches: FileCaches | None = None
    code_mark: Callable[[], str] = str

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
        stored = self.store.inventory(scope, lasting=not request.dry_run)
        # A dry run needs no embedder where nothing is stored.
        needed = stored is not None or not request.dry_run
        conditions = self._conditions(scope, request.root_kind) if needed else ""
        if stored is not None and (request.full or stored.conditions != conditions):
            stored = None
        nothing = Inventory(conditions, ())
        try:
            return self._run_knowing(scope, request, progress, stored or nothing)
        except _NotToldError:
            return self._run_knowing(scope, request, progress, nothing)

    def _conditions(self, scope: WriteScope, root_kind: RootKind) -> str:
        """A digest of all that rows follow from besides the lines of their chunks."""
        profile = self.embedder.profile
        told = (
            *(scope.tenant_id, scope.repo_slug, scope.label, scope.stamp().origin_agent_identity),
            *(scope.namespace.tenant_id, scope.namespace.repo_slug, scope.namespace.ids.value),
            *(root_kind.value, profile.name, profile.dimension, self.code_mark()),
        )
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def _run_knowing(
        self, scope: WriteScope, request: SyncRequest, progress: Progress, known: Inventory
    ) -> SyncReport:
        """Synchronise; the files of ``known`` are not stamped, nor are their rows read.

        Raises:
            _NotToldError: what is known does not tell what to do; nothing was written.
        """
        with closing(self.spool()) as spool:
            progress.phase("Extracting")
            lines = _Lines(Intake(spool, scope), request.root_kind, known)
            owner = scope.tenant_id, scope.repo_slug, scope.label
            cached = cache_of(self.caches, *owner, root=request.workspace, fresh=request.full)
            sources = request.sources or self.sources
            created = create(sources, request.workspace, lines, progress, cached=cached)
            extraction = evolve(created, diagnostics=(*created.diagnostics, *lines.diagnostics))
            progress.phase("Comparing with the store")
            stay = lines.known_ids()
            kept = self._compare_all(scope, spool, extraction, progress, stay)
            plan = SyncPlan(
                added=spool.count(Change.ADDED),
                reembedded=spool.count(Change.REEMBEDDED),
                restamped=spool.count(Change.RESTAMPED),
                unchanged=spool.count(Change.UNCHANGED) + len(stay),
                stale=spool.stale_count(),
                kept=kept,
                duplicates=lines.intake.duplicates + lines.known_lines - len(stay),
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

            def finish(refused: Sequence[Refusal]) -> None:
                self._record(scope, complete=extraction.is_complete and not refused)
                found = lines.inventory(refused)
                if found != known or plan.changes:
                    self.store.keep_inventory(scope, found)

            written = self._write(scope, spool, progress, stale=deletes, finish=finish)
        return SyncReport(
            plan.without(written.refused),
            written.deleted,
            extraction,
            dry_run=False,
            refused=written.refused,
        )

    def _compare_all(
        self,
        scope: WriteScope,
        spool: Spool,
        extraction: ExtractionReport,
        progress: Progress,
        stay: Set[ChunkId],
    ) -> int:
        """Mark every wanted row, note every stale one; return how many others stay.

        Args:
            scope: Of the rows.
            spool: The wanted ones.
            extraction: Tells of which files rows stay.
            progress: Takes notice.
            stay: The ids of rows that are as they are wanted.

        Raises:
            _NotToldError: one of those is not stored, or the visibility of some rows changes.
        """
        kept_paths = extraction.kept()
        kept = 0
        for stored in self._others(scope, stay, progress) if stay else self.store.scan(scope):
            if not self._compare(stored, spool):
                if stored.path.source_path in kept_paths:
                    kept += 1
                else:
                    spool.add_stale(stored.key)
            progress.advance()
        return kept

    def _others(
        self, scope: WriteScope, stay: Set[ChunkId], progress: Progress
    ) -> Iterator[StampedRow]:
        """The stored rows but those with some ids, of which none may be missing."""
        missing = set(stay)
        others = []
        for key in self.store.keys(scope):
            if key.label != scope.label:
                raise _NotToldError
            if key.id in stay:
                missing.discard(key.id)
            else:
                others.append(key)
        if missing:
            raise _NotToldError
        progress.advance(len(stay))
        for keys in batches(others, self.batch_size):
            asked = set(keys)
            yield from (
                row for row in self.store.get(scope, [key.id for key in keys]) if row.key in asked
            )

    def _record(self, scope: WriteScope, *, complete: bool) -> None:
        self.state.record_sync(
            SyncRecord(scope.tenant_id, scope.repo_slug, scope.label, self.clock.now(), complete)
        )


class _NotToldError(Exception):
    """What is known of the stored rows does not tell what to do: they have to be looked at."""


class _Lines:
    """The write stream of the sources: every line is a chunk.

    Args:
        intake: Takes the chunks.
        root_kind: What their paths are relative to.
        known: Files whose chunks need not be taken.
    """

    def __init__(self, intake: Intake, root_kind: RootKind, known: Inventory) -> None:
        self.intake = intake
        self._refused: dict[str, Diagnostic] = {}
        self._root_kind = root_kind
        self._known = known
        self._blocks: list[_Block] = []
        self._block: _Block | None = None
        self._loose: set[ChunkId] = set()  # of lines that are no file's

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
            row = self.intake.add(chunk, self._root_kind)
        except InvalidInputError as error:
            path = str(chunk.get(fields.SOURCE, chunk.get(fields.SOURCE_PATH, "?")))
            severity = Severity.FAILURE if _is_source_path(path) else Severity.WARNING
            found = Diagnostic(path, "cannot be stored", severity, str(error))
            self._refused.setdefault(path, found)  # of the chunks of a file, the first will do
            if self._block is not None:
                self._block.is_whole = False
            return
        if self._block is None:
            self._loose.add(row.id)
        else:
            self._block.ids.append(row.id)
            self._block.paths.add(row.path.source_path)

    def knows(self, digest: str, /) -> bool:
        return digest in self._known.by_digest

    def write_block(self, block: Block, /) -> None:
        if block.lines == 0:
            return
        taken = _Block(block.digest, is_known=self.knows(block.digest))
        self._blocks.append(taken)
        if taken.is_known:
            return
        self._block = taken
        try:
            for line in (block.text or "").split("\n")[:-1]:
                self.write(f"{line}\n")
        finally:
            self._block = None

    def known_ids(self) -> Set[ChunkId]:
        """The ids of the rows of known files.

        Raises:
            _NotToldError: the rows of these do not follow from them alone.
        """
        found = [block.digest for block in self._blocks if block.is_known]
        new = self._loose.union(*(block.ids for block in self._blocks if not block.is_known))
        if found and not self._known.still_tells(found, new):
            raise _NotToldError
        by_digest = self._known.by_digest
        return {row_id for digest in found for row_id in by_digest[digest].ids}

    @property
    def known_lines(self) -> int:
        """How many chunks the known files have."""
        by_digest = self._known.by_digest
        return sum(len(by_digest[each.digest].ids) for each in self._blocks if each.is_known)

    def inventory(self, refused: Sequence[Refusal]) -> Inventory:
        """What is stored now, without what will not be known by its lines alone.

        That are files with a chunk that is not stored, and whatever shares an id with those, or
        with a line that is no file's.
        """
        paths = {refusal.path for refusal in refused}
        by_digest = self._known.by_digest
        stored = []
        unknown = set(self._loose)
        for block in self._blocks:
            if block.is_known:
                stored.append(by_digest[block.digest])
            elif block.is_whole and paths.isdisjoint(block.paths):
                stored.append(StoredBlock(block.digest, tuple(block.ids)))
            else:
                unknown.update(block.ids)
        return Inventory(self._known.conditions, tuple(stored)).without(unknown)


@define
class _Block:
    """The lines of one file, as they are taken."""

    digest: str
    is_known: bool
    is_whole: bool = True
    ids: list[ChunkId] = field(factory=list)
    paths: set[str] = field(factory=set)


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
