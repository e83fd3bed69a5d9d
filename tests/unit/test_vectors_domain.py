"""Vectors as values: what fits a collection, and which rows are nearest, in every store alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, StoreMismatchError
from tenantkb.domain.vectors import nearest, ranked, require_query, require_vectors

PROFILE = EmbedderProfile("test-embedder", 3)
EYE = np.eye(3, dtype=np.float32)


def test_vectors_that_fit_are_taken() -> None:
    require_vectors(PROFILE, 3, EYE)
    require_vectors(PROFILE, 0, np.empty((0, 3), np.float32))
    require_query(PROFILE, EYE[0])


def test_before_the_first_bind_no_vector_fits() -> None:
    with pytest.raises(StoreMismatchError, match="bind"):
        require_vectors(None, 3, EYE)


@pytest.mark.parametrize("rows", [2, 4])
def test_there_is_a_vector_for_each_row(rows: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"{rows} rows .*\(3, 3\)"):
        require_vectors(PROFILE, rows, EYE)


def test_one_vector_is_no_array_of_vectors_and_the_other_way_round() -> None:
    with pytest.raises(InvalidInputError):
        require_vectors(PROFILE, 3, EYE[0])
    with pytest.raises(InvalidInputError):
        require_query(PROFILE, EYE)


def test_vectors_of_another_dimension_are_another_embedders() -> None:
    wide = np.ones((1, 4), np.float32)
    with pytest.raises(StoreMismatchError, match=r"3 dimensions .* not of 4"):
        require_vectors(PROFILE, 1, wide)
    with pytest.raises(StoreMismatchError, match=r"3 dimensions .* not of 4"):
        require_query(PROFILE, wide[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_are_finite(value: float) -> None:
    broken = EYE.copy()
    broken[2, 1] = value
    with pytest.raises(InvalidInputError):
        require_vectors(PROFILE, 3, broken)
    with pytest.raises(InvalidInputError):
        require_query(PROFILE, broken[2])


def drawn(rows: int, seed: int, dimension: int = 8) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(rows, dimension))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def keys(count: int) -> list[tuple[str, str]]:
    return [(f"id{number:04}", "team:acme") for number in range(count)]


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 1000))
def test_the_nearest_are_those_of_a_full_sort(rows: int, limit: int, seed: int) -> None:
    vectors, query = drawn(rows, seed), drawn(1, seed + 1)[0]
    cosines = vectors.astype(np.float64) @ query.astype(np.float64)
    cosines /= np.linalg.norm(vectors.astype(np.float64), axis=1)
    expected = sorted(
        ((-round(float(cosine), 6), key) for cosine, key in zip(cosines, keys(rows), strict=True))
    )[:limit]
    found = nearest(keys(rows), vectors, query, limit)
    assert [(-score, key) for key, score in found] == expected


def test_equal_vectors_have_equal_scores_wherever_they_lie_and_are_ordered_by_key() -> None:
    """Single precision rounds a product by where a row lies in the array."""
    same = drawn(1, 5, dimension=257)
    vectors = np.concatenate([drawn(100, 6, dimension=257), np.repeat(same, 50, axis=0)])
    found = nearest(keys(150)[::-1], vectors, drawn(1, 7, dimension=257)[0], 150)
    ids = [key[0] for key, _ in found if key[0] < "id0050"]
    assert len({score for key, score in found if key[0] < "id0050"}) == 1
    assert ids == sorted(ids)


def test_length_does_not_count_and_a_vector_of_zeros_is_like_nothing() -> None:
    vectors = np.stack([EYE[0] * 7, EYE[0], EYE[1] * 0, -EYE[0] * 3])
    found = nearest(keys(4), vectors, EYE[0], 4)
    assert [score for _, score in found] == [1.0, 1.0, 0.0, -1.0]


def test_ranking_rounds_to_six_decimals_before_it_looks_at_keys() -> None:
    scored = [(("b", ""), 0.5000001), (("a", ""), 0.5), (("c", ""), 1.0000002), (("d", ""), -1.2)]
    assert ranked(scored, 4) == [
        (("c", ""), 1.0),
        (("a", ""), 0.5),
        (("b", ""), 0.5),
        (("d", ""), -1.0),
    ]
    assert ranked(scored, 1) == [(("c", ""), 1.0)]
