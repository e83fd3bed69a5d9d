"""Judge the chunks that clients send: against their contract, and for what they claim to be."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, evolve, field, frozen

from tenantkb.application.contracts import PROBLEMS_KEPT, Contract, ingest_contract_of, problems_of
from tenantkb.application.writing.base import Intake, WriteUseCase
from tenantkb.domain import fields
from tenantkb.domain.context import WriteScope
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
from tenantkb.domain.stamps import TenantStamp
from tenantkb.ports.telemetry import SpoofTelemetry

_LINE_KEYS: Final = frozenset({fields.LINE_START, fields.LINE_END})


@define
class Problems:
    """The first problems, and how many there are."""

    first: list[RecordProblem] = field(factory=list)
    total: int = 0

    def add(self, problem: RecordProblem) -> None:
        """Take one more."""
        self.total += 1
        if self.total <= PROBLEMS_KEPT:
            self.first.append(problem)


class Judge:
    """Judges the records of one submission; the rows of those that are valid go to the spool.

    Attributes:
        intake: Takes the rows.
        invalid: What is wrong with the records.
        spoofed: What they claim that is not the server's.
        embeddings: How many bring an embedding.
    """

    def __init__(self, intake: Intake, stamp: TenantStamp, root_kind: RootKind) -> None:
        self.intake = intake
        self.invalid = Problems()
        self.spoofed = Problems()
        self.embeddings = 0
        self._stamp = stamp
        self._root_kind = root_kind

    def take(self, line: int, record: object) -> list[Spoof]:
        """Judge one record, and return what it spoofs, whether or not it is valid."""
        contract = ingest_contract_of(record if isinstance(record, dict) else {})
        return self._judged(line, record, contract, "", problems_of(contract, line, record))

    def take_part(self, line: int, place: str, record: object, path: str) -> list[Spoof]:
        """Judge a parsed chunk that stands in another record, among those of one file.

        Args:
            line: Number of that record.
            place: Where in it the chunk stands, as a JSON Pointer.
            record: A JSON value.
            path: The file.
        """
        contract = Contract.PARSED_CHUNK
        problems = problems_of(contract, line, record)
        named = record.get(fields.SOURCE_PATH) if isinstance(record, dict) else None
        if not problems and named != path:
            reason = f"expected the path of its file, {shown(path)}, not {shown(named)}"
            problems = [RecordProblem(line, f"/{fields.SOURCE_PATH}", reason)]
        placed = [evolve(problem, pointer=place + problem.pointer) for problem in problems]
        return self._judged(line, record, contract, place, placed)

    def _judged(
        self,
        line: int,
        record: object,
        contract: Contract,
        place: str,
        problems: list[RecordProblem],
    ) -> list[Spoof]:
        for problem in problems:
            self.invalid.add(problem)
        if not isinstance(record, dict):
            return []
        self.embeddings += fields.EMBEDDING in record
        row = None if problems else self._stamped(contract, dict(record))
        spoofs = spoofs_of(record, self._stamp, None if row is None else row.id)
        for spoof in spoofs:
            reason = f"claims {shown(spoof.claimed)}, and the server's is {shown(spoof.actual)}"
            self.spoofed.add(RecordProblem(line, f"{place}/{spoof.field}", reason))
        return spoofs

    def _stamped(self, contract: Contract, chunk: dict[str, Any]) -> StampedRow:
        root_kind = self._root_kind
        if contract is Contract.PARSED_CHUNK:
            root_kind = RootKind(chunk[fields.ROOT_KIND])
            for key in _LINE_KEYS & chunk.keys():
                chunk[key] = int(chunk[key])  # 7.0 is a whole number in JSON Schema
        return self.intake.add(chunk, root_kind)


@frozen(kw_only=True)
class SubmissionUseCase(WriteUseCase):
    """Base of the use cases that take chunks from clients.

    Attributes:
        telemetry: Tells those who run the installation of claims that are not the server's.
        spoof_limit: How many such claims an identity is granted.
        mode: What a spoof does where the request does not say.
    """

    telemetry: SpoofTelemetry
    spoof_limit: SpoofLimit
    mode: SpoofMode = SpoofMode.OVERWRITE

    def count(self, scope: WriteScope, spoofs: list[Spoof]) -> None:
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

    def require_acceptable(self, judge: Judge, scope: WriteScope, mode: SpoofMode | None) -> None:
        """Refuse a submission whose records have been judged, if one of them cannot be taken.

        Raises:
            SpoofRejectedError: a record spoofs a field, and the mode or the writer's recent spoofs,
                this submission's included, forbid it.
            EmbeddingNotAllowedError: a record brings an embedding.
            InvalidSubmissionError: a record is not valid.
        """
        spoofed, invalid = judge.spoofed, judge.invalid
        mode = mode or self.mode
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
