import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.embedders.texts import batches, weighted_words, well_formed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("afterSetValue", ["after", "set", "value"]),
        ("XMLHttpRequest", ["xml", "http", "request"]),
        ("snake_case-and.dots", ["snake", "case", "and", "dots"]),
        ("utf8 v10.2", ["utf", "8", "v", "10", "2"]),
        ("MÜLLER straße", ["müller", "strasse"]),
        ("cafe\u0301 ﬁle", ["café", "file"]),
        ("東京 Москва", ["東京", "москва"]),
        ("=> {} \ud800", []),
    ],
)
def test_text_is_cut_into_words(text: str, words: list[str]) -> None:
    assert list(weighted_words(text)) == words


def test_a_repeated_word_weighs_by_the_logarithm_of_its_count() -> None:
    assert weighted_words("one two Two TWO") == {"one": 1.0, "two": 1 + math.log(3)}


def test_a_lone_surrogate_is_replaced_and_the_rest_is_kept() -> None:
    assert well_formed("a\ud800b\x00🔵") == "a?b\x00🔵"


@given(st.lists(st.integers(0, 9)), st.integers(1, 5), st.integers(1, 12))
def test_batches_keep_the_order_and_the_limits(items: list[int], count: int, size: int) -> None:
    grouped = list(batches(items, count=count, size=size, measure=lambda item: item))
    assert [item for batch in grouped for item in batch] == items
    for batch in grouped:
        assert 1 <= len(batch) <= count
        assert sum(batch) <= size or len(batch) == 1


def test_batches_are_drawn_from_their_source_lazily() -> None:
    drawn: list[int] = []

    def source() -> Iterator[int]:
        for item in range(1000):
            drawn.append(item)
            yield item

    next(batches(source(), count=10, size=1000, measure=lambda _: 1))
    assert len(drawn) == 11
