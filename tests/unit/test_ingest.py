"""Pushes: files, chunks and what is gone, as one unit that can be repeated."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from attrs import define, evolve
from dependency_injector import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.parsers.code_parser import CodeParser
from tenantkb.adapters.parsers.line_parser import LineParser
from tenantkb.adapters.parsers.notebook_parser import NotebookParser
from tenantkb.adapters.parsers.prose_parser import ProseParser
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.application.writing.deletions import parse_signals
from tenantkb.application.writing.ingest import IngestReport, IngestRequest, parse_push
from tenantkb.application.writing.sync import SyncRequest
from tenantkb.domain.deletion import KnownState
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    DeletionConflictError,
    DeletionGuardError,
    EmbedderError,
    EmbeddingNotAllowedError,
    InvalidInputError,
    InvalidSubmissionError,
    ManifestOutdatedError,
    ManifestRequiredError,
    NotFoundError,
    PushConflictError,
    SpoofRejectedError,
    TenantKbError,
    VolumeExceededError,
)
from tenantkb.domain.extraction import Severity
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ingestion import SILENCE, IngestionState, IngestionStatus
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import Unreadable
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.spoofing import SpoofMode
from tenantkb.domain.stamps import Visibility, format_instant
from tenantkb.ports.engine import Engine, RawRow
from tenantkb.ports.progress import Progress
from tenantkb.testing.samples import NOW, Passing, StoppedClock
from tests.composition import ADA, BOB, EVE, Application, compose

Document = dict[str, Any]


def in_this_process() -> WorkspaceSources:
    """CodeSource with its parsers, which a test calls too often to wait for other processes."""
    sources = WorkspaceSources(WorkspaceSettings(use_default_sources=False, code_source=True))
    for parser in (CodeParser, LineParser, NotebookParser, ProseParser):
        sources.parsers.register(parser.__name__, parser, replace=True)
    return sources


@pytest.fixture
def sources() -> WorkspaceSources:
    return in_this_process()


@pytest.fixture(params=[MemoryEngine, SqliteEngine])
def app(
    request: pytest.FixtureRequest, tmp_path: Path, sources: WorkspaceSources
) -> Iterator[Application]:
    engine = MemoryEngine() if request.param is MemoryEngine else SqliteEngine(tmp_path / "store")
    made = composed(tmp_path / "state", engine, sources)
    yield made
    made.knowledge_base.close()


def composed(folder: Path, engine: Engine, sources: WorkspaceSources, **how: Any) -> Application:
    app = compose(folder, engine, **how)
    app.container.parser.override(providers.Object(sources))
    return app


def raw(path: str, content: str) -> Document:
    return {"path": path, "content": content}


def parsed(path: str, *names: str, **changes: Any) -> Document:
    return {"path": path, "parsedChunks": [chunk(path, name, **changes) for name in names]}


def chunk(path: str, name: str, **changes: Any) -> Document:
    return {
        "schemaVersion": "1.0.0",
        "tenantId": "acme",
        "repoSlug": "app",
        "rootKind": "bare-repo",
        "sourcePath": path,
        "parserId": "p",
        "parserVersion": "1.0.0",
        "kind": "method",
        "name": name,
        "content": f"text of {name}",
        "hashInputs": ["name", "content"],
        **changes,
    }


def push(
    app: Application,
    files: Iterable[object] = (),
    caller: AgentIdentity | None = ADA,
    *,
    signals: Document | None = None,
    repo: str = "app",
    **how: Any,
) -> IngestReport:
    context = app.context(caller)
    calls = {name: how.pop(name) for name in ("progress", "announce") if name in how}
    told = () if signals is None else parse_signals(signals, context)
    request = IngestRequest(repo, signals=told, **how)
    return app.knowledge_base.ingest(context, request, enumerate(files, 1), **calls)


def rows(app: Application, caller: AgentIdentity = ADA) -> list[StampedRow]:
    return list(app.store.scan(app.context(caller).reading()))


def paths(app: Application, caller: AgentIdentity = ADA) -> list[str]:
    return sorted(row.path.source_path for row in rows(app, caller))


def comparable(app: Application, caller: AgentIdentity = ADA) -> list[tuple[str, Document]]:
    return [(row.id, {**row.metadata(), "ingestedAt": None}) for row in rows(app, caller)]


def tombstones(*paths: str) -> Document:
    return {"deleted": [{"repoSlug": "app", "sourcePath": path} for path in paths]}


def manifest(*paths: str, **more: Any) -> Document:
    return {"manifestSnapshot": {"repoSlug": "app", "pathsAfterPush": list(paths), **more}}


def boundary(base: str | None, head: str) -> Document:
    return {"headRevision": head} | ({} if base is None else {"baseRevision": base})


# What is stored


TEXTS = {
    "a.py": ["def a():\n    return 1\n", "def a():\n    return 2\n\n\ndef b():\n    pass\n", "a ("],
    "docs/b.md": [
        "# B\n\nOne.\n",
        "# B\n\nOne.\n\n## C\n\nTwo.\n",
        "# B\n\n# B\n\nx\n\n# B\n\nx\n",
    ],
    "lib/c.txt": ["some text\n", "\ufeffother text\r\n", "nul \0"],
    "n.ipynb": ['{"cells": [], "nbformat": 4}', "no notebook"],
    "pic.png": ["x"],
    "dist/d.js": ["let x\n"],
    "Vendor.MD": ["# Title\n"],
    "g.go": ["// Code generated by x. DO NOT EDIT.\npackage g\n", "package g\n\nfunc G() {}\n"],
}
PUSHES = st.dictionaries(
    st.sampled_from(sorted(TEXTS)), st.integers(0, 2) | st.none(), min_size=1, max_size=5
)


@settings(max_examples=30, deadline=None)
@given(st.lists(PUSHES, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_after_any_pushes_there_are_the_rows_that_a_synchronisation_makes(
    pushes: list[dict[str, int | None]], on_disk: bool, private: bool
) -> None:
    """Fails: what is stored depends on the way that a file has come, or on what was there."""
    visibility = Visibility.PRIVATE if private else Visibility.TEAM
    sources = in_this_process()
    with TemporaryDirectory() as name:
        folder, tree = Path(name), dict[str, str]()
        engine = SqliteEngine(folder / "store") if on_disk else MemoryEngine()
        app = composed(folder / "state", engine, sources)
        for number, changes in enumerate(pushes):
            chosen = {path: at for path, at in changes.items() if at is not None}
            texts = {path: TEXTS[path][at % len(TEXTS[path])] for path, at in chosen.items()}
            gone = sorted(changes.keys() - chosen.keys())
            tree = {path: text for path, text in (tree | texts).items() if path not in gone}
            signals = boundary(str(number), str(number + 1)) | (tombstones(*gone) if gone else {})
            if number == 0:
                signals = boundary(None, "1") | manifest(*tree)
            files = [raw(path, text) for path, text in texts.items()]
            how: Any = {"signals": signals, "visibility": visibility}
            try:
                push(app, files, **how)
            except DeletionGuardError as error:
                push(app, files, confirm_deletions=error.deleted, **how)
            before, embedded = rows(app), app.embedder.embedded
            again = push(app, files, **how)
            assert (again.added, again.updated, again.deleted) == (0, 0, 0)
            assert (rows(app), app.embedder.embedded) == (before, embedded)
        for path, text in tree.items():
            (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "tree" / path).write_text(text, encoding="utf-8", newline="")
        (folder / "tree").mkdir(exist_ok=True)
        other = compose(folder / "other", MemoryEngine())
        request = SyncRequest(
            folder / "tree",
            "app",
            root_kind=RootKind.BARE_REPO,
            visibility=visibility,
            confirmed=True,
            sources=sources,
        )
        other.knowledge_base.sync(other.context(ADA), request)
        assert comparable(app) == comparable(other)
        app.knowledge_base.close()


def test_files_are_parsed_by_processes_of_their_own(tmp_path: Path) -> None:
    app = compose(tmp_path / "state", MemoryEngine())
    report = push(app, [raw("a.py", "def total():\n    return 1\n"), raw("b.md", "# B\n\nText.\n")])
    assert (report.files, report.chunks, report.added) == (2, 2, 2)
    assert paths(app) == ["a.py", "b.md"]


def test_files_and_parsed_chunks_come_in_one_push(app: Application) -> None:
    files = [raw("a.py", "def a():\n    pass\n"), parsed("b.py", "b", "c"), parsed("empty.py")]
    report = push(app, files)
    assert (report.files, report.chunks, report.added, report.is_complete) == (3, 3, 3, True)
    assert paths(app) == ["a.py", "b.py", "b.py"]


def test_a_file_replaces_what_is_stored_of_it_and_nothing_else(app: Application) -> None:
    push(app, [parsed("a.py", "bobs")], BOB, visibility=Visibility.PRIVATE)
    push(app, [parsed("a.py", "one", "two"), parsed("b.py", "three")])
    push(app, [parsed("a.py", "other", repoSlug="two")], repo="two")
    push(app, [parsed("a.py", "eves", tenantId="beta")], EVE)
    report = push(app, [parsed("a.py", "two", "four")])
    assert (report.added, report.unchanged, report.deleted) == (1, 1, 1)
    names = sorted(str(row.fields["name"]) for row in rows(app))
    assert names == ["four", "other", "three", "two"]
    assert "bobs" in {row.fields["name"] for row in rows(app, BOB)}
    assert [row.fields["name"] for row in rows(app, EVE)] == ["eves"]


@pytest.mark.parametrize("count", [3, 40])
def test_few_files_and_many_are_compared_alike(app: Application, count: int) -> None:
    files = [parsed(f"{number}.py", "a", "b") for number in range(count)]
    push(app, [*files, parsed("other.py", "a")])
    changed = [parsed(f"{number}.py", "b", "c") for number in range(count)]
    report = push(app, changed)
    assert (report.added, report.unchanged, report.deleted) == (count, count, count)
    assert len(rows(app)) == 2 * count + 1


def test_a_change_of_visibility_moves_the_rows_of_a_file(app: Application) -> None:
    push(app, [parsed("a.py", "one", "two"), parsed("b.py", "three")])
    report = push(app, [parsed("a.py", "one")], visibility=Visibility.PRIVATE)
    assert (report.added, report.updated, report.deleted) == (0, 1, 1)
    assert app.embedder.embedded == 3
    assert paths(app, BOB) == ["b.py"]


def test_a_file_that_is_skipped_on_purpose_loses_its_rows(app: Application) -> None:
    push(app, [parsed("dist/a.js", "one"), parsed("b.py", "two")])
    report = push(app, [raw("dist/a.js", "let x"), raw(".env", "KEY=1"), raw("c.txt", "nul \0")])
    assert (report.skipped, report.deleted, report.is_complete) == (3, 1, True)
    told = [(found.path, found.reason, found.severity) for found in report.diagnostics]
    assert told == [
        ("dist/a.js", "generated", Severity.SKIPPED),
        (".env", "secret", Severity.SKIPPED),
        ("c.txt", "binary", Severity.SKIPPED),
    ]
    assert paths(app) == ["b.py"]


class Straying:
    """A parser whose chunks are of another file, or cannot be stored."""

    def parse(self, content: str, path: str, **hints: Any) -> list[Document]:
        sound = {"type": "text", "name": path, "content": content, "source": path}
        return (
            [sound, {**sound, "source": "other.md"}] if content == "stray" else [{"source": path}]
        )


@pytest.mark.parametrize("content", ["stray", "broken"])
def test_a_file_whose_chunks_cannot_be_stored_keeps_its_rows(
    app: Application, sources: WorkspaceSources, content: str
) -> None:
    sources.parsers.register("LineParser", Straying, replace=True)
    push(app, [parsed("a.cfg", "one"), parsed("other.md", "two")])
    report = push(app, [raw("a.cfg", content)])
    assert (report.is_complete, report.skipped, report.deleted) == (False, 0, 0)
    assert {found.reason for found in report.diagnostics} == {"cannot be stored"}
    assert {"one", "two"} <= {row.fields["name"] for row in rows(app)}


def test_what_a_file_claims_in_its_text_is_text(app: Application) -> None:
    push(app, [raw("a.md", "---\ntenantId: beta\nvisibility: private\n---\n\n# A\n\nText.\n")])
    assert {row.stamp.label for row in rows(app)} == {"team:acme"}


# What is refused


EXTRACTED = {"type": "guide", "name": "A", "content": "text", "source": "a.py"}
BAD: list[tuple[object, str]] = [
    (None, ""),
    ([], ""),
    (Unreadable("expected UTF-8"), ""),
    ({}, ""),
    ({"path": "a.py"}, ""),
    ({"content": "x"}, "/path"),
    (raw("a.py", "x") | {"parsedChunks": []}, ""),
    (raw("a.py", "x") | {"tenantId": "beta"}, "/tenantId"),
    (raw("/a.py", "x"), "/path"),
    (raw("a/../b", "x"), "/path"),
    (raw("\ud800", "x"), "/path"),
    ({"path": "a.py", "content": 3}, "/content"),
    ({"path": 3, "content": ""}, "/path"),
    ({"path": "a.py", "parsedChunks": {}}, "/parsedChunks"),
    ({"path": "a.py", "parsedChunks": [3]}, "/parsedChunks/0"),
    (parsed("a.py", "x", kind=3), "/parsedChunks/0/kind"),
    (parsed("a.py", "x", sourcePath="b.py"), "/parsedChunks/0/sourcePath"),
    (parsed("a.py", "x", visibility="team"), "/parsedChunks/0/visibility"),
    (
        {
            "path": "a.py",
            "parsedChunks": [{"type": "t", "name": "n", "content": "c", "source": "a.py"}],
        },
        "/parsedChunks/0/hashInputs",
    ),
]


@pytest.mark.parametrize(("bad", "pointer"), BAD)
def test_one_bad_file_refuses_the_push_and_is_named(
    app: Application, bad: object, pointer: str
) -> None:
    push(app, [parsed("z.py", "stays")])
    before, embedded = rows(app), app.embedder.embedded
    with pytest.raises(InvalidSubmissionError) as caught:
        push(
            app,
            [raw("one.md", "# One\n"), bad, parsed("two.py", "two")],
            signals=tombstones("z.py"),
        )
    assert {problem.line for problem in caught.value.problems} == {2}
    assert pointer in {problem.pointer for problem in caught.value.problems}
    assert (rows(app), app.embedder.embedded) == (before, embedded)


def test_every_file_is_judged_whatever_came_before_it(app: Application) -> None:
    with pytest.raises(InvalidSubmissionError) as caught:
        push(app, [3, raw("a.py", "x"), parsed("b.py", "x", kind=1), {}])
    assert [(each.line, each.pointer) for each in caught.value.problems][:2] == [
        (1, ""),
        (3, "/parsedChunks/0/kind"),
    ]
    assert {each.line for each in caught.value.problems} == {1, 3, 4}
    assert app.store.profile() is None


def test_once_a_file_is_invalid_none_is_parsed(app: Application, sources: WorkspaceSources) -> None:
    parsers = list[str]()

    class Noting(Straying):
        def parse(self, content: str, path: str, **hints: Any) -> list[Document]:
            parsers.append(path)
            return super().parse(content, path, **hints)

    sources.parsers.register("LineParser", Noting, replace=True)
    with pytest.raises(InvalidSubmissionError):
        push(app, [raw("a.cfg", "x"), 3, raw("b.cfg", "x"), raw("c.cfg", "x")])
    assert parsers == ["a.cfg"]


def test_an_embedding_is_refused_as_elsewhere(app: Application) -> None:
    with pytest.raises(EmbeddingNotAllowedError):
        push(app, [parsed("a.py", "x", embedding=[1.0])])


@pytest.mark.parametrize("again", [raw("a.py", "y"), parsed("a.py", "y")])
def test_two_files_of_one_path_are_a_conflict(app: Application, again: Document) -> None:
    with pytest.raises(PushConflictError, match=r"a\.py"):
        push(app, [raw("a.py", "x"), again])
    assert app.store.profile() is None


def test_spoofs_are_overwritten_and_counted_or_refuse_the_push(app: Application) -> None:
    report = push(app, [parsed("a.py", "x", tenantId="beta", repoSlug="other")])
    assert (report.spoofs, report.added) == (2, 1)
    with pytest.raises(SpoofRejectedError) as caught:
        push(app, [parsed("a.py", "y", tenantId="beta")], mode=SpoofMode.REJECT)
    assert [each.pointer for each in caught.value.problems] == ["/parsedChunks/0/tenantId"]
    assert [row.fields["name"] for row in rows(app)] == ["x"]
    assert app.knowledge_base.status(app.context(ADA)).spoofs == 3


def test_the_volume_is_counted_to_the_chunk_and_what_is_beyond_stores_nothing(
    app: Application,
) -> None:
    files = [raw("a.md", "# A\n\nx\n\n# B\n\ny\n"), parsed("b.py", "one", "two", "two")]
    with pytest.raises(VolumeExceededError, match="5 chunks, and one call takes 4") as caught:
        push(app, files, max_chunks=4)
    assert (caught.value.chunks, caught.value.limit) == (5, 4)
    assert app.store.profile() is None
    assert push(app, files, max_chunks=5).added == 4


def test_who_may_not_write_there_is_refused_before_a_file_is_read(app: Application) -> None:
    files, announced = iter([raw("a.py", "x")]), list[str]()
    for caller, repo, error in (
        (None, "app", AuthenticationError),
        (AgentIdentity("acme", "ada", expires_at=NOW), "app", AuthenticationError),
        (AgentIdentity("neo-shared", "eve"), "neo", AccessDeniedError),
        (ADA, "white space", InvalidInputError),
    ):
        with pytest.raises(error):
            push(app, files, caller, repo=repo, announce=announced.append)
    assert (announced, len(list(files))) == ([], 1)


# What is gone


def test_tombstones_go_with_the_push_that_names_them(app: Application) -> None:
    push(app, [parsed(f"{name}.py", "x") for name in "abcd"])
    report = push(app, [parsed("e.py", "x")], signals=tombstones("a.py", "never.py"))
    assert (report.added, report.deleted) == (1, 1)
    assert paths(app) == ["b.py", "c.py", "d.py", "e.py"]


def test_a_manifest_says_what_there_is(app: Application) -> None:
    push(app, [parsed(f"{name}.py", "x") for name in "abc"])
    report = push(app, [parsed("d.py", "x")], signals=manifest("a.py", "b.py", "d.py"))
    assert (report.added, report.deleted) == (1, 1)
    assert paths(app) == ["a.py", "b.py", "d.py"]
    assert app.state.known("acme", "app").manifest is not None
    old = manifest("a.py", createdAt=format_instant(NOW))
    with pytest.raises(ManifestOutdatedError):
        push(app, signals=old)


def test_a_manifest_is_never_younger_than_the_push_that_brings_it(app: Application) -> None:
    context = app.context(ADA)
    late = manifest("a.py", createdAt=format_instant(NOW + timedelta(days=1)))
    request = IngestRequest("app", signals=parse_signals(late, context))
    app.knowledge_base.ingest(context, request, [(1, parsed("a.py", "x"))])
    known = app.state.known("acme", "app").manifest
    assert known is not None
    assert known.made_at == context.admitted_at


def test_a_row_that_a_foreign_id_has_put_at_another_path_becomes_the_pushed_one(
    app: Application,
) -> None:
    """Fails: a wanted row is deleted, since what lies under its id was of a file that is gone."""
    push(app, [parsed("a.py", "x"), parsed("c.py", "x", "y", "z")])
    [(stored, vector)] = [
        found for found in app.engine.export() if found[0].metadata["sourcePath"] == "a.py"
    ]
    foreign = RawRow(*stored.key, {**stored.metadata, "sourcePath": "b.py"})
    app.engine.put([foreign], vector[np.newaxis], exact=True)
    assert paths(app) == ["b.py", *["c.py"] * 3]
    push(app, [parsed("a.py", "x")], signals=tombstones("b.py"))
    assert paths(app) == ["a.py", *["c.py"] * 3]


def test_a_boundary_begins_at_the_known_head_and_the_tombstones_are_what_is_gone_since(
    app: Application,
) -> None:
    push(
        app,
        [parsed(f"{name}.py", "x") for name in "abc"],
        signals=boundary(None, "1") | manifest("a.py", "b.py", "c.py"),
    )
    assert app.state.known("acme", "app").head == "1"
    with pytest.raises(ManifestRequiredError):
        push(app, [parsed("a.py", "y")], signals=boundary("0", "2"))
    assert app.state.known("acme", "app").head == "1"
    signals = boundary("1", "2") | tombstones("b.py")
    assert push(app, [parsed("a.py", "y")], signals=signals).deleted == 2
    assert app.state.known("acme", "app").head == "2"
    assert push(app, [parsed("a.py", "y")], signals=signals).deleted == 0
    assert paths(app) == ["a.py", "c.py"]


@pytest.mark.parametrize(
    ("signals", "error"),
    [
        (tombstones("a.py"), DeletionConflictError),
        (manifest("b.py"), DeletionConflictError),
        (tombstones("b.py") | manifest("a.py", "b.py"), DeletionConflictError),
        ({"deleted": [{"repoSlug": "two", "sourcePath": "b.py"}]}, InvalidInputError),
        ({"manifestSnapshot": {"repoSlug": "two", "pathsAfterPush": ["a.py"]}}, InvalidInputError),
    ],
)
def test_signals_that_contradict_the_push_store_nothing(
    app: Application, signals: Document, error: type[TenantKbError]
) -> None:
    push(app, [parsed("b.py", "x")])
    before = rows(app)
    with pytest.raises(error):
        push(app, [parsed("a.py", "x")], signals=signals)
    assert rows(app) == before


def test_past_the_guard_the_number_of_rows_has_to_be_confirmed(app: Application) -> None:
    push(app, [parsed("a.py", "bobs")], BOB, visibility=Visibility.PRIVATE)
    push(app, [parsed("a.py", "x", "y"), parsed("b.py", "x")])
    before, new, gone = rows(app), [parsed("c.py", "new")], tombstones("a.py")
    for confirmed in (None, 0, 1, 3):
        with pytest.raises(DeletionGuardError, match="2 of 3 rows") as caught:
            push(
                app,
                [parsed("c.py", "new")],
                signals=tombstones("a.py"),
                confirm_deletions=confirmed,
            )
        assert (caught.value.deleted, caught.value.stored) == (2, 3)
        assert rows(app) == before
    report = push(app, new, signals=gone, confirm_deletions=2)
    assert (report.added, report.deleted) == (1, 2)


def test_a_manifest_without_a_path_deletes_nothing_unasked(app: Application) -> None:
    push(app, [parsed("a.py", "x")])
    with pytest.raises(DeletionGuardError, match="no file was found or listed"):
        push(app, signals=manifest())
    assert push(app, signals=manifest(), confirm_deletions=1).deleted == 1


def test_rows_of_pushed_files_are_replaced_unasked(app: Application) -> None:
    push(app, [parsed("a.py", *"xyz")])
    assert push(app, [parsed("a.py")]).deleted == 3


# Interruptions


def test_after_a_failure_the_same_push_finishes_and_embeds_nothing_twice(
    app: Application,
) -> None:
    push(
        app,
        [parsed("gone.py", *"abc"), parsed("new.py", "old")],
        signals=boundary(None, "1") | manifest("gone.py", "new.py"),
    )
    files = [parsed("new.py", *(f"n{number}" for number in range(20))), raw("b.md", "# B\n")]
    signals = boundary("1", "2") | tombstones("gone.py")
    app.embedder.fail_after = app.embedder.embedded + 10
    with pytest.raises(EmbedderError):
        push(app, files, signals=signals, confirm_deletions=3)
    assert app.state.known("acme", "app").head == "1"
    stored = len(rows(app))
    assert 4 < stored < 25
    embedded, app.embedder.fail_after = app.embedder.embedded, None
    report = push(app, files, signals=signals, confirm_deletions=3)
    assert report.unchanged == stored - 4
    assert app.embedder.embedded - embedded == 21 - report.unchanged
    assert paths(app) == ["b.md", *["new.py"] * 20]
    assert app.state.known("acme", "app") == KnownState(
        "2", app.state.known("acme", "app").manifest
    )


def test_two_pushes_of_one_repository_follow_one_another(app: Application) -> None:
    @define
    class Noted(Passing):
        def phase(self, name: str, total: int | None = None) -> None:
            if name.startswith("Waiting for"):
                waiting.set()

    waiting, files = threading.Event(), [parsed("a.py", "x")]
    progress: Progress = Noted(StoppedClock(), 0)
    with app.state.lease("acme", "app", print):
        thread = threading.Thread(target=lambda: push(app, files, progress=progress))
        thread.start()
        assert waiting.wait(10)
        assert rows(app) == []
    thread.join()
    assert paths(app) == ["a.py"]


def test_files_are_read_once_and_not_held(app: Application) -> None:
    alive = weakref.WeakSet[Any]()
    most = 0

    class File(dict[str, Any]):
        __hash__ = object.__hash__  # type: ignore[assignment] # to be counted

    def files() -> Iterator[File]:
        nonlocal most
        for number in range(200):
            file = File(parsed(f"{number}.py", "x"))
            alive.add(file)
            most = max(most, len(alive))
            yield file

    assert push(app, files()).added == 200
    assert most <= 3


# How far it has come


def status(app: Application, name: str, caller: AgentIdentity = ADA) -> IngestionStatus:
    return app.knowledge_base.ingestion(app.context(caller), name)


def test_the_id_is_told_before_a_file_is_read_and_the_status_follows(app: Application) -> None:
    names, seen = list[str](), list[IngestionStatus]()

    def files() -> Iterator[Document]:
        for number in range(6):
            seen.append(status(app, names[0]))
            yield parsed(f"{number}.py", "x")

    @define
    class Watching:
        def phase(self, name: str, total: int | None = None) -> None:
            seen.append(status(app, names[0]))

        def expect(self, steps: int) -> None:
            """Nothing happens."""

        def advance(self, steps: int = 1) -> None:
            seen.append(status(app, names[0]))

    report = push(app, files(), announce=names.append, progress=Watching())
    assert names == [report.ingestion_id]
    assert {each.state for each in seen} == {IngestionState.RUNNING}
    assert list(dict.fromkeys(each.phase for each in seen)) == [
        "Parsing",
        "Comparing with the store",
        "Embedding",
    ]
    assert max((each.done, each.total) for each in seen if each.phase == "Embedding") == (6, 6)
    ended = status(app, names[0])
    assert (ended.state, ended.counts, ended.error) == (
        IngestionState.FINISHED,
        report.counts(),
        None,
    )
    assert ended.counts["added"] == 6
    assert seen[0].started_at == ended.started_at < ended.updated_at


def test_an_ingestion_of_somebody_else_is_a_missing_one(app: Application) -> None:
    name = push(app, [parsed("a.py", "x")]).ingestion_id
    told = set()
    wrong: list[Any] = ["", "x", "\ud800", "x\0", None, 3, [name], {"id": name}]
    for caller, asked in ((BOB, name), (EVE, name), *((ADA, each) for each in wrong)):
        with pytest.raises(NotFoundError) as caught:
            status(app, asked, caller)
        told.add(str(caught.value))
    assert len(told) == 1
    assert status(app, name, evolve(ADA, roles=frozenset())).state is IngestionState.FINISHED


def test_nobody_asks_without_a_standing(app: Application) -> None:
    name = push(app, [parsed("a.py", "x")]).ingestion_id
    nobody: Any = ADA
    with pytest.raises(AuthenticationError):
        app.knowledge_base.ingestion(nobody, name)


def test_a_standing_that_ends_ends_the_asking(tmp_path: Path, sources: WorkspaceSources) -> None:
    clock = StoppedClock()
    app = composed(tmp_path / "state", MemoryEngine(), sources, clock=clock)
    context = app.context(AgentIdentity("acme", "ada", expires_at=NOW + timedelta(minutes=1)))
    name = push(app, [parsed("a.py", "x")]).ingestion_id
    assert app.knowledge_base.ingestion(context, name).repo_slug == "app"
    clock.instant += timedelta(minutes=1)
    with pytest.raises(AuthenticationError):
        app.knowledge_base.ingestion(context, name)


def test_a_refusal_and_a_failure_are_recorded_with_their_code(app: Application) -> None:
    names = list[str]()
    with pytest.raises(PushConflictError):
        push(app, [raw("a.py", "x")] * 2, announce=names.append)
    app.embedder.fail_after = 0
    with pytest.raises(EmbedderError):
        push(app, [parsed("a.py", "x")], announce=names.append)
    found = [status(app, name) for name in names]
    assert [(each.state, each.error) for each in found] == [
        (IngestionState.FAILED, "KB_PUSH_CONFLICT"),
        (IngestionState.FAILED, "KB_EMBEDDER"),
    ]


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (KeyboardInterrupt, IngestionState.INTERRUPTED, None),
        (ZeroDivisionError, IngestionState.FAILED, "KB_ERROR"),
    ],
)
def test_what_breaks_in_from_outside_is_recorded(
    app: Application, error: type[BaseException], state: IngestionState, code: str | None
) -> None:
    names = list[str]()

    def files() -> Iterator[Document]:
        yield raw("a.py", "x")
        raise error

    with pytest.raises(error):
        push(app, files(), announce=names.append)
    found = status(app, names[0])
    assert (found.state, found.error) == (state, code)
    assert app.store.profile() is None


def test_one_that_is_silent_for_long_counts_as_interrupted(
    tmp_path: Path, sources: WorkspaceSources
) -> None:
    clock, names, seen = StoppedClock(), list[str](), list[IngestionState]()
    app = composed(tmp_path / "state", MemoryEngine(), sources, clock=clock)

    def files() -> Iterator[Document]:
        for silence in (SILENCE, SILENCE + timedelta(seconds=1)):
            clock.instant += silence
            seen.append(status(app, names[0]).state)
            yield parsed(f"{len(seen)}.py", "x")
        seen.append(status(app, names[0]).state)

    push(app, files(), announce=names.append)
    assert seen == [IngestionState.RUNNING, IngestionState.INTERRUPTED, IngestionState.RUNNING]
    assert status(app, names[0]).state is IngestionState.FINISHED


# Whole documents


def test_a_document_becomes_a_request_and_files(app: Application) -> None:
    document = {
        "repoSlug": "app",
        "visibility": "private",
        "files": [raw("a.py", "x"), 3],
        **tombstones("b.py"),
        **manifest("a.py"),
        **boundary("1", "2"),
        "confirmDeletions": 7.0,
    }
    context = app.context(ADA)
    request, files = parse_push(document, context)
    signals = {**tombstones("b.py"), **manifest("a.py"), **boundary("1", "2")}
    assert request == IngestRequest(
        "app",
        visibility=Visibility.PRIVATE,
        signals=parse_signals(signals, context),
        confirm_deletions=7,
    )
    assert list(files) == [(1, raw("a.py", "x")), (2, 3)]
    request, files = parse_push({"repoSlug": "app", "files": []}, context)
    assert (request, list(files)) == (IngestRequest("app"), [])


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"repoSlug": "a b"}, "/repoSlug"),
        ({"repoSlug": 3}, "/repoSlug"),
        ({"files": {}}, "/files"),
        ({"visibility": "public"}, "/visibility"),
        ({"confirmDeletions": -1}, "/confirmDeletions"),
        ({"confirmDeletions": True}, "/confirmDeletions"),
        ({"tenantId": "beta"}, "/tenantId"),
        ({"deleted": [{}]}, "/deleted/0/repoSlug"),
        ({"headRevision": "1"}, "/manifestSnapshot"),
        ({"manifestSnapshot": 3}, "/manifestSnapshot"),
    ],
)
def test_a_document_that_is_no_push_is_told_where(
    app: Application, changes: Mapping[str, Any], place: str
) -> None:
    document: Any = {"repoSlug": "app", "files": [], **changes}
    with pytest.raises(InvalidSubmissionError) as caught:
        parse_push(document, app.context(ADA))
    assert place in {problem.pointer for problem in caught.value.problems}


@pytest.mark.parametrize("document", [None, [], 3, {}, {"files": []}, {"repoSlug": "app"}])
def test_what_is_no_document_is_refused(app: Application, document: Any) -> None:
    with pytest.raises(InvalidSubmissionError):
        parse_push(document, app.context(ADA))
