"""The SQLite file in which an installation remembers what is not in the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tenantkb.domain.errors import StoreError


@contextmanager
def transaction(path: Path, table: str) -> Iterator[sqlite3.Connection]:
    """One transaction on a file that several processes may use; durable when it ends.

    Args:
        path: The file; made, with its folder, if it does not exist.
        table: The statement that makes the table where it does not exist.

    Raises:
        StoreError: the file cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30)) as database, database:
            database.execute(table)
            yield database
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be used: {error}") from error
