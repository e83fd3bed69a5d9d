"""What a synchronisation does to a store, decided before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from attrs import frozen

from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.errors import DeletionGuardError
from tenantkb.domain.rows import Row

_DRIFTING_KEYS: Final = frozenset({"ingestedAt"})


class Change(Enum):
    """What has to happen to one row.

    ``ADDED``: embed and write it. ``REEMBEDDED``: it is stored, with another embedded text.
    ``RESTAMPED``: it is stored with other metadata (it moved, or its visibility changed) and its
    vector stays. ``UNCHANGED``: nothing.
    """

    ADDED = "added"
    REEMBEDDED = "reembedded"
    RESTAMPED = "restamped"
    UNCHANGED = "unchanged"


def change_of(wanted: Row, stored: Row) -> Change:
    """What turns ``stored`` into ``wanted``; both have the same id.

    The instant of ingestion is no difference: it tells when the row was last written.
    """
    if _comparable(wanted.metadata) == _comparable(stored.metadata):
        return Change.UNCHANGED
    if embedding_text(wanted.metadata) == embedding_text(stored.metadata):
        return Change.RESTAMPED
    return Change.REEMBEDDED


def _comparable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in _DRIFTING_KEYS}


@frozen
class SyncPlan:
    """Counts of rows, before a synchronisation writes.

    Attributes:
        added: Rows that are not stored yet.
        reembedded: Stored rows whose embedded text changed under the same id.
        restamped: Stored rows whose metadata alone changed.
        unchanged: Stored rows that stay as they are.
        stale: Stored rows that the workspace no longer has.
        kept: Stored rows of files that could be read and not parsed; they stay until the file is
            mended or gone.
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

    def require_deletable(self, share: float) -> None:
        """Refuse a plan that deletes more than ``share`` (0 to 1) of what is stored.

        A mistyped workspace or an empty mount looks exactly like a repository whose files are gone.

        Raises:
            DeletionGuardError: the plan deletes more.
        """
        if self.stale > share * self.stored:
            raise DeletionGuardError(
                f"this would delete {self.stale:,} of {self.stored:,} rows, more than the allowed "
                f"share of {share:.0%}; nothing was written. If the workspace is the right one, "
                "repeat with --yes"
            )
