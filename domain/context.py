"""One request's standing, and the scopes that it hands out.

Authenticating a caller gives a :class:`TenantContext`, and a context gives *scopes*: what may be
read (:class:`ReadScope`), written (:class:`WriteScope`) or operated on (:class:`OperatorScope`). No
store is called without one. All four are sealed: they are made here and nowhere else, they are
never copied with changes, and nothing that a client sends takes part in making them, but the names
of a repository and of a visibility, which can only narrow what is the caller's own.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Self

from attrs import field, frozen

from tenantkb.domain.errors import AccessDeniedError, AuthenticationError, InvalidInputError
from tenantkb.domain.identity import AgentIdentity, Role, authenticated, require_tenant_id
from tenantkb.domain.paths import require_repo_slug
from tenantkb.domain.stamps import (
    SharedNamespace,
    TenantStamp,
    Visibility,
    may_read,
    private_label,
    require_instant,
    team_label,
)

_SEAL: Final = object()


@frozen(kw_only=True, getstate_setstate=False)
class _Sealed:
    """A value that only this module makes, and that is not copied with changes (attrs.evolve)."""

    _seal: object = field(repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise AccessDeniedError(
                "a scope is handed out by a context, a context by authenticating"
            )
        object.__setattr__(self, "_seal", None)


@frozen(kw_only=True, getstate_setstate=False)
class Scope(_Sealed):
    """What all scopes have in common.

    Attributes:
        identity: Whom it was made for.
        namespace: The shared namespace.
        admitted_at: Aware instant at which the caller was authenticated.
        expires_at: Aware instant from which the scope is void; ``None`` where the identity never
            expires.
        job: Tells the writes of one job from those of all others; empty where there is no job.
    """

    identity: AgentIdentity
    namespace: SharedNamespace
    admitted_at: datetime
    expires_at: datetime | None
    job: str = ""

    def require_valid(self, now: datetime) -> None:
        """Refuse a scope that has outlived its caller's standing.

        Raises:
            AuthenticationError: it is void at ``now``.
        """
        if self.expires_at is not None and self.expires_at <= now:
            raise AuthenticationError("the identity has expired")

    def lasting(self, seconds: float, job: str = "") -> Self:
        """The same scope for one job: admitted in time, it may finish within ``seconds``.

        Args:
            seconds: Since the admission.
            job: See :attr:`job`.
        """
        until = self.expires_at
        if until is not None:
            until = max(until, self.admitted_at + timedelta(seconds=seconds))
        if (until, job) == (self.expires_at, self.job):
            return self
        values = {
            attribute.name.removeprefix("_"): getattr(self, attribute.name)
            for attribute in type(self).__attrs_attrs__
        }
        return type(self)(**{**values, "expires_at": until, "job": job, "seal": _SEAL})


@frozen(kw_only=True, getstate_setstate=False)
class ReadScope(Scope):
    """What an identity may read. Handed out by :meth:`TenantContext.reading`.

    Attributes:
        labels: Access labels of the rows in scope, sorted. A store answers rows with one of them.
    """

    labels: tuple[str, ...]

    def admits(self, stamp: TenantStamp) -> bool:
        """Whether a row with this stamp may be read."""
        return may_read(self.identity, stamp, self.namespace)


@frozen(kw_only=True, getstate_setstate=False)
class WriteScope(Scope):
    """What an identity may write: one repository of one tenant, under one visibility.

    A write scope covers the rows of its (tenant, repository) that its writer may also read, so that
    no sync or deletion of one agent touches another agent's private rows.

    Attributes:
        tenant_id: The owner of what is written.
        repo_slug: The repository of what is written.
        visibility: What new rows are stamped with.
        label: Access label of new rows.
        labels: Access labels of the rows that the scope covers within the repository, sorted.
    """

    tenant_id: str
    repo_slug: str
    visibility: Visibility
    label: str
    labels: tuple[str, ...]

    def stamp(self) -> TenantStamp:
        """The stamp of a row of this scope: ingested when its writer was admitted."""
        return self.stamp_as(self.visibility)

    def stamp_as(self, visibility: Visibility) -> TenantStamp:
        """The stamp of the same row under a visibility of the writer's choice."""
        private = visibility is Visibility.PRIVATE
        return TenantStamp(
            tenant_id=self.tenant_id,
            repo_slug=self.repo_slug,
            visibility=visibility,
            origin_agent_identity=self.identity.agent_id if private else None,
            ingested_at=self.admitted_at,
        )

    def admits(self, stamp: TenantStamp) -> bool:
        """Whether a row with this stamp may be written, compared or deleted in this scope."""
        mine = stamp.tenant_id == self.tenant_id and stamp.repo_slug == self.repo_slug
        return mine and stamp.label in self.labels


