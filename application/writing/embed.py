"""Take chunks that a client has parsed: judge, stamp, compare, embed and write them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final

from attrs import define, field, frozen

from tenantkb.application.contracts import PROBLEMS_KEPT, Contract, ingest_contract_of, problems_of
from tenantkb.application.writing.base import Intake, WriteUseCase, batches, leased
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext, WriteScope, require_context
from tenantkb.domain.errors import (
    EmbeddingNotAllowedError,
    InvalidSubmissionError,
    Remedy,
    SpoofRejectedError,
)
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import RecordProblem, shown
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.spoofing import Spoof, SpoofLimit, SpoofMode, spoofs_of
from tenantkb.domain.stamps import TenantStamp, Visibility
from tenantkb.domain.sync import Change, Refusal
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.telemetry import SpoofTelemetry


@frozen
class EmbedRequest:
    """Where a submission goes.

    Attributes:
        repo_slug: Repository under which its rows are stored, whatever the records claim.
        visibility: Who may read what is written, whatever the records claim.
        mode: What a spoof does; ``None`` for the installation's own mode. It is for whoever
            operates the transport to say, never for the records.
        root_kind: What the paths of records without a ``rootKind`` are relative to.
    """

    repo_slug: str
    visibility: Visibility = Visibility.TEAM
    mode: SpoofMode | None = None
    root_kind: RootKind = RootKind.NEO_WORKSPACE


@frozen
class EmbedReport:
    """What a submission changed.

    Attributes:
        added: Rows that were not stored.
        updated: Stored rows whose metadata or embedded text changed.
        unchanged: Stored rows that stay as they are.
        duplicates: Records left out because an earlier one has the same id.
        spoofs: Claims that the server's values replaced.
        refused: Chunks that the embedder refuses; all others are stored.
    """

    added: int
    updated: int
    unchanged: int
    duplicates: int
    spoofs: int
    refused: tuple[Refusal, ...] = ()


@frozen(kw_only=True)
class EmbedChunks(WriteUseCase):
    """Judge every record before the first is written; then write what the store does not hold.

    A record is a parsed chunk (contract ``parsed-chunk-v1``) or a line of ``tenantkb create``.
    Nothing is deleted but what a chunk was under another visibility of its writer, and what is
    stored is not embedded again, so a submission may be repeated: after an interruption the same
    one finishes the job.

    Attributes:
        telemetry: Tells those who run the installation of claims that are not the server's.
        spoof_limit: How many such claims an identity is granted.
        mode: What a spoof does where the request does not say.
    """

    telemetry: SpoofTelemetry
    spoof_limit: SpoofLimit
    mode: SpoofMode = SpoofMode.OVERWRITE

    def __call__(
        self,
        context: TenantContext,
        request: EmbedRequest,
        records: Iterable[tuple[int, object]],
        progress: Progress = SILENT,
    ) -> EmbedReport:
        """Take one submission, all of it that the embedder takes or nothing.

        Args:
            context: The caller's standing.
            request: Where the rows go.
            records: Each with its line number, from 1: a JSON value, or
                :class:`~domain.records.Unreadable`. Read once, never held.
            progress: Takes notice.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller may not write this repository.
            SpoofRejectedError: a record spoofs a field, and the mode or the writer's recent spoofs,
                this submission's included, forbid it; nothing was written.
            EmbeddingNotAllowedError: a record brings an embedding; nothing was written.
            InvalidSubmissionError: a record is not valid; nothing was written.
            StoreLockedError: another job for the repository goes on for too long; nothing was
                written.
            StoreMismatchError: the collection holds another embedder's vectors.
            EmbedderError, StoreError: failed on the way; the same call again goes on from there.
        """
        wanted = require_context(context).writing(request.repo_slug, request.visibility)
        scope = self.store.for_job(wanted, self.job_seconds)
        with closing(self.spool()) as spool:
            progress.phase("Checking")
            judge = _Judge(Intake(spool, scope), scope.stamp(), request.root_kind)
            for line, record in records:
                self._count(scope, judge.take(line, record))
                progress.advance()
            self._require_acceptable(judge, scope, request.mode or self.mode)
            with leased(self.state, scope, progress):
                self.store.bind(self.embedder.profile)
                progress.phase("Comparing with the store")
                self._compare_wanted(scope, spool, progress)
                refused = self._write(scope, spool, progress, stale=True).refused
                stored = sum(refusal.stored for refusal in refused)
                return EmbedReport(
                    added=spool.count(Change.ADDED) - (len(refused) - stored),
                    updated=spool.count(Change.REEMBEDDED) - stored + spool.count(Change.RESTAMPED),
                    unchanged=spool.count(Change.UNCHANGED),
                    duplicates=judge.intake.duplicates,
                    spoofs=judge.spoofed.total,
                    refused=refused,
                )

    def _count(self, scope: WriteScope, spoofs: list[Spoof]) -> None:
        """Count spoofs durably, whatever becomes of the submission, and tell of them.

        Those of an escalated writer, which are all rejected, are told once: nobody can flood the
        log.
        """
        if not spoofs:
            return
        now = scope.admitted_at
        before, after = self.state.add_spoofs(scope.identity, self.spoof_limit, len(spoofs), now)
        if not before.window.is_escalated(now):
            self.telemetry.record(scope.identity, spoofs)
            if after.window.is_escalated(now):
                self.telemetry.escalated(scope.identity, self.spoof_limit)

    def _require_acceptable(self, judge: _Judge, scope: WriteScope, mode: SpoofMode) -> None:
        spoofed, invalid = judge.spoofed, judge.invalid
        window = self.state.spoofs(scope.identity, self.spoof_limit).window
        escalated = window.is_escalated(scope.admitted_at)
        if spoofed.total and (escalated or mode is not SpoofMode.OVERWRITE):
            reason = "too often of late" if escalated else "which is rejected here"
            raise SpoofRejectedError(
                f"the records claim what is not the server's, {reason} (fields: {spoofed.total:,})",
                spoofed.first,
                spoofed.total,
            )
        if judge.embeddings:
            raise EmbeddingNotAllowedError(
                "embeddings are made here and taken only by a restore",
                invalid.first,
                invalid.total,
                remedy=Remedy.RESTORE_EMBEDDINGS,
            )
        if invalid.total:
            raise InvalidSubmissionError(
                f"the records are not valid (problems: {invalid.total:,})",
                invalid.first,
                invalid.total,
            )

    def _compare_wanted(self, scope: WriteScope, spool: Spool, progress: Progress) -> None:
        """Mark every wanted row that is stored already with what has to happen to it."""
        for entries in batches(spool.entries(Change.ADDED), self.batch_size):
            keys = {key for entry in entries for key in (entry.key, entry.twin) if key is not None}
            for stored in self.store.get(scope, [key.id for key in keys]):
                if stored.key in keys:
                    self._compare(stored, spool)
            progress.advance(len(entries))


@define
class _Problems:
    """The first problems, and how many there are."""

    first: list[RecordProblem] = field(factory=list)
    total: int = 0

    def add(self, problem: RecordProblem) -> None:
        self.total += 1
        if self.total <= PROBLEMS_KEPT:
            self.first.append(problem)


class _Judge:
    """Judges the records of one submission; the rows of those that are valid go to the spool."""

    def __init__(self, intake: Intake, stamp: TenantStamp, root_kind: RootKind) -> None:
        self.intake = intake
        self.invalid = _Problems()
        self.spoofed = _Problems()
        self.embeddings = 0
        self._stamp = stamp
        self._root_kind = root_kind

    def take(self, line: int, record: object) -> list[Spoof]:
        """Judge one record, and return what it spoofs, whether or not it is valid."""
        row = self._row(line, record)
        if not isinstance(record, dict):
            return []
        spoofs = spoofs_of(record, self._stamp, None if row is None else row.id)
        for spoof in spoofs:
            reason = f"claims {shown(spoof.claimed)}, and the server's is {shown(spoof.actual)}"
            self.spoofed.add(RecordProblem(line, f"/{spoof.field}", reason))
        return spoofs

    def _row(self, line: int, record: object) -> StampedRow | None:
        """The row of a record; ``None`` where there is none, with the problems noted."""
        chunk = dict(record) if isinstance(record, dict) else {}
        contract = ingest_contract_of(chunk)
        problems = problems_of(contract, line, record)
        self.embeddings += fields.EMBEDDING in chunk
        if not problems:
            return self._stamped(contract, chunk)
        for problem in problems:
            self.invalid.add(problem)
        return None

    def _stamped(self, contract: Contract, chunk: dict[str, Any]) -> StampedRow:
        root_kind = self._root_kind
        if contract is Contract.PARSED_CHUNK:
            root_kind = RootKind(chunk[fields.ROOT_KIND])
            for key in _LINE_KEYS & chunk.keys():
                chunk[key] = int(chunk[key])  # 7.0 is a whole number in JSON Schema
        return self.intake.add(chunk, root_kind)


_LINE_KEYS: Final = frozenset({fields.LINE_START, fields.LINE_END})
