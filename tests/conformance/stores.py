"""Our own stores under the suites: how each one is made, and how to get behind its back.

A store's class comes first among the bases of a test class, the suite after it. The servers are
fixtures of the whole session, which ``tests/conftest.py`` loads as a plugin.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
import pytest
from attrs import frozen

from tenantkb.adapters.lexical.schema import COLUMNS, LABEL_BITS
from tenantkb.adapters.stores.chroma import ChromaEngine
from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection
from tenantkb.adapters.stores.chroma.encoding import decoded, encoded, physical_id
from tenantkb.adapters.stores.chroma.words import WordIndex
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.adapters.stores.sqlite.schema import FILE
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.testing import MakeEngine, Stored, StoreSuite
from tests.servers import Address, chroma_container, chroma_process


class Memory(StoreSuite):
    store = "memory"
    holds_any_metadata = True

    @pytest.fixture
    def engine_in_memory(self) -> MemoryEngine:
        return MemoryEngine()

    @pytest.fixture
    def make_engine(self, engine_in_memory: MemoryEngine) -> MakeEngine:
        return lambda: engine_in_memory

    @pytest.fixture
    def behind(self, engine_in_memory: MemoryEngine) -> BehindMemory:
        return BehindMemory(engine_in_memory)


@frozen
class BehindMemory:
    """The dictionaries of a store in memory."""

    engine: MemoryEngine

    def plant(self, row: RawRow, vector: Vector) -> None:
        self.engine.bind(EmbedderProfile("any", len(vector)))
        self.engine.put([row], vector[np.newaxis], exact=True)

    def stored(self) -> Stored:
        return {
            RowKey(label, row_id): (dict(metadata), vector.tobytes())
            for label, rows in self.engine.rows.items()
            for row_id, (metadata, vector) in rows.items()
        }


class Sqlite(StoreSuite):
    store = "sqlite"
    holds_any_metadata = True

    @pytest.fixture
    def make_engine(self, tmp_path: Path) -> MakeEngine:
        return lambda: SqliteEngine(tmp_path / "store", wait=10)

    @pytest.fixture
    def behind(self, tmp_path: Path) -> BehindSqlite:
        return BehindSqlite(tmp_path / "store" / FILE)


@frozen
class BehindSqlite:
    """The tables of a store in a SQLite file."""

    file: Path

    def plant(self, row: RawRow, vector: Vector) -> None:
        columns = [row.metadata.get(key) for key in COLUMNS]
        texts = [value if isinstance(value, str) else None for value in columns]
        counted = [text or "" for text in texts[:2]]
        with closing(sqlite3.connect(self.file, timeout=10)) as database, database:
            database.execute(
                "INSERT OR IGNORE INTO label SELECT ifnull(max(number), 0) + 1, ?, 0, 0 FROM label",
                (row.label,),
            )
            [(label, position)] = database.execute(
                "UPDATE label SET next = next + 1, generation = ? WHERE label = ?"
                " RETURNING number, next - 1",
                (secrets.randbits(62), row.label),
            ).fetchall()
            number = label << LABEL_BITS | position
            database.execute(
                "INSERT INTO row VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *row.key, *texts)
            )
            database.execute(
                "INSERT INTO content VALUES (?, ?)", (number, json.dumps(row.metadata))
            )
            database.execute("INSERT INTO vector VALUES (?, ?)", (number, vector.tobytes()))
            database.execute(
                "INSERT INTO row_count VALUES (?, ?, ?, 1)"
                " ON CONFLICT DO UPDATE SET rows = rows + 1",
                (row.label, *counted),
            )

    def stored(self) -> Stored:
        if not self.file.exists():
            return {}
        with closing(sqlite3.connect(self.file, timeout=10)) as database:
            found = database.execute(
                "SELECT label, id, metadata, vector FROM row JOIN content USING (number)"
                " JOIN vector USING (number)"
            ).fetchall()
        return {
            RowKey(label, ChunkId(row_id)): (json.loads(metadata), vector)
            for label, row_id, metadata, vector in found
        }


class Chroma(StoreSuite):
    """What the ways to Chroma have in common."""

    exact_rows: ClassVar[int | None] = 1000

    @pytest.fixture
    def behind(self, make_engine: Callable[[], ChromaEngine]) -> Iterator[BehindChroma]:
        with closing(make_engine()) as engine:
            yield BehindChroma(engine)


class ChromaPath(Chroma):
    store = "chroma-path"

    @pytest.fixture
    def make_engine(self, tmp_path: Path) -> MakeEngine:
        engine = ChromaEngine(FilesConnection(tmp_path / "store", 10), words=words(tmp_path))
        return lambda: engine  # which opens its files anew after each close


class ChromaByIndex(Chroma):
    """Every question through the index, which is otherwise left to large scopes."""

    store = "chroma-by-index"
    exact_rows = 0

    @pytest.fixture
    def make_engine(self, tmp_path: Path) -> MakeEngine:
        files = FilesConnection(tmp_path / "store", 10)
        engine = ChromaEngine(files, words=words(tmp_path), exact_rows=0)
        return lambda: engine


class ChromaServer(Chroma):
    store = "chroma-server"

    @pytest.fixture
    def make_engine(self, chroma_server: Address, tmp_path: Path) -> MakeEngine:
        return _at(chroma_server, tmp_path)


class ChromaContainer(Chroma):
    store = "chroma-container"

    @pytest.fixture
    def make_engine(self, chroma_in_a_container: Address, tmp_path: Path) -> MakeEngine:
        return _at(chroma_in_a_container, tmp_path)


def words(folder: Path) -> WordIndex:
    """The postings of a store in Chroma, in a state file as an installation has one."""
    return WordIndex(folder / "state.sqlite3", wait=10)


def _at(address: Address, folder: Path) -> MakeEngine:
    collection = f"test-{uuid4().hex}"

    def make() -> ChromaEngine:
        server = ServerConnection(address.host, address.port)
        return ChromaEngine(server, collection, words=words(folder))

    return make


@frozen
class BehindChroma:
    """The collection of a store in Chroma, by Chroma's own client."""

    engine: ChromaEngine

    def plant(self, row: RawRow, vector: Vector) -> None:
        with self._collection() as collection:
            collection.add(
                ids=[physical_id(row.key)], embeddings=[vector], metadatas=[encoded(row)]
            )

    def stored(self) -> Stored:
        if self.engine.profile() is None:
            return {}
        with self._collection() as collection:
            found = collection.get(include=["metadatas", "embeddings"])
        rows = [decoded(*each) for each in zip(found["ids"], found["metadatas"], strict=True)]
        return {
            row.key: (dict(row.metadata), np.asarray(vector, np.float32).tobytes())
            for row, vector in zip(rows, found["embeddings"], strict=True)
        }

    @contextmanager
    def _collection(self) -> Iterator[Any]:
        with self.engine._connection.writing() as client:
            yield client.get_collection(self.engine._name, embedding_function=None)


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The session's Chroma server."""
    with chroma_process(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="session")
def chroma_in_a_container() -> Iterator[Address]:
    """The session's Chroma container; skips where no engine runs it."""
    with chroma_container() as address:
        yield address
