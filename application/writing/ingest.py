"""Take one push: files, chunks that a client has parsed, and what it says is gone."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from attrs import define, evolve, field, frozen

from tenantkb import schemas
from tenantkb.application.contracts import PROBLEMS_KEPT
from tenantkb.application.writing.base import Intake, leased
from tenantkb.application.writing.deletions import not_of_the_future, outdated, parse_signals
from tenantkb.application.writing.judging import Judge, SubmissionUseCase
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext, WriteScope, require_context
from tenantkb.domain.deletion import (
    DeletionRules,
    DeletionSignal,
    DeletionSignals,
    KnownState,
    StoredFile,
    deletion_rules,
)
from tenantkb.domain.errors import (
    InvalidInputError,
    InvalidSubmissionError,
    PushConflictError,
    StoreError,
    TenantKbError,
    VolumeExceededError,
)
from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ingestion import IngestionState, IngestionStatus
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import RecordProblem, Unreadable, shown
from tenantkb.domain.rows import Criteria, StampedRow
from tenantkb.domain.spoofing import SpoofMode
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Change, Refusal, require_deletable
from tenantkb.ports.clock import Clock
from tenantkb.ports.extraction import ChunkRecord, FileParser, ParseJob
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.state import State

_FEW: Final = 16
"""Files whose stored rows are looked for one by one; for more, all of the repository is read."""

_RECORDED_EVERY: Final = timedelta(seconds=1)

_SIGNALS: Final = ("deleted", "manifestSnapshot", "baseRevision", "headRevision")


@frozen
class IngestRequest:
    """Where a push goes, and what it says besides its files.

    Attributes:
        repo_slug: The repository, whatever the chunks claim.
        visibility: Who may read what is written, whatever the chunks claim.
        signals: What is gone. A boundary's base has to be the last known head, and the tombstones
            are what was deleted since: there is no checkout to ask.
        confirm_deletions: How many rows the signals may delete, to the row, if those are more than
            is deleted unasked.
        max_chunks: The most that are taken; ``None`` for any number. It is for the transport to
            say, as is ``mode``.
        mode: What a spoof does; ``None`` for the installation's own mode.
        root_kind: What the paths of files that are parsed here are relative to.
    """

    repo_slug: str
    visibility: Visibility = Visibility.TEAM
    signals: tuple[DeletionSignal, ...] = ()
    confirm_deletions: int | None = None
    max_chunks: int | None = None
    mode: SpoofMode | None = None
    root_kind: RootKind = RootKind.BARE_REPO


@frozen
class IngestReport:
    """What a push changed.

    Attributes:
        ingestion_id: Its name for :class:`~application.reading.ingestion.GetIngestion`.
        files: Files that it brought.
        chunks: Their chunks, duplicates included.
        added: Rows that were not stored.
        updated: Stored rows whose metadata or embedded text changed.
        unchanged: Stored rows that stay as they are.
        deleted: Stored rows that are gone: of files that are gone, and what files that were pushed
            no longer have.
        duplicates: Chunks left out because an earlier one has the same id.
        spoofs: Claims that the server's values replaced.
        skipped: Files left out on purpose, such as binary or generated ones; they have no rows.
        refused: Chunks that the embedder refuses; all others are stored.
        diagnostics: Files that were skipped, or not used to the full. Stored rows of one with a
            failure stay.
    """

    ingestion_id: str
    files: int
    chunks: int
    added: int
    updated: int
    unchanged: int
    deleted: int
    duplicates: int
    spoofs: int
    skipped: int
    refused: tuple[Refusal, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every file that is not skipped on purpose is stored with every chunk."""
        return not self.refused and ExtractionReport({}, self.diagnostics).is_complete

    def counts(self) -> dict[str, int]:
        """Its numbers, by name."""
        names = ("files", "chunks", "added", "updated", "unchanged", "deleted", "duplicates")
        counted = {name: getattr(self, name) for name in (*names, "spoofs", "skipped")}
        return {**counted, "refused": len(self.refused)}


