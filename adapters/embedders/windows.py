"""One vector for one text, however long: overlapping windows, and their vectors pooled.

A model with a window of n tokens would drop what follows. Here the text is cut into windows that
overlap, so that what one border severs the next window holds whole, and the vectors of the windows
are averaged by their weight. Models that add up the vectors of single words have no window and need
none of this but :func:`unit_rows`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tenantkb.ports.embedding import Vectors


def windows(length: int, size: int, overlap: int) -> list[slice]:
    """Cut ``range(length)`` into windows that cover it from end to end.

    Args:
        length: Tokens or characters of the text, at least 0.
        size: Most of them in one window.
        overlap: How many of them a window shares with the one before, less than ``size``.

    Returns:
        At least one window, in order. Every one but the first begins ``size - overlap`` after its
        predecessor and holds something that its predecessor does not.
    """
    return [
        slice(start, min(start + size, length))
        for start in range(0, max(length - overlap, 1), size - overlap)
    ]


def pool(
    vectors: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating],
    owners: npt.NDArray[np.intp],
    texts: int,
) -> Vectors:
    """Average the windows of every text by weight, and scale to unit length.

    Args:
        vectors: Shape ``(windows, dimension)``.
        weights: Shape ``(windows,)``: how much text a window holds.
        owners: Shape ``(windows,)``: the row of the text that a window was cut from.
        texts: Number of texts; a text without a window gets the vector of an empty text.
    """
    sums = np.zeros((texts, vectors.shape[1]), dtype=np.float64)
    np.add.at(sums, owners, vectors * weights[:, np.newaxis])
    return unit_rows(sums)


def unit_rows(matrix: npt.NDArray[np.floating]) -> Vectors:
    """Scale every row to unit length; a row of zeros, without direction, becomes the first axis."""
    rows = matrix.astype(np.float64)
    rows[~rows.any(axis=1), 0] = 1
    rows /= np.abs(rows).max(axis=1, keepdims=True)  # so that no square overflows or vanishes
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)
