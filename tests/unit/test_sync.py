"""Synchronisation: what is added, kept, deleted, and what an interruption leaves."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.reading.status import RepositoryStatus
from tenantkb.application.writing.sync import SyncRequest
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    DeletionGuardError,
    EmbedderError,
    InvalidInputError,
    NoSourceError,
    Remedy,
)
from tenantkb.domain.extraction import Severity
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.stamps import Visibility, format_instant
from tenantkb.testing.samples import NOW, Passing, StoppedClock, keyed, writing
from tests.composition import ADA, BOB, CURATOR, EVE, Application, compose

NOTES = ".github/RELEASE_NOTES"


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return compose(tmp_path / "state", MemoryEngine())


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
    page = app.knowledge_base.list(app.context(caller), limit=1000)
    return sorted(Path(document.source_path).stem for document in page.documents)


def repositories(app: Application, caller: AgentIdentity) -> list[RepositoryStatus]:
    return app.knowledge_base.status(app.context(caller)).repositories


def vectors(app: Application) -> dict[str, bytes]:
    """Vectors by the path of their rows, of which each has one row here."""
    found = [(str(raw.metadata["sourcePath"]), vector) for raw, vector in app.engine.export()]
    assert len(dict(found)) == len(found)
    return {path: vector.tobytes() for path, vector in found}


def labels(app: Application) -> dict[str, int]:
    """How many rows are stored under which label."""
    under = [raw.label for raw, _ in app.engine.export()]
    return {label: under.count(label) for label in sorted(set(under))}


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
    assert counts(app, ADA, empty, repo="one", confirmed=True) == (0, 0, 0, 10)
    assert [(r.tenant_id, r.repo_slug, r.rows) for r in repositories(app, ADA)] == [
        ("acme", "two", 10),
        ("neo-shared", "neo", 10),
    ]
    assert [(r.tenant_id, r.repo_slug, r.rows) for r in repositories(app, EVE)] == [
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


def test_only_the_rows_of_a_file_that_cannot_be_read_stay(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    (workspace / NOTES / "v1.md").unlink()
    (workspace / NOTES / "v1.md").symlink_to("nowhere.md")
    (workspace / NOTES / "v2.md").unlink()
    write(workspace, f"{NOTES}/v10.md", "new")
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.plan.kept, report.deleted) == (1, 1, 1)
    assert report.extraction.failed == 1
    assert "v1" in paths(app, ADA)
    assert "v2" not in paths(app, ADA)
    (workspace / NOTES / "v1.md").unlink()
    assert counts(app, ADA, workspace) == (0, 0, 9, 1)


def test_the_rows_below_a_folder_that_cannot_be_listed_stay(
    app: Application, workspace: Path, tmp_path: Path
) -> None:
    write(workspace, "learn/agentos/decisions/0001-a.md", "decided")
    write(workspace, "learn/agentos/decisions/0002-b.md", "decided as well")
    app.sync(ADA, workspace)
    (workspace / NOTES).rename(tmp_path / "away")
    (workspace / NOTES).write_text("no folder")
    (workspace / "learn/agentos/decisions/0001-a.md").unlink()
    report = app.sync(ADA, workspace)
    assert (report.plan.kept, report.deleted, report.extraction.failed) == (10, 1, 1)


def test_nothing_is_deleted_while_an_index_of_other_files_cannot_be_read(
    app: Application, workspace: Path
) -> None:
    write(workspace, "learn/a.md", "a guide")
    tree = '{"data": [{"id": "a", "name": "N", "parentId": null}]}'
    write(workspace, "learn/tree.json", tree)
    app.sync(ADA, workspace)
    (workspace / NOTES / "v1.md").unlink()
    write(workspace, "learn/tree.json", "{")
    report = app.sync(ADA, workspace)
    assert (report.plan.stale, report.deleted, report.extraction.failed) == (2, 0, 1)
    (workspace / "learn/tree.json").unlink()
    (workspace / "learn/tree.json").symlink_to("nowhere")
    report = app.sync(ADA, workspace)
    assert (report.plan.stale, report.deleted, report.extraction.failed) == (2, 0, 1)
    (workspace / "learn/tree.json").unlink()
    write(workspace, "learn/tree.json", tree)
    assert counts(app, ADA, workspace) == (0, 0, 10, 1)


def test_a_workspace_in_which_no_source_finds_anything_is_an_error(
    app: Application, workspace: Path, tmp_path: Path
) -> None:
    """Fails: a mistyped folder is synchronised, or empties the repository."""
    app.sync(ADA, workspace)
    empty = tmp_path / "empty"
    write(empty, "README.txt", "none of the sources reads it")
    with pytest.raises(NoSourceError, match=f"no source found anything in {empty}") as refused:
        app.sync(ADA, empty, "another")
    assert refused.value.remedy == Remedy.CHOOSE_SOURCES
    with pytest.raises(DeletionGuardError, match="10 of 10 rows, as no file was found"):
        app.sync(ADA, empty)
    assert [each.repo_slug for each in repositories(app, ADA)] == ["app"]
    assert counts(app, ADA, empty, confirmed=True) == (0, 0, 0, 10)


def test_while_a_file_cannot_be_read_an_empty_workspace_still_deletes_nothing_unasked(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    for number in range(10):
        (workspace / NOTES / f"v{number}.md").unlink()
    (workspace / NOTES / "v1.md").symlink_to("nowhere.md")
    with pytest.raises(DeletionGuardError, match="9 of 10 rows"):
        app.sync(ADA, workspace)
    assert len(paths(app, ADA)) == 10


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


def test_a_change_of_visibility_moves_the_rows_with_their_vectors(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    before = vectors(app)
    ids = {raw.id for raw, _ in app.engine.export()}
    assert counts(app, ADA, workspace, visibility=Visibility.PRIVATE) == (0, 10, 0, 0)
    assert (len(paths(app, ADA)), len(paths(app, BOB))) == (10, 0)
    assert labels(app) == {"private:acme:ada": 10}
    assert ids.isdisjoint(raw.id for raw, _ in app.engine.export()), "the agent is in the id"
    assert counts(app, ADA, workspace) == (0, 10, 0, 0)
    assert (len(paths(app, ADA)), len(paths(app, BOB))) == (10, 10)
    assert {raw.id for raw, _ in app.engine.export()} == ids
    assert all("originAgentIdentity" not in raw.metadata for raw, _ in app.engine.export())
    assert vectors(app) == before
    assert app.embedder.embedded == 10, "nothing is embedded twice"


def test_in_the_shared_corpus_visibility_moves_rows_as_well(
    app: Application, workspace: Path
) -> None:
    app.sync(CURATOR, workspace, "neo")
    assert len(paths(app, EVE)) == 10
    assert counts(app, CURATOR, workspace, repo="neo", visibility=Visibility.PRIVATE)[1] == 10
    assert (paths(app, EVE), len(paths(app, CURATOR))) == ([], 10)
    assert app.embedder.embedded == 10


def test_what_changed_together_with_its_visibility_is_embedded_again(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    write(workspace, f"{NOTES}/v3.md", "another text")
    assert counts(app, ADA, workspace, visibility=Visibility.PRIVATE) == (1, 9, 0, 1)
    assert labels(app) == {"private:acme:ada": 10}
    assert app.embedder.embedded == 11


def test_a_move_that_was_interrupted_is_finished_by_the_same_call(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    write(workspace, f"{NOTES}/v10.md", "new")
    app.embedder.fail_after = 0
    with pytest.raises(EmbedderError):
        app.sync(ADA, workspace, visibility=Visibility.PRIVATE)
    assert labels(app) == {"private:acme:ada": 10}
    app.embedder.fail_after = None
    assert counts(app, ADA, workspace, visibility=Visibility.PRIVATE) == (1, 0, 10, 0)
    assert app.embedder.embedded == 11


def test_of_two_stored_rows_of_a_chunk_the_one_of_the_wanted_visibility_stays(
    app: Application, workspace: Path
) -> None:
    """Fails: both stay, or a row is moved onto one that is there."""
    app.sync(ADA, workspace, visibility=Visibility.PRIVATE)
    app.sync(BOB, workspace)
    assert labels(app) == {"private:acme:ada": 10, "team:acme": 10}
    assert counts(app, ADA, workspace, deletable_share=1.0) == (0, 0, 10, 10)
    assert labels(app) == {"team:acme": 10}
    assert app.embedder.embedded == 20


def test_one_agents_run_leaves_anothers_private_rows(
    app: Application, workspace: Path, tmp_path: Path
) -> None:
    app.sync(ADA, workspace, visibility=Visibility.PRIVATE)
    other = tmp_path / "other"
    write(other, f"{NOTES}/v99.md", "of the team")
    assert counts(app, BOB, other) == (1, 0, 0, 0)
    assert len(paths(app, ADA)) == 11
    assert paths(app, BOB) == ["v99"]


def test_private_copies_of_two_agents_and_the_teams_lie_side_by_side(
    app: Application, workspace: Path
) -> None:
    for agent in (ADA, BOB):
        assert counts(app, agent, workspace, visibility=Visibility.PRIVATE) == (10, 0, 0, 0)
    assert labels(app) == {"private:acme:ada": 10, "private:acme:bob": 10}
    assert counts(app, BOB, workspace) == (0, 10, 0, 0)
    assert labels(app) == {"private:acme:ada": 10, "team:acme": 10}
    assert (len(paths(app, ADA)), len(paths(app, BOB))) == (20, 10)
    (workspace / NOTES / "v3.md").unlink()
    assert counts(app, BOB, workspace) == (0, 0, 9, 1)
    assert labels(app) == {"private:acme:ada": 10, "team:acme": 9}


def test_a_chunk_that_only_moved_is_not_embedded_again(app: Application, tmp_path: Path) -> None:
    root = tmp_path / "code"
    write(root, "src/a.mjs", "// a\nclass A {\n    m() {}\n}\n")
    app.sync(CURATOR, root, "neo")
    embedded = app.embedder.embedded
    write(root, "src/a.mjs", "\n\n\n// a\nclass A {\n    m() {}\n}\n")
    report = app.sync(CURATOR, root, "neo")
    assert (report.plan.added, report.plan.restamped) == (0, 2)
    assert app.embedder.embedded == embedded
    documents = app.knowledge_base.list(app.context(CURATOR)).documents
    method = next(document for document in documents if document.kind == "method")
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


def test_a_file_that_is_now_left_out_on_purpose_loses_its_rows(
    app: Application, tmp_path: Path
) -> None:
    """Fails: the text of a file that grew or is generated now is answered for ever."""
    root = tmp_path / "code"
    for name in ("prices", "made", "data", "a", "b", "c", "d"):
        write(root, f"{name}.py", f"def {name}():\n    return '{name}'\n")
    sources = WorkspaceSources(WorkspaceSettings(use_default_sources=False, code_source=True))
    request = SyncRequest(root, "app", sources=sources)
    assert app.knowledge_base.sync(app.context(ADA), request).plan.added == 7
    write(root, "prices.py", "PRICE = 1\n" * 200_000)
    write(root, "made.py", "# @generated\n")
    write(root, "data.py", "\0")
    report = app.knowledge_base.sync(app.context(ADA), request)
    assert (report.deleted, report.plan.kept) == (3, 0)
    assert report.extraction.skipped() == {"binary": 1, "generated": 1, "too large": 1}
    assert paths(app, ADA) == ["a", "b", "c", "d"]


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
def test_a_path_that_no_row_can_have_is_a_warning_about_that_file_alone(
    app: Application, workspace: Path
) -> None:
    """Fails: nothing is ever deleted from a repository with such a file."""
    write(workspace, f"{NOTES}/back\\slash.md", "x")
    report = app.sync(ADA, workspace)
    assert (report.plan.added, report.extraction.failed) == (10, 0)
    [found] = [each for each in report.extraction.diagnostics if "slash" in each.path]
    assert (found.path, found.severity) == (f"{NOTES}/back\\slash.md", Severity.WARNING)
    (workspace / NOTES / "v1.md").unlink()
    assert app.sync(ADA, workspace).deleted == 1


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
    [before] = repositories(app, BOB)
    assert before.last_sync is not None
    app.sync(ADA, workspace, "secret", visibility=Visibility.PRIVATE)
    assert repositories(app, BOB) == [before]
    assert [each.repo_slug for each in repositories(app, ADA)] == ["app", "secret"]
    app.sync(ADA, workspace)
    [after] = repositories(app, BOB)
    assert after.last_sync is not None
    assert after.last_sync > before.last_sync


def test_a_run_that_was_admitted_in_time_finishes_within_its_time(
    tmp_path: Path, workspace: Path
) -> None:
    clock = StoppedClock()
    app = compose(tmp_path / "state", MemoryEngine(), clock=clock)
    app.container.job_seconds.override(60.0)
    context = app.context(evolve(ADA, expires_at=NOW + timedelta(seconds=1)))
    request = SyncRequest(workspace, "app")
    sync = app.knowledge_base.sync
    with pytest.raises(AuthenticationError, match="expired"):
        sync(context, request, Passing(clock, 60))
    clock.instant = NOW
    assert sync(context, request, Passing(clock, 59)).plan.added == 10
    with pytest.raises(AuthenticationError, match="expired"):  # nothing begins any more
        sync(context, request)


def test_rows_are_ingested_when_their_writer_was_admitted_and_synced_at_the_end(
    app: Application, workspace: Path
) -> None:
    context = app.context(ADA)
    app.knowledge_base.sync(context, SyncRequest(workspace, "app"))
    [record] = app.state.syncs(["team:acme"])
    assert record.finished_at > context.admitted_at
    stamps = {raw.metadata["ingestedAt"] for raw, _ in app.engine.export()}
    assert stamps == {format_instant(context.admitted_at)}


def test_a_run_that_breaks_off_is_not_recorded(app: Application, workspace: Path) -> None:
    app.embedder.fail_after = 4
    with pytest.raises(EmbedderError):
        app.sync(ADA, workspace)
    assert app.state.syncs(["team:acme"]) == []
    app.embedder.fail_after = None
    (workspace / NOTES / "v1.md").unlink()
    (workspace / NOTES / "v1.md").symlink_to("nowhere.md")
    app.sync(ADA, workspace)
    assert [record.complete for record in app.state.syncs(["team:acme"])] == [False]


def test_a_row_of_another_repository_under_a_wanted_id_is_left_alone(
    app: Application, workspace: Path
) -> None:
    app.sync(ADA, workspace)
    [wanted, *_] = [raw.id for raw, _ in app.engine.export()]
    other = keyed(writing("acme", repo="other", visibility=Visibility.PRIVATE), wanted)
    vector = next(iter(app.engine.export()))[1]
    app.engine.put([other], vector.reshape(1, -1), exact=False)
    assert counts(app, ADA, workspace) == (0, 0, 10, 0)
    assert next(iter(app.engine.get([other.label], [wanted]))) == other
