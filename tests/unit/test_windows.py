from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tenantkb.adapters.embedders.windows import pool, unit_rows, windows

SIZES = st.integers(1, 50).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


@given(st.integers(0, 500), SIZES)
def test_windows_cover_a_text_and_overlap_by_what_is_asked(
    length: int, sizes: tuple[int, int]
) -> None:
    size, overlap = sizes
    cut = windows(length, size, overlap)
    assert cut[0].start == 0
    assert cut[-1].stop == length
    assert all(window.stop - window.start <= size for window in cut)
    for before, after in pairwise(cut):
        assert before.stop - after.start == overlap
        assert after.stop > before.stop


@given(st.integers(0, 50), SIZES)
def test_a_text_that_fits_is_one_window(length: int, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    if length <= size:
        assert windows(length, size, overlap) == [slice(0, length)]


def test_the_vectors_of_a_text_are_averaged_by_weight() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    pooled = pool(vectors, np.array([3.0, 4.0, 1.0]), np.array([1, 1, 0]), texts=2)
    np.testing.assert_allclose(pooled, np.array([[0, 1], [0.6, 0.8]]), rtol=1e-7)


def test_a_text_without_windows_gets_the_vector_of_an_empty_text() -> None:
    pooled = pool(np.empty((0, 3)), np.empty(0), np.empty(0, dtype=np.intp), texts=1)
    np.testing.assert_array_equal(pooled, [[1, 0, 0]])


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(0, 4), st.integers(1, 6)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_every_row_of_finite_numbers_becomes_a_float32_of_unit_length(matrix: np.ndarray) -> None:
    rows = unit_rows(matrix)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


def test_scaling_keeps_the_direction() -> None:
    np.testing.assert_allclose(unit_rows(np.array([[3e-200, -4e-200]])), [[0.6, -0.8]], rtol=1e-7)


def test_a_window_must_be_larger_than_the_overlap() -> None:
    with pytest.raises(ValueError, match="zero"):
        windows(10, 4, 4)
