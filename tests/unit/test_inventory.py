"""What is known of stored rows saves work, and never hides a change."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantkb.adapters.configuration.settings import StoreSettings, WorkspaceSettings
from tenantkb.adapters.sources.concept import ConceptSource
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.application.operating.backup import RestoreRequest
from tenantkb.application.writing.deletions import DeletionRequest
from tenantkb.application.writing.sync import SyncReport, SyncRequest
from tenantkb.domain.deletion import Tombstone
from tenantkb.domain.errors import EmbedderError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.inventory import Inventory, StoredBlock
from tenantkb.domain.rows import read_row
from tenantkb.domain.stamps import Visibility
from tenantkb.ports.engine import Engine, RawRow
from tenantkb.ports.extraction import CreateHash, WriteStream
from tests.composition import ADA, CURATOR, Application, compose

NOTES = ".github/RELEASE_NOTES"
CONCEPTS = "resources/content/concepts"
OPERATOR = AgentIdentity("acme", "olga", frozenset({Role.OPERATOR, Role.CURATOR}))

Opening = Callable[[Path], Engine]


def in_chroma(folder: Path) -> Engine:
    """A store that keeps no state of its own."""
    return open_engine(StoreSettings(kind="chroma", path=folder))


OPENING: dict[str, Opening] = {
    "memory": lambda _: MemoryEngine(),
    "sqlite": SqliteEngine,
    "chroma": in_chroma,
}


@pytest.fixture(params=OPENING.values(), ids=list(OPENING))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    with closing(request.param(tmp_path / "store")) as engine:
        yield compose(tmp_path / "state", engine)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for number in range(10):
        write(root, f"{NOTES}/v{number}.md", f"release number {number}")
    return root


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def rows(app: Application) -> list[RawRow]:
    return [raw for raw, _ in app.engine.export()]


def fields_of(row: RawRow) -> dict[str, Any]:
    return dict(read_row(row.id, row.metadata).fields)


def altered(app: Application, row: RawRow) -> RawRow:
    """Give a row another field, past everything that could notice."""
    changed = row._replace(metadata={**row.metadata, "kind": "altered"})
    vector = np.zeros((1, app.embedder.profile.dimension), np.float32)
    app.engine.put([changed], vector, exact=True)
    return changed


@pytest.fixture
def unread(app: Application, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("rows are read")

    def arm() -> None:
        monkeypatch.setattr(type(app.engine), "scan", refuse)

    return arm


def test_what_has_not_changed_is_not_compared_and_what_has_is(
    app: Application, workspace: Path, unread: Callable[[], None]
) -> None:
    app.sync(ADA, workspace)
    unread()
    report = app.sync(ADA, workspace)
    assert (report.plan.unchanged, report.plan.changes) == (10, False)
    write(workspace, f"{NOTES}/v3.md", "another text")
    (workspace / NOTES / "v4.md").unlink()
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.plan.unchanged, report.deleted) == (1, 8, 2)
    assert app.embedder.embedded == 11
    assert app.sync(ADA, workspace).plan.unchanged == 9
    with pytest.raises(AssertionError):
        app.sync(ADA, workspace, full=True)


def test_rows_that_are_lost_are_found_and_embedded_again(app: Application, workspace: Path) -> None:
    app.sync(ADA, workspace)
    app.engine.delete([rows(app)[4].key])
    assert app.sync(ADA, workspace).plan.added == 1
    assert len(rows(app)) == 10


def test_full_looks_at_each_row(app: Application, workspace: Path) -> None:
    app.sync(ADA, workspace)
    changed = altered(app, rows(app)[0])
    assert app.sync(ADA, workspace).plan.restamped == 0
    assert app.sync(ADA, workspace, full=True).plan.restamped == 1
    assert changed not in rows(app)


def by_embed(app: Application, row: RawRow, _: Path) -> None:
    chunk = {key: row.metadata[key] for key in ("type", "name", "content")}
    app.embed(ADA, [{**chunk, "kind": "altered", "source": row.metadata["sourcePath"]}])


def by_deletion(app: Application, row: RawRow, _: Path) -> None:
    request = DeletionRequest("app", (Tombstone("app", str(row.metadata["sourcePath"])),))
    plan = app.knowledge_base.plan_deletions(app.context(ADA), request)
    app.knowledge_base.apply_deletions(app.context(ADA), plan)


def by_restore(app: Application, row: RawRow, folder: Path) -> None:
    context = app.context(OPERATOR)
    app.knowledge_base.export(context, folder / "backup")
    altered(app, row)
    app.knowledge_base.restore(context, RestoreRequest(folder / "backup"))


def by_another_visibility(app: Application, row: RawRow, folder: Path) -> None:
    app.sync(ADA, folder / "checkout", visibility=Visibility.PRIVATE)


@pytest.mark.parametrize("other", [by_embed, by_deletion, by_restore, by_another_visibility])
def test_whoever_else_writes_makes_all_rows_compared(
    app: Application,
    workspace: Path,
    tmp_path: Path,
    other: Callable[[Application, RawRow, Path], None],
    unread: Callable[[], None],
) -> None:
    app.sync(ADA, workspace)
    other(app, rows(app)[0], tmp_path)
    unread()
    with pytest.raises(AssertionError):
        app.sync(ADA, workspace)


def test_who_writes_something_else_does_not(
    app: Application, workspace: Path, unread: Callable[[], None]
) -> None:
    app.sync(ADA, workspace)
    app.sync(ADA, workspace, "another")
    app.sync(CURATOR, workspace, "neo")
    unread()
    app.sync(ADA, workspace)
    app.sync(CURATOR, workspace, "neo")


@pytest.mark.parametrize("visibility", Visibility)
def test_another_embedder_audience_or_repository_is_compared_anew(
    app: Application, workspace: Path, visibility: Visibility
) -> None:
    app.sync(ADA, workspace)
    report = app.sync(ADA, workspace, visibility=visibility)
    assert report.plan.restamped == (10 if visibility is Visibility.PRIVATE else 0)
    assert app.sync(ADA, workspace, "another").plan.added == 10


def test_after_a_run_that_breaks_off_everything_is_compared(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    for number in range(5):
        write(workspace, f"{NOTES}/v{number}.md", f"another {number}")
    app.embedder.fail_after = app.embedder.embedded + 4
    with pytest.raises(EmbedderError):
        app.sync(ADA, workspace)
    app.embedder.fail_after = None
    altered(app, next(row for row in rows(app) if "v9" in str(row.metadata["sourcePath"])))
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.plan.restamped, report.deleted) == (1, 1, 5)


def test_a_writer_in_between_keeps_a_run_from_remembering_what_it_saw(
    app: Application, workspace: Path
) -> None:
    """As an operator's restore is, which waits for no synchronisation."""

    class Meddling:
        def __init__(self) -> None:
            self.done = False

        def phase(self, name: str, total: int | None = None) -> None:
            if name == "Embedding" and not self.done:
                self.done = True
                row = next(row for row in rows(app) if "v9" in str(row.metadata["sourcePath"]))
                store, operating = app.store, app.context(OPERATOR).operating()
                changed = evolve(
                    read_row(row.id, row.metadata), fields={**fields_of(row), "kind": "altered"}
                )
                vector = np.zeros((1, app.embedder.profile.dimension), np.float32)
                store.restore(operating, [changed], vector)

        def expect(self, steps: int) -> None: ...
        def advance(self, steps: int = 1) -> None: ...

    app.sync(ADA, workspace)
    write(workspace, f"{NOTES}/v0.md", "another text")
    meddling = Meddling()
    app.knowledge_base.sync(app.context(ADA), SyncRequest(workspace, "app"), meddling)
    assert meddling.done
    assert app.sync(ADA, workspace).plan.restamped == 1


