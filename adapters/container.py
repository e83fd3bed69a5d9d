"""The composition root: which adapter serves which port is decided here and nowhere else.

Every provider gives one object for all threads. To swap a part in a test, override its provider:
``container.engine.override(providers.Object(MemoryEngine()))``. What is overridden is the engine,
never the store: that one is always the engine behind its guard.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from attrs import evolve

from tenantkb.adapters.configuration.loading import load
from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    IdentitySettings,
    IngestSettings,
    Settings,
    WorkspaceSettings,
    files_path,
    state_path,
)
from tenantkb.adapters.embedders.registry import DeferredEmbedder, load_embedder
from tenantkb.adapters.files.backups import LocalBackupFiles
from tenantkb.adapters.runtime.clock import SystemClock
from tenantkb.adapters.runtime.code_mark import code_mark
from tenantkb.adapters.runtime.imports import unimportable
from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults, LoggedSpoofs
from tenantkb.adapters.state.spool import SqliteSpool
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.application.admission import Authenticate
from tenantkb.application.guard import GuardedStore
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.operating.acts import Acts
from tenantkb.application.operating.backup import ExportBackup, RestoreBackup, TruncateCollection
from tenantkb.application.operating.diagnosis import Diagnose
from tenantkb.application.operating.migrate import Migrate
from tenantkb.application.operating.repair import RepairIndex, vectors_by
from tenantkb.application.reading.context import FillContext
from tenantkb.application.reading.document import GetDocument
from tenantkb.application.reading.documents import ListDocuments
from tenantkb.application.reading.hierarchy import ClassHierarchy
from tenantkb.application.reading.ingestion import GetIngestion
from tenantkb.application.reading.query import Query
from tenantkb.application.reading.ranking import Ranking
from tenantkb.application.reading.search import Search
from tenantkb.application.reading.status import Status
from tenantkb.application.writing.create import Create
from tenantkb.application.writing.deletions import ApplyDeletions, PlanDeletions
from tenantkb.application.writing.embed import EmbedChunks
from tenantkb.application.writing.ingest import Ingest
from tenantkb.application.writing.sync import Sync
from tenantkb.domain.errors import (
    AuditError,
    ConfigurationError,
    InvalidInputError,
    Remedy,
    StoreMismatchError,
)
from tenantkb.domain.extraction import Diagnostic
from tenantkb.domain.identity import Role
from tenantkb.domain.spoofing import SpoofLimit, SpoofMode
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.ports.audit import AuditLog
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.engine import Engine, Transactional
from tenantkb.ports.extraction import (
    ChunkRecord,
    FileCache,
    FileCaches,
    ParseJob,
    Source,
)
from tenantkb.ports.identity import IdentityProvider
from tenantkb.ports.migration import MigrationSource
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.state import State

if TYPE_CHECKING:
    from tenantkb.adapters.sources.registry import WorkspaceSources

# What the library would only look at takes longer to import than all else together.
with unimportable("fastapi", "pydantic", "pydantic_settings", "starlette", "werkzeug", "yaml"):
    from dependency_injector import containers, providers


UNFINISHED: Final = "migration.unfinished"
"""A file in the folder of a store that not everything has been moved to yet."""


def open_knowledge_base(
    settings: Settings | None = None, *, config: Path | None = None, migrating: bool = False
) -> KnowledgeBase:
    """Open the knowledge base that the settings describe. Nothing is opened before it is used.

    Args:
        settings: The settings; by default those of the environment and of the configuration file in
            the current folder, as for the command line.
        config: A configuration file instead of that one.
        migrating: Whether a store of version 0.1.0 may lie in the folder of the store.

    Raises:
        ConfigurationError: the settings are not valid.
        StoreMismatchError: a store of version 0.1.0 lies there, and is not migrated yet.
    """
    settings = settings or load(os.environ, Path.cwd(), config)
    if not migrating:
        _require_migrated(settings)
    container = Container(settings=settings)
    knowledge_base: KnowledgeBase = container.knowledge_base()
    return knowledge_base


def _require_migrated(settings: Settings) -> None:
    """Version 0.1.0 kept an embedded Chroma where the file of this version lies.

    A migration that was broken off leaves a part of the rows, which a synchronisation would take
    for all of them.
    """
    folder = settings.store.path
    if (folder / UNFINISHED).exists():
        raise StoreMismatchError(
            f"a migration into {folder} was broken off; the same command finishes it",
            remedy=Remedy.MIGRATE_STORE,
        )
    earlier = settings.store.kind == "sqlite" and (folder / "chroma.sqlite3").exists()
    if earlier and not (folder / "store.sqlite3").exists():
        raise StoreMismatchError(
            f"{folder} holds a store of version 0.1.0, in Chroma's files, which only a migration "
            f"from chroma:{folder} reads",
            remedy=Remedy.MIGRATE_STORE,
        )


@contextmanager
def migration(settings: Settings) -> Iterator[None]:
    """Mark the store of the settings as one that is being filled, until that is done."""
    mark = settings.store.path / UNFINISHED
    is_first = not mark.exists()
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.touch(mode=0o600)
    try:
        yield
    except AuditError:  # it has not begun, or is done
        if is_first:
            mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def sources_of(settings: Settings, workspace: WorkspaceSettings | None = None) -> WorkspaceSources:
    """The sources that read a workspace.

    Args:
        settings: Those of the installation.
        workspace: How this workspace is read; by default as the installation's settings say.

    Raises:
        ConfigurationError: a name is taken.
    """
    from tenantkb.adapters.parsers.pool import Limits
    from tenantkb.adapters.sources.registry import WorkspaceSources

    return WorkspaceSources(
        workspace or settings,
        import_path=settings.import_path,
        workers=settings.workers,
        limits=Limits(settings.parse_seconds, settings.parse_bytes),
    )


def open_source(address: str, settings: Settings, target: Settings) -> MigrationSource:
    """The store that a migration takes everything from.

    Args:
        address: ``KIND``, ``KIND:FOLDER`` or ``chroma-http:HOST:PORT``; what it leaves open is as
            the settings say.
        settings: Those of the installation.
        target: Those of the store that everything is moved to.

    Raises:
        InvalidInputError: the address has another form, or is that store.
        ConfigurationError: there is no such kind of store.
    """
    from tenantkb.adapters.stores.migration import open_source, store_at

    there = store_at(address, settings.store)
    if there == target.store:
        raise InvalidInputError(f"{address} is the store that everything would be moved to")
    return open_source(there)


def with_store(address: str, settings: Settings) -> Settings:
    """The settings with the store at an address, see :func:`open_source`."""
    from tenantkb.adapters.stores.migration import store_at

    return evolve(settings, store=store_at(address, settings.store))


class _DeferredSources:
    """The installation's sources and parsers, which are looked for when something is extracted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def names(self) -> list[str]:
        return sources_of(self._settings).names()

    def build(
        self,
        workspace_root: Path,
        report: Callable[[Diagnostic], None],
        progress: Progress = SILENT,
        cache: FileCache | None = None,
    ) -> Iterator[tuple[str, Source]]:
        return sources_of(self._settings).build(workspace_root, report, progress, cache)

    def parse(
        self, files: Iterable[ParseJob], report: Callable[[Diagnostic], None]
    ) -> Iterator[tuple[str, list[ChunkRecord]]]:
        return sources_of(self._settings).parse(files, report)


