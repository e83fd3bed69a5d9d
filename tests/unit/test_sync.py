"""Synchronisation: what is added, kept, deleted, and what an interruption leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    DeletionGuardError,
    EmbedderError,
    InvalidInputError,
)
from tenantkb.domain.extraction import Severity
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.tenancy import Visibility
from tests.composition import ADA, BOB, CURATOR, EVE, Application, compose

NOTES = ".github/RELEASE_NOTES"


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return compose(tmp_path / "state", MemoryStore())


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


def paths(app: Application, caller: AgentIdentity) -> list[str]:
    documents = app.container.list_documents()(caller)
    return sorted(Path(document.source_path).stem for document in documents)


def counts(
    app: Application, caller: AgentIdentity, workspace: Path, **options: object
) -> tuple[int, ...]:
    report = app.sync(caller, workspace, **options)  # type: ignore[arg-type] # passed on
    plan = report.plan
    return plan.added, plan.reembedded + plan.restamped, plan.unchanged, report.deleted


def test_a_second_run_changes_and_embeds_nothing(app: Application, workspace: Path) -> None:
    assert counts(app, ADA, workspace) == (10, 0, 0, 0)
    assert counts(app, ADA, workspace) == (0, 0, 10, 0)
    assert app.embedder.embedded == 10


def test_an_edit_replaces_the_rows_of_its_file(app: Application, workspace: Path) -> None:
    app.sync(ADA, workspace)
    write(workspace, f"{NOTES}/v3.md", "another text")
    assert counts(app, ADA, workspace) == (1, 0, 9, 1)
    (workspace / NOTES / "v4.md").unlink()
    assert counts(app, ADA, workspace) == (0, 0, 9, 1)
    assert "v4" not in paths(app, ADA)


def test_a_run_touches_no_other_tenant_and_no_other_repository(
    app: Application, workspace: Path, tmp_path: Path
) -> None:
    app.sync(ADA, workspace, "one")
    app.sync(ADA, workspace, "two")
    app.sync(EVE, workspace, "one")
    app.sync(CURATOR, workspace, "neo")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert counts(app, ADA, empty, repo="one") == (0, 0, 0, 10)
    status = app.container.status()
    assert [(r.tenant_id, r.repo_slug, r.rows) for r in status(ADA).repositories] == [
        ("acme", "two", 10),
        ("neo-shared", "neo", 10),
    ]
    assert [(r.tenant_id, r.repo_slug, r.rows) for r in status(EVE).repositories] == [
        ("beta", "one", 10),
        ("neo-shared", "neo", 10),
    ]


@pytest.mark.parametrize("done", [0, 4, 8])
def test_after_an_interruption_the_same_call_embeds_only_what_is_missing(
    app: Application, workspace: Path, done: int
) -> None:
    app.embedder.fail_after = done
    with pytest.raises(EmbedderError):
        app.sync(ADA, workspace)
    assert len(paths(app, ADA)) == done
    app.embedder.fail_after = None
    assert counts(app, ADA, workspace) == (10 - done, 0, done, 0)
    assert app.embedder.embedded == 10
    assert len(paths(app, ADA)) == 10


def test_nothing_is_deleted_before_everything_new_is_stored(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    write(workspace, f"{NOTES}/v0.md", "edited")
    app.embedder.fail_after = 0
    with pytest.raises(EmbedderError):
        app.sync(ADA, workspace)
    assert len(paths(app, ADA)) == 10


def test_nothing_is_deleted_while_a_file_cannot_be_read(app: Application, workspace: Path) -> None:
    app.sync(ADA, workspace)
    (workspace / NOTES / "v1.md").unlink()
    (workspace / NOTES / "v1.md").symlink_to("nowhere.md")
    write(workspace, f"{NOTES}/v10.md", "new")
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.plan.stale, report.deleted) == (1, 1, 0)
    assert report.extraction.failed == 1
    assert len(paths(app, ADA)) == 11
    (workspace / NOTES / "v1.md").unlink()
    assert counts(app, ADA, workspace) == (0, 0, 10, 1)


def test_too_many_deletions_are_refused_before_anything_is_written(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    for number in range(6):
        (workspace / NOTES / f"v{number}.md").unlink()
    write(workspace, f"{NOTES}/v10.md", "new")
    with pytest.raises(DeletionGuardError, match="6 of 10 rows"):
        app.sync(ADA, workspace, deletable_share=0.5)
    assert len(paths(app, ADA)) == 10
    write(workspace, f"{NOTES}/v5.md", "release number 5")
    assert counts(app, ADA, workspace, deletable_share=0.5) == (1, 0, 5, 5)


def test_a_dry_run_tells_the_plan_and_writes_nothing(app: Application, workspace: Path) -> None:
    assert counts(app, ADA, workspace, dry_run=True) == (10, 0, 0, 0)
    assert app.store.profile() is None
    app.sync(ADA, workspace)
    write(workspace, f"{NOTES}/v3.md", "another text")
    assert counts(app, ADA, workspace, dry_run=True) == (1, 0, 9, 1)
    assert counts(app, ADA, workspace) == (1, 0, 9, 1)


def test_another_visibility_is_stamped_without_embedding(app: Application, workspace: Path) -> None:
    app.sync(ADA, workspace)
    assert counts(app, ADA, workspace, visibility=Visibility.PRIVATE) == (0, 10, 0, 0)
    assert (len(paths(app, ADA)), len(paths(app, BOB))) == (10, 0)
    assert counts(app, ADA, workspace, visibility=Visibility.TEAM) == (0, 10, 0, 0)
    assert (len(paths(app, ADA)), len(paths(app, BOB))) == (10, 10)
    assert app.embedder.embedded == 10
    scope = app.container.list_documents()._scope(ADA)
    assert all("originAgentIdentity" not in row.metadata for row in app.store.scan(scope))


def test_one_agents_run_leaves_anothers_private_rows(
    app: Application, workspace: Path, tmp_path: Path
) -> None:
    app.sync(ADA, workspace, visibility=Visibility.PRIVATE)
    other = tmp_path / "other"
    write(other, f"{NOTES}/v99.md", "of the team")
    assert counts(app, BOB, other) == (1, 0, 0, 0)
    assert len(paths(app, ADA)) == 11
    assert paths(app, BOB) == ["v99"]


def test_who_writes_the_same_chunk_decides_who_may_read_it(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace, visibility=Visibility.PRIVATE)
    assert counts(app, BOB, workspace) == (10, 0, 0, 0)
    assert (len(paths(app, ADA)), len(paths(app, BOB))) == (10, 10)


def test_a_chunk_that_only_moved_is_not_embedded_again(app: Application, tmp_path: Path) -> None:
    root = tmp_path / "code"
    write(root, "src/a.mjs", "// a\nclass A {\n    m() {}\n}\n")
    app.sync(CURATOR, root, "neo")
    embedded = app.embedder.embedded
    write(root, "src/a.mjs", "\n\n\n// a\nclass A {\n    m() {}\n}\n")
    report = app.sync(CURATOR, root, "neo")
    assert (report.plan.added, report.plan.restamped) == (0, 2)
    assert app.embedder.embedded == embedded
    method = next(d for d in app.container.list_documents()(CURATOR) if d.kind == "method")
    assert method.line_start == 6


def test_a_module_with_a_syntax_error_keeps_its_rows_until_it_is_mended(
    app: Application, workspace: Path
) -> None:
    write(workspace, "src/a.mjs", "class A {\n    m() {}\n}\n")
    app.sync(ADA, workspace)
    stored = paths(app, ADA)
    write(workspace, "src/a.mjs", "class A {\n    m( {}\n}\n")
    report = app.sync(ADA, workspace)
    assert (report.deleted, report.plan.kept, report.extraction.failed) == (0, 1, 0)
    assert [
        item.severity for item in report.extraction.diagnostics if item.path == "src/a.mjs"
    ] == [Severity.WARNING]
    assert paths(app, ADA) == stored
    (workspace / "src/a.mjs").unlink()
    assert app.sync(ADA, workspace).deleted == 1


def test_the_first_of_equal_chunks_wins(app: Application, tmp_path: Path) -> None:
    root = tmp_path / "twins"
    for folder in ("a", "b"):
        write(root, f"learn/{folder}.md", "the same text")
    write(
        root,
        "learn/tree.json",
        '{"data": [{"id": "a", "name": "N", "parentId": null},'
        ' {"id": "b", "name": "N", "parentId": null}]}',
    )
    report = app.sync(CURATOR, root, "neo")
    assert (report.plan.added, report.plan.duplicates) == (1, 1)
    assert paths(app, CURATOR) == ["a"]
    assert counts(app, CURATOR, root, repo="neo") == (0, 0, 1, 0)


@pytest.mark.skipif(os.name == "nt", reason="the file name is not allowed there")
def test_a_path_that_no_row_can_have_is_a_failure_of_that_file_alone(
    app: Application, workspace: Path
) -> None:
    write(workspace, f"{NOTES}/back\\slash.md", "x")
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.extraction.failed) == (10, 1)


def test_who_may_not_write_there_is_refused(app: Application, workspace: Path) -> None:
    with pytest.raises(AuthenticationError):
        app.sync(None, workspace)
    with pytest.raises(AccessDeniedError):
        app.sync(AgentIdentity("neo-shared", "eve"), workspace)
    with pytest.raises(InvalidInputError):
        app.sync(ADA, workspace, "white space")
    with pytest.raises(InvalidInputError):
        app.sync(ADA, workspace / "missing")
    assert paths(app, ADA) == []


def test_the_last_sync_is_told_to_those_who_may_read_what_it_wrote(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    [before] = app.container.status()(BOB).repositories
    assert before.last_sync is not None
    app.sync(ADA, workspace, "secret", visibility=Visibility.PRIVATE)
    assert app.container.status()(BOB).repositories == [before]
    assert [r.repo_slug for r in app.container.status()(ADA).repositories] == ["app", "secret"]
    app.sync(ADA, workspace)
    [after] = app.container.status()(BOB).repositories
    assert after.last_sync is not None
    assert after.last_sync > before.last_sync