def test_what_shares_an_id_with_a_line_of_another_source_is_not_known(
    app: Application, workspace: Path
) -> None:
    """In the shared corpus the same content has the same id, and the first one is stored."""
    chunk = {"type": "concept", "name": "n", "content": "n: one", "description": "one"}

    class Elsewhere:
        def __init__(self, _: object) -> None: ...

        def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
            write_stream.write(json.dumps({**chunk, "kind": "concept", "source": "else"}) + "\n")
            return 1

    write(workspace, f"{CONCEPTS}/a.md", "---\nname: n\n---\none")
    both = WorkspaceSources(WorkspaceSettings(use_default_sources=False))
    both.sources.register("Elsewhere", Elsewhere)
    both.sources.register("ConceptSource", ConceptSource)
    alone = WorkspaceSources(WorkspaceSettings(use_default_sources=False))
    alone.sources.register("ConceptSource", ConceptSource)

    def run(sources: WorkspaceSources) -> SyncReport:
        request = SyncRequest(workspace, "neo", sources=sources)
        return app.knowledge_base.sync(app.context(CURATOR), request)

    assert (run(both).plan.added, run(both).plan.unchanged) == (1, 1)
    assert run(alone).plan.restamped == 1
    assert [str(row.metadata["sourcePath"]) for row in rows(app)] == [f"{CONCEPTS}/a.md"]
    assert run(both).plan.restamped == 1


