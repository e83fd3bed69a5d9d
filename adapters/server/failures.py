"""Errors as clients are told them, by MCP and by HTTP (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from attrs import field, frozen
from pydantic import ValidationError

from tenantkb.adapters.wire.objects import problems_object
from tenantkb.domain.errors import (
    ConfigurationError,
    ErrorKind,
    InvalidInputError,
    LimitExceededError,
    Remedy,
    SubmissionRefusedError,
    TenantKbError,
)
from tenantkb.domain.records import printable

STATUS: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.INVALID: 422,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.DENIED: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.LOCKED: 423,
    ErrorKind.LIMITED: 429,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.INTERNAL: 500,
}
"""Status codes of HTTP."""

REMEDIES: Final[Mapping[str, str]] = {
    Remedy.CONFIRM_DELETION: "Send the same again with confirmDeletions: the number that is told.",
    Remedy.SEND_MANIFEST: "Send the same again with manifestSnapshot, a list of all paths.",
    Remedy.PLAN_AGAIN: "Send the same again: it is planned anew.",
}
"""What a client can do. The other remedies are for the operator, who finds them in the log."""

_OF_THE_SERVER: Final = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.INTERNAL})
"""Kinds whose messages tell of the server's parts and files, which are none of a client's."""

_PROBLEMS_SHOWN: Final = 10

_logger = structlog.get_logger("tenantkb.server")


@frozen
class Failure:
    """An error as a client is told it.

    Attributes:
        kind: See :class:`domain.errors.ErrorKind`.
        code: Stable name of the error.
        message: For a person; may have several lines.
        remedy: Key of what to do, if there is something.
        retry_after: Seconds after which it may succeed, where that is known.
        more: Further members, for machines.
    """

    kind: ErrorKind
    code: str
    message: str
    remedy: str | None = None
    retry_after: float | None = None
    more: Mapping[str, Any] = field(factory=dict)

    @classmethod
    def of(cls, error: Exception, request_id: str) -> Failure:
        """What a client may know of an error; what only the operator may is logged."""
        if isinstance(error, ValidationError):
            return cls.malformed(error.errors(include_url=False, include_input=False))
        told = isinstance(error, TenantKbError) and not isinstance(error, ConfigurationError)
        if not isinstance(error, TenantKbError) or not told or error.kind in _OF_THE_SERVER:
            return cls._of_the_server(error, request_id)
        more = problems_object(error) if isinstance(error, SubmissionRefusedError) else {}
        after = error.retry_after if isinstance(error, LimitExceededError) else None
        return cls(error.kind, error.code, str(error), error.remedy, after, more)

    @classmethod
    def malformed(cls, found: Sequence[Mapping[str, Any]]) -> Failure:
        """Values have another form; it is told where, never what they are, which may be long.

        Args:
            found: Each with its place, ``loc``, and what is wrong, ``msg``.
        """
        lines = [f"{_place(each['loc'])}: {each['msg']}" for each in found[:_PROBLEMS_SHOWN]]
        if len(found) > _PROBLEMS_SHOWN:
            lines.append(f"and {len(found) - _PROBLEMS_SHOWN:,} more")
        return cls(InvalidInputError.kind, InvalidInputError.code, "; ".join(lines))

    @classmethod
    def _of_the_server(cls, error: Exception, request_id: str) -> Failure:
        _logger.error("request failed", exc_info=error)
        where = f"its operator finds why in the log, by {request_id}"
        if isinstance(error, TenantKbError) and error.kind is ErrorKind.UNAVAILABLE:
            return cls(error.kind, error.code, f"the knowledge base is not available; {where}")
        return cls(ErrorKind.INTERNAL, "KB_INTERNAL", f"something in the server failed; {where}")

    @property
    def status(self) -> int:
        """See :data:`STATUS`."""
        return STATUS[self.kind]

    def members(self) -> dict[str, Any]:
        """What both transports tell."""
        remedy = self.remedy and {"key": str(self.remedy), "words": REMEDIES.get(self.remedy)}
        return {
            "code": self.code,
            "kind": self.kind.value,
            **({"remedy": remedy} if remedy else {}),
            **self.more,
        }

    def problem(self, request_id: str) -> dict[str, Any]:
        """A problem document (RFC 9457)."""
        return {
            "type": f"urn:tenantkb:error:{self.code}",
            "title": self.code.removeprefix("KB_").replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.message,
            "requestId": request_id,
            **self.members(),
        }


def _place(where: tuple[int | str, ...]) -> str:
    """The place in what was sent, without which part of the request it is."""
    parts = [str(part) for part in where[where[:1] in (("body",), ("query",), ("path",)) :]]
    return printable(".".join(parts)) if parts else "the request"
