"""Make the vector index anew: what remains when a crash or another program has damaged it."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from tenantkb.application.operating.base import OperatorUseCase
from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Row
from tenantkb.ports.embedding import Embedder, Vectors
from tenantkb.ports.progress import Progress


@frozen(kw_only=True)
class RepairIndex(OperatorUseCase):
    """Embed every row again, into an index that is made anew.

    Rows keep their ids, stamps and texts. Nothing is lost on the way: after an interruption the
    same call finishes the job.

    Attributes:
        embedder: The one that the collection's vectors are from.
    """

    embedder: Embedder

    def __call__(self, identity: AgentIdentity | None, progress: Progress) -> int:
        """Repair the index; returns how many rows there are.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the identity is no operator.
            StoreMismatchError: the collection is another embedder's; nothing was changed.
            StoreLockedError: another process is writing; nothing was changed.
            EmbedderError, StoreError: failed on the way; the same call again finishes the job.
        """
        scope = self._scope(identity)
        profile = self.store.profile()
        if profile is None:
            return 0
        profile.require(self.embedder.profile)
        progress.phase("Embedding every row again")
        repaired = 0
        for count in self.store.reindex(scope, self._embed):
            progress.advance(count)
            repaired += count
        return repaired

    def _embed(self, rows: Sequence[Row]) -> Vectors:
        return self.embedder.embed([embedding_text(row.metadata) for row in rows])
