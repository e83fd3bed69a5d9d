"""The deleted paths of real git repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantkb.adapters.files.git import GitCheckout
from tenantkb.domain.errors import ConfigurationError, InvalidInputError
from tests.repositories import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.initialised(tmp_path / "checkout")


def test_the_deleted_paths_are_those_that_the_base_has_and_the_head_has_not(
    repository: Repository,
) -> None:
    base = repository.commit({"kept.md": "1", "gone.md": "2", "src/gone.py": "3", "moved.md": "4"})
    repository.rename("moved.md", "docs/moved.md")
    head = repository.commit(
        {"kept.md": "changed", "gone.md": None, "src/gone.py": None, "new": ""}
    )
    history = GitCheckout(repository.folder)
    assert history.between(base, head) == {"gone.md", "src/gone.py", "moved.md"}
    assert history.between(base, base) == frozenset()
    assert history.between(head, base) == {"docs/moved.md", "new"}


def test_a_path_is_what_it_is_called_whatever_git_would_quote(repository: Repository) -> None:
    names = ["with space.md", "é/ü.md", 'quo"te.md', "line\nfeed.md", "-dash.md", ":(top)x.md"]
    base = repository.commit(dict.fromkeys(names, "x"))
    head = repository.commit(dict.fromkeys(names))
    assert GitCheckout(repository.folder).between(base, head) == set(names)


def test_a_name_that_no_stored_row_can_have_is_left_out(repository: Repository) -> None:
    base = repository.commit({"back\\slash.md": "x", "gone.md": "x"})
    latin = os.fsencode(repository.folder) + b"/latin-\xe9.md"
    with open(latin, "wb"):  # noqa: PTH123 # a path that is no text
        base = repository.commit({})
    os.unlink(latin)  # noqa: PTH108 # the same
    head = repository.commit({"back\\slash.md": None, "gone.md": None})
    assert GitCheckout(repository.folder).between(base, head) == {"gone.md"}


def test_paths_are_relative_to_the_folder_that_was_given(repository: Repository) -> None:
    base = repository.commit({"app/gone.md": "x", "other/gone.md": "x", "app/kept.md": "x"})
    head = repository.commit({"app/gone.md": None, "other/gone.md": None})
    assert GitCheckout(repository.folder / "app").between(base, head) == {"gone.md"}


def test_a_bare_repository_will_do(repository: Repository, tmp_path: Path) -> None:
    base = repository.commit({"gone.md": "x", "kept.md": "x"})
    head = repository.commit({"gone.md": None})
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    assert GitCheckout(tmp_path / "bare.git").between(base, head) == {"gone.md"}


def test_the_working_tree_and_the_index_have_no_say(repository: Repository) -> None:
    base = repository.commit({"a.md": "x", "b.md": "x"})
    head = repository.commit({"b.md": "y"})
    (repository.folder / "a.md").unlink()
    repository.git("rm", "--quiet", "--cached", "b.md")
    assert GitCheckout(repository.folder).between(base, head) == frozenset()


def test_a_branch_a_tag_and_an_abbreviation_stand_for_a_commit(repository: Repository) -> None:
    head = repository.commit({"a.md": "x"})
    repository.git("tag", "--annotate", "--message", "x", "v1")
    history = GitCheckout(repository.folder)
    for revision in ("HEAD", "main", "v1", head[:10], head):
        assert history.commit(revision) == head


@pytest.mark.parametrize("revision", ["nothing", "f" * 40, "^HEAD", "HEAD..HEAD", "--all", "HEAD:"])
def test_what_stands_for_no_commit_is_refused_and_a_manifest_is_asked_for(
    repository: Repository, revision: str
) -> None:
    repository.commit({"a.md": "x"})
    with pytest.raises(InvalidInputError, match=r"nothing was deleted.*manifest"):
        GitCheckout(repository.folder).commit(revision)


def test_the_hooks_of_another_repository_do_not_lead_astray(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = repository.commit({"a.md": "x"})
    other = Repository.initialised(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.folder))
    assert GitCheckout(repository.folder).commit("HEAD") == head


def test_a_folder_without_a_repository_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidInputError, match="git cannot read"):
            GitCheckout(folder).commit("HEAD")


def test_a_missing_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="git cannot be run"):
        GitCheckout(tmp_path).commit("HEAD")


trees = st.dictionaries(
    st.sampled_from(["a", "b/c", "b/d", "e f", "g/h/i"]), st.sampled_from(["1", "2"]), min_size=1
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(trees, trees)
def test_between_any_two_commits_the_deleted_paths_are_the_difference_of_their_trees(
    repository: Repository, before: dict[str, str], after: dict[str, str]
) -> None:
    base, head = repository.commit_tree(before), repository.commit_tree(after)
    assert GitCheckout(repository.folder).between(base, head) == before.keys() - after.keys()
