"""Behind the stores' backs: what is really in them, and rows that no scope would let in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from chromadb.api.models.Collection import Collection

from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import VectorStore

RawRow = tuple[dict[str, Any], bytes]


def stored(store: VectorStore) -> dict[str, RawRow]:
    """Every row of a store by its id: metadata, and the bytes of its vector."""
    if isinstance(store, MemoryStore):
        return {
            row_id: (dict(store._metadata[position]), store._vectors[position].tobytes())
            for row_id, position in store._positions.items()
        }
    with _collection(store) as collection:
        found: Any = collection.get(include=["metadatas", "embeddings"])
    columns = found["ids"], found["metadatas"], found["embeddings"]
    return {
        row_id: (dict(metadata or {}), np.asarray(vector, np.float32).tobytes())
        for row_id, metadata, vector in zip(*columns, strict=True)
    }


def plant(store: VectorStore, row_id: str, metadata: Mapping[str, Any], vector: Vectors) -> None:
    """Write a row as somebody would who has the store's files or its port."""
    if isinstance(store, MemoryStore):
        store._reserve(len(store._ids) + 1)
        store._vectors[len(store._ids)] = vector
        store._positions[row_id] = len(store._ids)
        store._ids.append(row_id)
        store._metadata.append(dict(metadata))
        return
    with _collection(store) as collection:
        collection.add(ids=[row_id], embeddings=vector[np.newaxis], metadatas=[dict(metadata)])


@contextmanager
def _collection(store: VectorStore) -> Iterator[Collection]:
    assert isinstance(store, ChromaStore), f"nothing is known about the inside of {store!r}"
    with store._connection.writing() as client:
        yield client.get_collection(store._name, embedding_function=None)
