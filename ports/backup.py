"""Backups as files: a record a line, and a manifest beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from tenantkb.domain.backup import Manifest


class BackupDraft(Protocol):
    """A backup that is being written. It takes its name at :meth:`publish` and not before."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Append one record: JSON values, and one-dimensional arrays of float32 for embeddings."""
        ...

    def sha256(self) -> str:
        """The digest of what has been added, in hex digits."""
        ...

    def publish(self, manifest: Manifest) -> None:
        """Make the backup and its manifest durable under their names.

        At no moment does a backup lie beside the manifest of another one; for a moment it may lie
        there without any.
        """
        ...


class Backup(Protocol):
    """A finished backup."""

    @property
    def manifest(self) -> Manifest | None:
        """What it says that it holds; ``None`` where no manifest lies beside it."""
        ...

    def records(self) -> Iterator[tuple[int, object]]:
        """Every record from the first: its line, from 1, and its JSON value.

        What cannot be read is :class:`domain.records.Unreadable`. Never held as a whole.
        """
        ...

    def sha256(self) -> str:
        """The digest of its bytes, in hex digits; reads them all."""
        ...


class BackupFiles(Protocol):
    """Where backups lie."""

    def draft(self, path: Path) -> AbstractContextManager[BackupDraft]:
        """Begin a backup; what is not published by the end is thrown away.

        Raises:
            InvalidInputError: nothing can be written there, or another process is just doing so.
        """
        ...

    def open(self, path: Path) -> AbstractContextManager[Backup]:
        """Open a backup and read its manifest.

        Raises:
            InvalidInputError: it cannot be read, or its manifest is not one.
        """
        ...
