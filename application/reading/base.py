"""What every reading use case shares: a scope before the store, a second check behind it."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria, Row
from tenantkb.domain.tenancy import ReadScope, Tenancy
from tenantkb.ports.clock import Clock
from tenantkb.ports.store import VectorStore
from tenantkb.ports.telemetry import IsolationFaults


@frozen
class ReadUseCase:
    """Base of the use cases that answer from stored rows.

    Attributes:
        store: Where the rows lie.
        tenancy: The shared namespace.
        clock: For the expiry of identities.
        faults: Counts rows that the store should not have answered.
    """

    store: VectorStore
    tenancy: Tenancy
    clock: Clock
    faults: IsolationFaults

    def _scope(self, identity: AgentIdentity | None) -> ReadScope:
        return ReadScope.of(identity, self.tenancy, self.clock.now())

    def _admit(self, scope: ReadScope, row: Row) -> bool:
        """Whether a row that the store answered passes the read rule.

        One that does not is a fault, counted and withheld: a store bug, a forgotten filter or a
        tampered row must not become a leak.
        """
        admitted = scope.admits(row.metadata)
        if not admitted:
            self.faults.record(row.id)
        return admitted

    def _scan(self, scope: ReadScope, criteria: Criteria = ANY) -> Iterator[Row]:
        """Every readable row, by ascending id."""
        require_criteria(criteria)
        return (row for row in self.store.scan(scope, criteria) if self._admit(scope, row))


def require_criteria(criteria: object) -> None:
    """Refuse a raw store filter in the place of criteria.

    Raises:
        InvalidInputError: ``criteria`` are not :class:`~tenantkb.domain.rows.Criteria`.
    """
    if not isinstance(criteria, Criteria):
        raise InvalidInputError("a filter is made of the fields of Criteria")
