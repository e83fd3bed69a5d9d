"""Which files belong to a repository: as git tells, and as we tell without it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.repositories import Repository
from tests.unit.sources.conftest import Checkout


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))


@pytest.fixture(params=["git", "without git"])
def has_git(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test runs twice; repositories are made before git goes."""
    return bool(request.param == "git")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.initialised(tmp_path / "checkout")


class Reading:
    """What CodeSource finds, with git or without it."""

    def __init__(self, has_git: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_git = has_git
        self._monkeypatch = monkeypatch

    def __call__(self, folder: Path, settings: Any = None, source: str = "CodeSource") -> Checkout:
        checkout = Checkout(folder)
        with self._monkeypatch.context() as patch:
            if not self.has_git:
                patch.setenv("PATH", "/nowhere")
            chunks = checkout.extract(source, settings)
        self.found = sorted({chunk["sourcePath"] for chunk in chunks})
        return checkout


@pytest.fixture
def reading(has_git: bool, monkeypatch: pytest.MonkeyPatch) -> Reading:
    return Reading(has_git, monkeypatch)


def write(root: Path, *paths: str, text: str = "x = 1\n") -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize("source", ["CodeSource", "RawRepoSource"])
def test_ignore_files_above_the_workspace_count(
    repository: Repository, reading: Reading, source: str
) -> None:
    """Fails: a file that git ignores by the root's patterns is stored."""
    write(repository.folder, ".gitignore", text="build/\nsettings.py\n")
    write(repository.folder, *(f"app/{name}" for name in ("a.py", "settings.py", "build/b.py")))
    reading(repository.folder / "app", source=source)
    assert reading.found == ["a.py"]


def test_all_places_of_patterns_count_by_their_weight(
    repository: Repository, reading: Reading, tmp_path: Path
) -> None:
    write(tmp_path, "home/.config/git/ignore", text="usual.py\n")
    write(repository.folder, ".git/info/exclude", text="exclude.py\nboth.py\n")
    write(repository.folder, ".gitignore", text="!both.py\n")
    write(repository.folder, "a.py", "usual.py", "exclude.py", "both.py")
    reading(repository.folder)
    assert reading.found == [".gitignore", "a.py", "both.py"]
    write(tmp_path, "home/.gitconfig", text='[Core]\n  excludesFile = "~/my ignore" ; mine\n')
    write(tmp_path, "home/my ignore", text="a.py\n")
    reading(repository.folder)
    assert reading.found == [".gitignore", "both.py", "usual.py"]


def test_tracked_files_are_never_ignored(repository: Repository, reading: Reading) -> None:
    write(repository.folder, "build/kept.py", "build/left.py")
    repository.git("add", "build/kept.py")
    write(repository.folder, ".gitignore", text="build/\n")
    checkout = reading(repository.folder)
    if reading.has_git:
        assert reading.found == [".gitignore", "build/kept.py"]
        assert checkout.notices == {}
    else:
        assert reading.found == [".gitignore"]
        assert list(checkout.notices) == ["."]


def test_a_checkout_within_a_checkout_is_left_out_with_a_notice(
    repository: Repository, reading: Reading
) -> None:
    repository.commit({"a.py": "a = 1\n"})
    Repository.initialised(repository.folder / "nested").commit({"b.py": "b = 1\n"})
    repository.git("worktree", "add", "--quiet", "tree", "--detach")
    write(repository.folder, ".gitignore", text="/ignored/\n")
    Repository.initialised(repository.folder / "ignored").commit({"c.py": "c = 1\n"})
    checkout = reading(repository.folder)
    assert reading.found == [".gitignore", "a.py"]
    assert set(checkout.notices) - {"."} == {"nested", "tree"}
    reading(repository.folder / "tree")
    assert reading.found == ["a.py"]


def test_submodules_are_read_by_their_own_rules(
    repository: Repository, reading: Reading, tmp_path: Path
) -> None:
    library = Repository.initialised(tmp_path / "library")
    library.commit({"b.py": "b = 1\n", ".gitignore": "own.py\n"})
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    repository.git(*add, str(library.folder), "lib/one")
    repository.git(*add, str(library.folder), "lib/two")
    repository.commit({".gitignore": "b.py\n"})
    write(repository.folder, "lib/one/own.py")
    repository.git("submodule", "--quiet", "deinit", "lib/two")
    checkout = reading(repository.folder)
    assert reading.found == [".gitignore", ".gitmodules", "lib/one/.gitignore", "lib/one/b.py"]
    assert checkout.warnings == {"lib/two": "the submodule is not checked out"}


def test_checkouts_below_a_folder_that_is_none_are_read_by_their_own_rules(
    reading: Reading, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    both.mkdir()
    for name in ("one", "two"):
        Repository.initialised(both / name).commit({"a.py": "a = 1\n", ".gitignore": "b.py\n"})
        write(both, f"{name}/b.py")
    write(both, "b.py")
    reading(both)
    assert [path for path in reading.found if path.endswith(".py")] == [
        *("b.py", "one/a.py", "two/a.py")
    ]


def test_a_folder_that_is_ignored_itself_is_read_if_it_is_named(
    repository: Repository, reading: Reading
) -> None:
    write(repository.folder, ".gitignore", text="/scratch/\n*.log\n")
    write(repository.folder, "scratch/deep/a.py", "scratch/deep/b.log")
    for folder in ("scratch", "scratch/deep"):
        checkout = reading(repository.folder / folder)
        assert [Path(path).name for path in reading.found] == ["a.py", "b.log"]
        assert "." in checkout.notices


def test_a_workspace_behind_a_link_is_the_same(
    repository: Repository, reading: Reading, tmp_path: Path
) -> None:
    write(repository.folder, ".gitignore", text="b.py\n")
    write(repository.folder, "app/a.py", "app/b.py")
    (tmp_path / "link").symlink_to(repository.folder / "app")
    reading(tmp_path / "link")
    assert reading.found == ["a.py"]


def test_names_that_no_row_can_have_are_warnings_and_can_be_excluded(
    repository: Repository, reading: Reading
) -> None:
    awkward = ("back\\slash.py", "two\nlines.py", os.fsdecode(b"caf\xe9.py"))
    write(repository.folder, "a.py", *(f"data/{name}" for name in awkward))
    checkout = reading(repository.folder)
    assert reading.found == ["a.py"]
    assert checkout.failures == {}
    assert checkout.warnings == {
        "data/back\\slash.py": "the name has a back-slash or a line end",
        "data/two\nlines.py": "the name has a back-slash or a line end",
        "data/caf\ufffd.py": "the name is not UTF-8",
    }
    assert reading(repository.folder, {"excludePaths": ["data/*"]}).warnings == {}
    write(repository.folder, "data/.gitignore", text="*\n")
    assert reading(repository.folder).warnings == {}


HOSTILE = """
[core]
    repositoryformatversion = 0
    fsmonitor = "touch {mark}; false"
    hooksPath = {hooks}
    sshCommand = "touch {mark}"
    pager = "touch {mark}"
    untrackedCache = true
[remote "origin"]
    url = "ext::touch {mark}"
    promisor = true
    uploadpack = "touch {mark}"
[extensions]
    partialClone = origin
[filter "x"]
    clean = "touch {mark}"
    process = "touch {mark}"
[alias]
    ls-files = "!touch {mark}"
[protocol]
    allow = always
"""


def test_no_program_that_a_checkout_names_is_run(
    repository: Repository, reading: Reading, tmp_path: Path
) -> None:
    """Fails: who synchronises somebody's checkout runs somebody's programs."""
    repository.commit({"a.py": "a = 1\n", ".gitattributes": "* filter=x\n", ".gitignore": "b.py"})
    mark, hooks = tmp_path / "mark", tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "post-checkout"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    (repository.folder / ".git/config").write_text(HOSTILE.format(mark=mark, hooks=hooks))
    write(repository.folder, "a.py", "b.py", text="changed = 1\n")
    for blob in (repository.folder / ".git/objects").glob("??/*"):
        blob.unlink()  # whoever wants one has to fetch it
    reading(repository.folder)
    assert not mark.exists()
    assert reading.found == [".gitattributes", ".gitignore", "a.py"]


def test_what_git_refuses_to_read_is_read_without_it(
    repository: Repository, has_git: bool, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository.folder, ".gitignore", text="b.py\n")
    write(repository.folder, "a.py", "b.py")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # of git's own tests
    checkout = reading(repository.folder)
    assert reading.found == [".gitignore", "a.py"]
    [notice] = [found for found in checkout.diagnostics if found.path == "."]
    assert ("dubious ownership" in notice.detail) is has_git


names = st.sampled_from(["a", "b.py", "c.log", "build", "d e", "é"])
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join), st.just("x = 1\n"), max_size=8
).filter(
    lambda tree: (
        not any(
            f"{other}/".startswith(f"{path}/") for path in tree for other in tree if path != other
        )
    )
)
patterns = st.lists(
    st.sampled_from(
        [
            *("*.log", "build", "build/", "/a", "!a", "!*.log", "a/*", "!a/b.py", "**/build"),
            *("a/**", "*", "!*/", "!*.py", "d\\ e", "é", "[a-b]*", "/*/b.py", "# a", " a", "a "),
        ]
    ),
    max_size=4,
).map("\n".join)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    trees,
    st.dictionaries(st.sampled_from(["", "a/", "build/", "a/build/"]), patterns, max_size=3),
    patterns,
)
@example({"a": "x = 1\n"}, {}, "*")
def test_without_git_the_same_files_are_found_in_any_tree(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    tree: dict[str, str],
    rules: dict[str, str],
    exclude: str,
) -> None:
    repository = Repository.initialised(tmp_path_factory.mktemp("tree") / "checkout")
    for path, text in tree.items():
        write(repository.folder, path, text=text)
    for folder, lines in rules.items():
        if (repository.folder / folder).is_dir():
            write(repository.folder, f"{folder}.gitignore", text=lines)
    write(repository.folder, ".git/info/exclude", text=exclude)
    found = []
    for has_git in (True, False):
        reading = Reading(has_git, monkeypatch)
        reading(repository.folder, {"excludePaths": ["!*"]})
        found.append(reading.found)
    assert found[0] == found[1]
