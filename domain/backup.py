"""What a backup says about rows, and what a restore makes of it.

A record of a backup is ``{id, embedding, metadata, document}``. A row has no document of its own: a
record's document is stored as the field ``document``, and an export gives it back in its place, so
a row that was never given one is exported with null.

A restored row keeps its stamp and its embedding; its access label is derived anew from the stamp,
whatever label it comes with. Its id is derived anew as well and has to agree, or else a row could
lie where another one belongs: an operator may allow *foreign ids*, of older systems. A row without
a well-formed stamp belongs to nobody: it is refused, unless an operator adopts such rows into a
repository, where they get the ids that their new owner gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, evolve, field, frozen

from tenantkb.domain import fields
from tenantkb.domain.canonical import stringify
from tenantkb.domain.derivation import derived, javascript_id, settled
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, Remedy
from tenantkb.domain.identity import require_tenant_id
from tenantkb.domain.ids import ChunkId, IdScheme
from tenantkb.domain.paths import (
    PathIdentity,
    RootKind,
    is_well_formed,
    path_of,
    require_repo_slug,
)
from tenantkb.domain.rows import FieldValue, StampedRow, kept_fields, same_fields
from tenantkb.domain.stamps import (
    SharedNamespace,
    TenantStamp,
    Visibility,
    format_instant,
    unlabelled_stamp_of,
)

FORMAT_VERSION: Final = "2.0.0"
"""Of exports. In format 1 the agent of a private row took no part in its id."""

DISTANCE: Final = "cosine"

_NEVER_NULL: Final = frozenset({fields.CONTENT, fields.NAME})
_ROOT_KINDS: Final = frozenset(kind.value for kind in RootKind)
_NO_FIELDS: Final = fields.STAMP | fields.PATH
_CONFIG_VERSION: Final = "tenantConfigVersion"
_NEO13_ONLY: Final = frozenset({_CONFIG_VERSION, fields.ID, fields.SOURCE})
"""What the JavaScript system keeps in metadata, and a row has elsewhere or not at all."""


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
        foreign_ids: How many of the others have an id that is not derived from them; ``None`` in
            an export of format 1, which did not count them.
        embedder: What made the vectors.
        sha256: Of the backup's bytes, in hex digits.
        ids: How ids are derived.
        private: How many private rows it leaves out, if it is for the JavaScript system.
        underived: How many others it leaves out then, of which no id can be derived.
    """

    records: int
    tenants: Mapping[str, int] = field(hash=False)
    unstamped: int
    foreign_ids: int | None
    embedder: EmbedderProfile
    sha256: str
    ids: IdScheme = IdScheme.CONTENT
    private: int = field(default=0, eq=False)
    underived: int = field(default=0, eq=False)


@define
class Tally:
    """Counts records by owner while they pass.

    Attributes:
        namespace: The shared one, with the scheme of the records' ids.
        records: How many passed.
        tenants: How many of them belong to which tenant.
        foreign_ids: How many of them have an id that is not derived from them.
    """

    namespace: SharedNamespace
    records: int = 0
    tenants: dict[str, int] = field(factory=dict)
    foreign_ids: int = 0

    @property
    def unstamped(self) -> int:
        """How many had no well-formed stamp."""
        return self.records - sum(self.tenants.values())

    def add(self, row_id: ChunkId, metadata: Mapping[str, Any]) -> None:
        """Count one record."""
        self.records += 1
        try:
            metadata = as_stored(metadata)
            stamp = unlabelled_stamp_of(metadata)
        except InvalidInputError:
            return
        self.tenants[stamp.tenant_id] = self.tenants.get(stamp.tenant_id, 0) + 1
        namespace = self.namespace
        self.foreign_ids += settled(row_id, metadata, stamp, namespace, namespace.ids) is None

    def agrees_with(self, manifest: Manifest) -> bool:
        """Whether a manifest counts the same; one of format 1 does not count foreign ids."""
        counted = self.manifest(manifest.embedder, manifest.sha256)
        if manifest.foreign_ids is None:
            counted = evolve(counted, foreign_ids=None)
        return manifest == counted

    def manifest(self, embedder: EmbedderProfile, sha256: str) -> Manifest:
        """The manifest of a backup of these records."""
        return Manifest(
            self.records,
            dict(sorted(self.tenants.items())),
            self.unstamped,
            self.foreign_ids,
            embedder,
            sha256,
            self.namespace.ids,
        )


