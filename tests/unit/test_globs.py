"""Patterns for paths."""

from __future__ import annotations

import pathspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.globs import LENGTH, matches, require_glob
from tenantkb.domain.rows import Criteria

FITTING = [
    ("*.py", "b.py"),
    ("*.py", "a/b.py"),
    ("src/*.py", "src/a.py"),
    ("src/a.py", "src/a.py"),
    ("src/**", "src/a/b"),
    ("src/**/x", "src/x"),
    ("src/**/x", "src/a/b/x"),
    ("**/x", "x"),
    ("**/x", "a/b/x"),
    ("docs/", "docs/a"),
    ("docs/", "a/docs/b/c"),
    ("/docs/", "docs/a"),
    ("/a", "a"),
    ("a?c", "abc"),
    ("[ab].c", "a.c"),
    ("[]a].c", "].c"),
    ("[!a]*.c", "b.c"),
    ("a**b", "axxb"),
    ("**", "a/b"),
    (".*", ".hidden"),
    ("*", ".hidden"),
]
OTHERS = [
    ("*.py", "a.pyc"),
    ("*.py", "A.PY"),
    ("src/*.py", "x/src/a.py"),
    ("src/*.py", "src/a/b.py"),
    ("src/**", "src"),
    ("src", "src/a"),
    ("docs/", "docs"),
    ("/docs/", "a/docs/b"),
    ("/a", "b/a"),
    ("a?c", "a/c"),
    ("[!a].c", "a.c"),
    ("a**b", "a/b"),
    ("a/**/b", "a/c"),
]


@pytest.mark.parametrize(("pattern", "path"), FITTING)
def test_a_path_fits(pattern: str, path: str) -> None:
    assert matches(require_glob(pattern), path)


@pytest.mark.parametrize(("pattern", "path"), OTHERS)
def test_a_path_does_not_fit(pattern: str, path: str) -> None:
    assert not matches(require_glob(pattern), path)


@pytest.mark.parametrize("value", ["", "/", "//", None, 5, b"*", "\ud800", "a" * (LENGTH + 1)])
def test_what_is_no_pattern_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError):
        require_glob(value)
    if value is not None:
        with pytest.raises(InvalidInputError):
            Criteria(path=value)  # type: ignore[arg-type]


segments = st.lists(
    st.sampled_from(["a", "b", "*", "?", "[ab]", ".", "ab"]), min_size=1, max_size=3
)
wanted = st.lists(st.one_of(segments.map("".join), st.just("**")), min_size=1, max_size=4).map(
    "/".join
)
paths = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@given(wanted, paths)
@example("**", "a")
def test_a_pattern_means_what_it_means_to_git(pattern: str, path: str) -> None:
    """Fails: a star crosses a slash, or two of them do not."""
    assume(not any(part in {".", ".."} for part in path.split("/")))
    rule = pathspec.GitIgnoreSpec.from_lines([pattern])
    parts = path.split("/")
    # To git, what lies below a folder that fits is ignored as well.
    assume(not any(rule.match_file("/".join(parts[:end])) for end in range(1, len(parts))))
    assert matches(pattern, path) == rule.match_file(path)


@given(st.text("a*?[]!/", min_size=1, max_size=40), st.text("a/", max_size=400))
@example("*a" * 200 + "b", "a" * 500)
@example("**/" * 100 + "b", "a/" * 250 + "a")
def test_every_pattern_takes_a_short_time(pattern: str, path: str) -> None:
    matches(pattern, path)
