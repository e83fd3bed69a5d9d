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

from tenantkb.adapters.stores.chroma_connection import ServerConnection
from tests.conformance.stores import Places, places

__all__ = ["places"]  # fixture

EYE = np.eye(4, dtype=np.float32)


def opened(folder: Path) -> Client:
    client = chromadb.PersistentClient(folder, Settings(anonymized_telemetry=False))
    assert isinstance(client, Client)
    return client


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
    """Relied on: adapters/stores/contract.py refuses them before Chroma drops them."""
    put(collection, {"a": 1, "n": None, "nan": float("nan"), "inf": float("inf"), "chroma:x": "x"})
    assert metadata(collection) == {"a": 1}
    put(collection, {"a": 2**63, "zero": -0.0})
    assert metadata(collection) == {"a": float(2**63), "zero": 0.0}
    assert str(metadata(collection)["zero"]) == "0.0"


def test_delete_reports_missing_ids_as_deleted(collection: Collection) -> None:
    """Relied on: the store counts what is there before it deletes."""
    put(collection, {"a": 1})
    assert collection.delete(ids=["0", "missing"]) == {"deleted": 2}
    with pytest.raises(ValueError, match="non-empty"):
        collection.get(ids=[])


def test_get_ignores_the_order_of_the_ids(collection: Collection) -> None:
    """Relied on: the store puts rows into the order of the request itself."""
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
    """Relied on: ids that no row can have are left out before Chroma sees them."""
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


def test_a_server_whose_port_is_taken_reports_success(places: Places, tmp_path: Path) -> None:
    """Relied on: the tests' server is watched until it answers, see tests/servers.py."""
    address = places.server()
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(tmp_path)]
    command += ["--host", address.host, "--port", str(address.port)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_a_server_refuses_requests_beyond_its_payload_limit(places: Places) -> None:
    """Relied on: writes are cut by bytes, well below the limit."""
    address = places.server()
    connection = ServerConnection(address.host, address.port, ssl=False, headers={}, timeout=60)
    with closing(connection), connection.writing() as client:
        collection = client.create_collection("too-much", embedding_function=None)
        with pytest.raises(Exception, match="Payload too large"):
            put(collection, *[{"a": "x" * 10_500_000}] * 4)
