"""Chroma as the vector store, in this process or behind HTTP."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt
from attrs import frozen
from chromadb.api.client import Client
from chromadb.api.collection_configuration import CreateCollectionConfiguration
from chromadb.api.models.Collection import Collection
from chromadb.errors import ChromaError, NotFoundError

from tenantkb.adapters.stores.chroma_connection import Connection, PathConnection, ServerConnection
from tenantkb.adapters.stores.contract import (
    askable,
    in_scope,
    nearest,
    ranked,
    require_owned,
    require_query,
    require_vectors,
    restorable,
    writable,
)
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import StoreError, StoreMismatchError, TenantKbError
from tenantkb.domain.rows import ANY, Criteria, Match, Metadata, MetadataValue, Row
from tenantkb.domain.tenancy import ACCESS_KEY, OperatorScope, ReadScope, WriteScope
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import Vector

COLLECTION: Final = "knowledge-base"

_FORMAT_KEY: Final = "tenantkb.format"
_EMBEDDER_KEY: Final = "tenantkb.embedder"
_DIMENSION_KEY: Final = "tenantkb.dimension"
_FORMAT: Final = 1

_VECTOR_KEY: Final = "tenantkb.vector"
"""Metadata of restored rows whose vector the index changed: it as Base64 of float32, little-endian.

An index that compares by cosine keeps vectors scaled to unit length: another length is lost, and
of a vector that has unit length already, the last bits may change.
"""

_PAGE: Final = 1000
"""Rows a read asks for at once. Chroma fails beyond 32,766."""

_PAGE_OF_IDS: Final = 20_000
"""Ids alone that a read asks for at once."""

_BATCH_BYTES: Final = 4 * 2**20
"""A write's size, roughly. A server refuses requests of more than 40 MiB."""

_REMEMBERED_SCOPES: Final = 1000

_INDEX: Final[CreateCollectionConfiguration] = {"hnsw": {"space": "cosine", "ef_search": 400}}
"""With a shorter candidate list (``ef_search``) a filtered search misses true neighbours."""

_SIGNS_OF_DAMAGE: Final = (
    "Error finding id",
    "Error getting embedding",
    "hnsw",
    "compact",
    "backfill",
    "Nothing found on disk",
)

_Where = dict[str, Any]
_Update = dict[str, MetadataValue | None]


@frozen
class _Bound:
    """The collection, opened through one client, and the embedder that it is for."""

    client: Client
    collection: Collection
    profile: EmbedderProfile


