"""The stores that the conformance suite runs against. A new store is one function and one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.adapters.stores.chroma_connection import PathConnection
from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.ports.store import VectorStore
from tests.servers import Address, chroma_container, chroma_process

MakeStore = Callable[[], VectorStore]
"""Opens the store under test: the same data at every call, empty at the first one of a test."""


class Places:
    """Where stores of one test session lie. Servers are started when first asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._server: Address | None = None
        self._container: Address | None = None
        self._no_container = ""

    def folder(self) -> Path:
        """A folder that does not exist yet."""
        return self._folder / uuid4().hex

    def server(self) -> Address:
        """The session's Chroma server."""
        if self._server is None:
            self._server = self._stack.enter_context(chroma_process(self._folder / "server"))
        return self._server

    def container(self) -> Address:
        """The session's Chroma container; skips the test where there is no engine."""
        if self._no_container:
            pytest.skip(self._no_container)
        if self._container is None:
            try:
                self._container = self._stack.enter_context(chroma_container())
            except pytest.skip.Exception as skipped:
                self._no_container = str(skipped)
                raise
        return self._container


def memory(_: Places) -> MakeStore:
    store = MemoryStore()
    return lambda: store


def chroma_path(places: Places) -> MakeStore:
    folder = places.folder()
    return lambda: ChromaStore.at_path(folder)


def chroma_path_by_index(places: Places) -> MakeStore:
    """Every query through the index, which is otherwise left to large scopes."""
    folder = places.folder()
    return lambda: ChromaStore(PathConnection(folder, patience=5.0), exact_rows=0)


def chroma_server(places: Places) -> MakeStore:
    return _at(places.server())


def chroma_container_store(places: Places) -> MakeStore:
    return _at(places.container())


def _at(address: Address) -> MakeStore:
    collection = f"test-{uuid4().hex}"
    return lambda: ChromaStore.at_server(address.host, address.port, collection=collection)


STORES = {
    "memory": memory,
    "chroma-path": chroma_path,
    "chroma-path-by-index": chroma_path_by_index,
    "chroma-server": chroma_server,
    "chroma-container": chroma_container_store,
}


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(tmp_path_factory.mktemp("stores"), stack)


@pytest.fixture(params=STORES)
def make_store(request: pytest.FixtureRequest, places: Places) -> MakeStore:
    """The factory of each store in turn."""
    make: MakeStore = STORES[request.param](places)
    return make


@pytest.fixture
def store(make_store: MakeStore) -> Iterator[VectorStore]:
    """Each store in turn, empty and not bound to an embedder."""
    opened = make_store()
    yield opened
    opened.close()
