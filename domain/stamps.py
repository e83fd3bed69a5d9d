"""The stamp of a row: whose it is and who may read it.

All tenants' rows lie in one collection, so isolation is a property of every single call. The rule:
a client never determines its own privilege boundary, and what is not proven allowed is denied.

A reader of tenant T, agent A may see a row if and only if ::

    (row.tenantId == T            and (row.visibility == "team" or row.originAgentIdentity == A))
    or (row.tenantId == shared    and row.visibility == "team")

:func:`may_read` is that rule as a predicate over stamps. Stores cannot run it, so every row carries
one derived *access label* that names its audience, and a scope is the set of labels it may see: a
positive allow-list over a single key, which is also the cheapest filter that a vector store can
apply. The two are held to each other by tests, and a row whose label is not the one that its stamp
gives is denied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from attrs import Attribute, field, frozen

from tenantkb.domain import fields
from tenantkb.domain.errors import InvalidInputError, MalformedRowError
from tenantkb.domain.identity import AgentIdentity, require_agent_id, require_tenant_id
from tenantkb.domain.ids import IdScheme
from tenantkb.domain.paths import require_repo_slug


class Visibility(Enum):
    """Who, within the row's tenant, may read it.

    ``TEAM``: all agents of the tenant; in the shared namespace, everyone. ``PRIVATE``: the agent
    that wrote it.
    """

    TEAM = "team"
    PRIVATE = "private"


@frozen
class SharedNamespace:
    """The team namespace that an installation shares.

    Attributes:
        tenant_id: Its tenant id: everybody may read its team rows, and only curators may write
            them.
        repo_slug: The repository of the shared corpus, in which the id of a team row is its
            fingerprint, so that content of a single-repository installation keeps its ids.
        ids: How the installation derives ids; with another scheme it is another installation.
    """

    tenant_id: str = field(default="neo-shared", converter=require_tenant_id)
    repo_slug: str = field(default="neo", converter=require_repo_slug)
    ids: IdScheme = field(default=IdScheme.CONTENT, converter=IdScheme)


def require_instant(value: object) -> datetime:
    """Return ``value`` if it is an aware instant.

    Raises:
        InvalidInputError: it is none, or has no time zone.
    """
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value
    raise InvalidInputError(f"an instant knows its time zone, unlike {value!r}")


def _visibility(_: Any, __: Attribute[Visibility], value: object) -> None:
    if not isinstance(value, Visibility):
        raise InvalidInputError("the visibility of a row is team or private")


def _optional_instant(value: object) -> datetime | None:
    return None if value is None else require_instant(value)


def _optional_agent(value: object) -> str | None:
    return None if value is None else require_agent_id(value)


@frozen
class TenantStamp:
    """What the server writes on every row.

    Attributes:
        tenant_id: Owner.
        repo_slug: The owner's repository.
        visibility: See :class:`Visibility`.
        origin_agent_identity: The agent that wrote the row; every private row carries it.
        ingested_at: Aware instant of the write; ``None`` only on rows of older systems.
        label: The access label of the row's audience; follows from the others.

    Raises:
        InvalidInputError: one of them has another form, or a private row has no agent.
    """

    tenant_id: str = field(converter=require_tenant_id)
    repo_slug: str = field(converter=require_repo_slug)
    visibility: Visibility = field(validator=_visibility)
    origin_agent_identity: str | None = field(default=None, converter=_optional_agent)
    ingested_at: datetime | None = field(default=None, converter=_optional_instant)
    label: str = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.visibility is Visibility.PRIVATE and self.origin_agent_identity is None:
            raise InvalidInputError("a private row names the agent that may read it")
        if self.visibility is Visibility.TEAM or self.origin_agent_identity is None:
            label = team_label(self.tenant_id)
        else:
            label = private_label(self.tenant_id, self.origin_agent_identity)
        object.__setattr__(self, "label", label)  # every row of an answer is asked for it

    def metadata(self) -> dict[str, str]:
        """The stamp as flat metadata, with the access label."""
        flat = {
            fields.TENANT_ID: self.tenant_id,
            fields.REPO_SLUG: self.repo_slug,
            fields.VISIBILITY: self.visibility.value,
        }
        if self.origin_agent_identity is not None:
            flat[fields.ORIGIN] = self.origin_agent_identity
        if self.ingested_at is not None:
            flat[fields.INGESTED_AT] = format_instant(self.ingested_at)
        flat[fields.ACCESS] = self.label
        return flat


def team_label(tenant_id: str) -> str:
    """The access label of a tenant's team rows; unique, since a tenant id holds no colon."""
    return f"team:{tenant_id}"


def private_label(tenant_id: str, agent_id: str) -> str:
    """The access label of one agent's private rows."""
    return f"private:{tenant_id}:{agent_id}"


def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and ``Z``, the form of JavaScript's ``toISOString``."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z", re.ASCII)


def parse_instant(text: object) -> datetime:
    """The instant of an RFC 3339 text in UTC.

    Raises:
        InvalidInputError: ``text`` is not one.
    """
    if isinstance(text, str) and _INSTANT.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    raise InvalidInputError(f"{text!r} is not an instant such as 2026-01-31T09:30:00.000Z")


def stamp_of(metadata: Mapping[str, Any]) -> TenantStamp:
    """Read a stored row's stamp, strictly.

    Raises:
        MalformedRowError: a field is missing, of the wrong type or malformed, or the access label
            is not the one that the other fields give. Such a row is readable by nobody.
    """
    stamp = unlabelled_stamp_of(metadata)
    if metadata.get(fields.ACCESS) != stamp.label:
        raise MalformedRowError("the row's access label does not agree with its stamp")
    return stamp


def unlabelled_stamp_of(metadata: Mapping[str, Any]) -> TenantStamp:
    """Read a stamp from which a new access label is to be made, whatever label it comes with.

    Raises:
        MalformedRowError: a field is missing, of the wrong type or malformed.
    """
    try:
        return _stamp(
            metadata.get(fields.TENANT_ID),
            metadata.get(fields.REPO_SLUG),
            metadata.get(fields.VISIBILITY),
            metadata.get(fields.ORIGIN),
            metadata.get(fields.INGESTED_AT),
        )
    except TypeError:  # a list or an object, which no cache takes and no stamp holds
        raise MalformedRowError("the row has a stamp that is not made of texts") from None


@lru_cache(maxsize=4096, typed=True)
def _stamp(
    tenant_id: object, repo_slug: object, visibility: object, origin: object, ingested_at: object
) -> TenantStamp:
    """Rows of one sync have one stamp, so it is made once and shared."""
    if not isinstance(visibility, str) or visibility not in _VISIBILITIES:
        raise MalformedRowError("the row has no known visibility")
    try:
        return TenantStamp(
            tenant_id=require_tenant_id(tenant_id),
            repo_slug=require_repo_slug(repo_slug),
            visibility=Visibility(visibility),
            origin_agent_identity=None if origin is None else require_agent_id(origin),
            ingested_at=None if ingested_at is None else parse_instant(ingested_at),
        )
    except InvalidInputError as error:
        raise MalformedRowError(str(error)) from error


_VISIBILITIES: Final = frozenset(visibility.value for visibility in Visibility)


def may_read(reader: AgentIdentity, stamp: TenantStamp, namespace: SharedNamespace) -> bool:
    """The read rule of this module's docstring."""
    if stamp.tenant_id == reader.tenant_id:
        return stamp.visibility is Visibility.TEAM or stamp.origin_agent_identity == reader.agent_id
    return stamp.tenant_id == namespace.tenant_id and stamp.visibility is Visibility.TEAM