def _deferred(settings: EmbedderSettings) -> Embedder:
    return DeferredEmbedder(lambda: load_embedder(settings))


def _identities(
    settings: IdentitySettings, namespace: SharedNamespace, clock: Clock
) -> IdentityProvider:
    if settings.kind == "token":
        from tenantkb.adapters.identity.signed_token import SignedTokenIdentityProvider

        if settings.tenant is not None or settings.agent is not None or settings.roles:
            raise ConfigurationError(
                "with identity.kind token, the token tells tenant, agent and roles"
            )
        if settings.keys is None or settings.issuer is None or settings.audience is None:
            raise ConfigurationError(
                "identity.kind token needs identity.keys, .issuer and .audience"
            )
        return SignedTokenIdentityProvider(
            clock,
            keys=settings.keys,
            issuer=settings.issuer,
            audience=settings.audience,
            algorithm=settings.algorithm,
            tenant_claim=settings.tenant_claim,
            roles_claim=settings.roles_claim,
            leeway=timedelta(seconds=settings.leeway),
        )
    from tenantkb.adapters.identity.static import StaticIdentityProvider

    return StaticIdentityProvider(
        namespace, settings.tenant, settings.agent, frozenset(map(Role, settings.roles))
    )


def _state(engine: Engine, settings: Settings) -> State:
    """The engine itself, where it keeps the state; else a file, or memory for rows in memory."""
    if isinstance(engine, Transactional):
        return cast(State, engine)
    from tenantkb.adapters.state.sqlite import MemoryState, SqliteState

    if settings.store.kind == "memory" and settings.state.path is None:
        return MemoryState(wait=settings.store.wait)
    path = state_path(settings.store, settings.state.path)
    return SqliteState(path, wait=settings.store.wait)


