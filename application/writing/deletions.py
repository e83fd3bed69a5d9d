"""Delete the rows of files that are gone, by the signals of a push: first plan, then apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from attrs import frozen

from tenantkb import schemas
from tenantkb.application.writing.base import batches
from tenantkb.application.writing.embed import PROBLEMS_KEPT
from tenantkb.domain.deletion import (
    DeletionPlan,
    DeletionSignals,
    ManifestSnapshot,
    RevisionBoundary,
    StoredFile,
    Tombstone,
    boundary_in_force,
    plan_deletions,
)
from tenantkb.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    InvalidSubmissionError,
    PlanOutdatedError,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Row
from tenantkb.domain.tenancy import Tenancy, WriteScope, parse_instant
from tenantkb.ports.clock import Clock
from tenantkb.ports.progress import Progress
from tenantkb.ports.revisions import DeletedPaths, RevisionLog
from tenantkb.ports.spool import Spool
from tenantkb.ports.store import VectorStore
from tenantkb.ports.telemetry import IsolationFaults


@frozen
class DeletionRequest:
    """What a client signals.

    Attributes:
        repo_slug: The repository that the signals are about.
        signals: A JSON object of the contract ``deletion-signals-v1``, not validated yet.
        pushed: The source paths whose content the client sends in the same push.
    """

    repo_slug: str
    signals: Mapping[str, Any]
    pushed: frozenset[str] = frozenset()


def signals_of(document: Mapping[str, Any], received_at: datetime) -> DeletionSignals:
    """The signals of a document of the contract ``deletion-signals-v1``.

    Args:
        document: A JSON object.
        received_at: Aware instant. A manifest is never taken to be younger than this, whatever it
            says.

    Raises:
        InvalidSubmissionError: the document does not fulfil the contract.
    """
    if problems := schemas.problems("deletion-signals-v1", 1, document):
        raise InvalidSubmissionError(
            f"the deletion signals are not valid (problems: {len(problems):,})",
            problems[:PROBLEMS_KEPT],
            len(problems),
        )
    snapshot, head = document.get("manifestSnapshot"), document.get("headRevision")
    manifest = None
    if snapshot is not None:
        claimed = snapshot.get("createdAt")
        made_at = received_at if claimed is None else min(parse_instant(claimed), received_at)
        paths = frozenset(snapshot["pathsAfterPush"])
        manifest = ManifestSnapshot(snapshot["repoSlug"], paths, made_at)
    return DeletionSignals(
        tombstones=tuple(
            Tombstone(item["repoSlug"], item["sourcePath"]) for item in document.get("deleted", ())
        ),
        manifest=manifest,
        boundary=None
        if head is None
        else RevisionBoundary(head=head, base=document.get("baseRevision")),
    )


@frozen(kw_only=True)
class DeletionUseCase:
    """Base of planning and applying: rows of the caller's own (tenant, repository), no others.

    Attributes:
        store: Where the rows lie.
        log: What is known of each repository.
        tenancy: The shared namespace.
        clock: For the expiry of identities, and the instant of a manifest that has none.
        faults: Counts rows that the store should not have answered.
    """

    store: VectorStore
    log: RevisionLog
    tenancy: Tenancy
    clock: Clock
    faults: IsolationFaults

    def _scan(self, scope: WriteScope, progress: Progress) -> Iterator[tuple[Row, StoredFile]]:
        """The rows of files that the scope covers.

        Any other row that the store answers is a fault of it. A row without a path, which an older
        system may have written, is of no file and so in no signal.
        """
        for row in self.store.scan(scope):
            path, instant = row.metadata.get("sourcePath"), row.metadata.get("ingestedAt")
            if not scope.covers(row.metadata):
                self.faults.record(row.id)
            elif isinstance(path, str):
                yield row, StoredFile(path, None if instant is None else parse_instant(instant))
            progress.advance()


@frozen(kw_only=True)
class PlanDeletions(DeletionUseCase):
    """Decide what goes and what stays. Nothing is written."""

    def __call__(
        self,
        identity: AgentIdentity | None,
        request: DeletionRequest,
        deleted_paths: DeletedPaths | None,
        progress: Progress,
    ) -> DeletionPlan:
        """Plan the deletions of one push.

        Args:
            identity: The authenticated caller.
            request: What the client signals.
            deleted_paths: The repository's history; needed for a boundary with a base.
            progress: Takes notice.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the identity may not write this repository.
            InvalidSubmissionError: the signals do not fulfil the contract.
            InvalidInputError: they are about another repository, or its history is needed and
                cannot be read.
            DeletionConflictError: they contradict each other, or what is pushed.
            ManifestRequiredError, ManifestOutdatedError: they do not follow what is known.
            StoreError: the store failed.
        """
        now = self.clock.now()
        scope = WriteScope.of(identity, self.tenancy, now, repo_slug=request.repo_slug)
        signals = signals_of(request.signals, now)
        known = self.log.known(scope.tenant_id, scope.repo_slug)
        deleted_between: frozenset[str] = frozenset()
        if (boundary := boundary_in_force(signals, known)) is not None:
            if deleted_paths is None or boundary.base is None:
                raise InvalidInputError(
                    "which paths were deleted between the revisions can only be told by the "
                    "repository's history, and none was given"
                )
            deleted_between = deleted_paths.between(boundary.base, boundary.head)
        progress.phase("Planning")
        return plan_deletions(
            scope.tenant_id,
            scope.repo_slug,
            signals,
            (file for _, file in self._scan(scope, progress)),
            known=known,
            deleted_between=deleted_between,
            pushed=request.pushed,
        )


@frozen(kw_only=True)
class ApplyDeletions(DeletionUseCase):
    """Carry out a plan.

    The head and the manifest are recorded last, so after an interruption at any point the same
    signals give a plan again, and applying that one finishes the job.

    Attributes:
        spool: Opens a scratch list of rows.
        batch_size: Rows deleted at a time.
    """

    spool: Callable[[], Spool]
    batch_size: int = 256

    def __call__(
        self, identity: AgentIdentity | None, plan: DeletionPlan, progress: Progress
    ) -> int:
        """Apply a plan to the rows that are stored now, and return how many were deleted.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the plan is not about the caller's tenant, or the caller may not
                write the repository; nothing was deleted.
            PlanOutdatedError: another push was applied since; what it recorded stands.
            StoreLockedError: another process is writing; nothing was deleted.
            StoreError: failed on the way.
        """
        scope = WriteScope.of(identity, self.tenancy, self.clock.now(), repo_slug=plan.repo_slug)
        if plan.tenant_id != scope.tenant_id:
            raise AccessDeniedError(f"{scope.tenant_id} may not delete rows of another tenant")
        expected = (plan.known, plan.known_after)
        if self.log.known(scope.tenant_id, scope.repo_slug) not in expected:
            raise PlanOutdatedError(
                f"another push of {plan.repo_slug} was applied after this plan was made; nothing "
                "was deleted, plan again"
            )
        deleted = 0
        with closing(self.spool()) as spool:
            progress.phase("Looking for rows to delete")
            for row, file in self._scan(scope, progress):
                if plan.rules.judge(file).deletes:
                    spool.add_stale(row.id)
            progress.phase("Deleting", spool.stale_count())
            for ids in batches(spool.stale(), self.batch_size):
                deleted += self.store.delete(scope, ids)
                progress.advance(len(ids))
        if not self.log.replace(scope.tenant_id, scope.repo_slug, expected, plan.known_after):
            raise PlanOutdatedError(
                f"another push of {plan.repo_slug} was applied while this one was; the head and "
                "the manifest of that one stand, plan again"
            )
        return deleted
