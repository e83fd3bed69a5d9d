"""What every store checks and decides alike, so that a caller cannot tell one from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, ScopeViolationError, StoreMismatchError
from tenantkb.domain.paths import is_well_formed
from tenantkb.domain.rows import (
    Criteria,
    Metadata,
    MetadataValue,
    Row,
    require_field_name,
    require_field_value,
)
from tenantkb.domain.tenancy import ACCESS_KEY, ReadScope, WriteScope, stamp_of
from tenantkb.ports.embedding import Vectors

_SCORE_DECIMALS: Final = 6
_SCORE_ERROR: Final = 1e-5
"""More than single precision can be wrong by in a product of unit vectors."""


def in_scope(scope: ReadScope | WriteScope, criteria: Criteria, metadata: Metadata) -> bool:
    """Whether a row with this metadata exists for a scan, or for a read, in ``scope``."""
    if isinstance(scope, WriteScope):
        return scope.covers(metadata) and criteria.matches(metadata)
    return metadata.get(ACCESS_KEY) in scope.labels and criteria.matches(metadata)


def writable(scope: WriteScope, rows: Sequence[Row]) -> list[dict[str, MetadataValue]]:
    """The metadata of rows that are to be written, as every store holds it: -0.0 becomes 0.0.

    Raises:
        ScopeViolationError: the scope does not cover a row.
        InvalidInputError: an id is empty, malformed or given twice, or metadata is not storable.
    """
    for row in rows:
        require_covered(scope, row.id, row.metadata)
    return _storable_rows(rows)


def restorable(rows: Sequence[Row]) -> list[dict[str, MetadataValue]]:
    """As :func:`writable`, for an operator, whose rows may be anybody's.

    Raises:
        InvalidInputError: as for :func:`writable`, or a stamp is malformed: what nobody could read
            is not written.
    """
    for row in rows:
        stamp_of(row.metadata)
    return _storable_rows(rows)


def _storable_rows(rows: Sequence[Row]) -> list[dict[str, MetadataValue]]:
    if len({row.id for row in rows}) < len(rows):
        raise InvalidInputError("the same row id is given twice in one write")
    return [_storable(row) for row in rows]


def require_covered(scope: WriteScope, row_id: str, metadata: Metadata) -> None:
    """Refuse to write a row outside the scope.

    Raises:
        ScopeViolationError: the scope does not cover it.
    """
    if not scope.covers(metadata):
        raise _violation(scope, row_id)


def require_owned(scope: WriteScope, row_id: str, stored: Metadata) -> None:
    """Refuse to replace a stored row of another tenant or repository.

    Raises:
        ScopeViolationError: the stored row is not of the scope's repository.
    """
    if not scope.owns(stored):
        raise _violation(scope, row_id)


def _violation(scope: WriteScope, row_id: str) -> ScopeViolationError:
    """One message for all cases, so that nothing is learned about what is stored."""
    return ScopeViolationError(
        f"row {row_id} is outside what this write may touch, "
        f"{scope.repo_slug} of {scope.tenant_id}; nothing has been written"
    )


def require_vectors(profile: EmbedderProfile | None, rows: Sequence[Row], vectors: Vectors) -> None:
    """Refuse vectors that do not fit the collection or the rows.

    Raises:
        StoreMismatchError: nothing is bound yet, or the dimension is another one.
        InvalidInputError: not one finite vector for each row.
    """
    if profile is None:
        raise StoreMismatchError("the store has not been bound to an embedder yet; bind it first")
    if vectors.ndim != 2 or len(vectors) != len(rows):
        raise InvalidInputError(f"{len(rows)} rows need as many vectors, not {vectors.shape}")
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


def askable(ids: Sequence[str]) -> list[str]:
    """The distinct ids among ``ids`` that a row can have, in their order."""
    return [row_id for row_id in dict.fromkeys(ids) if row_id and is_well_formed(row_id)]


def nearest(
    ids: Sequence[str], vectors: Vectors, query: npt.NDArray[np.float32], limit: int
) -> list[tuple[str, float]]:
    """Score by cosine and pick the best: ids with scores, in the order of :func:`ranked`.

    One product in single precision picks the candidates. Its rounding depends on where a row lies
    in the array, so the candidates are scored again in double precision: equal vectors get equal
    scores, and the order among them is the order of their ids.

    Args:
        ids: As many as vectors.
        vectors: Shape ``(len(ids), dimension)``, of any length, as restored ones may be.
        query: Shape ``(dimension,)``, unit length.
        limit: At least 1.
    """
    coarse = (vectors @ query) / _lengths(vectors)
    candidates = np.arange(len(ids))
    if limit < len(ids):
        threshold = np.partition(coarse, -limit)[-limit] - 2 * _SCORE_ERROR
        candidates = np.flatnonzero(coarse >= threshold)
    exact = vectors[candidates].astype(np.float64)
    fine = (exact * query.astype(np.float64)).sum(axis=1) / _lengths(exact)
    scored = zip(candidates.tolist(), fine.tolist(), strict=True)
    return ranked([(ids[position], score) for position, score in scored], limit)


def _lengths(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Euclidean lengths; 1 for a vector of zeros, whose cosine then is 0."""
    lengths: npt.NDArray[Any] = np.sqrt((vectors * vectors).sum(axis=1))
    lengths[lengths == 0] = 1
    return lengths


def ranked(scored: Sequence[tuple[str, float]], limit: int) -> list[tuple[str, float]]:
    """The best ``limit`` of (id, score), best first, equal scores by id.

    Scores are rounded to six decimals, which is what single precision is good for, and kept within
    -1 to 1.
    """
    rounded = [
        (row_id, min(1.0, max(-1.0, round(score, _SCORE_DECIMALS)))) for row_id, score in scored
    ]
    return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))[:limit]


def _storable(row: Row) -> dict[str, MetadataValue]:
    if not row.id or not is_well_formed(row.id):
        raise InvalidInputError(f"{row.id!r} cannot be the id of a row")
    try:
        return {
            require_field_name(key): require_field_value(key, value)
            for key, value in row.metadata.items()
        }
    except InvalidInputError as error:
        raise InvalidInputError(f"row {row.id}: {error}") from error
