"""Chunks as they lie in a store: an id made on the server, and flat, stamped metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen

from tenantkb.domain.canonical import content_fingerprint, digest, stringify
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.paths import PathIdentity, RootKind, is_well_formed, require_source_path
from tenantkb.domain.records import printable, shown
from tenantkb.domain.tenancy import STAMP_KEYS, Tenancy, TenantStamp, WriteScope

MetadataValue = str | int | float | bool
Metadata = Mapping[str, MetadataValue]

ID_KEYS: Final = ("tenantId", "repoSlug", "hash", "type", "name", "source")
"""The fields that decide a row's id outside the shared corpus, in order of serialisation."""

_PATH_KEYS: Final = frozenset({"source", "sourcePath", "rootKind"})
_REPLACED_KEYS: Final = STAMP_KEYS | _PATH_KEYS | {"hash", "id", "embedding"}
_INTEGER_LIMIT: Final = 2**63
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MISSING: Final = "expected, and missing"


@frozen
class Row:
    """A stored chunk.

    Attributes:
        id: See :func:`row_id`.
        metadata: Flat; strings, 64-bit integers, finite floats and booleans. The chunk's text is
            under ``content``.
    """

    id: str
    metadata: Metadata = field(hash=False)


@frozen
class Match:
    """A row that answers a query.

    Attributes:
        row: The row.
        score: Cosine similarity to the query, -1 to 1.
    """

    row: Row
    score: float


@frozen
class Criteria:
    """What a caller wants of what it may see: every given field must be equal.

    Criteria narrow a scope and never widen it.

    Attributes:
        type: A chunk's type, such as ``guide``.
        kind: A chunk's kind, such as ``method``.
        repo_slug: A repository.
        source_path: A file.
        class_name: A class.
    """

    type: str | None = None
    kind: str | None = None
    repo_slug: str | None = None
    source_path: str | None = None
    class_name: str | None = None

    def __attrs_post_init__(self) -> None:
        for name, value in self.equalities().items():
            if not isinstance(value, str) or not is_well_formed(value):
                raise InvalidInputError(f"the filter on {name} takes text, not {value!r}")

    def equalities(self) -> dict[str, str]:
        """The conditions by metadata key; empty where everything in scope is wanted."""
        wanted = {
            "type": self.type,
            "kind": self.kind,
            "repoSlug": self.repo_slug,
            "sourcePath": self.source_path,
            "className": self.class_name,
        }
        return {key: value for key, value in wanted.items() if value is not None}

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a row with this metadata fulfils every condition."""
        return all(metadata.get(key) == value for key, value in self.equalities().items())


ANY: Final = Criteria()


def fingerprint(chunk: Mapping[str, Any]) -> str:
    """The content hash of a chunk, computed here whatever the chunk claims as its ``hash``.

    Chunks of the default sources are hashed over
    :data:`domain.canonical.FINGERPRINT_KEYS`; those that list ``hashInputs`` over these fields.
    """
    inputs = chunk.get("hashInputs")
    if isinstance(inputs, list) and all(isinstance(key, str) for key in inputs):
        return digest(chunk, inputs)
    return content_fingerprint(chunk)


def row_id(
    tenancy: Tenancy, tenant_id: str, repo_slug: str, chunk: Mapping[str, Any], source: str
) -> str:
    """The id of a chunk's row, 64 hex digits: :func:`owned_id` of its fingerprint."""
    return owned_id(tenancy, tenant_id, repo_slug, chunk, source, fingerprint(chunk))


def owned_id(
    tenancy: Tenancy,
    tenant_id: str,
    repo_slug: str,
    chunk: Mapping[str, Any],
    source: str,
    content_hash: str,
) -> str:
    """The id of a row of this owner.

    In the shared corpus it is the fingerprint. Everywhere else the owner and the path take part, so
    the same bytes under two tenants, two repositories or two paths are different rows, and nobody
    can shadow another's row by knowing its content.
    """
    if (tenant_id, repo_slug) == (tenancy.shared_tenant, tenancy.shared_repo):
        return content_hash
    owned = {
        "tenantId": tenant_id,
        "repoSlug": repo_slug,
        "hash": content_hash,
        "type": chunk.get("type") or chunk.get("kind"),
        "name": chunk.get("name"),
        "source": source,
    }
    return digest({key: value for key, value in owned.items() if value is not None}, ID_KEYS)


