"""The application composed for tests, with an embedder that counts and callers of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import define, field, frozen

from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.application.writing.embed import EmbedReport, EmbedRequest
from tenantkb.application.writing.sync import SyncReport, SyncRequest
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import EmbedderError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.spoofing import SpoofMode
from tenantkb.domain.stamps import Visibility
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Embedder, Vectors
from tenantkb.ports.engine import Engine
from tenantkb.ports.state import State
from tenantkb.testing import composition
from tenantkb.testing.composition import TickingClock

ADA = AgentIdentity("acme", "ada")
BOB = AgentIdentity("acme", "bob")
EVE = AgentIdentity("beta", "eve")
CURATOR = AgentIdentity("neo-shared", "cora", frozenset({Role.CURATOR}))


@define
class CountingEmbedder:
    """Counts what it embeds, and fails when told to."""

    inner: Embedder = field(factory=HashingEmbedder)
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


@frozen
class Application(composition.Application):
    """A composed application whose embedder counts."""

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
        confirmed: bool = False,
        full: bool = False,
    ) -> SyncReport:
        request = SyncRequest(
            workspace,
            repo,
            visibility=visibility,
            dry_run=dry_run,
            deletable_share=deletable_share,
            confirmed=confirmed,
            full=full,
        )
        return self.knowledge_base.sync(self.context(caller), request)

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
        return self.knowledge_base.embed(self.context(caller), request, enumerate(records, 1))


def compose(
    folder: Path,
    engine: Engine,
    *,
    state: State | None = None,
    clock: Clock | None = None,
    batch_size: int = 4,
) -> Application:
    """An application around a store; its state lies in ``folder``, unless the store keeps it."""
    embedder, clock = CountingEmbedder(), clock or TickingClock()
    made = composition.compose(
        engine, folder, state=state, embedder=embedder, clock=clock, batch_size=batch_size
    )
    return Application(
        container=made.container,
        engine=engine,
        embedder=embedder,
        clock=clock,
        directory=made._directory,
    )
