"""What a backup says about rows, and what a restore makes of it.

A record of a backup is ``{id, embedding, metadata, document}``. A row has no document of its own: a
record's document is stored as the metadata field ``document``, and an export gives it back in its
place, so a row that was never given one is exported with null.

A restored row keeps its id, its stamp and its embedding. Its access label is derived anew from the
stamp, whatever label it comes with. A row without a well-formed stamp belongs to nobody: it is
refused, unless an operator adopts such rows into a repository, where they get the ids that their
new owner gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import define, field, frozen

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import require_tenant_id
from tenantkb.domain.paths import PathIdentity, RootKind, is_well_formed, require_repo_slug
from tenantkb.domain.rows import (
    Metadata,
    MetadataValue,
    Row,
    owned_id,
    require_field_name,
    require_field_value,
    stamped_metadata,
)
from tenantkb.domain.tenancy import (
    ACCESS_KEY,
    Tenancy,
    TenantStamp,
    Visibility,
    stamp_of,
    unlabelled_stamp_of,
)

FORMAT_VERSION: Final = "1.0.0"
DISTANCE: Final = "cosine"
DOCUMENT_KEY: Final = "document"
"""The metadata field that holds a record's document."""

_NEVER_NULL: Final = frozenset({"content", "name"})
_ROOT_KINDS: Final = frozenset(kind.value for kind in RootKind)


@frozen
class Adoption:
    """Where rows without a well-formed stamp go.

    Attributes:
        tenant_id: Their owner from now on.
        repo_slug: Their repository from now on.
    """

    tenant_id: str = field(converter=require_tenant_id)
    repo_slug: str = field(converter=require_repo_slug)


@frozen
class Manifest:
    """What a backup holds.

    Attributes:
        records: How many records.
        tenants: How many of them belong to which tenant.
        unstamped: How many have no well-formed stamp.
        embedder: What made the vectors.
        sha256: Of the backup's bytes, in hex digits.
    """

    records: int
    tenants: Mapping[str, int] = field(hash=False)
    unstamped: int
    embedder: EmbedderProfile
    sha256: str


@define
class Tally:
    """Counts records by owner while they pass.

    Attributes:
        records: How many passed.
        tenants: How many of them belong to which tenant.
    """

    records: int = 0
    tenants: dict[str, int] = field(factory=dict)

    @property
    def unstamped(self) -> int:
        """How many had no well-formed stamp."""
        return self.records - sum(self.tenants.values())

    def add(self, metadata: Mapping[str, Any]) -> None:
        """Count one record."""
        self.records += 1
        try:
            tenant = unlabelled_stamp_of(metadata).tenant_id
        except InvalidInputError:
            return
        self.tenants[tenant] = self.tenants.get(tenant, 0) + 1

    def manifest(self, embedder: EmbedderProfile, sha256: str) -> Manifest:
        """The manifest of a backup of these records."""
        tenants = dict(sorted(self.tenants.items()))
        return Manifest(self.records, tenants, self.unstamped, embedder, sha256)


@frozen
class Restorable:
    """A row made from a record.

    Attributes:
        row: What is to be stored.
        adopted: Whether its stamp is a new one.
    """

    row: Row
    adopted: bool = False


def exported(row: Row) -> tuple[dict[str, MetadataValue], str | None]:
    """The metadata, by ascending key, and the document of a row's record."""
    metadata = dict(sorted(row.metadata.items()))
    document = metadata.get(DOCUMENT_KEY)
    if not isinstance(document, str):
        return metadata, None
    del metadata[DOCUMENT_KEY]
    return metadata, document


def restorable(
    row_id: str,
    metadata: Mapping[str, Any],
    document: str | None,
    adoption: Adoption | None,
    now: datetime,
    tenancy: Tenancy,
) -> Restorable:
    """The row of a record.

    It keeps its id, unless it is adopted outside the shared corpus: there an id tells the owner, or
    else a row could shadow one of another tenant.

    Args:
        row_id: The record's id.
        metadata: The record's metadata.
        document: The record's document.
        adoption: Where a row without a well-formed stamp goes.
        now: Aware instant, that of an adopted row's ingestion.
        tenancy: The shared namespace.

    Raises:
        InvalidInputError: the stamp is missing or malformed and there is no adoption, or an adopted
            row does not tell its path or its text, or no store can hold a value, or a document is
            given twice.
    """
    if not is_well_formed(row_id):
        raise InvalidInputError("the id is not well-formed text")
    if DOCUMENT_KEY in metadata and (
        document is not None or isinstance(metadata[DOCUMENT_KEY], str)
    ):
        raise InvalidInputError(f"{DOCUMENT_KEY} belongs beside metadata, not into it")
    try:
        stamp = unlabelled_stamp_of(metadata)
    except InvalidInputError as error:
        if adoption is None:
            raise InvalidInputError(
                f"expected a tenant stamp, or to be adopted (--adopt TENANT/REPO): {error}"
            ) from error
        row = _adopted(row_id, metadata, document, adoption, now, tenancy)
        return Restorable(row, adopted=True)
    kept = {
        require_field_name(key): require_field_value(key, value)
        for key, value in metadata.items()
        if key != ACCESS_KEY
    }
    if (label := stamp.access_label()) is not None:
        kept[ACCESS_KEY] = label
    return Restorable(Row(row_id, _with_document(kept, document)))


