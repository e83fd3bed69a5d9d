"""The errors a caller can meet.

Every error has a *kind*, by which a transport chooses an exit code or a status, a stable *code*, a
message for the person who has to act on it, and maybe a *remedy*: the key of what to do, whose
words belong to the transport (``repeat with --yes`` means nothing over HTTP). A message never tells
an unauthorised caller whether a row exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, ClassVar

from tenantkb.domain.records import RecordProblem

if TYPE_CHECKING:  # every command needs an error, and few need an array
    import numpy as np
    import numpy.typing as npt


class ErrorKind(Enum):
    """What sort of failure it is, whatever part failed.

    ``INVALID``: the caller's values or settings are not of the form that is asked for.
    ``UNAUTHENTICATED``: nobody has been authenticated, or no longer. ``DENIED``: the caller is
    known and may not do this. ``NOT_FOUND``: there is no such thing for this caller. ``CONFLICT``:
    it does not fit what is there; the caller has to decide. ``LOCKED``: somebody else is at work;
    later it may succeed. ``LIMITED``: the caller's tenant asks for too much in too short a time;
    later it may succeed. ``UNAVAILABLE``: a part outside of this program failed. ``INTERNAL``: a
    fault of this program.
    """

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    LOCKED = "locked"
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Remedy(StrEnum):
    """Keys of what to do; a transport has words for each. Adapters from outside may have others."""

    CONFIRM_DELETION = "confirm-deletion"
    CONFIRM_COLLECTION = "confirm-collection"
    ADOPT_ROWS = "adopt-rows"
    ALLOW_FOREIGN_IDS = "allow-foreign-ids"
    RESTORE_EMBEDDINGS = "restore-embeddings"
    SEND_MANIFEST = "send-manifest"
    MIGRATE_STORE = "migrate-store"
    REPAIR_STORE = "repair-store"
    PLAN_AGAIN = "plan-again"
    CHOOSE_SOURCES = "choose-sources"


class TenantKbError(Exception):
    """Base of every error that tenantkb raises on purpose.

    Attributes:
        kind: See :class:`ErrorKind`.
        code: Stable name of this error.
        remedy: One of :class:`Remedy`, or an adapter's own key; ``None`` where the message says it
            all.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    code: ClassVar[str] = "KB_ERROR"

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


class ConfigurationError(TenantKbError):
    """A setting is missing, unknown or of the wrong type."""

    kind = ErrorKind.INVALID
    code = "KB_CONFIGURATION"


class InvalidInputError(TenantKbError, ValueError):
    """A value does not have the form that the rules of the domain ask for."""

    kind = ErrorKind.INVALID
    code = "KB_INVALID_INPUT"


class NoSourceError(InvalidInputError):
    """A workspace was to be synchronised in which no source found anything; nothing was written."""

    code = "KB_NO_SOURCE"


class MalformedRowError(InvalidInputError):
    """What a store holds is no row: its stamp, path or fields are not what the server writes."""

    code = "KB_MALFORMED_ROW"


class AuthenticationError(TenantKbError):
    """There is no identity, or it has expired: nothing may be read or written."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "KB_UNAUTHENTICATED"


class AccessDeniedError(TenantKbError):
    """The identity is known and may not do this."""

    kind = ErrorKind.DENIED
    code = "KB_ACCESS_DENIED"


class NotFoundError(TenantKbError):
    """There is no such row for this caller, whether or not another caller has one."""

    kind = ErrorKind.NOT_FOUND
    code = "KB_NOT_FOUND"


class SubmissionRefusedError(TenantKbError):
    """Records were submitted that cannot be taken; nothing of the submission is stored.

    Args:
        summary: What happened, on one line.
        problems: The first of the problems, in the order of the records.
        total: How many problems there are in all.
        remedy: See :class:`TenantKbError`.
    """

    kind = ErrorKind.INVALID
    code = "KB_SUBMISSION_REFUSED"

    def __init__(
        self,
        summary: str,
        problems: Sequence[RecordProblem],
        total: int,
        *,
        remedy: str | None = None,
    ) -> None:
        lines = [f"{summary}; nothing was stored", *(f"  {problem}" for problem in problems)]
        if total > len(problems):
            lines.append(f"  and {total - len(problems):,} more")
        super().__init__("\n".join(lines), remedy=remedy)
        self.problems = tuple(problems)
        self.total = total


class InvalidSubmissionError(SubmissionRefusedError, InvalidInputError):
    """Submitted records do not fulfil their contract."""

    code = "KB_INVALID_SUBMISSION"


class EmbeddingNotAllowedError(InvalidSubmissionError):
    """A submitted record brings an embedding; only a restore takes those."""

    code = "KB_EMBEDDING_NOT_ALLOWED"


class SpoofRejectedError(SubmissionRefusedError, AccessDeniedError):
    """Submitted records claim an owner, audience or instant that is not the server's."""

    kind = ErrorKind.DENIED
    code = "KB_TENANT_SPOOF_REJECTED"


