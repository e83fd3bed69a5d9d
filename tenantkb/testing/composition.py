"""The application around a store: real adapters, a small embedder, a clock and callers by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, frozen
from dependency_injector import providers

from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    Settings,
    StoreSettings,
    SyncSettings,
    TenancySettings,
)
from tenantkb.adapters.container import Container
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.application.guard import GuardedStore
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.domain.context import TenantContext
from tenantkb.domain.extraction import Diagnostic
from tenantkb.domain.identity import AgentIdentity
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.engine import Engine
from tenantkb.ports.extraction import CreateHash, FileCache, Source, WriteStream
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.state import State
from tenantkb.testing.samples import NOW

CHUNKS = "chunks.jsonl"
"""The one file of a workspace, a chunk a line."""


@define
class TickingClock:
    """A clock that is a second later at each look."""

    instant: datetime = NOW
    _lock: threading.Lock = field(factory=threading.Lock, repr=False)

    def now(self) -> datetime:
        with self._lock:
            self.instant += timedelta(seconds=1)
            return self.instant


@frozen
class Directory:
    """An identity provider that knows whom a test has told it, by a credential.

    Attributes:
        callers: Whatever is taken for an identity, by credential.
    """

    callers: dict[str, Any] = field(factory=dict)

    def authenticate(
        self, credential: str | None = None, tenant_id: str | None = None
    ) -> AgentIdentity:
        caller: AgentIdentity = self.callers[credential or ""]
        return caller

    def credential(self, caller: Any) -> str:
        """A credential of a caller."""
        credential = str(len(self.callers))
        self.callers[credential] = caller
        return credential


@frozen
class _Lines:
    """A source that hands on whatever lines a file has."""

    file: Path

    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        lines = self.file.read_text("utf-8").splitlines(keepends=True)
        for line in lines:
            write_stream.write(line)
        return len(lines)


class LinesAlone:
    """Sources of workspaces that are one file of chunks."""

    def names(self) -> list[str]:
        return ["Lines"]

    def build(
        self,
        workspace_root: Path,
        report: Callable[[Diagnostic], None],
        progress: Progress = SILENT,
        cache: FileCache | None = None,
    ) -> Iterator[tuple[str, Source]]:
        yield "Lines", _Lines(workspace_root / CHUNKS)


@frozen
class Application:
    """A composed application, its parts at hand.

    Attributes:
        container: What it is composed by.
        engine: The store.
        embedder: What embeds.
        clock: By which everything happens.
    """

    container: Container
    engine: Engine
    embedder: Embedder
    clock: Clock
    _directory: Directory

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """The face."""
        face: KnowledgeBase = self.container.knowledge_base()
        return face

    @property
    def store(self) -> GuardedStore:
        """The engine behind the guard."""
        store: GuardedStore = self.container.store()
        return store

    @property
    def state(self) -> State:
        """What the installation remembers."""
        state: State = self.container.state()
        return state

    def context(self, caller: Any) -> TenantContext:
        """What a caller gets by authenticating.

        Args:
            caller: An identity; anything else is what a provider must never give.
        """
        return self.knowledge_base.authenticate(self._directory.credential(caller))


def compose(
    engine: Engine,
    folder: Path,
    *,
    state: State | None = None,
    embedder: Embedder | None = None,
    clock: Clock | None = None,
    batch_size: int = 4,
    lines_alone: bool = False,
    ids: Literal["content", "neo13"] = "content",
) -> Application:
    """An application around a store.

    Args:
        engine: The store.
        folder: For the state of an engine that keeps none.
        state: What the installation remembers; by default as the container decides.
        embedder: What embeds; by default one that knows words only.
        clock: By default one that is a second later at each look.
        batch_size: Rows written at a time: few, so that jobs have several batches.
        lines_alone: Whether a workspace is one file of chunks.
        ids: How ids are derived, see :class:`domain.ids.IdScheme`.
    """
    settings = Settings(
        store=StoreSettings(kind="memory", path=folder),
        embedder=EmbedderSettings(kind="hashing"),
        sync=SyncSettings(batch_size=batch_size),
        tenancy=TenancySettings(ids=ids),
    )
    container = Container(settings=settings)
    embedder, clock, directory = embedder or HashingEmbedder(), clock or TickingClock(), Directory()
    container.engine.override(providers.Object(engine))
    container.embedder.override(providers.Object(embedder))
    container.clock.override(providers.Object(clock))
    container.identities.override(providers.Object(directory))
    if state is not None:
        container.state.override(providers.Object(state))
    if lines_alone:
        container.sources.override(providers.Object(LinesAlone()))
    return Application(container, engine, embedder, clock, directory)