def _adopted(
    row_id: str,
    metadata: Mapping[str, Any],
    document: str | None,
    adoption: Adoption,
    now: datetime,
    tenancy: Tenancy,
) -> Row:
    """A row that gets a stamp.

    The JavaScript system keeps a chunk's text under ``content`` and its path under ``source``, and
    writes null as the text ``null``. What else a chunk needs and a row lacks is made up: its name
    is its path, its type ``unknown``.
    """
    chunk = {key: value for key, value in metadata.items() if value != "null" or key in _NEVER_NULL}
    path = PathIdentity(
        tenant_id=adoption.tenant_id,
        repo_slug=adoption.repo_slug,
        root_kind=_root_kind(metadata),
        source_path=metadata.get("sourcePath", metadata.get("source")),
    )
    if not isinstance(chunk.get("content"), str):
        chunk["content"] = document
    if chunk["content"] is None:
        raise InvalidInputError("an adopted row has its text in content or in its document")
    if chunk.get("name") is None:
        chunk["name"] = path.source_path
    if not isinstance(chunk.get("type"), str):
        kind = chunk.get("kind")
        chunk["type"] = kind if isinstance(kind, str) else "unknown"
    stamp = TenantStamp(
        tenant_id=adoption.tenant_id,
        repo_slug=adoption.repo_slug,
        visibility=Visibility.TEAM,
        ingested_at=now,
    )
    adopted = stamped_metadata(chunk, path, stamp)
    if isinstance(claimed := metadata.get("hash"), str) and is_well_formed(claimed):
        adopted["hash"] = claimed
    owner = (adoption.tenant_id, adoption.repo_slug)
    if owner != (tenancy.shared_tenant, tenancy.shared_repo):
        row_id = owned_id(tenancy, *owner, chunk, path.source_path, str(adopted["hash"]))
    return Row(row_id, _with_document(adopted, document))


def _root_kind(metadata: Mapping[str, Any]) -> RootKind:
    """A row's own, or that of the JavaScript system, which knows no other."""
    claimed = metadata.get("rootKind")
    known = isinstance(claimed, str) and claimed in _ROOT_KINDS
    return RootKind(claimed) if known else RootKind.NEO_WORKSPACE


def _with_document(
    metadata: dict[str, MetadataValue], document: str | None
) -> dict[str, MetadataValue]:
    if document is None:
        return metadata
    return {**metadata, DOCUMENT_KEY: require_field_value(DOCUMENT_KEY, document)}


def require_same_owner(restored: Row, stored: Metadata) -> None:
    """Refuse to merge a row over one of another owner that is stored under the same id.

    Ids tell owners apart, so this happens only to rows that one operator adopted under two names,
    or whose stamp somebody has edited.

    Raises:
        InvalidInputError: the stored row is another tenant's or repository's.
    """
    try:
        owner = stamp_of(stored)
    except InvalidInputError:
        return
    mine = restored.metadata["tenantId"], restored.metadata["repoSlug"]
    if mine != (owner.tenant_id, owner.repo_slug):
        raise InvalidInputError(
            f"the id is that of a stored row of {owner.tenant_id}/{owner.repo_slug}, "
            f"not of {mine[0]}/{mine[1]}"
        )


def is_same(restored: Restorable, stored: Metadata) -> bool:
    """Whether a row is stored with these fields; the instant of an adoption is no difference."""
    drifting = {"ingestedAt"} if restored.adopted else set()
    wanted, found = (
        {key: (type(value), value) for key, value in metadata.items() if key not in drifting}
        for metadata in (restored.row.metadata, stored)
    )
    return wanted == found
