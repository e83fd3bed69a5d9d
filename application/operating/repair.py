"""Make the vector index anew: what remains when a crash or another program has damaged it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from tenantkb.domain.context import TenantContext, require_context
from tenantkb.domain.embedding import embedding_text
from tenantkb.ports.embedding import Embedder, Vectors
from tenantkb.ports.engine import RawRow
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.store import OperatingStore


@frozen(kw_only=True)
class RepairIndex:
    """Embed every row again whose vector is lost, into an index that is made anew.

    Rows keep their ids, stamps and texts. Nothing is lost on the way: after an interruption the
    same call finishes the job.

    Attributes:
        store: The collection's rows.
        embedder: The one that the collection's vectors are from.
        job_seconds: See :class:`~application.writing.base.WriteUseCase`.
    """

    store: OperatingStore
    embedder: Embedder
    job_seconds: float = 3600.0

    def __call__(self, context: TenantContext, progress: Progress = SILENT) -> int:
        """Repair the index; returns how many rows it holds.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller is no operator.
            NotSupportedError: the store has no index apart from its rows.
            StoreMismatchError: the collection is another embedder's; nothing was changed.
            StoreLockedError: another process is writing; nothing was changed.
            EmbedderError, StoreError: failed on the way; the same call again finishes the job.
        """
        scope = self.store.for_job(require_context(context).operating(), self.job_seconds)
        profile = self.store.profile()
        if profile is None:
            return 0
        profile.require(self.embedder.profile)
        progress.phase("Making the index anew")
        repaired = 0
        for count in self.store.reindex(scope, vectors_by(self.embedder)):
            progress.advance(count)
            repaired += count
        return repaired


def vectors_by(embedder: Embedder) -> Callable[[Sequence[RawRow]], Vectors]:
    """What gives the vectors of stored rows, sound or not."""

    def vectors_of(rows: Sequence[RawRow]) -> Vectors:
        return embedder.embed([embedding_text(row.metadata) for row in rows])

    return vectors_of
