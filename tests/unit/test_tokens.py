"""Tokens and terms: what is found is what is written, however it is spelt."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.lexical import TOKENISER, field_lengths, frequencies_in, terms_of
from tenantkb.domain.tokens import STEMMER, token_counts

TEXTS = st.text(max_size=60) | st.text("aB1_ .-/éß\u0301日本カ한", max_size=30)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The rows are matching", "the row are match"),
        ("getMatchingRows", "get match row getmatchingrow"),
        ("HTMLParser", "html parser htmlparser"),
        ("max_size", "max size maxsiz"),
        ("__init__ _private", "init privat"),
        ("sha256", "sha 256 sha256"),
        ("Neo.component.Base", "neo compon base"),
        ("src/util/Array.mjs", "src util array mjs array.mjs"),
        ("see guard.py.", "see guard py guard.py"),
        ("store.get(x) v1.2", "store get x v 1 v1 2"),
        (".eslintrc.js", "eslintrc js eslintrc.js"),
        ("Straße STRASSE", "strass strass"),
        ("ＡＢＣ ﬁle", "abc file"),
        ("cafe\u0301", "café"),
        ("हिन्दी", "हिन्दी"),
        ("日本語", "日本 本語"),
        ("水 guard.pyで", "水 で guard py guard.py"),
        ("한국어 カタ", "한국 국어 カタ"),
        ("日本語parseXml", "日本 本語 pars xml parsexml"),
        ("\ud800 \0 … ❤️ \U0001f600", ""),
    ],
)
def test_a_text_has_these_tokens(text: str, tokens: str) -> None:
    assert token_counts(text) == Counter(tokens.split())


@pytest.mark.parametrize("spelling", ["maxSize", "MaxSize", "max_size", "MAX_SIZE", "maxsize"])
def test_every_spelling_of_an_identifier_has_the_same_whole(spelling: str) -> None:
    assert "maxsiz" in token_counts(spelling)


def test_a_token_counts_as_often_as_it_is_written() -> None:
    assert token_counts("row rows rowCount") == {"row": 3, "count": 1, "rowcount": 1}


@pytest.mark.parametrize("unit", ["a", "aB", "a1", "é_", "a.", "-a.py"])
def test_a_megabyte_without_a_space_has_few_and_short_tokens(unit: str) -> None:
    counts = token_counts(unit * (1_000_000 // len(unit)))
    assert 0 < len(counts) <= 200
    assert max(map(len, counts)) <= 200


@given(TEXTS, TEXTS)
def test_lines_have_the_tokens_of_their_text(first: str, second: str) -> None:
    together = Counter(token_counts(f"{first}\n{second}"))
    assert together == Counter(token_counts(first)) + Counter(token_counts(second))


@given(st.text("abxßéσς\u0301ﬁ "))
def test_upper_and_lower_case_have_the_same_tokens(text: str) -> None:
    assert token_counts(text.upper()) == token_counts(text)


@given(TEXTS)
def test_every_token_has_a_utf_8_form_and_no_white_space(text: str) -> None:
    for token, count in token_counts(text).items():
        assert token.encode()
        assert token.split() == [token]
        assert count > 0


def test_a_row_has_terms_by_field() -> None:
    row = {
        "name": "Store.query",
        "className": "Store",
        "sourcePath": "app/store.py",
        "content": "Query the store",
        "description": "Query",
    }
    assert terms_of(row) == {
        "store": (1, 1, 1),
        "queri": (1, 0, 1),
        "app": (0, 1, 0),
        "py": (0, 1, 0),
        "store.py": (0, 1, 0),
        "the": (0, 0, 1),
    }


def test_a_class_and_a_description_count_where_name_and_content_do_not_hold_them() -> None:
    row = {"name": "query", "className": "Store", "content": "x", "description": "rows"}
    assert terms_of(row) == {
        "queri": (1, 0, 0),
        "store": (1, 0, 0),
        "x": (0, 0, 1),
        "row": (0, 0, 1),
    }


@pytest.mark.parametrize("damaged", [{}, {"name": 7, "sourcePath": None, "content": ["x"]}])
def test_what_a_damaged_row_lacks_is_empty(damaged: dict[str, object]) -> None:
    assert terms_of(damaged) == {}
    assert field_lengths({}) == (0, 0, 0)


def test_lengths_and_tables_are_of_the_terms() -> None:
    terms = {"a": (1, 0, 2), "b": (0, 3, 4)}
    assert field_lengths(terms) == (1, 3, 6)
    assert frequencies_in([terms, {}], ["b", "c"]).tolist() == [
        [[0, 3, 4], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
    ]


def test_the_name_of_the_tokeniser_tells_the_stemmer() -> None:
    assert TOKENISER.endswith(STEMMER)
