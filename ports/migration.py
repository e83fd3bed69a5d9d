"""Stores of another kind, or of an earlier version, from which rows are moved here."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from tenantkb.domain.deletion import KnownState
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import IdScheme
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.ports.state import SyncRecord


class MigrationSource(Protocol):
    """A store that is read and never written to.

    Every method raises ``StoreError`` if the store cannot be read.
    """

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        ...

    def profile(self) -> EmbedderProfile | None:
        """The embedder of its vectors; ``None`` where there is nothing to move."""
        ...

    def ids(self) -> IdScheme | None:
        """How the ids of its rows are derived; ``None`` where there is nothing to move."""
        ...

    def rows(self) -> Iterator[tuple[RawRow, Vector | None]]:
        """Every row, as it is stored; ``None`` for a vector that the store has lost."""
        ...

    def syncs(self, labels: Collection[str]) -> list[SyncRecord]:
        """See :meth:`ports.state.State.syncs`."""
        ...

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        """See :meth:`ports.state.State.known`."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
