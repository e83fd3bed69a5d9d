"""Who may read and who may write what.

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
from typing import Any, Final

from attrs import field, frozen

from tenantkb.domain.errors import AccessDeniedError, InvalidInputError
from tenantkb.domain.identity import (
    AgentIdentity,
    Role,
    authenticated,
    require_agent_id,
    require_tenant_id,
)
from tenantkb.domain.paths import require_repo_slug

ACCESS_KEY: Final = "access"
"""The metadata key that holds a row's access label."""

STAMP_KEYS: Final = frozenset(
    {"tenantId", "repoSlug", "visibility", "originAgentIdentity", "ingestedAt", ACCESS_KEY}
)
"""The metadata keys that only the server writes."""


class Visibility(Enum):
    """Who, within the row's tenant, may read it.

    ``TEAM``: all agents of the tenant; in the shared namespace, everyone. ``PRIVATE``: the agent
    that wrote it.
    """

    TEAM = "team"
    PRIVATE = "private"


@frozen
class Tenancy:
    """The shared namespace of an installation.

    Attributes:
        shared_tenant: Tenant id whose team rows everybody may read and only curators may write.
        shared_repo: The repository of the shared corpus in which a row's id is its fingerprint, so
            that content of a single-repository installation keeps its ids.
    """

    shared_tenant: str = field(default="neo-shared", converter=require_tenant_id)
    shared_repo: str = field(default="neo", converter=require_repo_slug)


@frozen
class TenantStamp:
    """What the server writes on every row.

    Attributes:
        tenant_id: Owner.
        repo_slug: The owner's repository.
        visibility: See :class:`Visibility`.
        origin_agent_identity: The agent that wrote the row; only private rows carry it.
        ingested_at: Aware instant of the write; ``None`` only on rows of older systems.
    """

    tenant_id: str
    repo_slug: str
    visibility: Visibility
    origin_agent_identity: str | None = None
    ingested_at: datetime | None = None

    def access_label(self) -> str | None:
        """The label of the row's audience; ``None`` where nobody may read it."""
        if self.visibility is Visibility.TEAM:
            return team_label(self.tenant_id)
        if self.origin_agent_identity is None:
            return None
        return private_label(self.tenant_id, self.origin_agent_identity)

    def metadata(self) -> dict[str, str]:
        """The stamp as flat metadata, with the access label."""
        flat = {
            "tenantId": self.tenant_id,
            "repoSlug": self.repo_slug,
            "visibility": self.visibility.value,
        }
        if self.origin_agent_identity is not None:
            flat["originAgentIdentity"] = self.origin_agent_identity
        if self.ingested_at is not None:
            flat["ingestedAt"] = format_instant(self.ingested_at)
        if (label := self.access_label()) is not None:
            flat[ACCESS_KEY] = label
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
        InvalidInputError: a field is missing, of the wrong type or malformed, or the access label
            is not the one that the other fields give. Such a row is readable by nobody.
    """
    stamp = unlabelled_stamp_of(metadata)
    if metadata.get(ACCESS_KEY) != stamp.access_label():
        raise InvalidInputError("the row's access label does not agree with its stamp")
    return stamp


def unlabelled_stamp_of(metadata: Mapping[str, Any]) -> TenantStamp:
    """Read a stamp from which a new access label is to be made, whatever label it comes with.

    Raises:
        InvalidInputError: a field is missing, of the wrong type or malformed.
    """
    visibility = metadata.get("visibility")
    if not isinstance(visibility, str) or visibility not in _VISIBILITIES:
        raise InvalidInputError("the row has no known visibility")
    origin = metadata.get("originAgentIdentity")
    ingested_at = metadata.get("ingestedAt")
    return TenantStamp(
        tenant_id=require_tenant_id(metadata.get("tenantId")),
        repo_slug=require_repo_slug(metadata.get("repoSlug")),
        visibility=Visibility(visibility),
        origin_agent_identity=None if origin is None else require_agent_id(origin),
        ingested_at=None if ingested_at is None else parse_instant(ingested_at),
    )


_VISIBILITIES: Final = frozenset(visibility.value for visibility in Visibility)


def may_read(reader: AgentIdentity, stamp: TenantStamp, tenancy: Tenancy) -> bool:
    """The read rule of this module's docstring."""
    if stamp.tenant_id == reader.tenant_id:
        return stamp.visibility is Visibility.TEAM or stamp.origin_agent_identity == reader.agent_id
    return stamp.tenant_id == tenancy.shared_tenant and stamp.visibility is Visibility.TEAM


_SEAL: Final = object()