def parse_push(
    document: Mapping[str, Any], context: TenantContext
) -> tuple[IngestRequest, Iterator[tuple[int, object]]]:
    """The request and the files of a JSON object of the contract ``ingest-push-v1``.

    The files are not looked at: :class:`Ingest` judges each.

    Args:
        document: The object, not validated yet.
        context: The standing of whoever sent it, see :func:`parse_signals`.

    Raises:
        InvalidSubmissionError: the document does not fulfil the contract.
    """
    outline: object = document
    if isinstance(document, dict) and isinstance(document.get("files"), list):
        outline = {**document, "files": []}
    if problems := schemas.problems("ingest-push-v1", 1, outline):
        raise InvalidSubmissionError(
            f"the push is not valid (problems: {len(problems):,})",
            problems[:PROBLEMS_KEPT],
            len(problems),
        )
    signals = {key: document[key] for key in _SIGNALS if key in document}
    confirmed = document.get("confirmDeletions")
    request = IngestRequest(
        document[fields.REPO_SLUG],
        visibility=Visibility(document.get(fields.VISIBILITY, Visibility.TEAM.value)),
        signals=parse_signals(signals, context) if signals else (),
        confirm_deletions=None if confirmed is None else int(confirmed),
    )
    return request, enumerate(document["files"], 1)


@define
class _Push:
    """What has been read of a push."""

    judge: Judge
    root_kind: RootKind
    paths: set[str] = field(factory=set)
    chunks: int = 0
    diagnostics: list[Diagnostic] = field(factory=list)

    def take_parsed(self, path: str, chunks: Iterable[ChunkRecord]) -> None:
        """Take the chunks of a file that was parsed here."""
        for chunk in chunks:
            self.chunks += 1
            if fault := self._fault_of(path, chunk):
                found = Diagnostic(path, "cannot be stored", Severity.FAILURE, fault)
                self.diagnostics.append(found)

    def _fault_of(self, path: str, chunk: ChunkRecord) -> str:
        """Why a chunk cannot be taken; empty once it is."""
        named = chunk.get(fields.SOURCE, chunk.get(fields.SOURCE_PATH))
        if named != path:
            return f"its parser made a chunk of {shown(named)}"
        try:
            self.judge.intake.add(chunk, self.root_kind)
        except InvalidInputError as error:
            return str(error)
        return ""

    @property
    def skipped(self) -> int:
        """How many files were left out on purpose."""
        return sum(found.severity is Severity.SKIPPED for found in self.diagnostics)


