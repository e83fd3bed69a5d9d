"""Vectors as values: what fits a collection, and which rows are nearest to a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, StoreMismatchError

Key = TypeVar("Key", bound=tuple[str, ...])

_SCORE_DECIMALS: Final = 6
_SCORE_ERROR: Final = 1e-5
"""More than single precision can be wrong by in a product of unit vectors."""

_TINY: Final = 1e-15
"""Lengths below this are not to be told from zero by squares of single precision."""


def require_vectors(
    profile: EmbedderProfile | None, rows: int, vectors: npt.NDArray[np.float32]
) -> None:
    """Refuse vectors that do not fit the collection or the rows.

    Args:
        profile: The collection's; ``None`` where nothing is bound yet.
        rows: How many rows the vectors are for.
        vectors: Should have the shape ``(rows, dimension)``.

    Raises:
        StoreMismatchError: nothing is bound yet, or the dimension is another one.
        InvalidInputError: not one finite vector for each row.
    """
    if profile is None:
        raise StoreMismatchError("the store has not been bound to an embedder yet; bind it first")
    if vectors.ndim != 2 or len(vectors) != rows:
        raise InvalidInputError(f"{rows} rows need as many vectors, not {vectors.shape}")
    _require_finite(profile, vectors)


def require_query(profile: EmbedderProfile, vector: npt.NDArray[np.float32]) -> None:
    """Refuse a query vector that cannot be compared with the collection's.

    Raises:
        StoreMismatchError: the dimension is another one.
        InvalidInputError: it is not one finite vector.
    """
    if vector.ndim != 1:
        raise InvalidInputError(f"a query is one vector, not an array of shape {vector.shape}")
    _require_finite(profile, vector)


def _require_finite(profile: EmbedderProfile, vectors: npt.NDArray[np.float32]) -> None:
    if vectors.shape[-1] != profile.dimension:
        raise StoreMismatchError(
            f"the collection holds vectors of {profile.dimension} dimensions ({profile.name}), "
            f"not of {vectors.shape[-1]}"
        )
    if not np.isfinite(vectors).all():
        raise InvalidInputError("a vector holds NaN or infinity")


def nearest(
    keys: Sequence[Key],
    vectors: npt.NDArray[np.float32],
    query: npt.NDArray[np.float32],
    limit: int,
) -> list[tuple[Key, float]]:
    """Score by cosine and pick the best: keys with scores, in the order of :func:`ranked`.

    One product in single precision picks the candidates. Its rounding depends on where a row lies
    in the array, so the candidates are scored again in double precision, each by itself: equal
    vectors get equal scores in every store, whatever lies beside them, and the order among them is
    the order of their keys.

    Args:
        keys: As many as vectors.
        vectors: Shape ``(len(keys), dimension)``, of any length, as restored ones may be.
        query: Shape ``(dimension,)``, unit length.
        limit: At least 1.
    """
    candidates = np.arange(len(keys))
    if limit < len(keys):
        coarse = _coarse_scores(vectors, query)
        threshold = np.partition(coarse, -limit)[-limit] - 2 * _SCORE_ERROR
        candidates = np.flatnonzero(coarse >= threshold)
    fine = _scores(vectors[candidates], query)
    scored = zip(candidates.tolist(), fine.tolist(), strict=True)
    return ranked([(keys[position], score) for position, score in scored], limit)


def _coarse_scores(
    vectors: npt.NDArray[np.float32], query: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Cosines in single precision; exact ones of vectors whose length that cannot tell."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        # Not by a matrix product, whose own threads stand in each other's way under many readers.
        lengths = np.sqrt(np.vecdot(vectors, vectors))
        coarse: npt.NDArray[np.float32] = np.vecdot(vectors, query) / lengths
    odd = ~np.isfinite(coarse) | (lengths < _TINY)
    if odd.any():
        coarse[odd] = _scores(vectors[odd], query)
    return coarse


def _scores(
    vectors: npt.NDArray[np.float32], query: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Cosines in double precision; 0 for a vector of zeros."""
    exact = vectors.astype(np.float64)
    lengths = np.sqrt((exact * exact).sum(axis=1))
    lengths[lengths == 0] = 1
    scores: npt.NDArray[np.float64] = (exact * query.astype(np.float64)).sum(axis=1) / lengths
    return scores


def ranked(scored: Sequence[tuple[Key, float]], limit: int) -> list[tuple[Key, float]]:
    """The best ``limit`` of (key, score), best first, equal scores by key.

    Scores are rounded to six decimals, which is what single precision is good for, and kept within
    -1 to 1.
    """
    rounded = [(-min(1.0, max(-1.0, round(score, _SCORE_DECIMALS))), key) for key, score in scored]
    return [(key, -score) for score, key in sorted(rounded)[:limit]]