@frozen(kw_only=True)
class _Sealed:
    """A value that only this module makes, and that is not copied with changes (attrs.evolve)."""

    _seal: object = field(repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise AccessDeniedError("a scope is made from an identity, by its `of`")
        object.__setattr__(self, "_seal", None)


@frozen(kw_only=True)
class ReadScope(_Sealed):
    """What an identity may read. Made by :meth:`of`, and required by every read of a store.

    Attributes:
        reader: The identity it was made from.
        tenancy: The shared namespace.
        labels: Access labels of the rows in scope, sorted. A store answers rows with one of them.
    """

    reader: AgentIdentity
    tenancy: Tenancy
    labels: tuple[str, ...]

    @classmethod
    def of(cls, identity: AgentIdentity | None, tenancy: Tenancy, now: datetime) -> ReadScope:
        """The scope of an identity at ``now``.

        Raises:
            AuthenticationError: there is no identity, or it has expired.
            AccessDeniedError: an ordinary identity bears the shared tenant.
        """
        reader = authenticated(identity, now)
        _require_curator_of_shared(reader, reader.tenant_id, tenancy)
        labels = {
            team_label(reader.tenant_id),
            private_label(reader.tenant_id, reader.agent_id),
            team_label(tenancy.shared_tenant),
        }
        return cls(reader=reader, tenancy=tenancy, labels=tuple(sorted(labels)), seal=_SEAL)

    def admits(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a row with this metadata may be read. A malformed stamp is denied."""
        try:
            stamp = stamp_of(metadata)
        except InvalidInputError:
            return False
        return may_read(self.reader, stamp, self.tenancy)


@frozen(kw_only=True)
class WriteScope(_Sealed):
    """What an identity may write: one repository of one tenant, under one visibility.

    A write scope covers the rows of its (tenant, repository) that its writer may also read, so that
    no sync or deletion of one agent touches another agent's private rows.

    Attributes:
        writer: The identity it was made from.
        tenancy: The shared namespace.
        tenant_id: The owner of what is written.
        repo_slug: The repository of what is written.
        visibility: What new rows are stamped with.
        label: Access label of new rows.
        labels: Access labels of the rows that the scope covers within the repository, sorted.
    """

    writer: AgentIdentity
    tenancy: Tenancy
    tenant_id: str
    repo_slug: str
    visibility: Visibility
    label: str
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls,
        identity: AgentIdentity | None,
        tenancy: Tenancy,
        now: datetime,
        *,
        repo_slug: str,
        visibility: Visibility = Visibility.TEAM,
        tenant_id: str | None = None,
    ) -> WriteScope:
        """The scope of an identity at ``now`` over one repository.

        Args:
            identity: The authenticated caller.
            tenancy: The shared namespace.
            now: Aware instant.
            repo_slug: The repository.
            visibility: What new rows are stamped with.
            tenant_id: The caller's own tenant (the default), or the shared one for a curator.

        Raises:
            AuthenticationError: there is no identity, or it has expired.
            AccessDeniedError: the tenant is not the caller's to write.
            InvalidInputError: ``repo_slug`` is not a slug.
        """
        writer = authenticated(identity, now)
        owner = writer.tenant_id if tenant_id is None else require_tenant_id(tenant_id)
        _require_curator_of_shared(writer, owner, tenancy)
        if owner not in (writer.tenant_id, tenancy.shared_tenant):
            raise AccessDeniedError(f"{writer.tenant_id} may not write rows of another tenant")
        if not isinstance(visibility, Visibility):
            raise InvalidInputError("a write has the visibility team or private")
        team, private = team_label(owner), private_label(owner, writer.agent_id)
        return cls(
            writer=writer,
            tenancy=tenancy,
            tenant_id=owner,
            repo_slug=require_repo_slug(repo_slug),
            visibility=visibility,
            label=private if visibility is Visibility.PRIVATE else team,
            labels=tuple(sorted((team, private))),
            seal=_SEAL,
        )

    def stamp(self, now: datetime) -> TenantStamp:
        """The stamp of a row that is written in this scope at ``now``."""
        private = self.visibility is Visibility.PRIVATE
        return TenantStamp(
            tenant_id=self.tenant_id,
            repo_slug=self.repo_slug,
            visibility=self.visibility,
            origin_agent_identity=self.writer.agent_id if private else None,
            ingested_at=now,
        )

    def covers(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a row with this metadata may be written, compared or deleted in this scope."""
        stamp = self._own_stamp(metadata)
        return stamp is not None and stamp.access_label() in self.labels

    def owns(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a stored row is of this scope's repository, whoever may read it.

        Such a row may be replaced by one under the same id, which has the same content and path:
        the writer learns nothing and gains nothing by it, and a refusal would tell that the row
        exists.
        """
        return self._own_stamp(metadata) is not None

    def _own_stamp(self, metadata: Mapping[str, Any]) -> TenantStamp | None:
        try:
            stamp = stamp_of(metadata)
        except InvalidInputError:
            return None
        mine = stamp.tenant_id == self.tenant_id and stamp.repo_slug == self.repo_slug
        return stamp if mine else None


@frozen(kw_only=True)
class OperatorScope(_Sealed):
    """Every row of the collection, whosesoever it is. Made by :meth:`of`.

    It is what an export, a restore, a truncation and an examination of all rows take. It gives
    nothing to read or write as a member of a tenant.

    Attributes:
        operator: The identity it was made from.
    """

    operator: AgentIdentity

    @classmethod
    def of(cls, identity: AgentIdentity | None, tenancy: Tenancy, now: datetime) -> OperatorScope:
        """The scope of an operator at ``now``.

        Raises:
            AuthenticationError: there is no identity, or it has expired.
            AccessDeniedError: the identity is no operator, or bears the shared tenant without being
                its curator.
        """
        operator = authenticated(identity, now)
        if Role.OPERATOR not in operator.roles:
            raise AccessDeniedError("only an operator may export, restore or truncate")
        _require_curator_of_shared(operator, operator.tenant_id, tenancy)
        return cls(operator=operator, seal=_SEAL)

    def require_may_stamp(self, tenant_id: str, tenancy: Tenancy) -> None:
        """Refuse to give rows to the shared tenant, unless the operator is its curator.

        Raises:
            AccessDeniedError: the operator is none.
        """
        _require_curator_of_shared(self.operator, tenant_id, tenancy)

    def covers(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a row with this metadata may be deleted: always, however malformed it is."""
        del metadata
        return True


def _require_curator_of_shared(identity: AgentIdentity, tenant_id: str, tenancy: Tenancy) -> None:
    if tenant_id == tenancy.shared_tenant and Role.CURATOR not in identity.roles:
        raise AccessDeniedError(
            f"{tenant_id} is the shared namespace; only a curator may act in it"
        )
