"""BM25 by hand, and the laws that make scores equal in every store."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.bm25 import Bm25, Statistics
from tenantkb.domain.errors import InvalidInputError

COUNTS = st.integers(0, 1_000)
FIELDS = st.tuples(COUNTS, COUNTS, COUNTS)
TERMS = ("a", "b", "c")
ROWS = st.lists(st.tuples(st.tuples(FIELDS, FIELDS, FIELDS), FIELDS), min_size=1, max_size=6)


@st.composite
def statistics(draw: st.DrawFn) -> Statistics:
    rows = draw(COUNTS)
    occurrences = draw(st.dictionaries(st.sampled_from(TERMS), st.integers(0, rows)))
    return Statistics(rows, draw(FIELDS), occurrences)


def scores(bm25: Bm25, rows: list[tuple[object, object]]) -> list[float]:
    frequencies, lengths = zip(*rows, strict=True)
    return [float(score) for score in bm25.scores(np.array(frequencies), np.array(lengths))]


@pytest.mark.parametrize(
    ("frequencies", "lengths", "expected"),
    [
        # Two rows, the term in one of them: idf = ln(1 + 1.5 / 1.5). Mean lengths: 1, 2, 10.
        ((1, 0, 2), (1, 2, 10), log(2) * 7 / 11),  # tf = 5 + 2
        ((0, 0, 7), (1, 2, 20), log(2) * 4 / 8),  # norm = 0.25 + 0.75 * 2, tf = 7 / 1.75
        ((2, 0, 0), (3, 2, 10), log(2) * 4 / 8),  # norm = 0.25 + 0.75 * 3, tf = 5 * 2 / 2.5
        ((0, 7, 0), (1, 4, 10), log(2) * 12 / 16),  # norm = 0.25 + 0.75 * 2, tf = 3 * 7 / 1.75
        ((0, 0, 0), (1, 2, 10), 0.0),
    ],
)
def test_a_score_is_what_the_formula_gives_by_hand(
    frequencies: tuple[int, int, int], lengths: tuple[int, int, int], expected: float
) -> None:
    bm25 = Bm25.of(["a"], Statistics(2, (2, 4, 20), {"a": 1}))
    assert scores(bm25, [([frequencies], lengths)]) == [pytest.approx(expected, rel=1e-12)]


def test_terms_add_up_and_rare_ones_weigh_more() -> None:
    bm25 = Bm25.of(["b", "a", "b"], Statistics(8, (8, 8, 8), {"a": 1, "b": 7}))
    assert bm25.terms == ("a", "b")
    rare, common, both = scores(
        bm25,
        [
            ([(0, 0, 1), (0, 0, 0)], (1, 1, 1)),
            ([(0, 0, 0), (0, 0, 1)], (1, 1, 1)),
            ([(0, 0, 1), (0, 0, 1)], (1, 1, 1)),
        ],
    )
    assert rare == pytest.approx(log(6) / 5)
    assert common == pytest.approx(log(1.2) / 5)
    assert both == rare + common


def test_a_field_that_no_row_has_is_no_division_by_zero() -> None:
    bm25 = Bm25.of(["a"], Statistics(1, (0, 0, 4), {"a": 1}))
    assert scores(bm25, [([(0, 0, 1)], (0, 0, 4))]) == [pytest.approx(log(4 / 3) / 5)]
    assert scores(Bm25.of([], Statistics.total([])), [(np.zeros((0, 3)), (0, 0, 0))]) == [0.0]


@given(statistics(), ROWS)
def test_a_row_scores_the_same_bits_alone_and_beside_others(
    known: Statistics, rows: list[tuple[object, object]]
) -> None:
    bm25 = Bm25.of(TERMS, known)
    together = scores(bm25, rows)
    assert together == [scores(bm25, [row])[0] for row in rows]
    assert all(score >= 0 for score in together)


@given(statistics(), ROWS, st.integers(0, 2), st.integers(0, 2), st.integers(1, 50))
def test_a_higher_frequency_never_lowers_a_score(
    known: Statistics, rows: list[tuple[object, object]], term: int, field: int, more: int
) -> None:
    bm25 = Bm25.of(TERMS, known)
    frequencies = np.array([row[0] for row in rows])
    lengths = np.array([row[1] for row in rows])
    before = bm25.scores(frequencies, lengths)
    frequencies[:, term, field] += more
    assert (bm25.scores(frequencies, lengths) >= before).all()


@given(st.permutations(TERMS), statistics(), ROWS)
def test_the_order_of_the_question_changes_no_bit(
    order: list[str], known: Statistics, rows: list[tuple[object, object]]
) -> None:
    assert scores(Bm25.of(order, known), rows) == scores(Bm25.of(TERMS, known), rows)


@given(st.lists(statistics(), max_size=4))
def test_the_statistics_of_labels_add_up_in_any_order(parts: list[Statistics]) -> None:
    total = Statistics.total(parts)
    assert total == Statistics.total(reversed(parts))
    assert total.rows == sum(part.rows for part in parts)
    assert total.lengths == tuple(sum(part.lengths[field] for part in parts) for field in range(3))
    for term in TERMS:
        occurrences = sum(part.document_frequencies.get(term, 0) for part in parts)
        assert total.document_frequencies.get(term, 0) == occurrences


@pytest.mark.parametrize(
    ("lengths", "occurrences"), [((0, -1, 0), {}), ((0, 0, 0), {"a": 3}), ((0, 0, 0), {"a": -1})]
)
def test_impossible_statistics_are_refused(
    lengths: tuple[int, int, int], occurrences: dict[str, int]
) -> None:
    with pytest.raises(InvalidInputError):
        Statistics(2, lengths, occurrences)


def test_not_even_rounding_lowers_the_score_of_a_higher_frequency() -> None:
    bm25 = Bm25.of(["a"], Statistics(1_000, (0, 0, 1_000), {"a": 300}))
    frequencies = np.zeros((20_000, 1, 3), np.int64)
    frequencies[:, 0, 2] = np.arange(20_000) + 10**9  # here the steps are smaller than the last bit
    found = bm25.scores(frequencies, np.tile([0, 0, 1], (20_000, 1)))
    assert (np.diff(found) >= 0).all()