class PushConflictError(InvalidInputError):
    """Files of a push contradict each other; nothing was stored."""

    kind = ErrorKind.CONFLICT
    code = "KB_PUSH_CONFLICT"


class VolumeExceededError(InvalidInputError):
    """A push has more chunks than one call takes; nothing was stored.

    Args:
        chunks: How many it has.
        limit: How many one call takes.
    """

    code = "KB_INGEST_VOLUME_EXCEEDED"

    def __init__(self, chunks: int, limit: int) -> None:
        super().__init__(
            f"the push has {chunks:,} chunks, and one call takes {limit:,}; nothing was stored. "
            "Send fewer files at a time, or push in bulk"
        )
        self.chunks = chunks
        self.limit = limit


class UnparsableFileError(TenantKbError):
    """A parser cannot make chunks from this file; the file is skipped with a warning."""

    kind = ErrorKind.INVALID
    code = "KB_UNPARSABLE_FILE"


class ParsingLimitError(UnparsableFileError):
    """The parsing of this file takes more than it may; another time it may not."""


class EmbedderError(TenantKbError):
    """The embedder failed for good, whatever it is given; retries that make sense were made."""

    kind = ErrorKind.UNAVAILABLE
    code = "KB_EMBEDDER"


class TextsRefusedError(EmbedderError):
    """The embedder works, and does not take some of the texts: another attempt would not help.

    Args:
        reasons: By its place among the texts, from 0, why a text is refused; at least one.
        vectors: Of the other texts, in their order, shape ``(others, dimension)``.
    """

    kind = ErrorKind.INVALID
    code = "KB_TEXTS_REFUSED"

    def __init__(self, reasons: Mapping[int, str], vectors: npt.NDArray[np.float32]) -> None:
        first = next(iter(reasons.values()))
        total = len(reasons) + len(vectors)
        super().__init__(f"the embedder refuses {len(reasons)} of {total} texts: {first}")
        self.reasons = dict(reasons)
        self.vectors = vectors


class StoreError(TenantKbError):
    """The vector store failed or does not answer."""

    kind = ErrorKind.UNAVAILABLE
    code = "KB_STORE"


class StoreDamagedError(StoreError):
    """What the store keeps on disk is not what it wrote."""

    code = "KB_STORE_DAMAGED"


class StoreFullError(StoreError):
    """There is no room left where the store, its state or its scratch files lie."""

    code = "KB_STORE_FULL"


class StoreMismatchError(StoreError):
    """The store was filled by another embedder or program, or has another dimension or format."""

    kind = ErrorKind.CONFLICT
    code = "KB_STORE_MISMATCH"


class StoreLockedError(StoreError):
    """Somebody else is writing, and has not finished in the time that the caller would wait."""

    kind = ErrorKind.LOCKED
    code = "KB_STORE_LOCKED"


class ScopeViolationError(StoreError):
    """A row was handed to a store under a write scope that does not cover it."""

    kind = ErrorKind.DENIED
    code = "KB_SCOPE_VIOLATION"


class AuditError(TenantKbError):
    """What an operator does cannot be recorded."""

    kind = ErrorKind.UNAVAILABLE
    code = "KB_AUDIT"


class LimitExceededError(TenantKbError):
    """A tenant has asked for more than it is granted in so short a time.

    Args:
        message: Names the limit.
        limit: Its setting, such as ``limits.requests_per_second``.
        retry_after: Seconds after which it may succeed.
    """

    kind = ErrorKind.LIMITED
    code = "KB_LIMIT_EXCEEDED"

    def __init__(self, message: str, *, limit: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after = retry_after


class NotSupportedError(TenantKbError):
    """The configured store does not have this capability."""

    kind = ErrorKind.INVALID
    code = "KB_NOT_SUPPORTED"


class DeletionGuardError(TenantKbError):
    """A run would delete a larger share of a repository's rows than is allowed unasked.

    Args:
        message: See :class:`TenantKbError`.
        deleted: How many rows it would delete.
        stored: How many there are.
        remedy: See :class:`TenantKbError`.
    """

    kind = ErrorKind.CONFLICT
    code = "KB_DELETION_GUARD"

    def __init__(
        self, message: str, deleted: int, stored: int, *, remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.deleted = deleted
        self.stored = stored


class DeletionConflictError(InvalidInputError):
    """Deletion signals contradict each other, or what is pushed with them; nothing was deleted."""

    code = "KB_DELETION_CONFLICT"


class ManifestRequiredError(InvalidInputError):
    """Revisions alone cannot tell what is gone: their base is not the last known head."""

    kind = ErrorKind.CONFLICT
    code = "KB_MANIFEST_REQUIRED"


class ManifestOutdatedError(InvalidInputError):
    """A manifest is older than one that has been applied."""

    kind = ErrorKind.CONFLICT
    code = "KB_MANIFEST_OUTDATED"


class PlanOutdatedError(StoreError):
    """Another push of the repository was applied after the plan was made; plan again."""

    kind = ErrorKind.CONFLICT
    code = "KB_PLAN_OUTDATED"
