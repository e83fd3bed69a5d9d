"""What a synchronisation does to a store, decided before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, Self

from attrs import evolve, frozen

from tenantkb.domain import fields
from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.errors import DeletionGuardError, Remedy
from tenantkb.domain.rows import StampedRow


class Change(Enum):
    """What has to happen to one row.

    ``ADDED``: embed and write it. ``REEMBEDDED``: it is stored, with another embedded text.
    ``RESTAMPED``: it is stored with other metadata (it moved within its file, or its visibility and
    with that its id changed) and its vector stays. ``UNCHANGED``: nothing.
    """

    ADDED = "added"
    REEMBEDDED = "reembedded"
    RESTAMPED = "restamped"
    UNCHANGED = "unchanged"


def change_of(wanted: StampedRow, stored: StampedRow) -> Change:
    """What turns ``stored`` into ``wanted``: the same row, or its chunk of another visibility.

    The instant of ingestion is no difference: it tells when the row was last written.
    """
    if wanted.is_same(stored):
        return Change.UNCHANGED
    if embedding_text(wanted.fields) == embedding_text(stored.fields):
        return Change.RESTAMPED
    return Change.REEMBEDDED


@frozen
class Refusal:
    """A chunk that is left out because the embedder refuses its text.

    Attributes:
        path: Its file.
        name: Its name.
        reason: What the embedder says.
        stored: Whether a row of it is stored under the same id, and stays.
    """

    path: str
    name: str
    reason: str
    stored: bool

    @classmethod
    def of(cls, metadata: Mapping[str, Any], reason: str, *, stored: bool) -> Self:
        """That of a row, sound or not."""
        path, name = (str(metadata.get(key, "")) for key in (fields.SOURCE_PATH, fields.NAME))
        return cls(path, name, reason, stored)


@frozen
class SyncPlan:
    """Counts of rows, before a synchronisation writes.

    Attributes:
        added: Rows that are not stored yet.
        reembedded: Stored rows whose embedded text changed under the same id.
        restamped: Stored rows whose metadata alone changed.
        unchanged: Stored rows that stay as they are.
        stale: Stored rows that the workspace no longer has.
        kept: Stored rows of files that could be read and not parsed, and rows whose new text the
            embedder refuses; they stay until the file is mended or gone.
        duplicates: Chunks left out because an earlier one has the same id.
    """

    added: int
    reembedded: int
    restamped: int
    unchanged: int
    stale: int
    kept: int
    duplicates: int

    @property
    def stored(self) -> int:
        """How many rows the scope held before."""
        return self.reembedded + self.restamped + self.unchanged + self.stale + self.kept

    @property
    def changes(self) -> bool:
        """Whether anything is to be written or deleted."""
        return self.added + self.reembedded + self.restamped + self.stale > 0

    def without(self, refused: Collection[Refusal]) -> SyncPlan:
        """What is left of the plan when some chunks could not be embedded."""
        stored = sum(refusal.stored for refusal in refused)
        return evolve(
            self,
            added=self.added - (len(refused) - stored),
            reembedded=self.reembedded - stored,
            kept=self.kept + stored,
        )


def require_deletable(
    deleted: int, stored: int, share: float, *, lists_nothing: bool = False
) -> None:
    """Refuse a deletion that has to be confirmed.

    A mistyped workspace, an empty mount or the output of a command that failed look exactly like a
    repository whose files are gone.

    Args:
        deleted: How many rows go.
        stored: How many there are.
        share: Largest share of them, 0 to 1, that goes unasked.
        lists_nothing: Whether what tells which files there are tells of none at all; then no row
            goes unasked.

    Raises:
        DeletionGuardError: it has to be confirmed.
    """
    if lists_nothing and deleted:
        raise DeletionGuardError(
            f"this would delete {deleted:,} of {stored:,} rows, as no file was found or listed; "
            "nothing was written. If that is meant, confirm it",
            deleted,
            stored,
            remedy=Remedy.CONFIRM_DELETION,
        )
    if deleted > share * stored:
        raise DeletionGuardError(
            f"this would delete {deleted:,} of {stored:,} rows, more than the allowed share of "
            f"{share:.0%}; nothing was written. If that is meant, confirm it",
            deleted,
            stored,
            remedy=Remedy.CONFIRM_DELETION,
        )
