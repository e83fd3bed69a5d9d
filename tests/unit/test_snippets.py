"""What is shown of a text is the part that matches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.snippets import SHORTEST, Snippet, matching_lines, snippet
from tenantkb.domain.tokens import token_counts

TEXTS = st.lists(st.sampled_from(["store", "crash", "x" * 40, " ", "\n", "é", "a b"])).map("".join)
WEIGHTS = {"store": 1.0, "crash": 3.0}


def test_neighbouring_lines_that_match_are_one_range() -> None:
    content = "stores\nmaxSize\n\nnothing\nthe store\nx"
    assert matching_lines(content, {"store", "maxsiz"}) == [(1, 2), (5, 5)]
    assert matching_lines(content, {"else"}) == []
    assert matching_lines("", {"store"}) == []


def test_a_snippet_is_where_the_weight_of_terms_is_greatest() -> None:
    content = (
        "store store store\n" + "nothing here\n" * 50 + "after a crash\nthe store\nkeeps\nits rows"
    )
    assert snippet(content, WEIGHTS, 30) == Snippet("after a crash\nthe store", 52, 53)


def test_of_equal_places_the_first_is_shown() -> None:
    content = "x\n" * 20 + "one store\n" + "x\n" * 20 + "a store"
    found = snippet(content, WEIGHTS, 16)
    assert (found.text, found.first_line) == ("one store\nx\nx", 21)


def test_a_match_at_the_end_is_shown_with_what_comes_before_it() -> None:
    assert snippet("one\ntwo\nthree\nstore", WEIGHTS, 16) == Snippet("three\nstore", 3, 4)


def test_a_text_without_a_match_is_shown_from_its_beginning() -> None:
    assert snippet("one\ntwo\nthree and four", WEIGHTS, 16) == Snippet("one\ntwo", 1, 2)
    assert snippet("", WEIGHTS, 16) == Snippet("", 1, 1)


def test_a_long_line_is_cut_at_spaces_and_says_so() -> None:
    content = "word " * 100 + "the store " + "word " * 100
    found = snippet(content, WEIGHTS, 40)
    assert "store" in found.text
    assert (found.text[0], found.text[-1]) == ("…", "…")
    assert found.text[1:-1] in content
    assert set(found.text[1:-1].split()) <= {"word", "the", "store"}


@given(TEXTS, st.integers(SHORTEST, 60))
def test_a_snippet_is_a_bounded_part_of_its_text_and_shows_a_term_if_there_is_one(
    content: str, limit: int
) -> None:
    found = snippet(content, WEIGHTS, limit)
    assert len(found.text) <= limit
    assert found.text.strip("…") in content
    lines = content.split("\n")
    assert 1 <= found.first_line <= found.last_line <= len(lines)
    assert found.last_line - found.first_line == found.text.count("\n")
    if all(len(line) <= limit - 2 for line in lines):
        assert found.text == "\n".join(lines[found.first_line - 1 : found.last_line])
        asked = WEIGHTS.keys() & token_counts(content)
        assert not asked or asked & token_counts(found.text).keys()


def test_a_snippet_has_room_for_something() -> None:
    with pytest.raises(InvalidInputError, match="16"):
        snippet("x", WEIGHTS, SHORTEST - 1)