@frozen
class Restorable:
    """A row made from a record.

    Attributes:
        row: What is to be stored.
        adopted: Whether its stamp is a new one.
        renamed: Whether its id is not the record's: of records that come to the same row, the first
            counts.
    """

    row: StampedRow
    adopted: bool = False
    renamed: bool = False

    def is_stored_as(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is stored with these fields; the instant of an adoption is no difference."""
        ignored = {fields.INGESTED_AT} if self.adopted else set[str]()
        wanted, found = (
            {key: value for key, value in each.items() if key not in ignored}
            for each in (self.row.metadata(), metadata)
        )
        return same_fields(wanted, found)


def exported(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The metadata, by ascending key, and the document of a row's record."""
    kept = dict(sorted(metadata.items()))
    document = kept.get(fields.DOCUMENT)
    if not isinstance(document, str):
        return kept, None
    del kept[fields.DOCUMENT]
    return kept, document


def as_stored(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of a record as a row of this system has them.

    A row of the JavaScript system's release 13.1.0 is stamped, its instant is a number of
    milliseconds, its path lies in ``source``, and null is the text ``null``. All others are left as
    they are.

    Raises:
        InvalidInputError: the number is no instant.
    """
    instant = metadata.get(fields.INGESTED_AT)
    is_number = isinstance(instant, int | float) and not isinstance(instant, bool)
    if instant is None or not is_number or fields.ACCESS in metadata:
        return metadata
    kept = {key: value for key, value in _without_null(metadata).items() if key not in _NEO13_ONLY}
    try:
        kept[fields.INGESTED_AT] = format_instant(datetime.fromtimestamp(instant / 1000, UTC))
    except (OverflowError, ValueError, OSError) as error:
        raise InvalidInputError(f"{instant} is no number of milliseconds since 1970") from error
    kept.setdefault(fields.SOURCE_PATH, metadata.get(fields.SOURCE))
    kept[fields.ROOT_KIND] = _root_kind(metadata).value
    if not isinstance(kept.get(fields.NAME), str):
        kept[fields.NAME] = stringify(kept.get(fields.NAME))
    return kept


def for_javascript(
    row_id: ChunkId, metadata: Mapping[str, Any], namespace: SharedNamespace
) -> tuple[ChunkId, dict[str, Any]] | None:
    """The id and the metadata of a row as the JavaScript system's release 13.1.0 takes them.

    Private rows have no counterpart there: in their ids the agent takes part.

    Returns:
        ``None`` for a row without a well-formed stamp or path, or of which no id can be derived.
    """
    try:
        stamp, path = unlabelled_stamp_of(metadata), path_of(metadata)
    except InvalidInputError:
        return None
    found = javascript_id(row_id, metadata, stamp, namespace)
    if found is None:
        return None
    theirs, name = found
    kept = {key: value for key, value in metadata.items() if key != fields.ACCESS}
    if path.root_kind is RootKind.NEO_WORKSPACE and fields.HASH_INPUTS not in kept:
        del kept[fields.SOURCE_PATH], kept[fields.ROOT_KIND]
    if isinstance(name, int | float):
        kept[fields.NAME] = name
    if stamp.ingested_at is not None:
        kept[fields.INGESTED_AT] = round(stamp.ingested_at.timestamp() * 1000)
    kept |= {
        fields.SOURCE: path.source_path,
        fields.HASH: str(theirs),
        fields.ID: str(theirs),
        _CONFIG_VERSION: 0,
    }
    return theirs, dict(sorted(kept.items()))


def restorable(
    row_id: ChunkId,
    metadata: Mapping[str, Any],
    document: str | None,
    adoption: Adoption | None,
    now: datetime,
    namespace: SharedNamespace,
    *,
    foreign_ids: bool = False,
    origin: IdScheme | None = None,
) -> Restorable:
    """The row of a record.

    Args:
        row_id: The record's id.
        metadata: The record's metadata.
        document: The record's document.
        adoption: Where a row without a well-formed stamp goes.
        now: Aware instant, that of an adopted row's ingestion.
        namespace: The shared one.
        foreign_ids: Whether a stamped row may have an id that is not derived from it.
        origin: How the record's id is derived, where that is known.

    Raises:
        InvalidInputError: the stamp is missing or malformed and there is no adoption, or the id is
            foreign, or an adopted row does not tell its path or its text, or no store can hold a
            value, or a document is given twice.
    """
    if fields.DOCUMENT in metadata and (
        document is not None or isinstance(metadata[fields.DOCUMENT], str)
    ):
        raise InvalidInputError(f"{fields.DOCUMENT} belongs beside metadata, not into it")
    given = metadata
    try:
        metadata = as_stored(metadata)
        stamp = unlabelled_stamp_of(metadata)
    except InvalidInputError as error:
        if adoption is None:
            raise InvalidInputError(
                f"expected a tenant stamp, or to be adopted: {error}", remedy=Remedy.ADOPT_ROWS
            ) from error
        return Restorable(_adopted(given, document, adoption, now, namespace), adopted=True)
    own = settled(row_id, metadata, stamp, namespace, origin)
    if own is None and not foreign_ids:
        raise InvalidInputError(
            "the id is not the one that is derived from the row's owner, path and content hash",
            remedy=Remedy.ALLOW_FOREIGN_IDS,
        )
    kept = {key: value for key, value in metadata.items() if key not in _NO_FIELDS}
    if own is not None:
        kept[fields.HASH] = own.hash
        if fields.NAME in kept:
            kept[fields.NAME] = own.name
    row = StampedRow(
        row_id if own is None else own.id, path_of(metadata), stamp, _with_document(kept, document)
    )
    return Restorable(row, renamed=row.id != row_id)


def _adopted(
    metadata: Mapping[str, Any],
    document: str | None,
    adoption: Adoption,
    now: datetime,
    namespace: SharedNamespace,
) -> StampedRow:
    """A row that gets a stamp.

    The JavaScript system keeps a chunk's text under ``content`` and its path under ``source``, and
    writes null as the text ``null``. What else a chunk needs and a row lacks is made up: its name
    is its path, its type ``unknown``.
    """
    chunk = {key: value for key, value in _without_null(metadata).items() if key != fields.DOCUMENT}
    path = PathIdentity(
        tenant_id=adoption.tenant_id,
        repo_slug=adoption.repo_slug,
        root_kind=_root_kind(metadata),
        source_path=metadata.get(fields.SOURCE_PATH, metadata.get(fields.SOURCE)),
    )
    if not isinstance(chunk.get(fields.CONTENT), str):
        chunk[fields.CONTENT] = document
    if chunk[fields.CONTENT] is None:
        raise InvalidInputError("an adopted row has its text in content or in its document")
    if chunk.get(fields.NAME) is None:
        chunk[fields.NAME] = path.source_path
    if not isinstance(chunk.get(fields.TYPE), str):
        kind = chunk.get(fields.KIND)
        chunk[fields.TYPE] = kind if isinstance(kind, str) else "unknown"
    stamp = TenantStamp(
        tenant_id=adoption.tenant_id,
        repo_slug=adoption.repo_slug,
        visibility=Visibility.TEAM,
        ingested_at=now,
    )
    claimed = metadata.get(fields.HASH)
    known_hash = (
        claimed if isinstance(claimed, str) and claimed and is_well_formed(claimed) else None
    )
    row_id, kept_hash = derived(chunk, path.source_path, stamp, namespace, known_hash)
    return StampedRow(row_id, path, stamp, _with_document(kept_fields(chunk, kept_hash), document))


def _without_null(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the JavaScript system, which writes null as the text ``null``."""
    return {key: value for key, value in metadata.items() if value != "null" or key in _NEVER_NULL}


def _root_kind(metadata: Mapping[str, Any]) -> RootKind:
    """A row's own, or that of the JavaScript system, which knows no other."""
    claimed = metadata.get(fields.ROOT_KIND)
    known = isinstance(claimed, str) and claimed in _ROOT_KINDS
    return RootKind(claimed) if known else RootKind.NEO_WORKSPACE


def _with_document(
    kept: Mapping[str, FieldValue], document: str | None
) -> Mapping[str, FieldValue]:
    return kept if document is None else {**kept, fields.DOCUMENT: document}
