"""The errors a caller can meet. Each class carries a stable ``code`` that transports may show.

Messages are written for the person who has to act on them: what is wrong, where, and what to do. A
message never tells an unauthorised caller whether a row exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tenantkb.domain.records import RecordProblem


class TenantKbError(Exception):
    """Base of every error that tenantkb raises on purpose."""

    code: ClassVar[str] = "KB_ERROR"


class ConfigurationError(TenantKbError):
    """A setting is missing, unknown or of the wrong type."""

    code = "KB_CONFIGURATION"


class InvalidInputError(TenantKbError, ValueError):
    """A value does not have the form that the rules of the domain ask for."""

    code = "KB_INVALID_INPUT"


class AuthenticationError(TenantKbError):
    """There is no identity, or it has expired: nothing may be read or written."""

    code = "KB_UNAUTHENTICATED"


class AccessDeniedError(TenantKbError):
    """The identity is known and may not do this."""

    code = "KB_ACCESS_DENIED"


class NotFoundError(TenantKbError):
    """There is no such row for this caller, whether or not another caller has one."""

    code = "KB_NOT_FOUND"


class SubmissionRefusedError(TenantKbError):
    """Records were submitted that cannot be taken; nothing of the submission is stored.

    Args:
        summary: What happened, on one line.
        problems: The first of the problems, in the order of the records.
        total: How many problems there are in all.
    """

    code = "KB_SUBMISSION_REFUSED"

    def __init__(self, summary: str, problems: Sequence[RecordProblem], total: int) -> None:
        lines = [f"{summary}; nothing was stored", *(f"  {problem}" for problem in problems)]
        if total > len(problems):
            lines.append(f"  and {total - len(problems):,} more")
        super().__init__("\n".join(lines))
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

    code = "KB_TENANT_SPOOF_REJECTED"


class UnparsableFileError(TenantKbError):
    """A parser cannot make chunks from this file; the file is skipped with a warning."""

    code = "KB_UNPARSABLE_FILE"


class EmbedderError(TenantKbError):
    """The embedder failed for good: retries, where they make sense, have been made."""

    code = "KB_EMBEDDER"


class StoreError(TenantKbError):
    """The vector store failed or does not answer."""

    code = "KB_STORE"


class StoreMismatchError(StoreError):
    """The store was filled by another embedder, or has another dimension or distance."""

    code = "KB_STORE_MISMATCH"


class StoreLockedError(StoreError):
    """Another process is writing to the same persistent path."""

    code = "KB_STORE_LOCKED"


class ScopeViolationError(StoreError):
    """A row was handed to a store under a write scope that does not cover it."""

    code = "KB_SCOPE_VIOLATION"


class DeletionGuardError(TenantKbError):
    """A run would delete a larger share of a repository's rows than is allowed unasked."""

    code = "KB_DELETION_GUARD"


class DeletionConflictError(InvalidInputError):
    """Deletion signals contradict each other, or what is pushed with them; nothing was deleted."""

    code = "KB_DELETION_CONFLICT"


class ManifestRequiredError(InvalidInputError):
    """Revisions alone cannot tell what is gone: their base is not the last known head."""

    code = "KB_MANIFEST_REQUIRED"


class ManifestOutdatedError(InvalidInputError):
    """A manifest is older than one that has been applied."""

    code = "KB_MANIFEST_OUTDATED"


class PlanOutdatedError(StoreError):
    """Another push of the repository was applied after the plan was made; plan again."""

    code = "KB_PLAN_OUTDATED"
