"""Reading what version 0.1.0 wrote, however its index was left."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromadb.api.client import Client
from chromadb.api.models.Collection import Collection

from tenantkb.adapters.stores.chroma import ChromaEngine, index_reader
from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection, client_on
from tenantkb.adapters.stores.chroma.format1 import Format1
from tenantkb.adapters.stores.chroma.tables import Tables
from tenantkb.domain.errors import StoreError, StoreMismatchError
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.testing.samples import PROFILE, vectors, writing
from tests.conformance.raw_rows import put, row, rows
from tests.servers import chroma_process

FORMAT_1 = {"tenantkb.format": 1, "tenantkb.embedder": "test-embedder", "tenantkb.dimension": 4}
ROWS = sorted(rows(writing(), 1150), key=lambda each: each.id)
EXACT = row(writing("beta"), "exact", tier=2, share=0.5, draft=True)
STORED = sorted([*ROWS, EXACT], key=lambda each: each.id)
EXACT_VECTOR = np.array([1, 2, 3, 4], np.float32)
VECTORS = dict(zip([each.id for each in ROWS], vectors(len(ROWS)), strict=True))


def written(client: Client) -> Collection:
    """A collection as version 0.1.0 made it: an exact row, a thousand rows, and the rest."""
    collection = client.create_collection(
        "knowledge-base",
        configuration={"hnsw": {"space": "cosine", "ef_search": 400}},
        metadata=FORMAT_1,
        embedding_function=None,
    )
    kept = base64.b64encode(EXACT_VECTOR.astype("<f4").tobytes()).decode()
    upsert(collection, [EXACT], EXACT_VECTOR[np.newaxis], **{"tenantkb.vector": kept})
    for start in (0, 500, 1000):
        some = ROWS[start : start + 500]
        upsert(collection, some, np.stack([VECTORS[each.id] for each in some]))
    return collection


def upsert(collection: Collection, some: list[RawRow], given: Any, **more: Any) -> None:
    collection.upsert(
        ids=[str(each.id) for each in some],
        embeddings=given,
        metadatas=[{**each.metadata, **more} for each in some],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    client = client_on(tmp_path)
    written(client)
    client.close()
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> Iterator[ChromaEngine]:
    with closing(ChromaEngine(FilesConnection(folder, wait=5))) as opened:
        yield opened


def earlier(engine: ChromaEngine) -> Format1:
    """What version 0.1.0 wrote at the engine's place."""
    return Format1(engine._connection, "knowledge-base")


def index_of(folder: Path) -> Path:
    tables = Tables.find(folder, "knowledge-base")
    assert tables is not None
    return folder / tables.index


def require_vectors(found: Sequence[tuple[RawRow, Vector | None]]) -> None:
    for each, vector in found:
        assert vector is not None
        if each == EXACT:
            assert vector.tobytes() == EXACT_VECTOR.tobytes()
        else:
            assert vector == pytest.approx(VECTORS[each.id], abs=1e-6)


def test_files_are_read_whole_and_from_where_one_left_off(engine: ChromaEngine) -> None:
    """Fails: a row or its vector is missing, or an interrupted migration starts anew."""
    with pytest.raises(StoreMismatchError):
        engine.profile()
    assert earlier(engine).profile() == PROFILE
    found = list(earlier(engine).rows())
    assert [each for each, _ in found] == STORED
    require_vectors(found)
    assert [each for each, _ in earlier(engine).rows(STORED[1100].id)] == STORED[1101:]


def test_a_server_is_read_whole(tmp_path: Path) -> None:
    with (
        chroma_process(tmp_path) as address,
        closing(ChromaEngine(ServerConnection(address.host, address.port))) as engine,
    ):
        assert earlier(engine).profile() is None
        assert list(earlier(engine).rows()) == []
        with engine._connection.writing() as client:
            written(client)
        found = list(earlier(engine).rows())
        assert [each for each, _ in found] == STORED
        require_vectors(found)
        assert [each for each, _ in earlier(engine).rows(STORED[1100].id)] == STORED[1101:]


