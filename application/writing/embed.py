"""Take chunks that a client has parsed: judge, stamp, compare, embed and write them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from typing import Any, Final

from attrs import define, field, frozen

from tenantkb.application.contracts import Contract, ingest_contract_of, problems_of
from tenantkb.application.writing.base import WriteUseCase, batches
from tenantkb.domain.errors import (
    EmbeddingNotAllowedError,
    InvalidSubmissionError,
    SpoofRejectedError,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import RecordProblem, shown
from tenantkb.domain.rows import Row, stamped_row
from tenantkb.domain.spoofing import Spoof, SpoofMode, spoofs_of
from tenantkb.domain.sync import Change, change_of
from tenantkb.domain.tenancy import ReadScope, TenantStamp, Visibility, WriteScope
from tenantkb.ports.progress import Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.telemetry import SpoofTelemetry

PROBLEMS_KEPT: Final = 50
"""How many problems of a refused submission are told one by one; the others are counted."""


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
    """

    added: int
    updated: int
    unchanged: int
    duplicates: int
    spoofs: int


@frozen(kw_only=True)
class EmbedChunks(WriteUseCase):
    """Judge every record before the first is written; then write what the store does not hold.

    A record is a parsed chunk (contract ``parsed-chunk-v1``) or a line of ``tenantkb create``.
    Nothing is ever deleted, and what is stored is not embedded again, so a submission may be
    repeated: after an interruption the same one finishes the job.

    Attributes:
        spoofs: Counts claims that are not the server's.
        mode: What a spoof does where the request does not say.
    """

    spoofs: SpoofTelemetry
    mode: SpoofMode = SpoofMode.OVERWRITE

    def __call__(
        self,
        identity: AgentIdentity | None,
        request: EmbedRequest,
        records: Iterable[tuple[int, object]],
        progress: Progress,
    ) -> EmbedReport:
        """Take one submission, all of it or nothing.

        Args:
            identity: The authenticated caller.
            request: Where the rows go.
            records: Each with its line number, from 1: a JSON value, or
                :class:`~tenantkb.domain.records.Unreadable`. Read once, never held.
            progress: Takes notice.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the identity may not write this repository.
            SpoofRejectedError: a record spoofs a field, and the mode or the writer's recent spoofs,
                this submission's included, forbid it; nothing was written.
            EmbeddingNotAllowedError: a record brings an embedding; nothing was written.
            InvalidSubmissionError: a record is not valid; nothing was written.
            StoreLockedError: another process is writing; nothing was written.
            StoreMismatchError: the collection holds another embedder's vectors.
            EmbedderError, StoreError: failed on the way; the same call again goes on from there.
        """
        now = self.clock.now()
        reader = ReadScope.of(identity, self.tenancy, now)
        scope = WriteScope.of(
            identity,
            self.tenancy,
            now,
            repo_slug=request.repo_slug,
            visibility=request.visibility,
        )
        with closing(self.spool()) as spool:
            progress.phase("Checking")
            intake = _Intake(spool, scope, request.root_kind, now)
            for line, record in records:
                self.spoofs.record(scope.writer, intake.take(line, record), now)
                progress.advance()
            self._require_acceptable(intake, scope.writer, request.mode or self.mode, now)
            self.store.bind(self.embedder.profile)
            progress.phase("Comparing with the store")
            self._compare(reader, scope, spool, progress)
            report = EmbedReport(
                added=spool.count(Change.ADDED),
                updated=spool.count(Change.REEMBEDDED) + spool.count(Change.RESTAMPED),
                unchanged=spool.count(Change.UNCHANGED),
                duplicates=intake.duplicates,
                spoofs=intake.spoofed.total,
            )
            self._write(scope, spool, progress)
        return report

    def _require_acceptable(
        self, intake: _Intake, writer: AgentIdentity, mode: SpoofMode, now: datetime
    ) -> None:
        spoofed, invalid = intake.spoofed, intake.invalid
        escalated = self.spoofs.is_escalated(writer, now)
        if spoofed.total and (escalated or mode is not SpoofMode.OVERWRITE):
            reason = "too often of late" if escalated else "which is rejected here"
            raise SpoofRejectedError(
                f"the records claim what is not the server's, {reason} (fields: {spoofed.total:,})",
                spoofed.first,
                spoofed.total,
            )
        if intake.embeddings:
            raise EmbeddingNotAllowedError(
                "embeddings are made here and taken only by a restore (tenantkb backup import)",
                invalid.first,
                invalid.total,
            )
        if invalid.total:
            raise InvalidSubmissionError(
                f"the records are not valid (problems: {invalid.total:,})",
                invalid.first,
                invalid.total,
            )

    def _compare(
        self, reader: ReadScope, scope: WriteScope, spool: Spool, progress: Progress
    ) -> None:
        """Mark every wanted row that is stored already with what has to happen to it."""
        for rows in batches(spool.rows(Change.ADDED), self.batch_size):
            wanted = {row.id: row for row in rows}
            for stored in self.store.get(reader, list(wanted)):
                if scope.covers(stored.metadata):
                    spool.mark(stored.id, change_of(wanted[stored.id], stored))
            progress.advance(len(rows))


@define
class _Problems:
    """The first problems, and how many there are."""

    first: list[RecordProblem] = field(factory=list)
    total: int = 0

    def add(self, problem: RecordProblem) -> None:
        self.total += 1
        if self.total <= PROBLEMS_KEPT:
            self.first.append(problem)


class _Intake:
    """Judges the records of one submission; the rows of those that are valid go to the spool."""

    def __init__(self, spool: Spool, scope: WriteScope, root_kind: RootKind, now: datetime) -> None:
        self.invalid = _Problems()
        self.spoofed = _Problems()
        self.embeddings = 0
        self.duplicates = 0
        self._spool = spool
        self._scope = scope
        self._root_kind = root_kind
        self._now = now
        self._stamp: TenantStamp = scope.stamp(now)

    def take(self, line: int, record: object) -> list[Spoof]:
        """Judge one record, and return what it spoofs, whether or not it is valid."""
        row = self._row(line, record)
        if row is not None and not self._spool.add(row):
            self.duplicates += 1
        if not isinstance(record, dict):
            return []
        spoofs = spoofs_of(record, self._stamp, None if row is None else row.id)
        for spoof in spoofs:
            reason = f"claims {shown(spoof.claimed)}, and the server's is {shown(spoof.actual)}"
            self.spoofed.add(RecordProblem(line, f"/{spoof.field}", reason))
        return spoofs

    def _row(self, line: int, record: object) -> Row | None:
        """The row of a record; ``None`` where there is none, with the problems noted."""
        chunk = dict(record) if isinstance(record, dict) else {}
        contract = ingest_contract_of(chunk)
        problems = problems_of(contract, line, record)
        self.embeddings += "embedding" in chunk
        if not problems:
            return self._stamped(contract, chunk)
        for problem in problems:
            self.invalid.add(problem)
        return None

    def _stamped(self, contract: Contract, chunk: dict[str, Any]) -> Row:
        root_kind = self._root_kind
        if contract is Contract.PARSED_CHUNK:
            root_kind = RootKind(chunk["rootKind"])
            for key in _LINE_KEYS & chunk.keys():
                chunk[key] = int(chunk[key])  # 7.0 is a whole number in JSON Schema
        return stamped_row(chunk, self._scope, root_kind, self._now)


_LINE_KEYS: Final = frozenset({"line_start", "line_end"})
