"""Make the vector index anew: what remains when a crash or another program has damaged it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from tenantkb.application.embedding import embed_all
from tenantkb.application.operating.acts import Acts
from tenantkb.domain.context import OperatorScope, TenantContext
from tenantkb.domain.sync import Refusal
from tenantkb.ports.embedding import Embedder, Vectors
from tenantkb.ports.engine import RawRow
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.store import OperatingStore


@frozen
class RepairReport:
    """What a repair did.

    Attributes:
        rows: How many the index holds.
        refused: Those of them whose text the embedder refuses: only their words find them.
    """

    rows: int
    refused: tuple[Refusal, ...] = ()


@frozen(kw_only=True)
class RepairIndex:
    """Embed every row again whose vector is lost, into an index that is made anew.

    Rows keep their ids, stamps and texts. Nothing is lost on the way: after an interruption the
    same call finishes the job.

    Attributes:
        acts: Records what is done.
        store: The collection's rows.
        embedder: The one that the collection's vectors are from.
        job_seconds: See :class:`~application.writing.base.WriteUseCase`.
    """

    acts: Acts
    store: OperatingStore
    embedder: Embedder
    job_seconds: float = 3600.0

    def __call__(self, context: TenantContext, progress: Progress = SILENT) -> RepairReport:
        """Repair the index.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller is no operator.
            AuditError: see :meth:`~application.operating.acts.Acts.begin`.
            NotSupportedError: the store has no index apart from its rows.
            StoreMismatchError: the collection is another embedder's; nothing was changed.
            StoreLockedError: another process is writing; nothing was changed.
            EmbedderError, StoreError: failed on the way; the same call again finishes the job.
        """
        with self.acts.begin(context, "repair") as act:
            report = self._repair(act.scope, progress)
            act.result = {"rows": report.rows, "refused": len(report.refused)}
        return report

    def _repair(self, operator: OperatorScope, progress: Progress) -> RepairReport:
        scope = self.store.for_job(operator, self.job_seconds)
        profile = self.store.profile()
        if profile is None:
            return RepairReport(0)
        profile.require(self.embedder.profile)
        progress.phase("Making the index anew")
        repaired = 0
        refused: list[Refusal] = []
        for count in self.store.reindex(scope, vectors_by(self.embedder, refused.append)):
            progress.advance(count)
            repaired += count
        return RepairReport(repaired, tuple(refused))


def vectors_by(
    embedder: Embedder, report: Callable[[Refusal], object] = lambda _: None
) -> Callable[[Sequence[RawRow]], Vectors]:
    """What gives the vectors of stored rows, sound or not.

    Args:
        embedder: Embeds them; a row whose text it refuses gets zeros, see
            :func:`~application.embedding.embed_all`.
        report: Takes notice of such a row.
    """

    def vectors_of(rows: Sequence[RawRow]) -> Vectors:
        vectors, reasons = embed_all(embedder, [row.metadata for row in rows])
        for place, reason in sorted(reasons.items()):
            report(Refusal.of(rows[place].metadata, reason, stored=True))
        return vectors

    return vectors_of