def ids(*texts: str) -> tuple[ChunkId, ...]:
    return tuple(map(ChunkId, texts))


A, B, C = (
    StoredBlock("a", ids("1", "2", "2")),
    StoredBlock("b", ids("2", "3")),
    StoredBlock("c", ids("4")),
)


def test_files_that_share_an_id_are_known_together_or_not_at_all() -> None:
    inventory = Inventory("", (A, B, C))
    assert inventory.entangled == ("a", "b")
    assert inventory.still_tells(["a", "b", "c"], set())
    assert inventory.still_tells(["c", "a", "b"], set(ids("5")))
    for found in (["b", "a", "c"], ["a", "c"], ["b"], ["a", "b", "c", "c"], ["a", "b", "a"]):
        assert not inventory.still_tells(found, set())
    assert not inventory.still_tells(["a", "b", "c"], set(ids("4")))
    assert Inventory("", (C,)).still_tells([], set(ids("4")))
    assert inventory.without(set(ids("3"))).blocks == (C,)
    assert inventory.without(set(ids("4"))).blocks == (A, B)
    assert inventory.without(set()) is inventory


PLACES = st.sampled_from([f"{NOTES}/v1.md", *(f"{CONCEPTS}/{name}.md" for name in "abc")])
TEXTS = st.sampled_from(["---\nname: n\n---\none", "---\nname: n\n---\ntwo", "---\n[\n---\n"])
STEPS = st.one_of(
    st.tuples(st.just("write"), PLACES, TEXTS),
    st.tuples(st.just("rename"), PLACES, PLACES),
    st.tuples(st.just("copy"), PLACES, PLACES),
    st.tuples(st.just("delete"), PLACES, st.just("")),
    st.tuples(st.just("lose"), st.just(""), st.integers(0, 3).map(str)),
    st.tuples(st.just("alter"), st.just(""), st.integers(0, 3).map(str)),
    st.tuples(st.just("private"), st.just(""), st.just("")),
)


def carry_out(app: Application, root: Path, who: AgentIdentity, step: tuple[str, str, str]) -> None:
    what, first, second = step
    stored = rows(app)
    if what == "write":
        write(root, first, second)
    elif what in ("rename", "copy") and (root / first).exists():
        write(root, second, (root / first).read_text())
        if what == "rename" and first != second:
            (root / first).unlink()
    elif what == "delete":
        (root / first).unlink(missing_ok=True)
    elif what == "lose" and stored:
        app.engine.delete([stored[int(second) % len(stored)].key])
    elif what == "alter" and stored:
        raw = stored[int(second) % len(stored)]
        changed = evolve(
            read_row(raw.id, raw.metadata), fields={**fields_of(raw), "kind": "altered"}
        )
        vector = np.zeros((1, app.embedder.profile.dimension), np.float32)
        app.store.restore(app.context(OPERATOR).operating(), [changed], vector)
    elif what == "private" and who is ADA:
        request = SyncRequest(
            root, "app", visibility=Visibility.PRIVATE, deletable_share=1, confirmed=True
        )
        app.knowledge_base.sync(app.context(who), request)


@settings(max_examples=80)
@given(
    st.sampled_from([ADA, CURATOR]),
    st.booleans(),
    st.lists(st.lists(STEPS, min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_whatever_happens_the_outcome_is_that_of_a_run_that_knows_nothing(
    who: AgentIdentity, in_a_file: bool, rounds: list[list[tuple[str, str, str]]]
) -> None:
    """In the shared corpus the same content has the same id wherever it stands."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqliteEngine(Path(folder, "store")) if in_a_file else MemoryEngine()) as engine,
    ):
        app, root = compose(Path(folder, "state"), engine), Path(folder, "checkout")
        repo = "neo" if who is CURATOR else "app"
        for name in "abc":
            write(root, f"{CONCEPTS}/{name}.md", f"---\nname: n\n---\n{name}")
        app.sync(who, root, repo)
        for steps in rounds:
            for step in steps:
                carry_out(app, root, who, step)
            told = app.sync(who, root, repo, dry_run=True, confirmed=True, full=True)
            done = app.sync(who, root, repo, confirmed=True)
            assert (done.plan, done.deleted) == (told.plan, told.deleted)
            assert done.extraction == told.extraction
            again = app.sync(who, root, repo, dry_run=True, confirmed=True, full=True)
            assert not again.plan.changes
            assert app.sync(who, root, repo, confirmed=True).plan == again.plan
