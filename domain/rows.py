"""Chunks as they lie in a store: an id made on the server, a path, a stamp, and flat fields."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import Attribute, field, frozen

from tenantkb.domain import fields
from tenantkb.domain.canonical import stringify
from tenantkb.domain.context import WriteScope
from tenantkb.domain.derivation import derived
from tenantkb.domain.errors import InvalidInputError, MalformedRowError
from tenantkb.domain.globs import require_glob
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.paths import (
    PathIdentity,
    RootKind,
    is_well_formed,
    path_of,
    require_place,
    require_source_path,
)
from tenantkb.domain.records import printable, shown
from tenantkb.domain.stamps import TenantStamp, Visibility, stamp_of

FieldValue = str | int | float | bool
Fields = Mapping[str, FieldValue]

_STRUCTURE: Final = fields.STAMP | fields.PATH
_NOT_KEPT: Final = _STRUCTURE | {fields.SOURCE, fields.HASH, fields.ID, fields.EMBEDDING}
"""What a chunk says of itself and its row does not keep: the server makes it, or refuses it."""

_INTEGER_LIMIT: Final = 2**63
_set: Final = object.__setattr__
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MISSING: Final = "expected, and missing"


def require_field(key: object, value: object) -> FieldValue:
    """Return ``value`` as every store holds it under ``key``: -0.0 becomes 0.0.

    This is what a store can hold, and the only place that says so. How an engine writes a name that
    it keeps for itself is that engine's business.

    Raises:
        InvalidInputError: the name is empty or not UTF-8, or the value is neither text with a UTF-8
            form, a 64-bit integer, a finite float nor a boolean.
    """
    if not isinstance(key, str) or not key or not is_well_formed(key):
        raise InvalidInputError(f"no store can hold a field named {shown(key)}")
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and is_well_formed(value):
        return value
    if isinstance(value, int) and -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value + 0.0
    raise InvalidInputError(
        f"{printable(key)} is neither text, a 64-bit integer, a finite float nor a boolean"
    )


def same_fields(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether fields are equal in value and type: 1 is neither true nor 1.0."""
    return left == right and all(type(left[key]) is type(right[key]) for key in left)


def _sound(values: Mapping[str, Any]) -> dict[str, FieldValue]:
    """A copy of fields that every store can hold, see :func:`require_field`.

    Each row of each answer comes through here, and nearly all are plain: those are told by the
    types of their values, without a call for each field.

    Raises:
        InvalidInputError: one is not such a field.
    """
    kept = dict(values)
    for value in kept.values():
        kind = type(value)
        if kind is str:
            if value.isascii() or is_well_formed(value):
                continue
        elif kind is int:
            if -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
                continue
        elif kind is bool:
            continue
        break
    else:
        if _are_names(tuple(kept)):
            return kept
    return {key: require_field(key, value) for key, value in kept.items()}


@lru_cache(maxsize=1024)
def _are_names(keys: tuple[object, ...]) -> bool:
    """Rows of one source have the same names, which are looked at once."""
    return all(isinstance(key, str) and key and is_well_formed(key) for key in keys)


def _read_only(values: Mapping[str, Any]) -> Fields:
    kept = _sound(values)
    if misplaced := kept.keys() & _STRUCTURE:
        raise InvalidInputError(f"{sorted(misplaced)[0]} is no field of a chunk but of its stamp")
    return MappingProxyType(kept)


def _chunk_id(_: Any, __: Attribute[ChunkId], value: object) -> None:
    if not isinstance(value, ChunkId):
        raise InvalidInputError(f"{shown(value)} is not a ChunkId")


