"""How Chroma behaves where :mod:`adapters.stores.chroma` relies on it, or works around it.

A failure here after an update of Chroma does not mean that something is broken. It means that a
decision in the adapter rests on something that has changed: read the test's docstring, look at the
decision again, and change both.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api.client import Client
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings
from chromadb.errors import ChromaError, InternalError

from tenantkb.adapters.stores.chroma import ChromaEngine
from tenantkb.adapters.stores.chroma.connection import ServerConnection
from tenantkb.adapters.stores.chroma.tables import Tables
from tests.servers import Address, chroma_process

EYE = np.eye(4, dtype=np.float32)


def opened(folder: Path) -> Client:
    client = chromadb.PersistentClient(folder, Settings(anonymized_telemetry=False))
    assert isinstance(client, Client)
    return client


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with chroma_process(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = opened(tmp_path)
    yield made
    made.close()


@pytest.fixture
def collection(client: Client) -> Collection:
    return client.create_collection(
        "facts", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )


def put(collection: Collection, *metadatas: dict[str, Any]) -> None:
    ids = [str(number) for number in range(len(metadatas))]
    vectors = np.resize(EYE, (len(ids), 4))
    collection.upsert(ids=ids, embeddings=vectors, metadatas=list(metadatas))


def metadata(collection: Collection, row_id: str = "0") -> Any:
    [found] = collection.get(ids=[row_id])["metadatas"] or []
    return found


def test_get_or_create_ignores_another_distance_and_other_metadata(client: Client) -> None:
    """Relied on: the collection is made by create and checked after get, never get-or-create."""
    client.create_collection("facts", metadata={"a": 1}, embedding_function=None)
    found = client.get_or_create_collection(
        "facts",
        configuration={"hnsw": {"space": "cosine"}},
        metadata={"a": 2},
        embedding_function=None,
    )
    assert found.configuration_json["hnsw"]["space"] == "l2"
    assert found.metadata == {"a": 1}


def test_creating_an_existing_collection_is_a_chroma_error(client: Client) -> None:
    """Relied on: whoever loses the race to create takes the winner's collection."""
    client.create_collection("facts", embedding_function=None)
    with pytest.raises(ChromaError, match="already exists"):
        client.create_collection("facts", embedding_function=None)


def test_negated_filters_match_rows_without_the_key(collection: Collection) -> None:
    """Relied on: filters name what is allowed; a negated one would show unstamped rows."""
    put(collection, {"visibility": "private"}, {"other": 1})
    for condition, expected in [
        ({"$ne": "private"}, ["1"]),
        ({"$nin": ["private"]}, ["1"]),
        ({"$in": ["team"]}, []),
    ]:
        where: Any = {"visibility": condition}
        assert collection.get(where=where)["ids"] == expected


@pytest.mark.parametrize("where", [{}, {"a": {"$in": []}}, {"$and": [{"a": 1}]}], ids=repr)
def test_degenerate_filters_raise(collection: Collection, where: dict[str, Any]) -> None:
    """Relied on: a filter of one condition is not wrapped in $and, and none is ever empty."""
    put(collection, {"a": 1})
    with pytest.raises(ValueError, match="Expected where"):
        collection.get(where=where)


def test_upsert_and_update_merge_metadata_and_none_removes(collection: Collection) -> None:
    """Relied on: keys that a row no longer has are sent as None."""
    put(collection, {"a": 1, "b": 2})
    put(collection, {"c": 3})
    assert metadata(collection) == {"a": 1, "b": 2, "c": 3}
    removed: dict[str, Any] = {"a": None, "c": 4}
    put(collection, removed)
    assert metadata(collection) == {"b": 2, "c": 4}
    collection.update(ids=["0", "missing"], metadatas=[{**removed, "b": None}, {"x": 1}])
    assert metadata(collection) == {"c": 4}
    assert collection.count() == 1


