"""What the use cases for operators have in common."""

from __future__ import annotations

from attrs import frozen

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.tenancy import OperatorScope, Tenancy
from tenantkb.ports.clock import Clock
from tenantkb.ports.store import VectorStore


@frozen(kw_only=True)
class OperatorUseCase:
    """Base of the use cases that reach the rows of all tenants.

    Attributes:
        store: The collection's rows.
        tenancy: The shared namespace.
        clock: For the expiry of identities.
    """

    store: VectorStore
    tenancy: Tenancy
    clock: Clock

    def _scope(self, identity: AgentIdentity | None) -> OperatorScope:
        return OperatorScope.of(identity, self.tenancy, self.clock.now())
