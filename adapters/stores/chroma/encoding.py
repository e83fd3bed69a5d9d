r"""How rows lie in a Chroma collection: format 2.

- The *physical id*, which Chroma addresses a row by, is the row's label, the separator U+001F and
  the row's id. No label holds a control character, so the first separator ends it, whatever the id
  holds.
- The id is kept once more as the metadata field ``tenantkb.id``, for other programs that read the
  collection.
- The access label is the metadata field ``access``, as in every row: filters select by it.
- A field whose name Chroma refuses (``$x``, ``#x``), drops (``chroma:x``) or that would be taken
  for one of ours (``tenantkb.x``) is stored as ``tenantkb.field:`` and the name.
- A float of many digits is stored under ``tenantkb.float:`` and its name, as text: Chroma writes
  numbers as JSON, to its log and to its clients, and reads them back changed in the last digit.
- ``tenantkb.vector`` is the vector of a row that was written as ``exact``, as Base64 of float32,
  little-endian: an index that compares by cosine keeps vectors scaled to unit length, so that any
  other length, and of a vector that has unit length already the last bits, would be lost.

A row's text lies in its metadata: as a Chroma document it would cost three times the time and twice
the space.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import Remedy, StoreMismatchError
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import RawRow, Vector

FORMAT: Final = 2

VECTOR: Final = "tenantkb.vector"
_ID: Final = "tenantkb.id"
_OURS: Final = "tenantkb."
_ESCAPE: Final = "tenantkb.field:"
_FLOAT: Final = "tenantkb.float:"
_NOT_CHROMAS: Final = ("chroma:", "$", "#", _OURS)
_SEPARATOR: Final = "\x1f"

_FORMAT: Final = "tenantkb.format"
_EMBEDDER: Final = "tenantkb.embedder"
_DIMENSION: Final = "tenantkb.dimension"
_IDS: Final = "tenantkb.ids"

Metadata = dict[str, Any]


def physical_id(key: RowKey) -> str:
    """What Chroma addresses a row by; the inverse of :func:`key_of`."""
    return f"{key.label}{_SEPARATOR}{key.id}" if key.label else str(key.id)


def key_of(physical: str) -> RowKey:
    """The address of a row; what is not of our form is the id of a row without a label."""
    label, _, row_id = physical.partition(_SEPARATOR)
    return RowKey(label, ChunkId(row_id)) if label and row_id else RowKey("", ChunkId(physical))


def order_of(physical: str) -> tuple[str, str]:
    """By what rows are sorted: id, then label."""
    key = key_of(physical)
    return key.id, key.label


def encoded(row: RawRow, exact: Vector | None = None) -> Metadata:
    """A row as Chroma's metadata, with the vector if it has to be kept bit by bit."""
    metadata: Metadata = {_ID: str(row.id)}
    for name, value in row.metadata.items():
        if isinstance(value, float) and not _survives(value):
            metadata[_FLOAT + name] = repr(value)
        else:
            metadata[_ESCAPE + name if name.startswith(_NOT_CHROMAS) else name] = value
    if exact is not None:
        metadata[VECTOR] = base64.b64encode(exact.astype("<f4").tobytes()).decode()
    return metadata


def decoded(physical: str, metadata: Mapping[str, Any] | None) -> RawRow:
    """The row of what Chroma answers; the inverse of :func:`encoded`."""
    public: Metadata = {}
    for name, value in (metadata or {}).items():
        if name.startswith(_FLOAT):
            with suppress(ValueError):
                public[name.removeprefix(_FLOAT)] = float(value)
        elif name.startswith(_ESCAPE) or not name.startswith(_OURS):
            public[name.removeprefix(_ESCAPE)] = value
    key = key_of(physical)
    return RawRow(key.label, key.id, public)


def _survives(value: float) -> bool:
    """Whether a float comes back from a parser that is exact where doubles make it easy."""
    return value == 0 or (1e-5 <= abs(value) < 1e15 and float(f"{value:.15g}") == value)


def exact_vector(metadata: Mapping[str, Any] | None, dimension: int) -> Vector | None:
    """The vector that was kept bit by bit; ``None`` if there is none, or nonsense in its place."""
    kept = (metadata or {}).get(VECTOR)
    if isinstance(kept, str):
        with suppress(ValueError):
            exact = np.frombuffer(base64.b64decode(kept, validate=True), "<f4")
            if exact.shape == (dimension,) and np.isfinite(exact).all():
                return exact.astype(np.float32)
    return None


def scaled(vectors: Vectors) -> Vectors:
    """Vectors of unit length, or of zeros. Chroma's own scaling overflows in single precision."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(vectors / lengths, np.float32)


def replacing(stored: Mapping[str, Any], metadata: Metadata) -> Metadata:
    """What to send so that ``metadata`` replace those that are ``stored``.

    Chroma merges metadata into what is there, so fields that a row no longer has are sent as
    ``None``. Deleting the row first would lose it if the process died in between.
    """
    return {**dict.fromkeys(stored), **metadata}


def same_direction(left: Sequence[Vector], right: Sequence[Vector]) -> bool:
    """Whether vectors agree but for their length and single precision: cosines ≥ 1 - 1e-5."""
    ours, theirs = np.asarray(left, np.float64), np.asarray(right, np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return bool(((ours * theirs).sum(axis=1) >= (1 - 1e-5) * lengths).all())


def described(profile: EmbedderProfile, ids: IdScheme) -> Metadata:
    """The metadata of a collection of this format."""
    return {
        _FORMAT: FORMAT,
        _EMBEDDER: profile.name,
        _DIMENSION: profile.dimension,
        _IDS: ids.value,
    }


def ids_of(metadata: Mapping[str, Any] | None, what: str) -> IdScheme:
    """How the ids of a collection's rows are derived; from their content where it does not say.

    Raises:
        StoreMismatchError: it is a scheme that this version does not know.
    """
    found = (metadata or {}).get(_IDS, IdScheme.CONTENT)
    if found not in list(IdScheme):
        raise StoreMismatchError(f"{what} has ids of the unknown scheme {found!r}")
    return IdScheme(found)


def profile_of(
    metadata: Mapping[str, Any] | None, what: str, version: int = FORMAT
) -> EmbedderProfile:
    """Read a collection's metadata.

    Args:
        metadata: Of the collection.
        what: The collection and its place, for messages.
        version: The format that is wanted.

    Raises:
        StoreMismatchError: it is another program's, or of another format.
    """
    found = metadata or {}
    written, name, dimension = found.get(_FORMAT), found.get(_EMBEDDER), found.get(_DIMENSION)
    if not isinstance(written, int) or not isinstance(name, str) or not isinstance(dimension, int):
        raise StoreMismatchError(
            f"{what} was made by another program; choose another collection name or another place"
        )
    if written < version:
        raise StoreMismatchError(
            f"{what} has format {written}, that of an earlier version of this program, which needs "
            f"format {version}",
            remedy=Remedy.MIGRATE_STORE,
        )
    if written > version:
        raise StoreMismatchError(f"{what} has format {written}, where {version} is wanted")
    return EmbedderProfile(name, dimension)