def test_a_torn_index_costs_vectors_and_no_rows(engine: ChromaEngine, folder: Path) -> None:
    """Fails: what Chroma cannot open cannot be migrated."""
    (index_of(folder) / "index_metadata.pickle").unlink()
    require_rows_and_what_the_log_holds(engine, folder)


def test_an_index_that_is_gone_costs_vectors_and_no_rows(
    engine: ChromaEngine, folder: Path
) -> None:
    """Fails: one lost vector costs those of its whole page."""
    shutil.rmtree(index_of(folder))
    require_rows_and_what_the_log_holds(engine, folder)


@pytest.mark.parametrize(
    "program",
    [
        "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGSEGV)",
        "import sys, time; sys.stdin.readline(); time.sleep(60)",
    ],
    ids=["signal", "hang"],
)
def test_what_the_index_does_to_the_process_that_reads_it_costs_vectors_and_no_rows(
    engine: ChromaEngine, folder: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Fails: the migration dies of it, or waits for ever."""
    monkeypatch.setattr(index_reader, "_PROGRAM", program)
    monkeypatch.setattr(index_reader, "_SECONDS", 0.3)
    require_rows_and_what_the_log_holds(engine, folder)


def require_rows_and_what_the_log_holds(engine: ChromaEngine, folder: Path) -> None:
    tables = Tables.find(folder, "knowledge-base")
    assert tables is not None
    logged = tables.logged_ids()
    assert 100 < len(logged) < 1000
    found = list(earlier(engine).rows())
    assert [each for each, _ in found] == STORED
    kept = [(each, vector) for each, vector in found if vector is not None]
    assert {each.id for each, _ in kept} >= {*logged, EXACT.id}
    require_vectors(kept)


def test_what_had_reached_the_log_alone_counts(tmp_path: Path) -> None:
    """Fails: a write that was acknowledged before a kill is lost; see Tables.all_rows."""
    early, late = tmp_path / "early", tmp_path / "late"
    client = client_on(early)
    collection = client.create_collection("facts", metadata=FORMAT_1, embedding_function=None)
    upsert(collection, ROWS[:6], vectors(6))
    client.close()
    shutil.copytree(early, late)
    client = client_on(late)
    collection = client.get_collection("facts", embedding_function=None)
    upsert(collection, ROWS[5:8], vectors(3), tier=1)
    ids = [str(each.id) for each in ROWS]
    collection.delete(ids=ids[:2])
    removed: Any = {"name": None, "share": 0.5}
    collection.update(ids=[ids[2], "missing"], metadatas=[removed, removed])
    collection.add(ids=ids[3:4], embeddings=vectors(1), metadatas=[{"tier": 9}])
    collection.upsert(ids=ids[:1], embeddings=vectors(1), metadatas=[{"tier": 3}])
    answer = collection.get(include=["metadatas"])
    expected = dict(zip(answer["ids"], answer["metadatas"] or [], strict=True))
    client.close()
    with closing(sqlite3.connect(early / "chroma.sqlite3")) as database, database:
        database.execute("ATTACH ? AS late", (str(late / "chroma.sqlite3"),))
        database.execute(
            "INSERT INTO embeddings_queue SELECT * FROM late.embeddings_queue WHERE seq_id >"
            " (SELECT MAX(seq_id) FROM embeddings_queue)"
        )
    for folder in (early, late):
        tables = Tables.find(folder, "facts")
        assert tables is not None
        [page] = tables.all_rows("", 1000)
        assert {each.id: each.metadata for each in page} == expected
        assert all(each.vector is not None for each in page)


def test_another_format_is_not_taken_for_this_one(tmp_path: Path) -> None:
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        assert earlier(engine).profile() is None
        put(engine, rows(writing(), 1))
        with pytest.raises(StoreMismatchError, match="has format 2, where 1 is wanted"):
            list(earlier(engine).rows())


def test_what_cannot_be_read_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"no database" * 100)
    with (
        closing(ChromaEngine(FilesConnection(tmp_path))) as engine,
        pytest.raises(StoreError, match="cannot be read"),
    ):
        earlier(engine).profile()
