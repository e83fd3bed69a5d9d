"""The application composed for tests: real adapters, a store in memory, a small embedder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from attrs import define, field
from dependency_injector import providers

from tenantkb.adapters.configuration.settings import EmbedderSettings, Settings, StoreSettings
from tenantkb.adapters.container import Container
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.application.writing.embed import EmbedReport, EmbedRequest
from tenantkb.application.writing.sync import SyncReport, SyncRequest
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import EmbedderError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.spoofing import SpoofMode
from tenantkb.domain.tenancy import Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import VectorStore
from tests.strategies import NOW

ADA = AgentIdentity("acme", "ada")
BOB = AgentIdentity("acme", "bob")
EVE = AgentIdentity("beta", "eve")
CURATOR = AgentIdentity("neo-shared", "cora", frozenset({Role.CURATOR}))


@define
class TickingClock:
    """A clock that is a second later at each look."""

    instant: datetime = NOW

    def now(self) -> datetime:
        self.instant += timedelta(seconds=1)
        return self.instant


@define
class CountingEmbedder:
    """Counts what it embeds, and fails when told to."""

    inner: HashingEmbedder = field(factory=HashingEmbedder)
    embedded: int = 0
    fail_after: int | None = None

    @property
    def profile(self) -> EmbedderProfile:
        return self.inner.profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self.fail_after is not None and self.embedded >= self.fail_after:
            raise EmbedderError("the service went away")
        self.embedded += len(texts)
        return self.inner.embed(texts)


class Silent:
    """Progress that nobody looks at."""

    def phase(self, name: str, total: int | None = None) -> None: ...

    def advance(self, steps: int = 1) -> None: ...


@define
class Application:
    """A composed application, its parts at hand."""

    container: Container
    store: VectorStore
    embedder: CountingEmbedder

    def sync(
        self,
        caller: AgentIdentity | None,
        workspace: Path,
        repo: str = "app",
        *,
        visibility: Visibility = Visibility.TEAM,
        dry_run: bool = False,
        deletable_share: float = 1.0,
    ) -> SyncReport:
        request = SyncRequest(
            workspace,
            repo,
            visibility=visibility,
            dry_run=dry_run,
            deletable_share=deletable_share,
        )
        return self.container.sync()(caller, request, Silent())

    def embed(
        self,
        caller: AgentIdentity | None,
        records: Iterable[object],
        repo: str = "app",
        *,
        visibility: Visibility = Visibility.TEAM,
        mode: SpoofMode | None = None,
    ) -> EmbedReport:
        """Submit records, numbered from 1."""
        request = EmbedRequest(repo, visibility=visibility, mode=mode)
        return self.container.embed()(caller, request, enumerate(records, 1), Silent())


def compose(folder: Path, store: VectorStore, batch_size: int = 4) -> Application:
    """An application around a store; its log lies in ``folder``."""
    settings = Settings(
        store=StoreSettings(kind="memory", path=folder),
        embedder=EmbedderSettings(kind="hashing"),
    )
    container = Container(settings=settings)
    embedder = CountingEmbedder()
    container.store.override(providers.Object(store))
    container.embedder.override(providers.Object(embedder))
    container.clock.override(providers.Singleton(TickingClock))
    container.sync.add_kwargs(batch_size=batch_size)
    container.embed.add_kwargs(batch_size=batch_size)
    return Application(container, store, embedder)