def test_unstorable_values_vanish_silently(collection: Collection) -> None:
    """Relied on: domain/rows.py refuses the values, and the engine escapes the names."""
    put(collection, {"a": 1, "n": None, "nan": float("nan"), "inf": float("inf"), "chroma:x": "x"})
    assert metadata(collection) == {"a": 1}
    put(collection, {"a": 2**63, "zero": -0.0})
    assert metadata(collection) == {"a": float(2**63), "zero": 0.0}
    assert str(metadata(collection)["zero"]) == "0.0"


def test_delete_reports_missing_ids_as_deleted(collection: Collection) -> None:
    """Relied on: the engine counts what is there before it deletes."""
    put(collection, {"a": 1})
    assert collection.delete(ids=["0", "missing"]) == {"deleted": 2}
    with pytest.raises(ValueError, match="non-empty"):
        collection.get(ids=[])


def test_get_ignores_the_order_of_the_ids(collection: Collection) -> None:
    """Relied on: the engine answers by id, never by position."""
    put(collection, {"a": 1}, {"a": 2}, {"a": 3})
    assert collection.get(ids=["2", "0", "1"])["ids"] == ["0", "1", "2"]


@pytest.mark.slow
def test_one_request_for_too_many_rows_fails(collection: Collection) -> None:
    """Relied on: reads are paged; asking for ids alone has no such limit."""
    assert collection._client.get_max_batch_size() == 5461
    for start in range(0, 33_000, 5_000):
        ids = [str(number) for number in range(start, min(start + 5_000, 33_000))]
        vectors = np.ones((len(ids), 2), np.float32)
        collection.add(ids=ids, embeddings=vectors, metadatas=[{"a": 1}] * len(ids))
    with pytest.raises(InternalError, match="too many SQL variables"):
        collection.get(where={"a": 1}, include=["metadatas"])
    assert len(collection.get(where={"a": 1}, include=[])["ids"]) == 33_000


def test_ids_that_are_not_text_raise_something_else_than_a_chroma_error(
    collection: Collection,
) -> None:
    """Relied on: a ChunkId has a UTF-8 form, and Chroma is asked for no other id."""
    put(collection, {"a": 1})
    with pytest.raises(UnicodeEncodeError):
        collection.get(ids=["\ud800"])


def test_a_stale_client_answers_from_the_index_it_has_loaded(tmp_path: Path) -> None:
    """Relied on: readers open the files anew after another process has written."""
    program = (
        "import sys, numpy as np;"
        "from pathlib import Path;"
        "from tests.conformance.test_chroma_facts import opened;"
        "c = opened(Path(sys.argv[1])).get_collection('facts', embedding_function=None);"
        "c.add(ids=[f'new{n}' for n in range(1500)], embeddings=np.ones((1500, 4), np.float32),"
        " metadatas=[{'a': 1}] * 1500)"
    )
    client = opened(tmp_path)
    collection = client.create_collection("facts", embedding_function=None)
    put(collection, {"a": 1})
    assert len(collection.query(query_embeddings=EYE[:1], n_results=9)["ids"][0]) == 1
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=repository)
    assert collection.count() == 1501
    assert len(collection.query(query_embeddings=EYE[:1], n_results=9)["ids"][0]) == 1
    client.close()
    client = opened(tmp_path)
    collection = client.get_collection("facts", embedding_function=None)
    assert len(collection.query(query_embeddings=EYE[:1], n_results=9)["ids"][0]) == 9
    client.close()


def test_opening_and_counting_writes_to_the_files(tmp_path: Path) -> None:
    """Relied on: a reader holds the lock too, since it is no mere reader of the files."""
    client = opened(tmp_path)
    put(client.create_collection("facts", embedding_function=None), {"a": 1})
    client.close()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    client = opened(tmp_path)
    client.get_collection("facts", embedding_function=None).count()
    client.close()
    assert before != {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}