class ChromaStore:
    """Rows in one Chroma collection; see :class:`ports.store.VectorStore`.

    No other collection is opened, listed or altered. A row's text lies in its metadata: as a Chroma
    document it would cost three times the time and twice the space. Floats with more than 15
    significant digits may come back from a server changed in the last one.

    A scope of at most ``exact_rows`` rows is searched exactly, a larger one through the index,
    which can miss neighbours in a small, tight scope that lies far from the query. Where the index
    finds fewer than were asked for, the scope is searched exactly as well.

    Args:
        connection: How to reach Chroma; see :meth:`at_path` and :meth:`at_server`.
        collection: Name of the collection, 3 to 512 of ``a-zA-Z0-9._-``.
        exact_rows: See above.
    """

    def __init__(
        self, connection: Connection, collection: str = COLLECTION, exact_rows: int = 1000
    ) -> None:
        self._connection = connection
        self._name = collection
        self._exact_rows = exact_rows
        self._bound: _Bound | None = None
        self._large: set[tuple[tuple[str, ...], Criteria]] = set()

    @classmethod
    def at_path(
        cls, path: str | Path, *, collection: str = COLLECTION, patience: float = 5.0
    ) -> ChromaStore:
        """A store on files, see :class:`adapters.stores.chroma_connection.PathConnection`."""
        return cls(PathConnection(Path(path), patience), collection)

    @classmethod
    def at_server(
        cls,
        host: str,
        port: int,
        *,
        ssl: bool = False,
        headers: Mapping[str, str] | None = None,
        collection: str = COLLECTION,
        timeout: float = 60.0,
    ) -> ChromaStore:
        """A store on a server, see :class:`adapters.stores.chroma_connection.ServerConnection`."""
        connection = ServerConnection(host, port, ssl=ssl, headers=headers or {}, timeout=timeout)
        return cls(connection, collection)

    def profile(self) -> EmbedderProfile | None:
        with self._reading() as bound:
            return bound.profile if bound else None

    def bind(self, profile: EmbedderProfile) -> None:
        with self._answering(), self._connection.writing() as client:
            bound = self._opened(client) or self._created(client, profile)
            bound.profile.require(profile)

    def query(
        self,
        scope: ReadScope,
        vector: npt.NDArray[np.float32],
        limit: int,
        criteria: Criteria = ANY,
    ) -> list[Match]:
        with self._reading() as bound:
            if bound is None:
                return []
            require_query(bound.profile, vector)
            if limit < 1:
                return []
            scope_key = (scope.labels, criteria)
            where = _where(scope, criteria)
            if limit <= _PAGE and self._is_large(bound, scope_key, where):
                matches = _by_index(bound, where, vector, limit)
                if len(matches) == limit:
                    return matches
            best = _exactly(bound, where, vector, limit)
            found = _rows(bound, [row_id for row_id, _ in best])
            return [
                Match(row=Row(id=row_id, metadata=found[row_id]), score=score)
                for row_id, score in best
                if row_id in found and in_scope(scope, criteria, found[row_id])
            ]

    def get(self, scope: ReadScope, ids: Sequence[str]) -> list[Row]:
        with self._reading() as bound:
            if bound is None:
                return []
            found = _rows(bound, askable(ids))
            return [
                Row(id=row_id, metadata=found[row_id])
                for row_id in ids
                if row_id in found and in_scope(scope, ANY, found[row_id])
            ]

    def scan(
        self, scope: ReadScope | WriteScope, criteria: Criteria = ANY, after: str = ""
    ) -> Iterator[Row]:
        where = _where(scope, criteria)
        with self._reading() as bound:
            ids = sorted(_ids(bound, where)) if bound else []
        for page in _pages([row_id for row_id in ids if row_id > after]):
            with self._reading() as bound:
                found = _rows(bound, page) if bound else {}
            for row_id in page:
                if row_id in found and in_scope(scope, criteria, found[row_id]):
                    yield Row(id=row_id, metadata=found[row_id])

    def upsert(self, scope: WriteScope, rows: Sequence[Row], vectors: Vectors) -> None:
        with self._writing() as bound:
            require_vectors(bound.profile if bound else None, rows, vectors)
            written = writable(scope, rows)
            if bound is None:
                return
            stored = _owned_rows(bound, scope, rows)
            for _ in _upserted(bound, rows, written, stored, vectors):
                pass

    def restamp(self, scope: WriteScope, rows: Sequence[Row]) -> None:
        with self._writing() as bound:
            written = writable(scope, rows)
            if bound is None:
                return
            stored = _owned_rows(bound, scope, rows)
            for _, ids, updates in _batches(rows, written, stored, bound):
                bound.collection.update(
                    ids=ids,
                    metadatas=updates,  # type: ignore[arg-type]  # None is allowed: it removes
                )

    def delete(self, scope: WriteScope | OperatorScope, ids: Sequence[str]) -> int:
        deleted = 0
        with self._writing() as bound:
            if bound is None:
                return 0
            for page in _pages(askable(ids)):
                found = _rows(bound, page)
                covered = [row_id for row_id in found if scope.covers(found[row_id])]
                if covered:
                    bound.collection.delete(ids=covered)
                deleted += len(covered)
        return deleted

    def export(
        self, scope: OperatorScope, ids: Sequence[str] | None = None
    ) -> Iterator[tuple[Row, Vector]]:
        for page in self._all_ids() if ids is None else _pages(askable(sorted(set(ids)))):
            with self._reading() as bound:
                found = _with_vectors(bound, page) if bound else {}
            for row_id in page:
                if row_id in found:
                    metadata, vector = found[row_id]
                    yield Row(id=row_id, metadata=metadata), vector

    def restore(self, scope: OperatorScope, rows: Sequence[Row], vectors: Vectors) -> None:
        with self._writing() as bound:
            require_vectors(bound.profile if bound else None, rows, vectors)
            written = restorable(rows)
            if bound is None:
                return
            stored = _rows(bound, [row.id for row in rows])
            for start, ids in _upserted(bound, rows, written, stored, vectors):
                _keep_exactly(bound, ids, vectors[start : start + len(ids)])

    def reindex(
        self, scope: OperatorScope, vectors_of: Callable[[Sequence[Row]], Vectors]
    ) -> Iterator[int]:
        with self._answering(), self._connection.writing():
            self._connection.drop_index(self._name)
            self._bound = None
        for page in self._all_ids():
            with self._writing() as bound:
                if bound is None:
                    return
                answer: Any = bound.collection.get(ids=page, include=["metadatas"])
                metadatas = [metadata or {} for metadata in answer["metadatas"]]
                rows = [
                    Row(id=row_id, metadata=_public(metadata))
                    for row_id, metadata in zip(answer["ids"], metadatas, strict=True)
                ]
                vectors = vectors_of(rows)
                # Not an update: that leaves alone what the index does not know.
                bound.collection.upsert(
                    ids=answer["ids"],
                    embeddings=np.stack(
                        [
                            _exact_vector(metadata, vector)
                            for metadata, vector in zip(metadatas, vectors, strict=True)
                        ]
                    ),
                )
            yield len(rows)

    def truncate(self, scope: OperatorScope) -> int:
        with self._writing() as bound:
            if bound is None:
                return 0
            count = bound.collection.count()
            bound.client.delete_collection(self._name)
            self._bound = None
            self._large.clear()
            return count

    def _all_ids(self) -> Iterator[list[str]]:
        """All ids by ascending id, in pages; they are sorted on disk, for they may be many.

        Chroma pages through rows by offset, in the order in which they were added. From the last
        page to the first, a row that is deleted meanwhile makes no other one slip through.
        """
        with closing(sqlite3.connect("")) as scratch:
            scratch.execute("CREATE TABLE row (id TEXT PRIMARY KEY) WITHOUT ROWID")
            with self._reading() as bound:
                total = bound.collection.count() if bound else 0
            for offset in reversed(range(0, total, _PAGE_OF_IDS)):
                with self._reading() as bound:
                    ids = _ids(bound, None, _PAGE_OF_IDS, offset) if bound else []
                scratch.executemany("INSERT OR IGNORE INTO row VALUES (?)", zip(ids, strict=True))
            found = scratch.execute("SELECT id FROM row ORDER BY id")
            while page := found.fetchmany(_PAGE):
                yield [row_id for (row_id,) in page]

    def close(self) -> None:
        self._bound = None
        self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[_Bound | None]:
        """The collection for one read; ``None`` before the first bind."""
        with self._answering(), self._connection.reading() as client:
            yield self._opened(client) if client is not None else None

    @contextmanager
    def _writing(self) -> Iterator[_Bound | None]:
        """The collection for one write; nothing is made or locked before the first bind."""
        if self.profile() is None:
            yield None
            return
        with self._answering(), self._connection.writing() as client:
            yield self._opened(client)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Whatever Chroma, its transport or the file system raise is a StoreError."""
        try:
            yield
        except TenantKbError:
            raise
        except Exception as error:  # Chroma raises bare Exception too, for HTTP 413 for one
            self._bound = None
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> StoreError:
        place = self._connection.place
        text = str(error)
        if isinstance(error, httpx.HTTPError) or "Could not connect" in text:
            return StoreError(f"the Chroma server at {place} does not answer ({text}); is it up?")
        if isinstance(error, NotFoundError):
            return StoreError(
                f"the collection {self._name} at {place} was removed meanwhile; try again"
            )
        if isinstance(error, ChromaError) and any(sign in text for sign in _SIGNS_OF_DAMAGE):
            return StoreError(
                f"the data at {place} is damaged ({text}); to repair it, {self._connection.repair}"
            )
        if isinstance(error, ChromaError) and "dimension" in text:
            return StoreMismatchError(f"the collection {self._name} at {place}: {text}")
        return StoreError(f"Chroma failed at {place}: {type(error).__name__}: {text}")

    def _opened(self, client: Client) -> _Bound | None:
        """The collection as this client sees it; ``None`` if there is none.

        Raises:
            StoreMismatchError: it is another program's, or not compared by cosine.
        """
        if self._bound is not None and self._bound.client is client:
            return self._bound
        try:
            collection = client.get_collection(self._name, embedding_function=None)
        except NotFoundError:
            return None
        metadata = collection.metadata or {}
        name, dimension = metadata.get(_EMBEDDER_KEY), metadata.get(_DIMENSION_KEY)
        if (
            metadata.get(_FORMAT_KEY) != _FORMAT
            or not isinstance(name, str)
            or not isinstance(dimension, int)
        ):
            raise StoreMismatchError(
                f"the collection {self._name} at {self._connection.place} was made by another "
                f"program or another version of this one (no {_FORMAT_KEY}={_FORMAT}); choose "
                "another collection name or another place"
            )
        space = (collection.configuration_json.get("hnsw") or {}).get("space")
        if space != "cosine":
            raise StoreMismatchError(
                f"the collection {self._name} at {self._connection.place} compares by {space}, "
                "not by cosine; choose another collection name and sync again"
            )
        self._bound = _Bound(client, collection, EmbedderProfile(name, dimension))
        return self._bound

    def _created(self, client: Client, profile: EmbedderProfile) -> _Bound:
        """Make the collection, or take the one that another process makes at the same moment.

        Not by get-or-create, which takes an existing collection as if its distance and metadata
        were the ones asked for.
        """
        try:
            client.create_collection(
                self._name,
                configuration=_INDEX,
                metadata={
                    _FORMAT_KEY: _FORMAT,
                    _EMBEDDER_KEY: profile.name,
                    _DIMENSION_KEY: profile.dimension,
                },
                embedding_function=None,
            )
        except ChromaError:
            if (bound := self._opened(client)) is not None:
                return bound
            raise
        bound = self._opened(client)
        if bound is None:
            raise StoreError(f"the collection {self._name} vanished while it was made; try again")
        return bound

    def _is_large(
        self, bound: _Bound, scope_key: tuple[tuple[str, ...], Criteria], where: _Where
    ) -> bool:
        """Whether the scope exceeds ``exact_rows``.

        A scope once found large is not counted again, for counting costs as much as searching;
        should it shrink, the index still serves it.
        """
        if scope_key not in self._large:
            if len(_ids(bound, where, self._exact_rows + 1)) <= self._exact_rows:
                return False
            if len(self._large) >= _REMEMBERED_SCOPES:
                self._large.clear()
            self._large.add(scope_key)
        return True


def _where(scope: ReadScope | WriteScope, criteria: Criteria) -> _Where:
    """The scope as a filter: only positive conditions, since negated ones match absent keys."""
    conditions: list[_Where] = [{ACCESS_KEY: {"$in": list(scope.labels)}}]
    if isinstance(scope, WriteScope):
        conditions += [{"tenantId": scope.tenant_id}, {"repoSlug": scope.repo_slug}]
    conditions += [{key: value} for key, value in criteria.equalities().items()]
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def _ids(
    bound: _Bound, where: _Where | None, limit: int | None = None, offset: int | None = None
) -> list[str]:
    return bound.collection.get(where=where, limit=limit, offset=offset, include=[])["ids"]


def _rows(bound: _Bound, ids: Sequence[str]) -> dict[str, Metadata]:
    """Metadata by id, in no particular order, of the rows that exist, whosesoever they are.

    The caller checks them against its scope. Chroma could do so, but takes forty times as long for
    ids together with a filter.
    """
    found: dict[str, Metadata] = {}
    for page in _pages(ids):
        answer = bound.collection.get(ids=page, include=["metadatas"])
        metadatas: Any = answer["metadatas"] or []
        found.update(zip(answer["ids"], map(_public, metadatas), strict=True))
    return found


def _owned_rows(bound: _Bound, scope: WriteScope, rows: Sequence[Row]) -> dict[str, Metadata]:
    """Metadata by id, of the rows that are stored already.

    Raises:
        ScopeViolationError: one of them is stored for another tenant or repository.
    """
    stored = _rows(bound, [row.id for row in rows])
    for row_id, metadata in stored.items():
        require_owned(scope, row_id, metadata)
    return stored


def _public(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """A row's metadata without what this module keeps there."""
    return {key: value for key, value in (metadata or {}).items() if key != _VECTOR_KEY}


