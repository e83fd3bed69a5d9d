"""An application with many tenants' rows in one store, and the model of what is in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from attrs import define, field, frozen
from dependency_injector import providers

from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.application.operating.backup import (
    ExportBackup,
    ImportBackup,
    ImportRequest,
    RestoreMode,
    TruncateCollection,
)
from tenantkb.application.operating.repair import RepairIndex
from tenantkb.application.writing.deletions import ApplyDeletions, DeletionRequest, PlanDeletions
from tenantkb.application.writing.embed import EmbedChunks
from tenantkb.application.writing.sync import Sync
from tenantkb.domain.backup import Adoption
from tenantkb.domain.deletion import DeletionPlan
from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.extraction import Diagnostic
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Row
from tenantkb.domain.tenancy import OperatorScope, Visibility
from tenantkb.ports.extraction import CreateHash, Source, WriteStream
from tenantkb.ports.store import VectorStore
from tests.composition import Application, Silent, compose
from tests.fail_closed.facades import WRITERS, Reader, Request, plain
from tests.fail_closed.findings import Findings
from tests.fail_closed.model import (
    ADA,
    BOB,
    CORA,
    CORPUS,
    EVE,
    GIL,
    Chunk,
    Model,
    Planted,
    chunk,
)

_CHUNKS = "chunks.jsonl"


@frozen
class Lines:
    """A source that hands on whatever lines a file has."""

    file: Path

    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        lines = self.file.read_text().splitlines(keepends=True)
        for line in lines:
            write_stream.write(line)
        return len(lines)


class LinesAlone:
    """An installation with no other source."""

    def names(self) -> list[str]:
        return ["Lines"]

    def build(
        self, workspace_root: Path, report: Callable[[Diagnostic], None]
    ) -> Iterator[tuple[str, Source]]:
        yield "Lines", Lines(workspace_root / _CHUNKS)


@define
class World:
    """See the module's docstring.

    Attributes:
        app: The application.
        folder: For workspaces.
        model: What has to be in the store.
    """

    app: Application
    folder: Path
    model: Model = field(factory=Model)

    @classmethod
    def around(cls, store: VectorStore, folder: Path) -> World:
        """An application around an empty store."""
        folder.mkdir(parents=True)
        app = compose(folder / "state", store)
        app.container.registry.override(providers.Object(LinesAlone()))
        return cls(app, folder)

    @property
    def store(self) -> VectorStore:
        return self.app.store

    @property
    def is_exact(self) -> bool:
        """Whether short answers come from an exact search."""
        return not isinstance(self.store, ChromaStore) or self.store._exact_rows > 0

    def sync(
        self, who: AgentIdentity, repo: str, chunks: Iterable[Chunk], *, private: bool = False
    ) -> None:
        """Synchronise a workspace of these chunks."""
        written = list(chunks)
        visibility = visibility_of(private=private)
        report = self.app.sync(who, self.workspace(written), repo, visibility=visibility)
        assert report.extraction.is_complete, report.extraction.diagnostics
        self.model.sync(who, repo, private, written)

    def embed(
        self, who: AgentIdentity, repo: str, chunks: Iterable[Chunk], *, private: bool = False
    ) -> None:
        """Submit these chunks."""
        written = list(chunks)
        self.app.embed(who, written, repo, visibility=visibility_of(private=private))
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
        ways = {Sync: self.sync, EmbedChunks: self.embed}
        ways[WRITERS[writer]](who, repo, chunks, private=private)

    def workspace(self, chunks: Iterable[Chunk]) -> Path:
        """A folder with one file of chunks."""
        root = self.folder / uuid4().hex
        root.mkdir()
        (root / _CHUNKS).write_text("".join(json.dumps(each) + "\n" for each in chunks))
        return root

    def plan_deletions(
        self, who: AgentIdentity | None, repo: str, signals: Mapping[str, Any]
    ) -> DeletionPlan:
        """What deletion signals would do."""
        plan: PlanDeletions = self.app.container.plan_deletions()
        return plan(who, DeletionRequest(repo, signals), None, Silent())

    def apply_deletions(self, who: AgentIdentity | None, plan: DeletionPlan) -> int:
        """Carry out a plan, past the model."""
        apply: ApplyDeletions = self.app.container.apply_deletions()
        return apply(who, plan, Silent())

    def signal(self, who: AgentIdentity, repo: str, paths: Iterable[str], *, gone: bool) -> int:
        """Tell that these files of a repository are gone, or that they are all that there are."""
        named = sorted(set(paths))
        signals = (
            {"deleted": [{"repoSlug": repo, "sourcePath": path} for path in named]}
            if gone
            else {"manifestSnapshot": {"repoSlug": repo, "pathsAfterPush": named}}
        )
        deleted = self.apply_deletions(who, self.plan_deletions(who, repo, signals))
        doomed = [key for key, row in self.model.items() if (row.chunk["source"] in named) == gone]
        assert deleted == len(self.model.remove(who, repo, doomed))
        return deleted

    def export(self, who: AgentIdentity | None, path: Path) -> int:
        """Write a backup; returns how many rows it holds."""
        use_case: ExportBackup = self.app.container.export_backup()
        return use_case(who, path, Silent()).records

    def import_(
        self,
        who: AgentIdentity | None,
        path: Path,
        mode: RestoreMode = RestoreMode.MERGE,
        adoption: Adoption | None = None,
    ) -> None:
        """Restore a backup, past the model."""
        use_case: ImportBackup = self.app.container.import_backup()
        use_case(who, ImportRequest(path, mode, use_case.collection, adoption), Silent())

    def repair(self, who: AgentIdentity | None) -> int:
        """Embed every row again."""
        use_case: RepairIndex = self.app.container.repair_index()
        return use_case(who, Silent())

    def truncate(self, who: AgentIdentity | None) -> int:
        """Delete all rows, past the model; returns how many they were."""
        use_case: TruncateCollection = self.app.container.truncate_collection()
        return use_case(who, use_case.collection)

    def restore(self, row: Planted) -> None:
        """A row comes in as from a backup: with its id, its stamp and its vector."""
        self.model[row.id] = row
        metadata = metadata_of(row)
        container = self.app.container
        scope = OperatorScope.of(GIL, container.tenancy(), container.clock().now())
        self.store.bind(self.app.embedder.profile)
        self.store.restore(scope, [Row(row.id, metadata)], self.vector(metadata)[np.newaxis])

    def vector(self, metadata: Mapping[str, Any]) -> Any:
        """The vector that a row with these fields has."""
        return self.app.embedder.embed([embedding_text(metadata)])[0]

    def ids(self) -> list[str]:
        """The id of every row, and one that no row has."""
        return [*sorted(self.model), "0" * 64]

    def faults(self) -> int:
        """How many rows the second check has withheld so far."""
        return int(self.app.container.faults().count())

    def ask(
        self,
        findings: Findings,
        reader: Reader,
        who: AgentIdentity | None,
        request: Request | None = None,
    ) -> Any:
        """A facade's answer; whatever it gives away, in fields, texts or errors, is a leak."""
        answer = reader.ask(self.app, who, request or Request(ids=self.ids()))
        findings.answers[reader.name] += 1
        leaked = self.leaked(who, answer)
        findings.leaks += len(leaked)
        assert not leaked, f"{reader.name} gave {who} rows of others: {leaked}"
        return answer

    def leaked(self, who: AgentIdentity | None, answer: Any) -> list[Planted]:
        """Rows that an answer mentions by id or by secret, though the caller may not see them."""
        text = json.dumps(plain(answer), ensure_ascii=False)
        hidden = list(self.model.values()) if who is None else self.model.hidden_from(who)
        return [row for row in hidden if row.id in text or (row.secret and row.secret in text)]


