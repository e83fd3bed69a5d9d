"""Texts that an embedding service refuses, in every use case that embeds; the service is real."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from attrs import frozen

from tenantkb.adapters.embedders.openai import OpenAIEmbedder
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.operating.migrate import Migrate
from tenantkb.application.operating.repair import RepairIndex, vectors_by
from tenantkb.domain.deletion import KnownState
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import EmbedderError, TextsRefusedError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId, IdScheme
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Refusal
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Engine, RawRow, Vector
from tenantkb.ports.state import SyncRecord
from tenantkb.testing.wrappers import WrappedEngine
from tests.composition import ADA, Application, compose
from tests.embedding_server import DIMENSION, Answer, EmbeddingServer, embedding_server

GIL = AgentIdentity("ops", "gil", frozenset({Role.OPERATOR}))
SAID = "answered 400: too long for the model"


@frozen
class Indexed(WrappedEngine):
    """A store with an index apart from its rows, which keeps no vector."""

    def reindex(self, vectors_of: Callable[[list[RawRow]], Vectors]) -> Iterator[int]:
        rows = [found for found, _ in self.inner.export()]
        self.inner.put(rows, vectors_of(rows), exact=True)
        yield len(rows)


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    def refuse(texts: list[str]) -> Answer | None:
        bad = any("poison" in text for text in texts)
        return Answer(400, body="too long for the model") if bad else None

    with embedding_server() as running:
        running.refuse = refuse
        yield running


@pytest.fixture
def app(tmp_path: Path, server: EmbeddingServer) -> Iterator[Application]:
    made = compose(tmp_path / "state", Indexed(MemoryEngine()))
    made.embedder.inner = embedder = OpenAIEmbedder(
        model="m", dimension=DIMENSION, base_url=server.base_url, attempts=1
    )
    with closing(embedder):
        yield made


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for number in range(6):
        write(folder, f"v{number}", f"release number {number}")
    return folder


def write(folder: Path, name: str, text: str) -> None:
    file = folder / ".github" / "RELEASE_NOTES" / f"{name}.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def remove(folder: Path, name: str) -> None:
    (folder / ".github" / "RELEASE_NOTES" / f"{name}.md").unlink()


def stored(app: Application) -> dict[str, str]:
    """The text of each row by the name of its file, of which each has one row here."""
    rows = [row.metadata for row, _ in app.engine.export()]
    texts = {Path(str(row["sourcePath"])).stem: str(row["content"]) for row in rows}
    assert len(texts) == len(rows)
    return texts


def told(refused: Collection[Refusal]) -> list[tuple[str, str]]:
    assert all(SAID in refusal.reason for refusal in refused)
    return [(Path(refusal.path).stem, refusal.name) for refusal in refused]


def chunk(name: str, text: str) -> dict[str, object]:
    return {"type": "guide", "name": name, "content": text, "source": f"{name}.md"}


def test_everything_but_the_refused_text_is_stored_and_what_is_gone_is_deleted(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    write(workspace, "v6", "poison")
    write(workspace, "v7", "a new release")
    remove(workspace, "v0")
    report = app.sync(ADA, workspace)
    assert [path for path, _ in told(report.refused)] == ["v6"]
    assert not report.is_complete
    assert (report.plan.added, report.plan.unchanged, report.deleted) == (1, 5, 1)
    assert sorted(stored(app)) == ["v1", "v2", "v3", "v4", "v5", "v7"]


def test_a_synchronisation_with_a_refused_text_is_recorded_as_incomplete(
    app: Application, workspace: Path
) -> None:
    write(workspace, "v6", "poison")
    app.sync(ADA, workspace)
    label = "team:acme"
    assert [record.complete for record in app.state.syncs([label])] == [False]
    remove(workspace, "v6")
    assert app.sync(ADA, workspace).is_complete
    assert [record.complete for record in app.state.syncs([label])] == [True]


def test_the_rows_of_a_file_with_a_refused_text_stay_until_it_is_taken(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    write(workspace, "v1", "poison")
    remove(workspace, "v0")
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.plan.stale, report.deleted) == (0, 2, 1)
    assert stored(app)["v1"] == "release number 1"
    assert "v0" not in stored(app)
    write(workspace, "v1", "something harmless")
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.deleted, report.refused) == (1, 1, ())
    assert stored(app)["v1"] == "something harmless"


def test_a_changed_audience_is_never_held_back_by_a_refused_text(app: Application) -> None:
    # The team's copy of a chunk that is stored as private goes, also beside a refused one.
    one = chunk("one", "a text")
    app.embed(ADA, [one])
    app.embed(ADA, [chunk("two", "another")], visibility=Visibility.PRIVATE)
    spoiled = {**chunk("bad", "poison"), "source": "one.md"}
    report = app.embed(ADA, [one, spoiled], visibility=Visibility.PRIVATE)
    assert told(report.refused) == [("one", "bad")]
    assert {row.label for row, _ in app.engine.export()} == {"private:acme:ada"}


def test_a_submission_is_stored_but_for_its_refused_chunks(app: Application) -> None:
    texts = [chunk(f"n{number}", "poison" if number == 2 else "fine") for number in range(9)]
    report = app.embed(ADA, texts)
    assert (report.added, told(report.refused)) == (8, [("n2", "n2")])
    again = app.embed(ADA, texts)
    assert (again.added, again.unchanged, told(again.refused)) == (0, 8, [("n2", "n2")])


def test_a_text_that_is_refused_under_a_stored_id_leaves_the_row_as_it_is(
    app: Application,
) -> None:
    # The class takes no part in a fingerprint, and is embedded.
    one = {**chunk("one", "a text"), "className": "Fine"}
    app.embed(ADA, [one])
    report = app.embed(ADA, [{**one, "className": "poison"}])
    assert (report.added, report.updated, len(report.refused)) == (0, 0, 1)
    assert [row.metadata["className"] for row, _ in app.engine.export()] == ["Fine"]


def test_a_service_that_fails_stops_the_run_and_deletes_nothing(
    app: Application, workspace: Path, server: EmbeddingServer
) -> None:
    app.sync(ADA, workspace)
    remove(workspace, "v0")
    write(workspace, "v6", "new")
    server.answers.append(Answer(503))
    with pytest.raises(EmbedderError):
        app.sync(ADA, workspace)
    assert "v0" in stored(app)
    assert app.sync(ADA, workspace).deleted == 1


def test_a_refused_question_is_the_callers_error(app: Application) -> None:
    app.embed(ADA, [chunk("one", "fine")])
    with pytest.raises(TextsRefusedError, match="refuses 1 of 1 texts"):
        app.knowledge_base.query(app.context(ADA), "poison")


def test_a_repair_keeps_the_rows_that_the_embedder_refuses(
    app: Application, server: EmbeddingServer
) -> None:
    allowed, server.refuse = server.refuse, lambda _: None
    app.embed(ADA, [chunk("one", "fine"), chunk("two", "poison"), chunk("three", "fine too")])
    server.refuse = allowed
    before = stored(app)
    report = app.knowledge_base.repair(app.context(GIL))
    assert isinstance(app.knowledge_base.repair, RepairIndex)
    assert (report.rows, told(report.refused)) == (3, [("two", "two")])
    assert stored(app) == before
    lengths = {row.metadata["name"]: np.linalg.norm(v) for row, v in app.engine.export()}
    assert lengths == pytest.approx({"one": 1, "two": 0, "three": 1})


def test_a_lost_index_is_made_anew_even_if_the_embedder_refuses_a_row(app: Application) -> None:
    row = RawRow("team:acme", ChunkId("1"), {"content": "poison"})
    assert not vectors_by(app.embedder)([row]).any()


@frozen
class Lossy:
    """A store that has lost all its vectors."""

    engine: Engine
    place: str = "elsewhere"

    def profile(self) -> EmbedderProfile | None:
        return self.engine.profile()

    def ids(self) -> IdScheme | None:
        return self.engine.ids()

    def rows(self) -> Iterator[tuple[RawRow, Vector | None]]:
        return ((row, None) for row, _ in self.engine.export())

    def syncs(self, labels: Collection[str]) -> list[SyncRecord]:
        return []

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        return KnownState()

    def close(self) -> None:
        """Nothing is open."""


def test_a_migration_moves_the_rows_that_the_embedder_refuses(
    app: Application, server: EmbeddingServer, tmp_path: Path
) -> None:
    allowed, server.refuse = server.refuse, lambda _: None
    app.embed(ADA, [chunk("one", "fine"), chunk("two", "poison")])
    server.refuse = allowed
    there = compose(tmp_path / "there", MemoryEngine())
    there.embedder.inner = app.embedder.inner
    assert isinstance(there.knowledge_base.migrate, Migrate)
    report = there.knowledge_base.migrate(there.context(GIL), Lossy(app.engine))
    assert (report.moved, report.embedded, told(report.refused)) == (2, 1, [("two", "two")])
    assert stored(there) == stored(app)