def _with_vectors(bound: _Bound, ids: Sequence[str]) -> dict[str, tuple[Metadata, Vector]]:
    """Metadata and vectors by id, of the rows that exist."""
    answer: Any = bound.collection.get(ids=list(ids), include=["metadatas", "embeddings"])
    vectors = np.asarray(answer["embeddings"], np.float32)
    return {
        row_id: (_public(metadata), _exact_vector(metadata, vector))
        for row_id, metadata, vector in zip(
            answer["ids"], answer["metadatas"], vectors, strict=True
        )
    }


def _exact_vector(metadata: dict[str, Any] | None, indexed: Vector) -> Vector:
    """The vector as it was restored, see :data:`_VECTOR_KEY`; nonsense there is passed over."""
    kept = (metadata or {}).get(_VECTOR_KEY)
    if isinstance(kept, str):
        with suppress(ValueError):
            exact = np.frombuffer(base64.b64decode(kept, validate=True), "<f4")
            if exact.shape == indexed.shape and np.isfinite(exact).all():
                return exact.astype(np.float32)
    return indexed


def _keep_exactly(bound: _Bound, ids: list[str], vectors: Vectors) -> None:
    """Remember those of the vectors that the index has changed, see :data:`_VECTOR_KEY`."""
    indexed = _with_vectors(bound, ids)
    changed = {
        row_id: base64.b64encode(vector.astype("<f4").tobytes()).decode()
        for row_id, vector in zip(ids, vectors, strict=True)
        if vector.tobytes() != indexed[row_id][1].tobytes()
    }
    if changed:
        bound.collection.update(
            ids=list(changed), metadatas=[{_VECTOR_KEY: text} for text in changed.values()]
        )