@frozen(kw_only=True)
class Ingest(SubmissionUseCase):
    """Judge, parse, stamp and plan all of a push before the first write; delete last.

    A file that is pushed replaces what is stored of it. What the embedder is given is never given
    again, so after an interruption at any point the same push finishes the job; a head and a
    manifest are recorded with the last deletion.

    Attributes:
        parser: Cuts files that come as they are.
        clock: For what is recorded of the push while it goes on.
        deletable_share: Largest share, 0 to 1, of the stored rows that signals delete unasked.
    """

    parser: FileParser
    clock: Clock
    deletable_share: float = 0.5

    def __call__(
        self,
        context: TenantContext,
        request: IngestRequest,
        files: Iterable[tuple[int, object]],
        progress: Progress = SILENT,
        announce: Callable[[str], object] = lambda _: None,
    ) -> IngestReport:
        """Take one push, all of it that the embedder takes or nothing.

        Args:
            context: The caller's standing.
            request: Where it goes.
            files: Each with its number, from 1: a JSON value of the contract ``ingest-file-v1``, or
                :class:`~domain.records.Unreadable`. Read once, never held.
            progress: Takes notice. To cancel, it raises what is no :class:`Exception`.
            announce: Told the ingestion's id before the first file is read, as soon as its status
                can be asked for.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller may not write this repository.
            InvalidInputError: the signals are about another repository.
            PushConflictError: two files have one path.
            SpoofRejectedError, EmbeddingNotAllowedError, InvalidSubmissionError: see
                :meth:`SubmissionUseCase.require_acceptable`.
            VolumeExceededError: it has more chunks than are taken.
            DeletionConflictError, ManifestRequiredError, ManifestOutdatedError: see
                :func:`domain.deletion.plan_deletions`.
            DeletionGuardError: the signals would delete too many rows, and not the confirmed
                number.
            StoreLockedError: another job for the repository goes on for too long.
            StoreMismatchError: the collection holds another embedder's vectors.
            ConfigurationError: a parser is misconfigured.
            EmbedderError, StoreError: failed on the way; the same call again goes on from there.
                After all other errors nothing was written.
        """
        wanted = require_context(context).writing(request.repo_slug, request.visibility)
        scope = self.store.for_job(wanted, self.job_seconds)
        with _recorded(self.state, self.clock, scope, progress) as told:
            announce(told.status.ingestion_id)
            report = self._run(context, scope, request, files, told)
            told.end(IngestionState.FINISHED, counts=report.counts())
        return report

    def _run(
        self,
        context: TenantContext,
        scope: WriteScope,
        request: IngestRequest,
        files: Iterable[tuple[int, object]],
        told: _Told,
    ) -> IngestReport:
        signals = DeletionSignals(tuple(not_of_the_future(each, scope) for each in request.signals))
        with closing(self.spool()) as spool:
            told.phase("Parsing")
            judge = Judge(Intake(spool, scope), scope.stamp(), request.root_kind)
            push = _Push(judge, request.root_kind)
            sent = self._sent(scope, files, push, told)
            for path, chunks in self.parser.parse(sent, push.diagnostics.append):
                push.take_parsed(path, chunks)
                told.advance()
            self.require_acceptable(judge, scope, request.mode)
            if request.max_chunks is not None and push.chunks > request.max_chunks:
                raise VolumeExceededError(push.chunks, request.max_chunks)
            with leased(self.state, scope, told):
                known = self.state.known(scope.tenant_id, scope.repo_slug)
                rules = deletion_rules(scope.repo_slug, signals, known, pushed=push.paths)
                self.store.bind(self.embedder.profile)
                told.phase("Comparing with the store")
                gone = self._compare_all(scope, spool, push, rules, told)
                self._require_confirmed(context, scope, request, rules, gone)
                unchanged = spool.count(Change.UNCHANGED)
                written = self._write(
                    scope,
                    spool,
                    told,
                    stale=True,
                    finish=lambda _: self._record(scope, known, signals),
                )
            refused, stored = written.refused, sum(each.stored for each in written.refused)
            return IngestReport(
                ingestion_id=told.status.ingestion_id,
                files=len(push.paths),
                chunks=push.chunks,
                added=spool.count(Change.ADDED) - (len(refused) - stored),
                updated=spool.count(Change.REEMBEDDED) - stored + spool.count(Change.RESTAMPED),
                unchanged=unchanged,
                deleted=written.deleted,
                duplicates=judge.intake.duplicates,
                spoofs=judge.spoofed.total,
                skipped=push.skipped,
                refused=refused,
                diagnostics=tuple(push.diagnostics),
            )

    def _sent(
        self,
        scope: WriteScope,
        files: Iterable[tuple[int, object]],
        push: _Push,
        progress: Progress,
    ) -> Iterator[ParseJob]:
        """Judge every file; give those that are to be parsed, and take the chunks of the others."""
        judge = push.judge
        for number, file in files:
            problems = _problems_of(number, file)
            for problem in problems:
                judge.invalid.add(problem)
            if problems or not isinstance(file, dict):
                continue
            path = file["path"]
            if path in push.paths:
                raise PushConflictError(
                    f"two files of the push are {shown(path)}; nothing was stored. Only the sender "
                    "can tell which of the two is right"
                )
            push.paths.add(path)
            if fields.CONTENT in file:
                if not judge.invalid.total:  # else nothing will be stored
                    yield ParseJob(file[fields.CONTENT], path)
                continue
            for index, chunk in enumerate(file[_CHUNKS]):
                push.chunks += 1
                self.count(scope, judge.take_part(number, f"/{_CHUNKS}/{index}", chunk, path))
            progress.advance()

    def _compare_all(
        self,
        scope: WriteScope,
        spool: Spool,
        push: _Push,
        rules: DeletionRules,
        progress: Progress,
    ) -> int:
        """Mark every wanted row, note every stale one; return how many go because of signals."""
        kept = ExtractionReport({}, tuple(push.diagnostics)).kept()
        paths = None if rules.manifest is not None else push.paths | rules.named.keys()
        gone = 0
        for stored in self._stored(scope, paths):
            path = stored.path.source_path
            if self._compare(stored, spool):
                pass
            elif path in push.paths:
                if path not in kept:
                    spool.add_stale(stored.key)
            elif rules.judge(StoredFile(path, stored.stamp.ingested_at)).deletes:
                spool.add_stale(stored.key)
                gone += 1
            progress.advance()
        return gone

    def _stored(self, scope: WriteScope, paths: Set[str] | None) -> Iterator[StampedRow]:
        """The stored rows of some files, or more; all of the repository if ``None``."""
        if paths is None or len(paths) > _FEW:
            yield from self.store.scan(scope)
            return
        for path in sorted(paths):
            yield from self.store.scan(scope, Criteria(source_path=path))

    def _require_confirmed(
        self,
        context: TenantContext,
        scope: WriteScope,
        request: IngestRequest,
        rules: DeletionRules,
        gone: int,
    ) -> None:
        if not gone or gone == request.confirm_deletions:
            return
        counts = self.store.count(context.reading().lasting(self.job_seconds))
        stored = counts.get((scope.tenant_id, scope.repo_slug), 0)
        lists_nothing = rules.manifest is not None and not rules.manifest.paths
        require_deletable(gone, stored, self.deletable_share, lists_nothing=lists_nothing)

    def _record(self, scope: WriteScope, known: KnownState, signals: DeletionSignals) -> None:
        after = known.after(signals)
        if after != known and not self.state.replace_known(
            scope.tenant_id, scope.repo_slug, known, after
        ):
            raise outdated(scope.repo_slug)


