"""An application with many tenants' rows in one store, and the model of what is in it."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import attrs
import numpy as np
from attrs import define, field

from tenantkb.application.guard import GuardedStore
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.operating.backup import RestoreMode, RestoreReport, RestoreRequest
from tenantkb.application.writing.deletions import DeletionRequest, parse_signals
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.application.writing.ingest import IngestReport, IngestRequest
from tenantkb.application.writing.sync import SyncRequest
from tenantkb.domain.backup import Adoption
from tenantkb.domain.context import TenantContext
from tenantkb.domain.deletion import DeletionPlan
from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.errors import DeletionGuardError, TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.rows import read_row
from tenantkb.domain.stamps import Visibility
from tenantkb.ports.engine import Engine, RawRow, Vector
from tenantkb.ports.state import State
from tenantkb.testing.composition import CHUNKS, Application, compose
from tenantkb.testing.fail_closed.facades import Reader, Request, plain, refusal
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import (
    ADA,
    BOB,
    CORA,
    CORPUS,
    EVE,
    OPA,
    Chunk,
    Model,
    Planted,
    chunk,
    fingerprint_of,
)
from tenantkb.testing.fixtures import Behind, Stored

_ID = re.compile(r"(?=([0-9a-f]{64}))")
_SECRET = re.compile(r"secret-[^.]*\.")

COLLECTION = "knowledge-base"
"""The name that a truncation has to repeat."""


@define
class World:
    """See the module's docstring.

    Attributes:
        app: The application.
        behind: Reads and writes behind its back.
        folder: For workspaces.
        model: What has to be in the store.
    """

    app: Application
    behind: Behind
    folder: Path
    model: Model = field(factory=Model)

    @classmethod
    def around(
        cls, engine: Engine, behind: Behind, folder: Path, *, state: State | None = None
    ) -> Self:
        """An application around an empty store."""
        folder.mkdir(parents=True)
        app = compose(engine, folder / "state", state=state, lines_alone=True)
        return cls(app, behind, folder)

    def through(self, engine: Engine) -> Self:
        """The same world, reached through another engine: one around its own, as a rule."""
        app = compose(
            engine,
            self.folder / "state",
            state=self.app.state,
            embedder=self.app.embedder,
            clock=self.app.clock,
            lines_alone=True,
        )
        return attrs.evolve(self, app=app)

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """Everything that can be done."""
        return self.app.knowledge_base

    @property
    def store(self) -> GuardedStore:
        """The engine behind the guard."""
        return self.app.store

    def stored(self) -> Stored:
        """Every row there is, read behind the application's back."""
        return self.behind.stored()

    def context(self, who: Any) -> TenantContext:
        """What somebody gets by authenticating."""
        return self.app.context(who)

    def sync(
        self, who: AgentIdentity, repo: str, chunks: Iterable[Chunk], *, private: bool = False
    ) -> None:
        """Synchronise a workspace of these chunks."""
        written = list(chunks)
        request = SyncRequest(
            self.workspace(written),
            repo,
            visibility=visibility_of(private=private),
            confirmed=True,
        )
        report = self.knowledge_base.sync(self.context(who), request)
        assert report.extraction.is_complete, report.extraction.diagnostics
        self.model.sync(who, repo, private, written)

    def embed(
        self, who: AgentIdentity, repo: str, chunks: Iterable[Chunk], *, private: bool = False
    ) -> None:
        """Submit these chunks."""
        written = list(chunks)
        request = EmbedRequest(repo, visibility=visibility_of(private=private))
        self.knowledge_base.embed(self.context(who), request, enumerate(written, 1))
        self.model.write(who, repo, private, written)

    def write(
        self,
        writer: str,
        who: AgentIdentity,
        repo: str,
        chunks: Iterable[Chunk],
        *,
        private: bool = False,
    ) -> None:
        """Write chunks through the writing facade of this name."""
        ways = {"sync": self.sync, "embed": self.embed}
        ways[writer](who, repo, chunks, private=private)

    def push(
        self,
        context: Any,
        repo: Any,
        files: Iterable[object],
        signals: Any = None,
        **how: Any,
    ) -> IngestReport:
        """Push files, past the model; whatever number of rows the signals delete is confirmed."""
        told = () if signals is None else parse_signals(signals, context)
        request = IngestRequest(repo, signals=told, **how)
        numbered = list(enumerate(files, 1))
        try:
            return self.knowledge_base.ingest(context, request, numbered)
        except DeletionGuardError as error:
            confirmed = attrs.evolve(request, confirm_deletions=error.deleted)
            return self.knowledge_base.ingest(context, confirmed, numbered)

    def push_nothing(self, who: AgentIdentity, repo: str, paths: Iterable[str]) -> None:
        """Push files without chunks: of what is stored of them nothing remains."""
        named = set(paths)
        files = [{"path": path, "parsedChunks": []} for path in sorted(named)]
        report = self.push(self.context(who), repo, files)
        doomed = [key for key, row in self.model.items() if row.chunk["source"] in named]
        assert report.deleted == len(self.model.remove(who, repo, doomed))

    def workspace(self, chunks: Iterable[Chunk]) -> Path:
        """A folder with one file of chunks."""
        root = self.folder / uuid4().hex
        root.mkdir()
        (root / CHUNKS).write_text("".join(json.dumps(each) + "\n" for each in chunks))
        return root

    def plan_deletions(self, context: Any, repo: Any, signals: Any) -> DeletionPlan:
        """What deletion signals would do."""
        request = DeletionRequest(repo, parse_signals(signals, context))
        return self.knowledge_base.plan_deletions(context, request)

    def signal(self, who: AgentIdentity, repo: str, paths: Iterable[str], *, gone: bool) -> int:
        """Tell that these files of a repository are gone, or that they are all that there are."""
        named = sorted(set(paths))
        signals = tombstones(repo, named) if gone else manifest(repo, named)
        context = self.context(who)
        plan = self.plan_deletions(context, repo, signals)
        deleted = self.knowledge_base.apply_deletions(context, plan, confirmed=True)
        doomed = [key for key, row in self.model.items() if (row.chunk["source"] in named) == gone]
        assert deleted == len(self.model.remove(who, repo, doomed))
        return deleted

    def export(self, context: Any, path: Path) -> int:
        """Write a backup; returns how many rows it holds."""
        return self.knowledge_base.export(context, path).records

    def import_(
        self,
        context: Any,
        path: Path,
        mode: RestoreMode = RestoreMode.MERGE,
        adoption: Adoption | None = None,
    ) -> RestoreReport:
        """Restore a backup, past the model."""
        request = RestoreRequest(path, mode, COLLECTION, adoption)
        return self.knowledge_base.restore(context, request)

    def restore(self, row: Planted) -> None:
        """A row comes in as from a backup: with its id, its stamp and its vector."""
        self.model.add(row)
        metadata = metadata_of(row)
        self.store.bind(self.app.embedder.profile)
        self.store.restore(
            self.context(OPA).operating(),
            [read_row(ChunkId(row.id), metadata)],
            self.vector(metadata)[np.newaxis],
        )

    def vector(self, metadata: Mapping[str, Any]) -> Vector:
        """The vector that a row with these fields has."""
        vector: Vector = self.app.embedder.embed([embedding_text(metadata)])[0]
        return vector

    def ids(self) -> list[str]:
        """The id of every row, and one that no row has."""
        return [*sorted({str(row.id) for row in self.model.values()}), "0" * 64]

    def addresses(self) -> list[RowKey]:
        """The address of every row, and one that no row has."""
        found = [RowKey(label, ChunkId(row_id)) for label, row_id in sorted(self.model)]
        return [*found, RowKey("team:acme", ChunkId("0" * 64))]

    def faults(self) -> int:
        """How many rows the guard has withheld so far."""
        return int(self.app.container.faults().count())

    def ask(
        self,
        findings: Findings,
        reader: Reader,
        who: AgentIdentity,
        request: Request | None = None,
    ) -> Any:
        """A facade's answer; whatever it gives away, in fields, texts or errors, is a leak."""
        request = request or Request(ids=self.ids())
        try:
            context = self.context(who)
        except TenantKbError as error:
            answer: Any = refusal(error)
        else:
            answer = reader.ask(self.knowledge_base, context, request)
        findings.answers[reader.name] += 1
        leaked = self.leaked(who, answer)
        findings.leaks += len(leaked)
        assert not leaked, f"{reader.name} gave {who} rows of others: {leaked}"
        return answer

    def leaked(self, who: AgentIdentity | None, answer: Any) -> list[Planted]:
        """Rows that an answer mentions by id or by secret, though the caller may not see them."""
        text = json.dumps(plain(answer), ensure_ascii=False)
        told = {*_ID.findall(text), *_SECRET.findall(text)}
        hidden = list(self.model.values()) if who is None else self.model.hidden_from(who)
        return [row for row in hidden if row.id in told or row.secret in told]