def _by_index(
    bound: _Bound, where: _Where, vector: npt.NDArray[np.float32], limit: int
) -> list[Match]:
    answer: Any = bound.collection.query(
        query_embeddings=vector[np.newaxis],
        n_results=limit,
        where=where,
        include=["metadatas", "distances"],
    )
    metadata = dict(zip(answer["ids"][0], map(_public, answer["metadatas"][0]), strict=True))
    scores = [1.0 - distance for distance in answer["distances"][0]]
    best = ranked(list(zip(answer["ids"][0], scores, strict=True)), limit)
    return [
        Match(row=Row(id=row_id, metadata=metadata[row_id]), score=score) for row_id, score in best
    ]


def _exactly(
    bound: _Bound, where: _Where, vector: npt.NDArray[np.float32], limit: int
) -> list[tuple[str, float]]:
    best: list[tuple[str, float]] = []
    for page in _pages(_ids(bound, where)):
        answer = bound.collection.get(ids=page, include=["embeddings"])
        vectors = np.asarray(answer["embeddings"], np.float32)
        if answer["ids"]:
            best = ranked(best + nearest(answer["ids"], vectors, vector, limit), limit)
    return best


def _upserted(
    bound: _Bound,
    rows: Sequence[Row],
    written: Sequence[dict[str, MetadataValue]],
    stored: Mapping[str, Metadata],
    vectors: Vectors,
) -> Iterator[tuple[int, list[str]]]:
    """Write rows; after each request, the index of its first row, and its ids."""
    for start, ids, updates in _batches(rows, written, stored, bound):
        for row_id, update in zip(ids, updates, strict=True):
            if row_id in stored:
                update[_VECTOR_KEY] = None
        bound.collection.upsert(
            ids=ids,
            embeddings=vectors[start : start + len(ids)],
            metadatas=updates,  # type: ignore[arg-type]  # None is allowed: it removes
        )
        yield start, ids