_CHUNKS: Final = "parsedChunks"


def _problems_of(number: int, file: object) -> list[RecordProblem]:
    """What is wrong with a file, but for its parsed chunks, which are judged one by one."""
    if isinstance(file, Unreadable):
        return [RecordProblem(number, "", file.reason)]
    if isinstance(file, dict) and isinstance(file.get(_CHUNKS), list):
        file = {**file, _CHUNKS: []}
    return schemas.problems("ingest-file-v1", number, file)


class _Told:
    """Progress of a push that its sender is told, and that is recorded for whoever asks.

    Attributes:
        status: What was so when it was looked at last.
    """

    def __init__(self, state: State, clock: Clock, scope: WriteScope, progress: Progress) -> None:
        now = clock.now()
        self.status = IngestionStatus(
            ingestion_id=secrets.token_urlsafe(24),
            repo_slug=scope.repo_slug,
            state=IngestionState.RUNNING,
            phase="Starting",
            done=0,
            total=None,
            started_at=now,
            updated_at=now,
        )
        self._state = state
        self._clock = clock
        self._caller: AgentIdentity = scope.identity
        self._progress = progress
        self._state.record_ingestion(self._caller, self.status)

    def phase(self, name: str, total: int | None = None) -> None:
        self._now(phase=name, done=0, total=total)
        self._state.record_ingestion(self._caller, self.status)
        self._progress.phase(name, total)

    def expect(self, steps: int) -> None:
        self.status = evolve(self.status, total=(self.status.total or 0) + steps)
        self._progress.expect(steps)

    def advance(self, steps: int = 1) -> None:
        recorded_at = self.status.updated_at
        self.status = evolve(self.status, done=self.status.done + steps)
        if self._clock.now() - recorded_at >= _RECORDED_EVERY:
            self._now()
            self._state.record_ingestion(self._caller, self.status)
        self._progress.advance(steps)

    def end(self, state: IngestionState, **changes: Any) -> None:
        """It has ended so."""
        self._now(state=state, **changes)
        self._state.record_ingestion(self._caller, self.status)

    def _now(self, **changes: Any) -> None:
        self.status = evolve(self.status, updated_at=self._clock.now(), **changes)


@contextmanager
def _recorded(state: State, clock: Clock, scope: WriteScope, progress: Progress) -> Iterator[_Told]:
    """Record an ingestion, and how it ends where it does not finish."""
    told = _Told(state, clock, scope, progress)
    try:
        yield told
    except BaseException as error:
        ended, code = IngestionState.INTERRUPTED, None
        if isinstance(error, Exception):
            ended = IngestionState.FAILED
            code = error.code if isinstance(error, TenantKbError) else TenantKbError.code
        with suppress(StoreError):  # what has happened is the first error
            told.end(ended, error=code)
        raise
