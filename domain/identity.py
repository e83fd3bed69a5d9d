"""Who is calling: facts that a server has authenticated, never values that a client sent."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Any, Final

from attrs import Attribute, field, frozen, validators

from domain.errors import AuthenticationError, InvalidInputError

_TENANT_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_AGENT_ID_LENGTH: Final = 256


class Role(Enum):
    """What an identity may do besides reading and writing as a member of its tenant.

    ``AGENT``: nothing more. ``CURATOR``: write the shared corpus. ``OPERATOR``: export, restore and
    truncate.
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
    roles: frozenset[Role] = field(
        default=frozenset({Role.AGENT}),
        validator=validators.deep_iterable(validators.instance_of(Role)),
    )
    expires_at: datetime | None = None


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
