"""Delete the rows of files that are gone, by the signals of a push: first plan, then apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from attrs import evolve, frozen

from tenantkb import schemas
from tenantkb.application.contracts import PROBLEMS_KEPT
from tenantkb.application.writing.base import delete_stale, leased
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext, WriteScope, require_context
from tenantkb.domain.deletion import (
    DeletionPlan,
    DeletionSignal,
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
    Remedy,
)
from tenantkb.domain.ids import RowKey
from tenantkb.domain.stamps import parse_instant
from tenantkb.domain.sync import require_deletable
from tenantkb.ports.history import DeletedPaths
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.state import State
from tenantkb.ports.store import WritingStore


@frozen
class DeletionRequest:
    """What a client signals.

    Attributes:
        repo_slug: The repository that the signals are about.
        signals: What is gone, see :func:`parse_signals`.
        pushed: The source paths whose content the client sends in the same push.
    """

    repo_slug: str
    signals: tuple[DeletionSignal, ...]
    pushed: frozenset[str] = frozenset()


def parse_signals(
    document: Mapping[str, Any], context: TenantContext
) -> tuple[DeletionSignal, ...]:
    """The signals of a JSON object of the contract ``deletion-signals-v1``.

    Args:
        document: The object, not validated yet.
        context: The standing of whoever sent it; a manifest that does not say when it was made was
            made when its sender was admitted.

    Raises:
        InvalidSubmissionError: the document does not fulfil the contract.
    """
    if problems := schemas.problems("deletion-signals-v1", 1, document):
        raise InvalidSubmissionError(
            f"the deletion signals are not valid (problems: {len(problems):,})",
            problems[:PROBLEMS_KEPT],
            len(problems),
        )
    signals: list[DeletionSignal] = [
        Tombstone(item[fields.REPO_SLUG], item[fields.SOURCE_PATH])
        for item in document.get("deleted", ())
    ]
    if (snapshot := document.get("manifestSnapshot")) is not None:
        claimed = snapshot.get("createdAt")
        made_at = context.admitted_at if claimed is None else parse_instant(claimed)
        paths = frozenset(snapshot["pathsAfterPush"])
        signals.append(ManifestSnapshot(snapshot[fields.REPO_SLUG], paths, made_at))
    if (head := document.get("headRevision")) is not None:
        signals.append(RevisionBoundary(head=head, base=document.get("baseRevision")))
    return tuple(signals)


@frozen(kw_only=True)
class PlanDeletions:
    """Decide what goes and what stays. Nothing is written.

    Attributes:
        store: Where the rows lie.
        state: What is known of each repository.
        job_seconds: See :class:`~application.writing.base.WriteUseCase`.
    """

    store: WritingStore
    state: State
    job_seconds: float = 3600.0

    def __call__(
        self,
        context: TenantContext,
        request: DeletionRequest,
        history: DeletedPaths | None = None,
        progress: Progress = SILENT,
    ) -> DeletionPlan:
        """Plan the deletions of one push.

        Args:
            context: The caller's standing.
            request: What the client signals.
            history: The repository's history; needed for a boundary with a base.
            progress: Takes notice.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller may not write this repository.
            InvalidInputError: the signals are about another repository, or its history is needed
                and cannot be read.
            DeletionConflictError: they contradict each other, or what is pushed.
            ManifestRequiredError, ManifestOutdatedError: they do not follow what is known.
            StoreError: the store failed.
        """
        wanted = require_context(context).writing(request.repo_slug)
        scope = self.store.for_job(wanted, self.job_seconds)
        signals = DeletionSignals(tuple(not_of_the_future(each, scope) for each in request.signals))
        known = self.state.known(scope.tenant_id, scope.repo_slug)
        deleted_between: frozenset[str] = frozenset()
        if (boundary := boundary_in_force(signals, known)) is not None:
            if history is None or boundary.base is None:
                raise InvalidInputError(
                    "which paths were deleted between the revisions can only be told by the "
                    "repository's history, and none was given"
                )
            deleted_between = history.between(boundary.base, boundary.head)
        progress.phase("Planning")
        return plan_deletions(
            scope.tenant_id,
            scope.repo_slug,
            signals,
            (file for _, file in _files(self.store, scope, progress)),
            known=known,
            deleted_between=deleted_between,
            pushed=request.pushed,
        )


@frozen(kw_only=True)
class ApplyDeletions:
    """Carry out a plan.

    The head and the manifest are recorded with the last deletion, so after an interruption at any
    point the same signals give a plan again, and applying that one finishes the job.

    Attributes:
        store: Where the rows lie.
        state: What is known of each repository.
        spool: Opens a scratch list of rows.
        batch_size: Rows deleted at a time.
        job_seconds: See :class:`~application.writing.base.WriteUseCase`.
    """

    store: WritingStore
    state: State
    spool: Callable[[], Spool]
    batch_size: int = 256
    job_seconds: float = 3600.0

    def __call__(
        self,
        context: TenantContext,
        plan: DeletionPlan,
        progress: Progress = SILENT,
        *,
        deletable_share: float = 0.5,
        confirmed: bool = False,
    ) -> int:
        """Apply a plan to the rows that are stored now, and return how many were deleted.

        Args:
            context: The caller's standing.
            plan: What :class:`PlanDeletions` gave.
            progress: Takes notice.
            deletable_share: Largest share, 0 to 1, of the stored rows that may be deleted unasked.
            confirmed: Whether any number of them may be.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the plan is not about the caller's tenant, or the caller may not
                write the repository; nothing was deleted.
            DeletionGuardError: too many rows would be deleted; nothing was.
            PlanOutdatedError: another push was applied since; what it recorded stands.
            StoreLockedError: another job for the repository goes on for too long; nothing was
                deleted.
            StoreError: failed on the way.
        """
        wanted = require_context(context).writing(plan.repo_slug)
        scope = self.store.for_job(wanted, self.job_seconds)
        if plan.tenant_id != scope.tenant_id:
            raise AccessDeniedError(f"{scope.tenant_id} may not delete rows of another tenant")
        with (
            leased(self.state, scope, progress),
            closing(self.spool()) as spool,
        ):
            known = self.state.known(scope.tenant_id, scope.repo_slug)
            if known.digest not in (plan.known_digest, plan.known_digest_after):
                raise outdated(plan.repo_slug)
            if (profile := self.store.profile()) is not None:
                self.store.bind(profile)  # what a killed deletion has left is made good
            progress.phase("Looking for rows to delete")
            stored = 0
            for key, file in _files(self.store, scope, progress):
                stored += 1
                if plan.rules.judge(file).deletes:
                    spool.add_stale(key)
            if not confirmed:
                manifest = plan.signals.manifest
                empty = manifest is not None and not manifest.paths
                stale = spool.stale_count()
                require_deletable(stale, stored, deletable_share, lists_nothing=empty)

            def record() -> None:
                after = known.after(plan.signals)
                if not self.state.replace_known(scope.tenant_id, scope.repo_slug, known, after):
                    raise outdated(plan.repo_slug)

            return delete_stale(self.store, scope, spool, self.batch_size, progress, record)


def _files(
    store: WritingStore, scope: WriteScope, progress: Progress
) -> Iterator[tuple[RowKey, StoredFile]]:
    """The rows that the scope admits, as much of each as a plan needs."""
    for row in store.scan(scope):
        yield row.key, StoredFile(row.path.source_path, row.stamp.ingested_at)
        progress.advance()


def not_of_the_future(signal: DeletionSignal, scope: WriteScope) -> DeletionSignal:
    """A manifest is never taken to be younger than the request that brings it, whatever it says."""
    if isinstance(signal, ManifestSnapshot) and signal.made_at > scope.admitted_at:
        return evolve(signal, made_at=scope.admitted_at)
    return signal


def outdated(repo_slug: str) -> PlanOutdatedError:
    """What is raised where another push has recorded its head or manifest meanwhile."""
    return PlanOutdatedError(
        f"another push of {repo_slug} was applied after this plan was made; its head and "
        "manifest stand, plan again",
        remedy=Remedy.PLAN_AGAIN,
    )
