"""Take chunks that a client has parsed: judge, stamp, compare, embed and write them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from attrs import frozen

from tenantkb.application.writing.base import Intake, batches, leased
from tenantkb.application.writing.judging import Judge, SubmissionUseCase
from tenantkb.domain.context import TenantContext, WriteScope, require_context
from tenantkb.domain.paths import RootKind
from tenantkb.domain.spoofing import SpoofMode
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Change, Refusal
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.spool import Spool


@frozen
class EmbedRequest:
    """Where a submission goes.

    Attributes:
        repo_slug: Repository under which its rows are stored, whatever the records claim.
        visibility: Who may read what is written, whatever the records claim.
        mode: What a spoof does; ``None`` for the installation's own mode. It is for whoever
            operates the transport to say, never for the records.
        root_kind: What the paths of records without a ``rootKind`` are relative to.
    """

    repo_slug: str
    visibility: Visibility = Visibility.TEAM
    mode: SpoofMode | None = None
    root_kind: RootKind = RootKind.NEO_WORKSPACE


@frozen
class EmbedReport:
    """What a submission changed.

    Attributes:
        added: Rows that were not stored.
        updated: Stored rows whose metadata or embedded text changed.
        unchanged: Stored rows that stay as they are.
        duplicates: Records left out because an earlier one has the same id.
        spoofs: Claims that the server's values replaced.
        refused: Chunks that the embedder refuses; all others are stored.
    """

    added: int
    updated: int
    unchanged: int
    duplicates: int
    spoofs: int
    refused: tuple[Refusal, ...] = ()


@frozen(kw_only=True)
class EmbedChunks(SubmissionUseCase):
    """Judge every record before the first is written; then write what the store does not hold.

    A record is a parsed chunk (contract ``parsed-chunk-v1``) or a line of ``tenantkb create``.
    Nothing is deleted but what a chunk was under another visibility of its writer, and what is
    stored is not embedded again, so a submission may be repeated: after an interruption the same
    one finishes the job.
    """

    def __call__(
        self,
        context: TenantContext,
        request: EmbedRequest,
        records: Iterable[tuple[int, object]],
        progress: Progress = SILENT,
    ) -> EmbedReport:
        """Take one submission, all of it that the embedder takes or nothing.

        Args:
            context: The caller's standing.
            request: Where the rows go.
            records: Each with its line number, from 1: a JSON value, or
                :class:`~domain.records.Unreadable`. Read once, never held.
            progress: Takes notice.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller may not write this repository.
            SpoofRejectedError: a record spoofs a field, and the mode or the writer's recent spoofs,
                this submission's included, forbid it; nothing was written.
            EmbeddingNotAllowedError: a record brings an embedding; nothing was written.
            InvalidSubmissionError: a record is not valid; nothing was written.
            StoreLockedError: another job for the repository goes on for too long; nothing was
                written.
            StoreMismatchError: the collection holds another embedder's vectors.
            EmbedderError, StoreError: failed on the way; the same call again goes on from there.
        """
        wanted = require_context(context).writing(request.repo_slug, request.visibility)
        scope = self.store.for_job(wanted, self.job_seconds)
        with closing(self.spool()) as spool:
            progress.phase("Checking")
            judge = Judge(Intake(spool, scope), scope.stamp(), request.root_kind)
            for line, record in records:
                self.count(scope, judge.take(line, record))
                progress.advance()
            self.require_acceptable(judge, scope, request.mode)
            with leased(self.state, scope, progress):
                self.store.bind(self.embedder.profile)
                progress.phase("Comparing with the store")
                self._compare_wanted(scope, spool, progress)
                refused = self._write(scope, spool, progress, stale=True).refused
                stored = sum(refusal.stored for refusal in refused)
                return EmbedReport(
                    added=spool.count(Change.ADDED) - (len(refused) - stored),
                    updated=spool.count(Change.REEMBEDDED) - stored + spool.count(Change.RESTAMPED),
                    unchanged=spool.count(Change.UNCHANGED),
                    duplicates=judge.intake.duplicates,
                    spoofs=judge.spoofed.total,
                    refused=refused,
                )

    def _compare_wanted(self, scope: WriteScope, spool: Spool, progress: Progress) -> None:
        """Mark every wanted row that is stored already with what has to happen to it."""
        for entries in batches(spool.entries(Change.ADDED), self.batch_size):
            keys = {key for entry in entries for key in (entry.key, entry.twin) if key is not None}
            for stored in self.store.get(scope, [key.id for key in keys]):
                if stored.key in keys:
                    self._compare(stored, spool)
            progress.advance(len(entries))
