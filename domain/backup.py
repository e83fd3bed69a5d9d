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

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import define, evolve, field, frozen

from tenantkb.domain import fields
from tenantkb.domain.canonical import stringify
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, Remedy
from tenantkb.domain.identity import require_tenant_id
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.paths import (
    PathIdentity,
    RootKind,
    is_well_formed,
    path_of,
    require_repo_slug,
)
from tenantkb.domain.rows import (
    FieldValue,
    StampedRow,
    derived_id,
    fingerprint,
    kept_fields,
    same_fields,
)
from tenantkb.domain.stamps import (
    SharedNamespace,
    TenantStamp,
    Visibility,
    unlabelled_stamp_of,
)

FORMAT_VERSION: Final = "2.0.0"
"""Of exports. In format 1 the agent of a private row took no part in its id."""

DISTANCE: Final = "cosine"
ID_SCHEME: Final = "content"
"""How ids are derived, see :func:`domain.rows.derived_id`."""

_NEVER_NULL: Final = frozenset({fields.CONTENT, fields.NAME})
_ROOT_KINDS: Final = frozenset(kind.value for kind in RootKind)
_NO_FIELDS: Final = fields.STAMP | fields.PATH


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
    """

    records: int
    tenants: Mapping[str, int] = field(hash=False)
    unstamped: int
    foreign_ids: int | None
    embedder: EmbedderProfile
    sha256: str


@define
class Tally:
    """Counts records by owner while they pass.

    Attributes:
        namespace: The shared one.
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
            stamp = unlabelled_stamp_of(metadata)
        except InvalidInputError:
            return
        self.tenants[stamp.tenant_id] = self.tenants.get(stamp.tenant_id, 0) + 1
        self.foreign_ids += own_id(row_id, metadata, stamp, self.namespace) is None

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
        )


@frozen
class Restorable:
    """A row made from a record.

    Attributes:
        row: What is to be stored.
        adopted: Whether its stamp is a new one.
    """

    row: StampedRow
    adopted: bool = False

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


def own_id(
    row_id: ChunkId,
    metadata: Mapping[str, Any],
    stamp: TenantStamp,
    namespace: SharedNamespace,
) -> ChunkId | None:
    """The id that a stored row's owner gives it, if ``row_id`` is that one or that of format 1.

    Stores hold a name as text that may have been a number, so both readings are tried.
    """
    content_hash, source_path = metadata.get(fields.HASH), metadata.get(fields.SOURCE_PATH)
    if not isinstance(content_hash, str) or not content_hash or not isinstance(source_path, str):
        return None
    for chunk in _readings(metadata):
        derived = derived_id(chunk, content_hash, source_path, stamp, namespace)
        if row_id in (derived, _id_of_format_1(chunk, content_hash, source_path, stamp, namespace)):
            return derived
    return None


def _readings(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield metadata
    text: Any = metadata.get(fields.NAME)
    try:
        name = json.loads(text)  # which refuses what is no text
        written = stringify(name)
    except (TypeError, ValueError, RecursionError):
        return
    if written == text:  # else no chunk's name was stored as this text
        yield {**metadata, fields.NAME: name}


def _id_of_format_1(
    chunk: Mapping[str, Any],
    content_hash: str,
    source_path: str,
    stamp: TenantStamp,
    namespace: SharedNamespace,
) -> ChunkId:
    """As if the row were the team's, whose id no agent takes part in."""
    team = TenantStamp(stamp.tenant_id, stamp.repo_slug, Visibility.TEAM)
    return derived_id(chunk, content_hash, source_path, team, namespace)


def restorable(
    row_id: ChunkId,
    metadata: Mapping[str, Any],
    document: str | None,
    adoption: Adoption | None,
    now: datetime,
    namespace: SharedNamespace,
    *,
    foreign_ids: bool = False,
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

    Raises:
        InvalidInputError: the stamp is missing or malformed and there is no adoption, or the id is
            foreign, or an adopted row does not tell its path or its text, or no store can hold a
            value, or a document is given twice.
    """
    if fields.DOCUMENT in metadata and (
        document is not None or isinstance(metadata[fields.DOCUMENT], str)
    ):
        raise InvalidInputError(f"{fields.DOCUMENT} belongs beside metadata, not into it")
    try:
        stamp = unlabelled_stamp_of(metadata)
    except InvalidInputError as error:
        if adoption is None:
            raise InvalidInputError(
                f"expected a tenant stamp, or to be adopted: {error}", remedy=Remedy.ADOPT_ROWS
            ) from error
        return Restorable(_adopted(metadata, document, adoption, now, namespace), adopted=True)
    settled = own_id(row_id, metadata, stamp, namespace)
    if settled is None and not foreign_ids:
        raise InvalidInputError(
            "the id is not the one that is derived from the row's owner, path and content hash",
            remedy=Remedy.ALLOW_FOREIGN_IDS,
        )
    kept = {key: value for key, value in metadata.items() if key not in _NO_FIELDS}
    row = StampedRow(settled or row_id, path_of(metadata), stamp, _with_document(kept, document))
    return Restorable(row)


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
    chunk = {
        key: value
        for key, value in metadata.items()
        if (value != "null" or key in _NEVER_NULL) and key != fields.DOCUMENT
    }
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
    content_hash = (
        claimed
        if isinstance(claimed, str) and claimed and is_well_formed(claimed)
        else fingerprint(chunk)
    )
    return StampedRow(
        derived_id(chunk, content_hash, path.source_path, stamp, namespace),
        path,
        stamp,
        _with_document(kept_fields(chunk, content_hash), document),
    )


def _root_kind(metadata: Mapping[str, Any]) -> RootKind:
    """A row's own, or that of the JavaScript system, which knows no other."""
    claimed = metadata.get(fields.ROOT_KIND)
    known = isinstance(claimed, str) and claimed in _ROOT_KINDS
    return RootKind(claimed) if known else RootKind.NEO_WORKSPACE


def _with_document(
    kept: Mapping[str, FieldValue], document: str | None
) -> Mapping[str, FieldValue]:
    return kept if document is None else {**kept, fields.DOCUMENT: document}
