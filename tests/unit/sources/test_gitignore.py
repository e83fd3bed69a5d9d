"""Our own reading of ignore files, held to git's."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantkb.adapters.sources.gitignore import Patterns
from tests.repositories import Repository

LITERALS = [b"a", b"b", b"A", b".py", b"-", b" ", b"\t", b"]", b"[", b"!", b"#", b"\xc3\xa9", b"\\"]
SPECIAL = [
    *(b"*", b"**", b"***", b"?", b"/", b"/**/", b"**/", b"/**", b"\\*", b"\\ ", b"\\/", b"\r"),
    *(b"[ab]", b"[!a]", b"[^b]", b"[a-b]", b"[]]", b"[a-", b"[\\]]", b"[/]", b"[[:]"),
    *(b"[[:alpha:]]", b"[[:upper:]-]", b"[[:foo:]]"),
]
names = (
    st.lists(st.sampled_from([*LITERALS, b"*"]), min_size=1, max_size=4)
    .map(b"".join)
    .filter(lambda name: name not in {b".", b".."})
)
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)
lines = st.lists(st.sampled_from(LITERALS + SPECIAL), max_size=5).map(b"".join)
files = st.builds(
    lambda mark, pieces, end: mark + b"".join(map(b"".join, pieces)) + end,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\n\n"])), max_size=4),
    lines,
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository.initialised(tmp_path_factory.mktemp("git") / "checkout")


def ignored_by_git(repository: Repository, asked: list[bytes]) -> list[bool]:
    done = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin", "--no-index", "--verbose", "--non-matching"],
        cwd=repository.folder,
        input=b"".join(path + b"\0" for path in asked),
        capture_output=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        check=False,
    )
    told = done.stdout.split(b"\0")[:-1]
    return [pattern != b"" and not pattern.startswith(b"!") for pattern in told[2::4]]


def ignored_by_us(patterns: Patterns, path: bytes) -> bool:
    """As a walk does, which leaves out a folder with all below it."""
    parts = path.split(b"/")
    for end in range(1, len(parts) + 1):
        decided = patterns.decide(b"/".join(parts[:end]), is_folder=end < len(parts))
        if decided is not None and decided[1]:
            return True
    return False


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files, st.lists(paths, min_size=1, max_size=20, unique=True))
def test_what_git_ignores_is_ignored(
    repository: Repository, text: bytes, asked: list[bytes]
) -> None:
    (repository.folder / ".gitignore").write_bytes(text)
    patterns = Patterns.read(text)
    found = [ignored_by_us(patterns, path) for path in asked]
    assert found == ignored_by_git(repository, asked)


@pytest.mark.parametrize(
    ("text", "ignored", "kept"),
    [
        (b"\xef\xbb\xbfprivate/\n", b"private/a", b"private"),
        (b"a\xc2\x85b\x0bc\n", b"a\xc2\x85b\x0bc", b"a"),  # no other sign ends a line
        (b"a \nb\\ \nc\t\n", b"a", b"c"),
        (b"x\r\n", b"x", b"x\r"),
        (b"**/deep/*.py\n", b"a/b/deep/x.py", b"a/b/deep/er/x.py"),
        (b"*\n!*/\n!*.py\n", b"a/b.txt", b"a/b.py"),
    ],
)
def test_lines_are_read_as_git_reads_them(text: bytes, ignored: bytes, kept: bytes) -> None:
    patterns = Patterns.read(text)
    assert ignored_by_us(patterns, ignored)
    assert not ignored_by_us(patterns, kept)


def test_letters_count_in_either_case_where_that_is_configured() -> None:
    assert Patterns.read(b"*.LOG\n", fold=True).decide(b"a/B.log", is_folder=False) == (0, True)
    assert Patterns.read(b"*.LOG\n").decide(b"a/B.log", is_folder=False) is None


def test_no_pattern_takes_long() -> None:
    """Fails: a hostile file stops the run; the steps grow with a power of the stars."""
    for pattern, path in ((b"*a" * 200 + b"b", b"a" * 255), (b"**/a/" * 200 + b"b", b"a/" * 500)):
        Patterns([pattern]).decide(path, is_folder=False)


def test_the_last_line_about_a_path_is_told() -> None:
    patterns = Patterns([b"*.py", b"", b"# b", b"!a.py"])
    assert patterns.decide(b"a.py", is_folder=False) == (3, False)
    assert patterns.decide(b"b.py", is_folder=False) == (0, True)