def _audit_log(settings: Settings) -> AuditLog:
    """A file beside the state, unless the settings name another; memory for rows in memory."""
    from tenantkb.adapters.state.audit import JsonLinesAuditLog, MemoryAuditLog

    path, state = settings.audit.path, settings.state.path
    if path is None and state is None and settings.store.kind == "memory":
        return MemoryAuditLog()
    return JsonLinesAuditLog(path or state_path(settings.store, state).with_name("audit.jsonl"))


def _caches(settings: Settings) -> FileCaches:
    from tenantkb.adapters.state.file_caches import LocalFileCaches

    return LocalFileCaches(files_path(settings.store, settings.state.path), settings.cache_bytes)


def _spoof_limit(settings: IngestSettings) -> SpoofLimit:
    return SpoofLimit(settings.spoof_threshold, timedelta(seconds=settings.spoof_window))


def _closer(engine: Engine, state: State) -> Callable[[], None]:
    def close() -> None:
        try:
            state.close()
        finally:
            engine.close()

    return close


class Container(containers.DeclarativeContainer):
    """The parts of the application, each built once, when it is first asked for."""

    settings = providers.Dependency(instance_of=Settings)

    clock = providers.ThreadSafeSingleton(SystemClock)
    faults = providers.ThreadSafeSingleton(LoggedIsolationFaults)
    telemetry = providers.ThreadSafeSingleton(LoggedSpoofs)
    namespace = providers.ThreadSafeSingleton(
        SharedNamespace,
        tenant_id=settings.provided.tenancy.shared_tenant,
        repo_slug=settings.provided.tenancy.shared_repo,
        ids=settings.provided.tenancy.ids,
    )
    identities = providers.ThreadSafeSingleton(
        _identities, settings.provided.identity, namespace, clock
    )
    engine = providers.ThreadSafeSingleton(
        open_engine, settings.provided.store, settings.provided.state
    )
    state = providers.ThreadSafeSingleton(_state, engine, settings)
    embedder = providers.ThreadSafeSingleton(_deferred, settings.provided.embedder)
    store = providers.ThreadSafeSingleton(
        GuardedStore,
        engine,
        clock,
        faults,
        namespace,
        providers.Factory(vectors_by, embedder),
        state,
    )
    sources = providers.ThreadSafeSingleton(_DeferredSources, settings)
    parser = providers.ThreadSafeSingleton(_DeferredSources, settings)
    caches = providers.ThreadSafeSingleton(_caches, settings)
    spoof_limit = providers.ThreadSafeSingleton(_spoof_limit, settings.provided.ingest)
    files = providers.ThreadSafeSingleton(LocalBackupFiles)
    spool = providers.Object(SqliteSpool)
    collection = settings.provided.store.collection
    batch_size = settings.provided.sync.batch_size
    job_seconds = settings.provided.jobs.max_seconds
    spoof_mode = providers.Factory(SpoofMode, settings.provided.ingest.spoof_mode)
    per_file = settings.provided.retrieval.per_file
    audit = providers.ThreadSafeSingleton(_audit_log, settings)
    acts = providers.ThreadSafeSingleton(Acts, audit, clock, collection)
    ranking = providers.ThreadSafeSingleton(
        Ranking, store, embedder, settings.provided.retrieval.vector_weight
    )

    knowledge_base = providers.ThreadSafeSingleton(
        KnowledgeBase,
        authenticate=providers.Factory(Authenticate, identities, namespace, clock),
        query=providers.Factory(Query, ranking, per_file),
        search=providers.Factory(Search, ranking, per_file),
        context=providers.Factory(FillContext, ranking, per_file),
        get=providers.Factory(GetDocument, store),
        list=providers.Factory(ListDocuments, store),
        hierarchy=providers.Factory(ClassHierarchy, store),
        status=providers.Factory(Status, store, embedder, state, spoof_limit, faults),
        create=providers.Factory(Create, sources, namespace, caches),
        sync=providers.Factory(
            Sync,
            store=store,
            embedder=embedder,
            state=state,
            spool=spool,
            sources=sources,
            clock=clock,
            caches=caches,
            code_mark=providers.Object(code_mark),
            batch_size=batch_size,
            job_seconds=job_seconds,
        ),
        embed=providers.Factory(
            EmbedChunks,
            store=store,
            embedder=embedder,
            state=state,
            spool=spool,
            telemetry=telemetry,
            spoof_limit=spoof_limit,
            mode=spoof_mode,
            batch_size=batch_size,
            job_seconds=job_seconds,
        ),
        ingest=providers.Factory(
            Ingest,
            store=store,
            embedder=embedder,
            state=state,
            spool=spool,
            telemetry=telemetry,
            spoof_limit=spoof_limit,
            mode=spoof_mode,
            parser=parser,
            clock=clock,
            deletable_share=settings.provided.sync.deletable_share,
            batch_size=batch_size,
            job_seconds=job_seconds,
        ),
        ingestion=providers.Factory(GetIngestion, state, clock),
        plan_deletions=providers.Factory(
            PlanDeletions, store=store, state=state, job_seconds=job_seconds
        ),
        apply_deletions=providers.Factory(
            ApplyDeletions,
            store=store,
            state=state,
            spool=spool,
            batch_size=batch_size,
            job_seconds=job_seconds,
        ),
        export=providers.Factory(
            ExportBackup,
            acts=acts,
            store=store,
            files=files,
            embedder=embedder,
            job_seconds=job_seconds,
        ),
        restore=providers.Factory(
            RestoreBackup,
            acts=acts,
            store=store,
            files=files,
            embedder=embedder,
            spool=spool,
            collection=collection,
            batch_size=batch_size,
            job_seconds=job_seconds,
        ),
        truncate=providers.Factory(
            TruncateCollection, acts=acts, store=store, collection=collection
        ),
        migrate=providers.Factory(
            Migrate,
            acts=acts,
            store=store,
            embedder=embedder,
            state=state,
            batch_size=batch_size,
            job_seconds=job_seconds,
        ),
        repair=providers.Factory(
            RepairIndex, acts=acts, store=store, embedder=embedder, job_seconds=job_seconds
        ),
        diagnose=providers.Factory(Diagnose, store=store, embedder=embedder, collection=collection),
        close=providers.Factory(_closer, engine, state),
    )