def visibility_of(*, private: bool) -> Visibility:
    """The visibility as the product names it."""
    return Visibility.PRIVATE if private else Visibility.TEAM


def metadata_of(row: Planted) -> dict[str, Any]:
    """A row's metadata, as docs/tenancy.md tells it."""
    fields = {key: value for key, value in row.chunk.items() if key != "source"}
    stamp = {
        "tenantId": row.tenant,
        "repoSlug": row.repo,
        "visibility": row.visibility,
        "ingestedAt": "2026-01-31T09:30:00.000Z",
        "access": f"team:{row.tenant}",
        "rootKind": "neo-workspace",
        "sourcePath": row.chunk["source"],
        "hash": "0" * 64,
    }
    if row.private_to is not None:
        stamp["originAgentIdentity"] = row.private_to
        stamp["access"] = f"private:{row.tenant}:{row.private_to}"
    return {**fields, **stamp}


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


def populated(store: VectorStore, folder: Path) -> World:
    """A world with rows at every one of the :data:`PLACES`."""
    world = World.around(store, folder)
    for number, (who, repo, private) in enumerate(PLACES):
        secrets = [f"secret-{number}-{each}." for each in range(2)]
        world.sync(who, repo, [*map(chunk, secrets), TWIN], private=private)
    return world