def test_a_server_whose_port_is_taken_reports_success(address: Address, tmp_path: Path) -> None:
    """Relied on: the tests' server is watched until it answers, see tests/servers.py."""
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(tmp_path)]
    command += ["--host", address.host, "--port", str(address.port)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_a_server_refuses_requests_beyond_its_payload_limit(address: Address) -> None:
    """Relied on: writes are cut by bytes, well below the limit."""
    engine = ChromaEngine(ServerConnection(address.host, address.port))
    with closing(engine), engine._connection.writing() as client:
        collection = client.create_collection("too-much", embedding_function=None)
        with pytest.raises(Exception, match="Payload too large"):
            put(collection, *[{"a": "x" * 10_500_000}] * 4)


def index_files(folder: Path) -> dict[Path, tuple[int, int]]:
    stats = {file: file.stat() for file in folder.glob("*/*")}
    return {file: (found.st_size, found.st_mtime_ns) for file, found in stats.items()}


def test_an_index_is_written_within_the_call_that_reaches_the_threshold(
    client: Client, collection: Collection, tmp_path: Path
) -> None:
    """Relied on: once a write has returned, nothing is under way that a kill could tear."""
    put(collection, *[{"a": 1}] * 900)
    before = index_files(tmp_path)
    put(collection, *[{"a": 1}] * 200)
    after = index_files(tmp_path)
    assert before != after
    client.close()
    assert index_files(tmp_path) == after


def test_the_log_gives_an_empty_index_what_it_still_holds(
    client: Client, collection: Collection, tmp_path: Path
) -> None:
    """Relied on: only the vectors that the log has lost are made anew; see Tables.drop_index."""
    put(collection, *[{"a": 1}] * 1100)
    collection.upsert(ids=["late"], embeddings=EYE[:1], metadatas=[{"a": 2}])
    client.close()
    tables = Tables.find(tmp_path, "facts")
    assert tables is not None
    assert "late" in tables.logged_ids()
    assert "0" not in tables.logged_ids()
    tables.drop_index()
    reopened = opened(tmp_path)
    found = reopened.get_collection("facts", embedding_function=None)
    assert found.count() == 1101
    kept = found.get(ids=["late"], include=["embeddings"])["embeddings"]
    assert np.asarray(kept) == pytest.approx(EYE[:1])
    with pytest.raises(InternalError, match="Error finding id"):
        found.get(ids=["0"], include=["embeddings"])
    reopened.close()


def test_an_update_is_no_way_to_give_an_index_a_vector_that_it_has_lost(
    client: Client, collection: Collection, tmp_path: Path
) -> None:
    """Relied on: a rebuilt index is filled by upserts, and those keep all metadata."""
    put(collection, *[{"a": 1}] * 1100)
    client.close()
    tables = Tables.find(tmp_path, "facts")
    assert tables is not None
    tables.drop_index()
    reopened = opened(tmp_path)
    found = reopened.get_collection("facts", embedding_function=None)
    found.update(ids=["0"], embeddings=EYE[:1])
    with pytest.raises(InternalError, match="Error finding id"):
        found.get(ids=["0"], include=["embeddings"])
    found.upsert(ids=["0"], embeddings=EYE[:1])
    assert len(found.get(ids=["0"], include=["embeddings"])["ids"]) == 1
    assert metadata(found) == {"a": 1}
    reopened.close()


def test_renaming_gives_a_name_up_and_takes_none_that_is_taken(client: Client) -> None:
    """Relied on: a rebuilt collection takes the name of the old one in two steps."""
    old = client.create_collection("facts", metadata={"a": 1}, embedding_function=None)
    new = client.create_collection("facts.new", embedding_function=None)
    with pytest.raises(Exception, match="UNIQUE"):
        new.modify(name="facts")
    old.modify(name="facts.old")
    with pytest.raises(ChromaError, match="does not exist"):
        client.get_collection("facts", embedding_function=None)
    new.modify(name="facts")
    new.modify(metadata={"b": 2})
    found = client.get_collection("facts", embedding_function=None)
    assert (found.id, found.metadata) == (new.id, {"b": 2})
    assert client.get_collection("facts.old", embedding_function=None).metadata == {"a": 1}


@pytest.mark.parametrize("name", ["$x", "#x", "chroma:document"])
def test_names_of_chromas_own_are_refused(collection: Collection, name: str) -> None:
    """Relied on: such names are escaped, see encoding.py."""
    with pytest.raises(Exception, match=r"[Mm]etadata"):
        put(collection, {name: 1})
