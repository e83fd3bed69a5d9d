"""The one face of the application: what a transport binds to, and nothing below it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from attrs import field, frozen

from tenantkb.application.admission import Authenticate
from tenantkb.application.operating.backup import ExportBackup, RestoreBackup, TruncateCollection
from tenantkb.application.operating.diagnosis import Diagnose
from tenantkb.application.operating.migrate import Migrate
from tenantkb.application.operating.repair import RepairIndex
from tenantkb.application.reading.context import FillContext
from tenantkb.application.reading.document import GetDocument
from tenantkb.application.reading.documents import ListDocuments
from tenantkb.application.reading.hierarchy import ClassHierarchy
from tenantkb.application.reading.ingestion import GetIngestion
from tenantkb.application.reading.query import Query
from tenantkb.application.reading.search import Search
from tenantkb.application.reading.status import Status
from tenantkb.application.writing.create import Create
from tenantkb.application.writing.deletions import ApplyDeletions, PlanDeletions
from tenantkb.application.writing.embed import EmbedChunks
from tenantkb.application.writing.ingest import Ingest
from tenantkb.application.writing.sync import Sync


@frozen(kw_only=True)
class KnowledgeBase:
    """Everything that can be done, each as an attribute that is called like a method.

    A request begins with :attr:`authenticate`, which gives the caller's
    :class:`~domain.context.TenantContext`, and every other call that reaches rows takes that
    context first. All of it may be called from any number of threads; nothing is shared between two
    requests but the store, the state and the embedder, which are safe for that.

    It is a context manager: at its end, or by :meth:`close`, files, connections and locks are
    released.

    Attributes:
        authenticate: A credential to a context.
        query: The chunks that answer a question.
        search: The files that answer it, with their passages.
        context: The passages that answer it, as a text of so many tokens.
        get: One chunk by its id.
        list: The readable chunks, page by page.
        hierarchy: The classes of the readable repositories.
        status: Counts of readable rows, last synchronisations, spoofs.
        create: Extract a workspace to lines of JSON; touches no store.
        sync: Make the rows of a repository equal to its workspace.
        embed: Take chunks that were parsed elsewhere.
        ingest: Take a push: files, chunks that were parsed elsewhere, and what is gone.
        ingestion: How far such a push has come.
        plan_deletions: What deletion signals would delete.
        apply_deletions: Carry out such a plan.
        export: All rows to a backup, for an operator.
        restore: The rows of a backup, for an operator.
        truncate: Delete all rows, for an operator.
        migrate: Everything of another store, or of an earlier version, into this one, for an
            operator.
        repair: Make a lost or damaged index anew, for an operator.
        diagnose: Examine embedder and store.
    """

    authenticate: Authenticate
    query: Query
    search: Search
    context: FillContext
    get: GetDocument
    list: ListDocuments
    hierarchy: ClassHierarchy
    status: Status
    create: Create
    sync: Sync
    embed: EmbedChunks
    ingest: Ingest
    ingestion: GetIngestion
    plan_deletions: PlanDeletions
    apply_deletions: ApplyDeletions
    export: ExportBackup
    restore: RestoreBackup
    truncate: TruncateCollection
    migrate: Migrate
    repair: RepairIndex
    diagnose: Diagnose
    _close: Callable[[], None] = field(repr=False)

    def close(self) -> None:
        """Release files, connections and locks. May be called more than once."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