def visibility_of(*, private: bool) -> Visibility:
    """The visibility as the product names it."""
    return Visibility.PRIVATE if private else Visibility.TEAM


def manifest(repo: Any, paths: Any) -> dict[str, Any]:
    """The signal that these are all files."""
    return {"manifestSnapshot": {"repoSlug": repo, "pathsAfterPush": paths}}


def tombstones(repo: Any, paths: Iterable[Any]) -> dict[str, Any]:
    """The signal that these files are gone."""
    return {"deleted": [{"repoSlug": repo, "sourcePath": path} for path in paths]}


def metadata_of(row: Planted) -> dict[str, Any]:
    """A row's metadata, as docs/tenancy.md tells it."""
    fields = {key: value for key, value in row.chunk.items() if key != "source"}
    stamp = {
        "tenantId": row.tenant,
        "repoSlug": row.repo,
        "visibility": row.visibility,
        "ingestedAt": "2026-01-31T09:30:00.000Z",
        "access": row.label,
        "rootKind": "neo-workspace",
        "sourcePath": row.chunk["source"],
        "hash": fingerprint_of(row.chunk),
    }
    if row.private_to is not None:
        stamp["originAgentIdentity"] = row.private_to
    return {**fields, **stamp}


def raw_of(row: Planted) -> RawRow:
    """A row as it is stored."""
    return RawRow(row.label, ChunkId(row.id), metadata_of(row))


TWIN = {
    "type": "guide",
    "kind": "section",
    "name": "Deployment",
    "source": "docs/deployment.md",
    "content": "the same words everywhere",
}
"""A chunk that every tenant has."""

PLACES = (
    (ADA, "app", False),
    (ADA, "notes", True),
    (BOB, "app-2", False),
    (BOB, "notes-of-bob", True),
    (EVE, "app", False),
    (EVE, "notes", True),
    (CORA, CORPUS, False),
    (CORA, "draft", True),
)
"""Whose rows there are, in which repository, and whether they are private."""


def populate(world: World) -> World:
    """Write rows at every one of the :data:`PLACES`."""
    for number, (who, repo, private) in enumerate(PLACES):
        secrets = [f"secret-{number}-{each}." for each in range(2)]
        world.sync(who, repo, [*map(chunk, secrets), TWIN], private=private)
    return world
