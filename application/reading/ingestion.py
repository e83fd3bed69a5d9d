"""Tell whoever has sent a push how far it has come."""

from __future__ import annotations

from attrs import frozen

from tenantkb.domain.context import TenantContext, require_context
from tenantkb.domain.errors import NotFoundError
from tenantkb.domain.ingestion import IngestionStatus
from tenantkb.domain.paths import is_well_formed
from tenantkb.ports.clock import Clock
from tenantkb.ports.state import State


@frozen
class GetIngestion:
    """The status of one ingestion.

    Attributes:
        state: What the installation remembers.
        clock: Tells whether the standing counts, and whether the ingestion has been silent.
    """

    state: State
    clock: Clock

    def __call__(self, context: TenantContext, ingestion_id: str) -> IngestionStatus:
        """The status of an ingestion that the caller has sent.

        Raises:
            AuthenticationError: no valid standing.
            NotFoundError: there is none of this id, or another identity's.
            StoreError: the state failed.
        """
        scope = require_context(context).reading()
        now = self.clock.now()
        scope.require_valid(now)
        found = None
        if isinstance(ingestion_id, str) and is_well_formed(ingestion_id):
            found = self.state.ingestion(scope.identity, ingestion_id)
        if found is None:
            raise NotFoundError("there is no ingestion of this id")
        return found.seen_at(now)