def stamped_row(
    chunk: Mapping[str, Any], scope: WriteScope, root_kind: RootKind, now: datetime
) -> Row:
    """Make the row of a chunk: id, path identity and stamp from the scope, the rest from the chunk.

    Whatever the chunk says about its owner, audience, id, hash or embedding is ignored.

    Args:
        chunk: One extracted chunk.
        scope: Where it is written.
        root_kind: What its path is relative to.
        now: Aware instant of the write.

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
        source_path=chunk.get("source", chunk.get("sourcePath")),
    )
    return Row(
        id=row_id(scope.tenancy, scope.tenant_id, scope.repo_slug, chunk, path.source_path),
        metadata=stamped_metadata(chunk, path, scope.stamp(now)),
    )


def chunk_problems(chunk: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What keeps a chunk from becoming a row: every field at fault, and what was expected there."""
    kind = "type" if "type" in chunk else "kind"
    for key in ("content", kind):
        if not isinstance(chunk.get(key), str):
            yield key, f"expected text, not {shown(chunk[key])}" if key in chunk else _MISSING
    if chunk.get("name") is None:
        yield "name", _MISSING
    source = "source" if "source" in chunk else "sourcePath"
    try:
        require_source_path(chunk.get(source))
    except InvalidInputError as error:
        yield source, f"expected a relative path: {printable(str(error))}"
    for key, _ in _own_fields(chunk):
        try:
            require_field_name(key)
        except InvalidInputError:
            yield key, "expected no field of this name: stores keep it for themselves"


def stamped_metadata(
    chunk: Mapping[str, Any], path: PathIdentity, stamp: TenantStamp
) -> dict[str, MetadataValue]:
    """The metadata of a chunk's row: path, stamp and hash as made here, the rest from the chunk.

    Args:
        chunk: Has ``content``, ``name`` and one of ``type`` and ``kind``.
        path: Where the chunk comes from.
        stamp: Of the same tenant and repository.

    Raises:
        InvalidInputError: the chunk has a field that no store can hold.
    """
    metadata: dict[str, MetadataValue] = {}
    for key, value in _own_fields(chunk):
        metadata[require_field_name(key)] = _storable(value)
    if "type" not in metadata:
        metadata["type"] = metadata["kind"]
    if not isinstance(metadata["name"], str):  # front matter may name a document 42
        metadata["name"] = stringify(chunk["name"])
    metadata["hash"] = fingerprint(chunk)
    metadata["rootKind"] = path.root_kind.value
    metadata["sourcePath"] = path.source_path
    metadata.update(stamp.metadata())
    return metadata


def _own_fields(chunk: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a chunk that its row keeps."""
    return (
        (key, value)
        for key, value in chunk.items()
        if key not in _REPLACED_KEYS and value is not None
    )


def require_field_name(key: str) -> str:
    """Return ``key`` if stores can hold a field of this name: some keep, drop or reject others.

    Raises:
        InvalidInputError: it is empty, begins with ``$``, ``#``, ``chroma:`` or ``tenantkb.``
            (which stores keep for themselves), or is not UTF-8.
    """
    reserved = not key or key[0] in "$#" or key.startswith(("chroma:", "tenantkb."))
    if reserved or not is_well_formed(key):
        raise InvalidInputError(f"no store can hold a field named {key!r}")
    return key


def require_field_value(key: str, value: object) -> MetadataValue:
    """Return ``value`` as every store holds it: -0.0 becomes 0.0.

    Raises:
        InvalidInputError: it is neither text with a UTF-8 form, a 64-bit integer, a finite float
            nor a boolean.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and is_well_formed(value):
        return value
    if isinstance(value, int) and -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value + 0.0
    raise InvalidInputError(
        f"{key} is neither text, a 64-bit integer, a finite float nor a boolean"
    )


def _storable(value: object) -> MetadataValue:
    """``value`` as every store can hold it: a scalar, or else its JSON text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value + 0.0  # no store keeps the sign of a negative zero
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    return stringify(value)
