"""An identity from configuration: the operator's own machine."""

from __future__ import annotations

import getpass

from tenantkb.domain.errors import AuthenticationError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.stamps import SharedNamespace


class StaticIdentityProvider:
    """Implements :class:`ports.identity.IdentityProvider` for a machine with one operator.

    Who can run the command can read the store's files, so configuration is proof enough here. Never
    put this provider behind a transport that others reach.

    Args:
        namespace: The shared namespace.
        tenant_id: Tenant of the caller, who may act for any other as well; without one it is the
            curator of the shared corpus, as users of a single repository expect.
        agent_id: Agent of the caller; without one it is the name of the operating system's user.
        roles: Roles besides ``AGENT``; the shared tenant always comes with ``CURATOR``.
    """

    def __init__(
        self,
        namespace: SharedNamespace,
        tenant_id: str | None = None,
        agent_id: str | None = None,
        roles: frozenset[Role] = frozenset(),
    ) -> None:
        self._namespace = namespace
        self._tenant_id = namespace.tenant_id if tenant_id is None else tenant_id
        self._agent_id = _user_name() if agent_id is None else agent_id
        self._roles = roles | {Role.AGENT}
        self.authenticate()  # settings that are no identity are told at once

    def authenticate(
        self, credential: str | None = None, tenant_id: str | None = None
    ) -> AgentIdentity:
        if credential is not None:
            raise AuthenticationError("this installation takes its identity from configuration")
        tenant = self._tenant_id if tenant_id is None else tenant_id
        curating = {Role.CURATOR} if tenant == self._namespace.tenant_id else set()
        return AgentIdentity(
            tenant_id=tenant, agent_id=self._agent_id, roles=self._roles | curating
        )


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
