"""What an installation remembers, as tables of a SQLite file.

A store that is such a file holds these tables itself, so that rows and state are one transaction
(:mod:`adapters.stores.sqlite`). For all others there is a file of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from tenantkb.adapters.lexical.schema import FORGET_POSTINGS, ROW_TABLES
from tenantkb.adapters.state.database import Database, Format, has_table
from tenantkb.adapters.state.leases import Leases
from tenantkb.domain.deletion import KnownState, ManifestSnapshot
from tenantkb.domain.errors import StoreError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.ingestion import HISTORY, IngestionState, IngestionStatus
from tenantkb.domain.inventory import Inventory, StoredBlock
from tenantkb.domain.spoofing import SpoofLimit, SpoofWindow
from tenantkb.domain.stamps import format_instant, parse_instant
from tenantkb.ports.state import SpoofCount, SyncRecord

INGESTION_TABLE: Final = """
    CREATE TABLE ingestion (
        number INTEGER PRIMARY KEY,
        tenant_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        id TEXT NOT NULL,
        status TEXT NOT NULL,
        UNIQUE (tenant_id, agent_id, id)
    )
"""
"""The status is JSON. A lower number was recorded first earlier."""

STATE_TABLES: Final = (
    """
    CREATE TABLE sync (
        tenant_id TEXT NOT NULL,
        repo_slug TEXT NOT NULL,
        access_label TEXT NOT NULL,
        finished_at TEXT NOT NULL,
        complete INTEGER NOT NULL,
        PRIMARY KEY (access_label, tenant_id, repo_slug)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE known (
        tenant_id TEXT NOT NULL,
        repo_slug TEXT NOT NULL,
        head TEXT,
        manifest_at TEXT,
        manifest_paths TEXT,
        PRIMARY KEY (tenant_id, repo_slug)
    )
    """,
    """
    CREATE TABLE spoof (
        tenant_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        total INTEGER NOT NULL,
        runs TEXT NOT NULL,
        passed INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, agent_id)
    ) WITHOUT ROWID
    """,
    INGESTION_TABLE,
)
INVENTORY_TABLES: Final = (
    # blocks is JSON, [[digest, [id, …]], …], or null where what is stored is not known.
    """
    CREATE TABLE inventory (
        tenant_id TEXT NOT NULL,
        repo_slug TEXT NOT NULL,
        access_label TEXT NOT NULL,
        job TEXT NOT NULL,
        conditions TEXT NOT NULL,
        blocks BLOB,
        PRIMARY KEY (tenant_id, repo_slug, access_label)
    )
    """,
)
_INDEX_TABLES: Final = (
    *ROW_TABLES,
    # What is being written to the rows, each line by one writer: keys is JSON, [[label, id], …].
    # No number is given twice: a line that others have made good is nobody else's.
    """
    CREATE TABLE pending (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        writer INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        keys TEXT NOT NULL
    )
    """,
)
"""Of a store that keeps no postings: see :mod:`adapters.stores.chroma.words`."""

STATE_FILE: Final = Format(
    application_id=0x746B6273,
    version=3,
    tables=(*STATE_TABLES, *_INDEX_TABLES, *INVENTORY_TABLES),
    upgrades={1: _INDEX_TABLES, 2: (INGESTION_TABLE, *INVENTORY_TABLES, *FORGET_POSTINGS)},
)


class StateTables:
    """Implements :class:`ports.state.State` on a database with :data:`STATE_TABLES`.

    Args:
        database: The database.
        leases: Of the same installation.
    """

    def __init__(self, database: Database, leases: Leases) -> None:
        self._database = database
        self._leases = leases

    def record_sync(self, record: SyncRecord) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sync VALUES (?, ?, ?, ?, ?)",
                (
                    record.tenant_id,
                    record.repo_slug,
                    record.access_label,
                    format_instant(record.finished_at),
                    record.complete,
                ),
            )

    def syncs(self, labels: Collection[str]) -> list[SyncRecord]:
        query = "SELECT * FROM sync WHERE access_label = ?"
        with self._database.reading() as connection:
            found = [row for label in set(labels) for row in connection.execute(query, (label,))]
        return [sync_record(*row) for row in sorted(found)]

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        with self._database.reading() as connection:
            return _known(connection, tenant_id, repo_slug)

    def replace_known(
        self, tenant_id: str, repo_slug: str, expected: KnownState, known: KnownState
    ) -> bool:
        instant = paths = None
        if known.manifest is not None:
            instant = format_instant(known.manifest.made_at)
            paths = orjson.dumps(sorted(known.manifest.paths)).decode()
        with self._database.writing() as connection:
            if _known(connection, tenant_id, repo_slug) != expected:
                return False
            connection.execute(
                "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)",
                (tenant_id, repo_slug, known.head, instant, paths),
            )
        return True

    def open_inventory(
        self, tenant_id: str, repo_slug: str, access_label: str, job: str
    ) -> Inventory | None:
        of = tenant_id, repo_slug, access_label
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO inventory VALUES (?, ?, ?, ?, '', NULL)"
                " ON CONFLICT DO UPDATE SET job = excluded.job",
                (*of, job),
            )
            return _inventory(connection, *of)

    def inventory(self, tenant_id: str, repo_slug: str, access_label: str) -> Inventory | None:
        with self._database.reading() as connection:
            if not has_table(connection, "inventory"):
                return None
            return _inventory(connection, tenant_id, repo_slug, access_label)

    def keep_inventory(
        self, tenant_id: str, repo_slug: str, access_label: str, job: str, inventory: Inventory
    ) -> None:
        blocks = orjson.dumps([(each.digest, each.ids) for each in inventory.blocks])
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE inventory SET conditions = ?, blocks = ?"
                " WHERE tenant_id = ? AND repo_slug = ? AND access_label = ? AND job = ?",
                (inventory.conditions, blocks, tenant_id, repo_slug, access_label, job),
            )

    def void_inventories(
        self,
        owners: Collection[tuple[str, str]] | None,
        labels: Collection[str] | None = None,
        job: str = "",
    ) -> None:
        with self._database.reading() as connection:
            if not has_table(connection, "inventory"):
                return
            found = connection.execute(
                "SELECT tenant_id, repo_slug, access_label FROM inventory"
                " WHERE blocks IS NOT NULL OR job NOT IN ('', ?)",
                (job,),
            ).fetchall()
        void = [
            (job, tenant_id, repo_slug, label)
            for tenant_id, repo_slug, label in found
            if owners is None or (tenant_id, repo_slug) in owners
            if labels is None or label in labels
        ]
        if void:
            with self._database.writing() as connection:
                connection.executemany(
                    "UPDATE inventory SET blocks = NULL,"
                    " job = CASE WHEN job = ? THEN job ELSE '' END"
                    " WHERE tenant_id = ? AND repo_slug = ? AND access_label = ?",
                    void,
                )

    def spoofs(self, writer: AgentIdentity, limit: SpoofLimit) -> SpoofCount:
        with self._database.reading() as connection:
            return _spoofs(connection, writer, limit)

    def add_spoofs(
        self, writer: AgentIdentity, limit: SpoofLimit, spoofs: int, now: datetime
    ) -> tuple[SpoofCount, SpoofCount]:
        if self._database.is_writing:
            raise StoreError(
                "spoofs are counted at once, and not as a part of a unit of work that may fail"
            )
        with self._database.writing() as connection:
            before = _spoofs(connection, writer, limit)
            after = SpoofCount(before.total + spoofs, before.window.after(spoofs, now))
            runs = [(instant.isoformat(), count) for instant, count in after.window.runs]
            connection.execute(
                "INSERT OR REPLACE INTO spoof VALUES (?, ?, ?, ?, ?)",
                (
                    writer.tenant_id,
                    writer.agent_id,
                    after.total,
                    orjson.dumps(runs).decode(),
                    after.window.passed,
                ),
            )
        return before, after

    def record_ingestion(self, caller: AgentIdentity, status: IngestionStatus) -> None:
        owner = caller.tenant_id, caller.agent_id
        text = orjson.dumps(
            {
                **attrs.asdict(status),
                "started_at": format_instant(status.started_at),
                "updated_at": format_instant(status.updated_at),
            }
        ).decode()
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO ingestion (tenant_id, agent_id, id, status) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (tenant_id, agent_id, id) DO UPDATE SET status = excluded.status",
                (*owner, status.ingestion_id, text),
            )
            connection.execute(
                "DELETE FROM ingestion WHERE tenant_id = ? AND agent_id = ? AND number <= ("
                "SELECT number FROM ingestion WHERE tenant_id = ? AND agent_id = ?"
                " ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (*owner, *owner, HISTORY),
            )

    def ingestion(self, caller: AgentIdentity, ingestion_id: str) -> IngestionStatus | None:
        with self._database.reading() as connection:
            if not has_table(connection, "ingestion"):
                return None
            found = connection.execute(
                "SELECT status FROM ingestion WHERE tenant_id = ? AND agent_id = ? AND id = ?",
                (caller.tenant_id, caller.agent_id, ingestion_id),
            ).fetchone()
        return None if found is None else _ingestion(**orjson.loads(found[0]))

    def lease(
        self, tenant_id: str, repo_slug: str, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        return self._leases.lease(tenant_id, repo_slug, waiting)

    def close(self) -> None:
        self._database.close()


class SqliteState(StateTables):
    """A state file, for a store that keeps no state.

    Args:
        path: The file; made, with its folder, by the first write. Leases are in a folder beside it.
        wait: Seconds to wait for other writers, and for leases.
    """

    def __init__(self, path: Path, *, wait: float = 60.0) -> None:
        super().__init__(Database(path, STATE_FILE, wait), Leases(leases_of(path), wait))


class MemoryState(StateTables):
    """State that ends with this object, for a store that does.

    Args:
        wait: Seconds to wait for leases.
    """

    def __init__(self, *, wait: float = 60.0) -> None:
        super().__init__(Database(None, STATE_FILE, wait), Leases(None, wait))


def sync_record(
    tenant_id: str, repo_slug: str, access_label: str, finished_at: str, complete: int
) -> SyncRecord:
    """A record of its columns."""
    finished = parse_instant(finished_at)
    return SyncRecord(tenant_id, repo_slug, access_label, finished, bool(complete))


def known_state(
    repo_slug: str, head: str | None, manifest_at: str | None, manifest_paths: str | None
) -> KnownState:
    """What is known of a repository, of its columns."""
    if manifest_at is None:
        return KnownState(head)
    listed = frozenset(orjson.loads(manifest_paths or ""))
    return KnownState(head, ManifestSnapshot(repo_slug, listed, parse_instant(manifest_at)))


def _known(connection: sqlite3.Connection, tenant_id: str, repo_slug: str) -> KnownState:
    found = connection.execute(
        "SELECT head, manifest_at, manifest_paths FROM known WHERE tenant_id = ? AND repo_slug = ?",
        (tenant_id, repo_slug),
    ).fetchone()
    return KnownState() if found is None else known_state(repo_slug, *found)


def _inventory(
    connection: sqlite3.Connection, tenant_id: str, repo_slug: str, access_label: str
) -> Inventory | None:
    found = connection.execute(
        "SELECT conditions, blocks FROM inventory"
        " WHERE tenant_id = ? AND repo_slug = ? AND access_label = ?",
        (tenant_id, repo_slug, access_label),
    ).fetchone()
    if found is None or found[1] is None:
        return None
    conditions, blocks = found
    return Inventory(
        conditions,
        tuple(
            StoredBlock(digest, tuple(map(ChunkId, ids))) for digest, ids in orjson.loads(blocks)
        ),
    )


def _spoofs(connection: sqlite3.Connection, writer: AgentIdentity, limit: SpoofLimit) -> SpoofCount:
    found = connection.execute(
        "SELECT total, runs, passed FROM spoof WHERE tenant_id = ? AND agent_id = ?",
        (writer.tenant_id, writer.agent_id),
    ).fetchone()
    if found is None:
        return SpoofCount(0, SpoofWindow(limit))
    total, runs, passed = found
    counted = tuple((datetime.fromisoformat(instant), n) for instant, n in orjson.loads(runs))
    return SpoofCount(total, SpoofWindow(limit, counted, bool(passed)))


def _ingestion(state: str, started_at: str, updated_at: str, **rest: Any) -> IngestionStatus:
    return IngestionStatus(
        state=IngestionState(state),
        started_at=parse_instant(started_at),
        updated_at=parse_instant(updated_at),
        **rest,
    )


def leases_of(path: Path) -> Path:
    """The folder of the leases of those who share a state file."""
    return path.absolute().with_name(f"{path.name}.leases")
