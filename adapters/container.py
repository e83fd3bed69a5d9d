"""The composition root: which adapter serves which port is decided here and nowhere else.

To swap an adapter in a test, override its provider: ``container.store.override(MemoryStore())``.
Adapters are imported when they are built, so that a command loads only what it uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from dependency_injector import containers, providers

from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    IdentitySettings,
    IngestSettings,
    Settings,
    StoreSettings,
)
from tenantkb.adapters.files.backups import LocalBackupFiles
from tenantkb.adapters.identity.static import StaticIdentityProvider
from tenantkb.adapters.runtime.clock import SystemClock
from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults, LoggedSpoofs
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.adapters.state.revisions import SqliteRevisionLog
from tenantkb.adapters.state.spool import SqliteSpool
from tenantkb.adapters.state.synclog import SqliteSyncLog
from tenantkb.application.operating.backup import ExportBackup, ImportBackup, TruncateCollection
from tenantkb.application.operating.repair import RepairIndex
from tenantkb.application.reading.document import GetDocument
from tenantkb.application.reading.documents import ListDocuments
from tenantkb.application.reading.hierarchy import ClassHierarchy
from tenantkb.application.reading.query import Query
from tenantkb.application.reading.search import Search
from tenantkb.application.reading.status import Status
from tenantkb.application.writing.deletions import ApplyDeletions, PlanDeletions
from tenantkb.application.writing.embed import EmbedChunks
from tenantkb.application.writing.sync import Sync
from tenantkb.domain.errors import ConfigurationError
from tenantkb.domain.identity import Role
from tenantkb.domain.spoofing import SpoofLimit, SpoofMode
from tenantkb.domain.tenancy import Tenancy
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.identity import IdentityProvider
from tenantkb.ports.store import VectorStore


def _open_store(settings: StoreSettings) -> Iterator[VectorStore]:
    store = _store(settings)
    try:
        yield store
    finally:
        store.close()


def _store(settings: StoreSettings) -> VectorStore:
    if settings.kind == "memory":
        from tenantkb.adapters.stores.memory import MemoryStore

        return MemoryStore()
    from tenantkb.adapters.stores.chroma import ChromaStore

    if settings.kind == "chroma-http":
        return ChromaStore.at_server(
            settings.host,
            settings.port,
            ssl=settings.ssl,
            headers={"Authorization": f"Bearer {settings.token}"} if settings.token else None,
            collection=settings.collection,
        )
    return ChromaStore.at_path(settings.path, collection=settings.collection)


def _embedder(settings: EmbedderSettings) -> Embedder:
    if settings.kind == "hashing":
        from tenantkb.adapters.embedders.hashing import HashingEmbedder

        return HashingEmbedder(settings.dimension or 64)
    if settings.kind == "minilm":
        from tenantkb.adapters.embedders.minilm import MiniLmEmbedder

        return MiniLmEmbedder()
    if settings.kind == "openai":
        from tenantkb.adapters.embedders.openai import OpenAIEmbedder

        if settings.model is None or settings.dimension is None:
            raise ConfigurationError("the openai embedder needs embedder.model and .dimension")
        return OpenAIEmbedder(
            model=settings.model,
            dimension=settings.dimension,
            base_url=settings.base_url,
            api_key=settings.api_key,
            window_characters=settings.window_characters,
            timeout_seconds=settings.timeout,
        )
    from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder

    return WordLlamaEmbedder()


def _identity(settings: IdentitySettings, tenancy: Tenancy, clock: Clock) -> IdentityProvider:
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
    return StaticIdentityProvider(
        tenancy, settings.tenant, settings.agent, frozenset(map(Role, settings.roles))
    )


def _log(store_path: Path) -> SqliteSyncLog:
    return SqliteSyncLog(store_path / "tenantkb.sqlite3")


def _revisions(store_path: Path) -> SqliteRevisionLog:
    return SqliteRevisionLog(store_path / "tenantkb.sqlite3")


def _spoofs(settings: IngestSettings) -> LoggedSpoofs:
    return LoggedSpoofs(
        SpoofLimit(settings.spoof_threshold, timedelta(seconds=settings.spoof_window))
    )


class Container(containers.DeclarativeContainer):
    """Everything a transport needs, built on demand from the settings."""

    settings = providers.Dependency(instance_of=Settings)

    clock = providers.Singleton(SystemClock)
    faults = providers.Singleton(LoggedIsolationFaults)
    spoofs = providers.Singleton(_spoofs, settings.provided.ingest)
    tenancy = providers.Singleton(
        Tenancy,
        shared_tenant=settings.provided.tenancy.shared_tenant,
        shared_repo=settings.provided.tenancy.shared_repo,
    )
    identity = providers.Factory(
        _identity, settings=settings.provided.identity, tenancy=tenancy, clock=clock
    )
    store = providers.Resource(_open_store, settings.provided.store)
    embedder = providers.Singleton(_embedder, settings.provided.embedder)
    log = providers.Singleton(_log, settings.provided.store.path)
    revisions = providers.Singleton(_revisions, settings.provided.store.path)
    registry = providers.Factory(
        WorkspaceSources,
        settings=settings,
        import_path=settings.provided.import_path,
        workers=settings.provided.workers,
    )

    sync = providers.Factory(
        Sync,
        registry=registry,
        store=store,
        embedder=embedder,
        spool=providers.Object(SqliteSpool),
        log=log,
        faults=faults,
        tenancy=tenancy,
        clock=clock,
        batch_size=settings.provided.sync.batch_size,
    )
    embed = providers.Factory(
        EmbedChunks,
        store=store,
        embedder=embedder,
        spool=providers.Object(SqliteSpool),
        spoofs=spoofs,
        tenancy=tenancy,
        clock=clock,
        batch_size=settings.provided.sync.batch_size,
        mode=providers.Callable(SpoofMode, settings.provided.ingest.spoof_mode),
    )
    plan_deletions = providers.Factory(
        PlanDeletions, store=store, log=revisions, tenancy=tenancy, clock=clock, faults=faults
    )
    apply_deletions = providers.Factory(
        ApplyDeletions,
        store=store,
        log=revisions,
        tenancy=tenancy,
        clock=clock,
        faults=faults,
        spool=providers.Object(SqliteSpool),
        batch_size=settings.provided.sync.batch_size,
    )
    export_backup = providers.Factory(
        ExportBackup,
        store=store,
        tenancy=tenancy,
        clock=clock,
        files=providers.Object(LocalBackupFiles()),
        embedder=embedder,
    )
    import_backup = providers.Factory(
        ImportBackup,
        store=store,
        tenancy=tenancy,
        clock=clock,
        files=providers.Object(LocalBackupFiles()),
        embedder=embedder,
        spool=providers.Object(SqliteSpool),
        collection=settings.provided.store.collection,
        batch_size=settings.provided.sync.batch_size,
    )
    truncate_collection = providers.Factory(
        TruncateCollection,
        store=store,
        tenancy=tenancy,
        clock=clock,
        collection=settings.provided.store.collection,
    )
    repair_index = providers.Factory(
        RepairIndex, store=store, embedder=embedder, tenancy=tenancy, clock=clock
    )
    query = providers.Factory(Query, store, tenancy, clock, faults, embedder)
    search = providers.Factory(Search, store, tenancy, clock, faults, embedder)
    list_documents = providers.Factory(ListDocuments, store, tenancy, clock, faults)
    get_document = providers.Factory(GetDocument, store, tenancy, clock, faults)
    class_hierarchy = providers.Factory(ClassHierarchy, store, tenancy, clock, faults)
    status = providers.Factory(Status, store, tenancy, clock, faults, embedder, log, spoofs)