@frozen(kw_only=True, getstate_setstate=False)
class OperatorScope(Scope):
    """Every row of the collection. Handed out by :meth:`TenantContext.operating`.

    It is what an export, a restore, a truncation and an examination of all rows take. It gives
    nothing to read or write as a member of a tenant.
    """

    def require_may_stamp(self, tenant_id: str) -> None:
        """Refuse to give rows to the shared tenant, unless the operator is a curator as well.

        Raises:
            AccessDeniedError: the operator is none.
        """
        _require_curator_of_shared(self.identity, tenant_id, self.namespace)


@frozen(kw_only=True, getstate_setstate=False)
class TenantContext(_Sealed):
    """One request's standing: who calls, where, since when. Handed out by :meth:`admit`.

    Attributes:
        identity: The authenticated caller.
        namespace: The shared namespace of the installation.
        admitted_at: Aware instant at which the caller was authenticated; rows that are written on
            the caller's behalf are stamped with it.
    """

    identity: AgentIdentity
    namespace: SharedNamespace
    admitted_at: datetime

    @classmethod
    def admit(
        cls, identity: AgentIdentity | None, namespace: SharedNamespace, now: datetime
    ) -> TenantContext:
        """The standing of an identity that an identity provider has authenticated at ``now``.

        Raises:
            AuthenticationError: there is no identity, or it has expired.
            AccessDeniedError: an ordinary identity bears the shared tenant.
        """
        caller = authenticated(identity, require_instant(now))
        _require_curator_of_shared(caller, caller.tenant_id, namespace)
        return cls(identity=caller, namespace=namespace, admitted_at=now, seal=_SEAL)

    @property
    def expires_at(self) -> datetime | None:
        """Aware instant from which the standing is void; ``None`` where it never is."""
        return self.identity.expires_at

    def reading(self) -> ReadScope:
        """What the caller may read: its team's rows, its own private ones, the shared ones."""
        labels = {
            team_label(self.identity.tenant_id),
            private_label(self.identity.tenant_id, self.identity.agent_id),
            team_label(self.namespace.tenant_id),
        }
        return ReadScope(
            identity=self.identity,
            namespace=self.namespace,
            admitted_at=self.admitted_at,
            expires_at=self.expires_at,
            labels=tuple(sorted(labels)),
            seal=_SEAL,
        )

    def writing(
        self,
        repo_slug: str,
        visibility: Visibility = Visibility.TEAM,
        tenant_id: str | None = None,
    ) -> WriteScope:
        """What the caller may write of one repository.

        Args:
            repo_slug: The repository.
            visibility: What new rows are stamped with.
            tenant_id: The caller's own tenant (the default), or the shared one for a curator.

        Raises:
            AccessDeniedError: the tenant is not the caller's to write, or not to write private
                rows.
            InvalidInputError: ``repo_slug`` is not a slug, ``visibility`` no visibility.
        """
        owner = self.identity.tenant_id if tenant_id is None else require_tenant_id(tenant_id)
        _require_curator_of_shared(self.identity, owner, self.namespace)
        if owner not in (self.identity.tenant_id, self.namespace.tenant_id):
            raise AccessDeniedError(
                f"{self.identity.tenant_id} may not write rows of another tenant"
            )
        if not isinstance(visibility, Visibility):
            raise InvalidInputError("a write has the visibility team or private")
        team, private = team_label(owner), private_label(owner, self.identity.agent_id)
        labels = {team, private}
        if owner != self.identity.tenant_id:  # an agent of that name there is somebody else
            if visibility is Visibility.PRIVATE:
                raise AccessDeniedError("private rows are written in one's own tenant alone")
            labels = {team}
        return WriteScope(
            identity=self.identity,
            namespace=self.namespace,
            admitted_at=self.admitted_at,
            expires_at=self.expires_at,
            tenant_id=owner,
            repo_slug=require_repo_slug(repo_slug),
            visibility=visibility,
            label=private if visibility is Visibility.PRIVATE else team,
            labels=tuple(sorted(labels)),
            seal=_SEAL,
        )

    def operating(self) -> OperatorScope:
        """All rows, for an operator.

        Raises:
            AccessDeniedError: the caller is no operator.
        """
        if Role.OPERATOR not in self.identity.roles:
            raise AccessDeniedError("only an operator reaches the rows of all tenants")
        return OperatorScope(
            identity=self.identity,
            namespace=self.namespace,
            admitted_at=self.admitted_at,
            expires_at=self.expires_at,
            seal=_SEAL,
        )


def require_context(context: object) -> TenantContext:
    """Return ``context`` if it is one: what a use case takes first, checked at run time as well.

    Raises:
        AuthenticationError: it is something else, whatever it claims.
    """
    if type(context) is not TenantContext:
        raise AuthenticationError("no authenticated identity")
    return context


def _require_curator_of_shared(
    identity: AgentIdentity, tenant_id: str, namespace: SharedNamespace
) -> None:
    if tenant_id == namespace.tenant_id and Role.CURATOR not in identity.roles:
        raise AccessDeniedError(
            f"{tenant_id} is the shared namespace; only a curator may act in it"
        )
