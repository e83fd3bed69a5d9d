"""Stored chunks as readers see them."""

from __future__ import annotations

from attrs import frozen

from tenantkb.domain import fields
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import Visibility, format_instant


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

    id: ChunkId
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
    def of(cls, row: StampedRow) -> Document:
        """The document of a row that the caller may read."""
        instant = row.stamp.ingested_at
        return cls(
            id=row.id,
            tenant_id=row.stamp.tenant_id,
            repo_slug=row.stamp.repo_slug,
            source_path=row.path.source_path,
            type=row.text(fields.TYPE),
            kind=row.text(fields.KIND),
            name=row.text(fields.NAME),
            visibility=row.stamp.visibility,
            line_start=_line(row, fields.LINE_START),
            line_end=_line(row, fields.LINE_END),
            ingested_at=None if instant is None else format_instant(instant),
        )


def content_of(row: StampedRow) -> str:
    """The text of a row that the caller may read."""
    return row.text(fields.CONTENT)


def lines_of(row: StampedRow) -> tuple[int, int] | None:
    """The first and the last line of the file that a row's text is, from 1.

    ``None`` where they are not known, or the text is not so many lines.
    """
    first, last = _line(row, fields.LINE_START), _line(row, fields.LINE_END)
    if first is None or last is None or last - first != content_of(row).count("\n"):
        return None
    return first, last


def _line(row: StampedRow, key: str) -> int | None:
    value = row.fields.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
