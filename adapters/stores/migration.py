"""Where rows are moved from: stores of version 0.1.0, and any other kind of this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, cast

from attrs import evolve, frozen

from tenantkb.adapters.configuration.settings import StoreSettings, state_path
from tenantkb.adapters.state.sqlite import SqliteState, known_state, sync_record
from tenantkb.adapters.stores.chroma.engine import connect
from tenantkb.adapters.stores.chroma.format1 import Format1
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.domain.deletion import KnownState
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, StoreError, StoreMismatchError
from tenantkb.domain.ids import IdScheme
from tenantkb.ports.engine import Engine, RawRow, Transactional, Vector
from tenantkb.ports.migration import MigrationSource
from tenantkb.ports.state import State, SyncRecord

_STATE_OF_0_1: Final = "tenantkb.sqlite3"
"""The file of sync log and heads that version 0.1.0 kept in the folder of the store."""


def store_at(address: str, settings: StoreSettings) -> StoreSettings:
    """The settings of the store that an address names.

    Args:
        address: ``KIND``, ``KIND:FOLDER``, or ``chroma-http:HOST:PORT``.
        settings: Those in force, which say what the address leaves open.

    Raises:
        InvalidInputError: the address has another form.
    """
    kind, _, place = address.partition(":")
    if not kind:
        raise InvalidInputError("expected KIND or KIND:ADDRESS, such as chroma:/path/to/store")
    if not place:
        return evolve(settings, kind=kind)
    if kind != "chroma-http":
        return evolve(settings, kind=kind, path=Path(place).expanduser())
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidInputError(f"expected chroma-http:HOST:PORT, not {address}")
    return evolve(settings, kind=kind, host=host, port=int(port))


def open_source(settings: StoreSettings) -> MigrationSource:
    """A store to move rows from: of Chroma's kinds, one of version 0.1.0 where there is one.

    Raises:
        ConfigurationError: there is no such kind of store.
        StoreError: it cannot be read.
    """
    if settings.kind in ("chroma", "chroma-http"):
        connection = connect(settings)
        earlier = Format1(connection, settings.collection)
        try:
            if earlier.profile() is not None:
                return _Version01(earlier, settings.path / _STATE_OF_0_1)
        except StoreMismatchError:  # of this version
            pass
        earlier.close()
    engine = open_engine(settings)
    if isinstance(engine, Transactional):
        return _ThisVersion(engine, cast(State, engine))
    return _ThisVersion(engine, SqliteState(state_path(settings)))


@frozen
class _ThisVersion:
    """A store that any engine opens."""

    engine: Engine
    state: State

    @property
    def place(self) -> str:
        return self.engine.place

    def profile(self) -> EmbedderProfile | None:
        return self.engine.profile()

    def ids(self) -> IdScheme | None:
        return self.engine.ids()

    def rows(self) -> Iterator[tuple[RawRow, Vector | None]]:
        return self.engine.export()

    def syncs(self, labels: Collection[str]) -> list[SyncRecord]:
        return self.state.syncs(labels)

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        return self.state.known(tenant_id, repo_slug)

    def close(self) -> None:
        self.state.close()
        self.engine.close()


@frozen
class _Version01:
    """An embedded or served Chroma collection of version 0.1.0, with the file beside it."""

    collection: Format1
    state: Path

    @property
    def place(self) -> str:
        return self.collection.place

    def profile(self) -> EmbedderProfile | None:
        return self.collection.profile()

    def ids(self) -> IdScheme | None:
        return IdScheme.CONTENT

    def rows(self) -> Iterator[tuple[RawRow, Vector | None]]:
        return self.collection.rows()

    def syncs(self, labels: Collection[str]) -> list[SyncRecord]:
        found = self._read("SELECT * FROM sync ORDER BY 1, 2, 3", "sync")
        records = (sync_record(*row) for row in found)
        return [record for record in records if record.access_label in labels]

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        found = self._read(
            "SELECT head, manifest_at, manifest_paths FROM revision"
            " WHERE tenant_id = ? AND repo_slug = ?",
            "revision",
            tenant_id,
            repo_slug,
        )
        return known_state(repo_slug, *found[0]) if found else KnownState()

    def close(self) -> None:
        self.collection.close()

    def _read(self, query: str, table: str, *parameters: str) -> list[tuple[Any, ...]]:
        if not self.state.exists():
            return []
        with self._reading() as database:
            tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if (table,) not in tables.fetchall():
                return []
            return database.execute(query, parameters).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            address = f"{self.state.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as database:
                yield database
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self.state} cannot be read: {error}") from error