@frozen
class StampedRow:
    """A stored chunk.

    Attributes:
        id: See :func:`domain.derivation.derived_id`.
        path: Where it comes from.
        stamp: Whose it is and who may read it, of the same tenant and repository as the path.
        fields: What the chunk says, its text under ``content``; flat and read-only, see
            :func:`require_field`.

    Raises:
        InvalidInputError: one of them has another form, or path and stamp are of two repositories.
    """

    id: ChunkId = field(validator=_chunk_id)
    path: PathIdentity
    stamp: TenantStamp
    fields: Fields = field(converter=_read_only, hash=False)
    _metadata: Mapping[str, Any] = field(
        default=MappingProxyType({}), init=False, eq=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        mine = self.stamp.tenant_id, self.stamp.repo_slug
        if mine != (self.path.tenant_id, self.path.repo_slug):
            raise InvalidInputError("a row's path and stamp are of one tenant and repository")

    @classmethod
    def _read(cls, row_id: ChunkId, stamp: TenantStamp, metadata: Mapping[str, Any]) -> Self:
        """A row of metadata that have been checked."""
        row = cls.__new__(cls)
        _set(row, "id", row_id)
        _set(row, "stamp", stamp)
        _set(row, "_metadata", metadata)
        return row

    if not TYPE_CHECKING:  # a checker knows the attributes, and must not take any name for one

        def __getattr__(self, name: str) -> Any:
            """Path and fields of a row that was read, made when they are first asked for.

            Most rows of a scan are only judged, compared by their address or counted, and making
            these two takes longer than all checks.
            """
            if name == "path":
                value = path_of(self._metadata)
            elif name == "fields":
                items = self._metadata.items()
                value = MappingProxyType({k: v for k, v in items if k not in _STRUCTURE})
            else:
                raise AttributeError(f"a row has no attribute {name!r}", name=name, obj=self)
            _set(self, name, value)
            return value

    @property
    def key(self) -> RowKey:
        """The row's address in every store."""
        return RowKey(self.stamp.label, self.id)

    @property
    def source_path(self) -> str:
        """The file, as in :attr:`path`, which is not made for it."""
        path: str = self._metadata.get(fields.SOURCE_PATH) or self.path.source_path
        return path

    def metadata(self) -> dict[str, FieldValue]:
        """The row as flat metadata: fields, path, stamp and access label."""
        return {**self.fields, **self.path.metadata(), **self.stamp.metadata()}

    def is_same(self, other: StampedRow) -> bool:
        """Whether nothing but the instant of the write differs."""
        return (
            self.key == other.key
            and self.path == other.path
            and self.stamp.origin_agent_identity == other.stamp.origin_agent_identity
            and same_fields(self.fields, other.fields)
        )

    def text(self, key: str) -> str:
        """A field as text; empty where the row does not have it."""
        if key in _STRUCTURE:
            return ""
        return str((self._metadata or self.fields).get(key, ""))


def read_row(row_id: ChunkId, metadata: Mapping[str, Any]) -> StampedRow:
    """The row that a store's flat metadata hold; the inverse of :meth:`StampedRow.metadata`.

    Raises:
        MalformedRowError: the stamp, the path or a field is not what the server writes.
    """
    if not isinstance(row_id, ChunkId):
        raise MalformedRowError(f"{shown(row_id)} is not a ChunkId")
    stamp = stamp_of(metadata)
    require_place(metadata)
    try:
        return StampedRow._read(row_id, stamp, _sound(metadata))
    except InvalidInputError as error:
        raise MalformedRowError(str(error)) from error


@frozen
class Match:
    """A row that answers a query.

    Attributes:
        row: The row.
        score: Cosine similarity to the query, -1 to 1.
    """

    row: StampedRow
    score: float


@frozen
class Criteria:
    """What a caller wants of what it may see: every given field must be equal, the path fit.

    Criteria narrow a scope and never widen it.

    Attributes:
        type: A chunk's type, such as ``guide``.
        kind: A chunk's kind, such as ``method``.
        repo_slug: A repository.
        source_path: A file.
        class_name: A class.
        path: A pattern for files, see :mod:`domain.globs`.
    """

    type: str | None = None
    kind: str | None = None
    repo_slug: str | None = None
    source_path: str | None = None
    class_name: str | None = None
    path: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.path is not None:
            require_glob(self.path)
        for name, value in self.equalities().items():
            if not isinstance(value, str) or not is_well_formed(value):
                raise InvalidInputError(f"the filter on {name} takes text, not {value!r}")

    def equalities(self) -> dict[str, str]:
        """What must be equal, by metadata key."""
        wanted = {
            fields.TYPE: self.type,
            fields.KIND: self.kind,
            fields.REPO_SLUG: self.repo_slug,
            fields.SOURCE_PATH: self.source_path,
            fields.CLASS_NAME: self.class_name,
        }
        return {key: value for key, value in wanted.items() if value is not None}


ANY: Final = Criteria()


def require_criteria(criteria: object) -> Criteria:
    """Return ``criteria`` if they are: no raw filter of a store stands in their place.

    Raises:
        InvalidInputError: they are something else.
    """
    if type(criteria) is not Criteria:
        raise InvalidInputError("a filter is made of the fields of Criteria")
    return criteria


def stamped_row(chunk: Mapping[str, Any], scope: WriteScope, root_kind: RootKind) -> StampedRow:
    """Make the row of a chunk: id, path and stamp from the scope, the rest from the chunk.

    Whatever the chunk says about its owner, audience, id, hash or embedding is ignored.

    Args:
        chunk: One extracted chunk.
        scope: Where it is written.
        root_kind: What its path is relative to.

    Raises:
        InvalidInputError: the chunk has no usable type, name, content or path, or a field that no
            store can hold.
    """
    for key, reason in chunk_problems(chunk):
        raise InvalidInputError(f"{shown(key)}: {reason}")
    path = PathIdentity(
        tenant_id=scope.tenant_id,
        repo_slug=scope.repo_slug,
        root_kind=root_kind,
        source_path=chunk.get(fields.SOURCE, chunk.get(fields.SOURCE_PATH)),
    )
    stamp = scope.stamp()
    row_id, kept_hash = derived(chunk, path.source_path, stamp, scope.namespace)
    return StampedRow(row_id, path, stamp, kept_fields(chunk, kept_hash))


def twin_id(row: StampedRow, chunk: Mapping[str, Any], scope: WriteScope) -> ChunkId:
    """The id that a chunk's row would have under the other visibility of its writer.

    A change of visibility changes the id, and nothing else by which the earlier row could be found.
    """
    other = Visibility.TEAM if scope.visibility is Visibility.PRIVATE else Visibility.PRIVATE
    return derived(
        chunk,
        row.path.source_path,
        scope.stamp_as(other),
        scope.namespace,
        row.text(fields.HASH),
    ).id


def chunk_problems(chunk: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What keeps a chunk from becoming a row: every field at fault, and what was expected there."""
    kind = fields.TYPE if fields.TYPE in chunk else fields.KIND
    for key in (fields.CONTENT, kind):
        if not isinstance(chunk.get(key), str):
            yield key, f"expected text, not {shown(chunk[key])}" if key in chunk else _MISSING
    if chunk.get(fields.NAME) is None:
        yield fields.NAME, _MISSING
    source = fields.SOURCE if fields.SOURCE in chunk else fields.SOURCE_PATH
    try:
        require_source_path(chunk.get(source))
    except InvalidInputError as error:
        yield source, f"expected a relative path: {printable(str(error))}"
    for key in chunk:
        if not isinstance(key, str) or not key or not is_well_formed(key):
            yield key, "expected no field of this name: no store can hold it"


def kept_fields(chunk: Mapping[str, Any], kept_hash: str) -> dict[str, FieldValue]:
    """The fields of a chunk's row: what no store can hold as it is becomes JSON text.

    Args:
        chunk: Has ``content``, ``name`` and one of ``type`` and ``kind``.
        kept_hash: What it keeps as ``hash``, see :class:`domain.derivation.Derived`.
    """
    kept = {
        key: _flat(key, value)
        for key, value in chunk.items()
        if key not in _NOT_KEPT and value is not None
    }
    if fields.TYPE not in kept:
        kept[fields.TYPE] = kept[fields.KIND]
    if not isinstance(kept[fields.NAME], str):  # front matter may name a document 42
        kept[fields.NAME] = stringify(chunk[fields.NAME])
    kept[fields.HASH] = kept_hash
    return kept


def _flat(key: str, value: object) -> FieldValue:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    try:
        return require_field(key, value)
    except InvalidInputError:
        return stringify(value)
