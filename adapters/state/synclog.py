"""The record of finished synchronisations as a table of a SQLite file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from tenantkb.adapters.state.sqlite import transaction
from tenantkb.domain.tenancy import format_instant, parse_instant
from tenantkb.ports.synclog import SyncRecord

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS sync (
        tenant_id TEXT NOT NULL,
        repo_slug TEXT NOT NULL,
        access_label TEXT NOT NULL,
        finished_at TEXT NOT NULL,
        complete INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, repo_slug, access_label)
    )
"""


class SqliteSyncLog:
    """Implements :class:`ports.synclog.SyncLog`.

    Args:
        path: The file; made, with its folder, at the first record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, record: SyncRecord) -> None:
        with transaction(self._path, _TABLE) as database:
            database.execute(
                "INSERT OR REPLACE INTO sync VALUES (?, ?, ?, ?, ?)",
                (
                    record.tenant_id,
                    record.repo_slug,
                    record.access_label,
                    format_instant(record.finished_at),
                    record.complete,
                ),
            )

    def last(self, labels: Collection[str]) -> list[SyncRecord]:
        if not self._path.exists():
            return []
        marks = ", ".join("?" * len(labels))
        with transaction(self._path, _TABLE) as database:
            found = database.execute(
                f"SELECT * FROM sync WHERE access_label IN ({marks}) ORDER BY 1, 2, 3",  # noqa: S608 # marks alone
                tuple(labels),
            ).fetchall()
        return [
            SyncRecord(tenant, repo, label, parse_instant(finished), bool(complete))
            for tenant, repo, label, finished, complete in found
        ]
