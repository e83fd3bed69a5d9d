"""Who is calling: facts that a server has authenticated, never values that a client sent."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Any, Final

from attrs import Attribute, field, frozen

from tenantkb.domain.errors import AuthenticationError, InvalidInputError

_TENANT_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_AGENT_ID_LENGTH: Final = 256


class Role(Enum):
    """What an identity may do besides reading and writing as a member of its tenant.

    ``AGENT``: nothing more. ``CURATOR``: write the shared corpus. ``OPERATOR``: export, restore,
    truncate and examine the rows of all tenants.
    """

    AGENT = "agent"
    CURATOR = "curator"
    OPERATOR = "operator"


def require_tenant_id(value: object) -> str:
    """Return ``value`` if it is a tenant id: 1 to 64 of ``a-z0-9-``, no hyphen at either end.

    Raises:
        InvalidInputError: anything else, look-alike letters and surrounding white space included.
    """
    if isinstance(value, str) and _TENANT_ID.fullmatch(value):
        return value
    raise InvalidInputError(
        f"{value!r} is not a tenant id: 1 to 64 lower-case letters, digits and hyphens, "
        "with a letter or digit at both ends"
    )


def require_agent_id(value: object) -> str:
    """Return ``value`` if it is an agent id: 1 to 256 printable characters, no space at either end.

    Raises:
        InvalidInputError: anything else.
    """
    if (
        isinstance(value, str)
        and 0 < len(value) <= _AGENT_ID_LENGTH
        and value.isprintable()
        and value == value.strip()
    ):
        return value
    raise InvalidInputError(
        f"{value!r} is not an agent id: 1 to {_AGENT_ID_LENGTH} printable characters, "
        "with no space at either end"
    )


def _tenant_id(_: Any, __: Attribute[str], value: str) -> None:
    require_tenant_id(value)


def _agent_id(_: Any, __: Attribute[str], value: str) -> None:
    require_agent_id(value)


def _roles(_: Any, __: Attribute[frozenset[Role]], value: object) -> None:
    if not isinstance(value, frozenset) or not all(isinstance(role, Role) for role in value):
        raise InvalidInputError(f"roles are a frozenset of Role, not {value!r}")


def _expiry(_: Any, __: Attribute[datetime | None], value: object) -> None:
    if value is None or (isinstance(value, datetime) and value.utcoffset() is not None):
        return
    raise InvalidInputError(f"an expiry is an aware instant or None, not {value!r}")


@frozen
class AgentIdentity:
    """An authenticated caller. Made by an identity provider and by nothing else.

    Attributes:
        tenant_id: The tenant the caller belongs to.
        agent_id: The caller within its tenant.
        roles: See :class:`Role`.
        expires_at: Aware instant from which the identity is void; ``None`` for one that does not
            expire.
    """

    tenant_id: str = field(validator=_tenant_id)
    agent_id: str = field(validator=_agent_id)
    roles: frozenset[Role] = field(default=frozenset({Role.AGENT}), validator=_roles)
    expires_at: datetime | None = field(default=None, validator=_expiry)


def authenticated(identity: AgentIdentity | None, now: datetime) -> AgentIdentity:
    """Return ``identity`` if it may be relied on at ``now``.

    Raises:
        AuthenticationError: there is none, or it has expired.
    """
    if not isinstance(identity, AgentIdentity):
        raise AuthenticationError("no authenticated identity")
    if identity.expires_at is not None and identity.expires_at <= now:
        raise AuthenticationError("the identity has expired")
    return identity
