"""What only the Chroma store promises, besides the contract of all stores."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from chromadb.api.client import Client

from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.adapters.stores.chroma_connection import PathConnection
from tenantkb.domain.errors import StoreError, StoreMismatchError
from tests.conformance.samples import PROFILE, put, reading, row, rows, unit, vectors, writing
from tests.conformance.stores import Places, places

__all__ = ["places"]  # fixture

COSINE: Any = {"hnsw": {"space": "cosine"}}
OURS = {"tenantkb.format": 1, "tenantkb.embedder": "test-embedder", "tenantkb.dimension": 4}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client on the files beside the store, as another program might have one."""
    connection = PathConnection(tmp_path, patience=5)
    with connection.writing() as opened:
        connection._files.release(force=True)
        connection._writer.release(force=True)
        yield opened
    connection.close()


@pytest.mark.parametrize(
    ("configuration", "metadata", "said"),
    [
        (COSINE, None, "another program"),
        (COSINE, {**OURS, "tenantkb.format": 2}, "another version"),
        (COSINE, {**OURS, "tenantkb.dimension": "4"}, "another program"),
        ({"hnsw": {"space": "l2"}}, OURS, "compares by l2"),
    ],
)
def test_a_foreign_collection_of_the_name_is_refused(
    client: Client, tmp_path: Path, configuration: Any, metadata: Any, said: str
) -> None:
    """Fails: somebody else's vectors would be mixed with ours; see ChromaStore._opened."""
    client.create_collection(
        "knowledge-base", configuration=configuration, metadata=metadata, embedding_function=None
    )
    with closing(ChromaStore.at_path(tmp_path)) as store:
        for call in (store.profile, lambda: store.bind(PROFILE)):
            with pytest.raises(StoreMismatchError, match=said):
                call()


def test_other_collections_stay_as_they_are(client: Client, tmp_path: Path) -> None:
    """Fails: the store touches a collection that is not its own."""
    other = client.create_collection("other", metadata={"a": 1}, embedding_function=None)
    other.add(ids=["x"], embeddings=np.eye(1, 3, dtype=np.float32), metadatas=[{"access": "t"}])
    scope = writing("acme")
    with closing(ChromaStore.at_path(tmp_path)) as store:
        put(store, scope, rows(scope, 3))
        assert store.get(reading("acme"), ["x"]) == []
        assert store.delete(scope, ["x"]) == 0
    assert sorted(each.name for each in client.list_collections()) == ["knowledge-base", "other"]
    found = client.get_collection("other", embedding_function=None)
    assert found.metadata == {"a": 1}
    assert found.get()["metadatas"] == [{"access": "t"}]


def test_the_index_finds_what_an_exact_search_finds(tmp_path: Path) -> None:
    """Fails: recall of the filtered index has dropped; see its search parameters."""
    scope = writing("acme")
    with closing(ChromaStore.at_path(tmp_path)) as exact:
        exact.bind(PROFILE)
        for tenant in ("acme", "beta"):
            exact.upsert(writing(tenant), rows(writing(tenant), 900), vectors(900))
        queries = vectors(50, seed=1)
        expected = [exact.query(reading("acme"), query, 10) for query in queries]
    with closing(ChromaStore(PathConnection(tmp_path, patience=5), exact_rows=0)) as indexed:
        found = [indexed.query(reading("acme"), query, 10) for query in queries]
    assert scope.covers(expected[0][0].row.metadata)
    hits = [
        len({match.row.id for match in left} & {match.row.id for match in right})
        for left, right in zip(expected, found, strict=True)
    ]
    assert sum(hits) >= 0.98 * 500


def test_binding_at_one_moment_makes_one_collection(places: Places) -> None:
    """Fails: the loser of the race to create gets an error, or its embedder wins too."""
    address = places.server()
    name = f"race-{uuid4().hex}"
    with ExitStack() as stack:
        stores = [
            stack.enter_context(
                closing(ChromaStore.at_server(address.host, address.port, collection=name))
            )
            for _ in range(6)
        ]
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda store: store.bind(PROFILE), stores))
        assert [store.profile() for store in stores] == [PROFILE] * 6


def test_no_request_exceeds_a_servers_payload_limit(places: Places) -> None:
    """Fails: batches are cut by count alone; a server takes 40 MiB at most."""
    address, scope = places.server(), writing("acme")
    name = f"heavy-{uuid4().hex}"
    with closing(ChromaStore.at_server(address.host, address.port, collection=name)) as store:
        put(store, scope, [row(scope, str(n), content="x" * 1_000_000) for n in range(42)])
        assert sum(1 for _ in store.scan(scope)) == 42


def test_a_server_that_is_not_there_is_a_store_error_that_names_it() -> None:
    """Fails: the client's own error reaches the caller; see ChromaStore._explained."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        closing(ChromaStore.at_server("127.0.0.1", port)) as store,
        pytest.raises(StoreError, match=f"http://127.0.0.1:{port} does not answer"),
    ):
        store.query(reading("acme"), unit(1, 0, 0, 0), 1)


def test_a_server_that_hangs_is_given_up() -> None:
    """Fails: Chroma's client waits for ever; see ServerConnection's time limit."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        with (
            closing(ChromaStore.at_server("127.0.0.1", port, timeout=0.2)) as store,
            pytest.raises(StoreError, match="does not answer"),
        ):
            store.bind(PROFILE)
