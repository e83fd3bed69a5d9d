"""What earlier pushes told about each repository, as a table of a SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tenantkb.adapters.state.sqlite import transaction
from tenantkb.domain.deletion import KnownState, ManifestSnapshot
from tenantkb.domain.tenancy import format_instant, parse_instant

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS revision (
        tenant_id TEXT NOT NULL,
        repo_slug TEXT NOT NULL,
        head TEXT,
        manifest_at TEXT,
        manifest_paths TEXT,
        PRIMARY KEY (tenant_id, repo_slug)
    )
"""


class SqliteRevisionLog:
    """Implements :class:`ports.revisions.RevisionLog`.

    Args:
        path: The file; made, with its folder, at the first record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        if not self._path.exists():
            return KnownState()
        with transaction(self._path, _TABLE) as database:
            return _known(database, tenant_id, repo_slug)

    def replace(
        self, tenant_id: str, repo_slug: str, expected: Collection[KnownState], known: KnownState
    ) -> bool:
        instant = paths = None
        if known.manifest is not None:
            instant = format_instant(known.manifest.made_at)
            paths = json.dumps(sorted(known.manifest.paths))
        with transaction(self._path, _TABLE) as database:
            database.execute("BEGIN IMMEDIATE")  # the first writer of several goes on, they wait
            if _known(database, tenant_id, repo_slug) not in expected:
                return False
            database.execute(
                "INSERT OR REPLACE INTO revision VALUES (?, ?, ?, ?, ?)",
                (tenant_id, repo_slug, known.head, instant, paths),
            )
        return True


def _known(database: sqlite3.Connection, tenant_id: str, repo_slug: str) -> KnownState:
    found = database.execute(
        "SELECT head, manifest_at, manifest_paths FROM revision"
        " WHERE tenant_id = ? AND repo_slug = ?",
        (tenant_id, repo_slug),
    ).fetchone()
    if found is None:
        return KnownState()
    head, instant, paths = found
    if instant is None:
        return KnownState(head)
    paths = frozenset(json.loads(paths))
    return KnownState(head, ManifestSnapshot(repo_slug, paths, parse_instant(instant)))