def _batches(
    rows: Sequence[Row],
    written: Sequence[dict[str, MetadataValue]],
    stored: Mapping[str, Metadata],
    bound: _Bound,
) -> Iterator[tuple[int, list[str], list[_Update]]]:
    """Cut rows into requests: index of the first row, ids, metadata."""
    most_rows = bound.client.get_max_batch_size()
    start, size = 0, 0
    ids: list[str] = []
    updates: list[_Update] = []
    for position, (row, metadata) in enumerate(zip(rows, written, strict=True)):
        row_size = 6 * bound.profile.dimension + sum(
            len(key) + len(str(value)) for key, value in metadata.items()
        )
        if ids and (len(ids) == most_rows or size + row_size > _BATCH_BYTES):
            yield start, ids, updates
            start, size, ids, updates = position, 0, [], []
        ids.append(row.id)
        updates.append(_replacing(stored.get(row.id, {}), metadata))
        size += row_size
    if ids:
        yield start, ids, updates


def _replacing(stored: Metadata, metadata: Mapping[str, MetadataValue]) -> _Update:
    """What to send so that ``metadata`` replace those that are ``stored``.

    Chroma merges metadata into what is there, so keys that a row no longer has are sent as
    ``None``. Deleting the row first would lose it if the process died in between.
    """
    return {**dict.fromkeys(stored), **metadata}


def _pages(ids: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(ids)
    while page := list(islice(remaining, _PAGE)):
        yield page
