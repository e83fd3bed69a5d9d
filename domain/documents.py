"""Stored chunks as readers see them."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from tenantkb.domain.rows import Row
from tenantkb.domain.tenancy import Visibility, stamp_of


@frozen
class Document:
    """One readable chunk, without its text.

    Attributes:
        id: Id of the row.
        tenant_id: Owner.
        repo_slug: Repository.
        source_path: File, relative to the repository root.
        type: Such as ``guide``.
        kind: Such as ``method``.
        name: Title.
        visibility: Who else may read it.
        line_start: First line in the file, from 1, where it is known.
        line_end: Last line in the file, where it is known.
        ingested_at: RFC 3339 instant of the last write, where it is known.
    """

    id: str
    tenant_id: str
    repo_slug: str
    source_path: str
    type: str
    kind: str
    name: str
    visibility: Visibility
    line_start: int | None = None
    line_end: int | None = None
    ingested_at: str | None = None

    @classmethod
    def of(cls, row: Row) -> Document:
        """The document of a row that has passed the read rule."""
        stamp = stamp_of(row.metadata)
        return cls(
            id=row.id,
            tenant_id=stamp.tenant_id,
            repo_slug=stamp.repo_slug,
            source_path=_text(row, "sourcePath"),
            type=_text(row, "type"),
            kind=_text(row, "kind"),
            name=_text(row, "name"),
            visibility=stamp.visibility,
            line_start=_line(row, "line_start"),
            line_end=_line(row, "line_end"),
            ingested_at=_text(row, "ingestedAt") or None,
        )


def content_of(row: Row) -> str:
    """The text of a row that has passed the read rule."""
    return _text(row, "content")


def _text(row: Row, key: str) -> str:
    value: Any = row.metadata.get(key, "")
    return value if isinstance(value, str) else str(value)


def _line(row: Row, key: str) -> int | None:
    value: Any = row.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
