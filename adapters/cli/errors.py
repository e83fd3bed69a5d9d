"""Errors as the command line tells them: an exit code for each kind, and what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, Final

import click
from attrs import frozen

from tenantkb.adapters.wire.objects import problems_object
from tenantkb.domain.errors import (
    ErrorKind,
    InvalidInputError,
    Remedy,
    StoreFullError,
    SubmissionRefusedError,
    TenantKbError,
)

EXIT_CODES: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.INVALID: 2,
    ErrorKind.UNAUTHENTICATED: 3,
    ErrorKind.DENIED: 3,
    ErrorKind.UNAVAILABLE: 4,
    ErrorKind.LOCKED: 5,
    ErrorKind.LIMITED: 5,
    ErrorKind.CONFLICT: 6,
    ErrorKind.NOT_FOUND: 7,
    ErrorKind.INTERNAL: 70,
}
"""Exit codes of failures. 0 is success, 1 a run that left something undone."""

INTERRUPTED: Final = 130
TERMINATED: Final = 143
CLOSED_PIPE: Final = 141
"""What a shell tells of processes that a signal has ended: 128 and the number of the signal."""

CONFIRM_NUMBER: Final = "confirm-number"
PUSH_ALL: Final = "push-all"
"""Remedies of the client of a server, where the face's own are the server's to carry out."""

REMEDIES: Final[Mapping[str, str]] = {
    Remedy.CONFIRM_DELETION: "Repeat with --yes.",
    Remedy.CONFIRM_COLLECTION: "Repeat with --confirm COLLECTION.",
    Remedy.ADOPT_ROWS: "Repeat with --adopt TENANT/REPO.",
    Remedy.ALLOW_FOREIGN_IDS: "Repeat with --foreign-ids, if rows of another system are meant.",
    Remedy.RESTORE_EMBEDDINGS: "Restore them with `tenantkb backup import`.",
    Remedy.SEND_MANIFEST: "Repeat with --manifest FILE and the same --head.",
    Remedy.MIGRATE_STORE: "Move its rows over with `tenantkb migrate --from KIND:ADDRESS`.",
    Remedy.REPAIR_STORE: "Run `tenantkb doctor`, then `tenantkb repair`, as an operator.",
    Remedy.CHOOSE_SOURCES: "Choose sources: `tenantkb init` there, or `code_source = true` in its "
    "settings. If it is meant to be empty, repeat with --yes.",
    CONFIRM_NUMBER: "Repeat with --confirm and the number of rows that would be deleted.",
    PUSH_ALL: "Repeat with --full, which sends all files and their list.",
    Remedy.PLAN_AGAIN: "Run the same command again: it plans anew.",
}
"""What to do, by the key that an error carries."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class OutputError(TenantKbError):
    """What a command prints cannot be written."""

    kind = ErrorKind.UNAVAILABLE
    code = "KB_OUTPUT"


@frozen
class Failure:
    """An error, whatever raised it, as it is told.

    Attributes:
        kind: See :class:`domain.errors.ErrorKind`.
        code: Stable name of the error.
        message: For a person; may have several lines.
        remedy: Key of what to do, if there is something.
    """

    kind: ErrorKind
    code: str
    message: str
    remedy: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """An error of tenantkb, of click, of the operating system, or a fault."""
        if isinstance(error, TenantKbError):
            return cls(error.kind, error.code, str(error), error.remedy)
        if isinstance(error, click.ClickException):
            return cls(InvalidInputError.kind, InvalidInputError.code, error.format_message())
        if isinstance(error, OSError):
            return _of_the_system(error)
        message = f"{type(error).__name__}: {error} (--debug shows where)"
        return cls(ErrorKind.INTERNAL, "KB_INTERNAL", message)

    @property
    def exit_code(self) -> int:
        """See :data:`EXIT_CODES`."""
        return EXIT_CODES[self.kind]

    @property
    def words(self) -> str | None:
        """What to do; ``None`` where the message says it all, or only an adapter could."""
        return REMEDIES.get(self.remedy or "")


def _of_the_system(error: OSError) -> Failure:
    if error.errno in _FULL:
        place = f": {error.filename}" if error.filename else ""
        return Failure(StoreFullError.kind, StoreFullError.code, f"{error.strerror}{place}")
    return Failure(ErrorKind.UNAVAILABLE, "KB_SYSTEM", str(error) or type(error).__name__)


def cannot(verb: str, place: object, error: OSError) -> TenantKbError:
    """The error of a file that the user has named.

    Args:
        verb: What cannot be done, such as ``read``.
        place: The file.
        error: Why.
    """
    message = f"cannot {verb} {place}: {error.strerror or error}"
    return StoreFullError(message) if error.errno in _FULL else InvalidInputError(message)


def error_object(error: Exception) -> dict[str, Any]:
    """What went wrong, for machines."""
    failure = Failure.of(error)
    remedy = failure.remedy and {"key": str(failure.remedy), "words": failure.words}
    told: dict[str, Any] = {
        "code": failure.code,
        "kind": failure.kind.value,
        "message": failure.message,
        "remedy": remedy,
    }
    if isinstance(error, SubmissionRefusedError):
        told |= problems_object(error)
    return {"error": told}


def complain(error: Exception) -> int:
    """Say on standard error what went wrong and what to do; returns the exit code."""
    failure = Failure.of(error)
    click.echo(f"tenantkb: {failure.message} [{failure.code}]", err=True)
    if failure.words is not None:
        click.echo(f"→ {failure.words}", err=True)
    return failure.exit_code
