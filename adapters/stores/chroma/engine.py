"""Chroma as an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.state.database import REPLACE_FILE
from tenantkb.adapters.stores.chroma.collection import (
    PAGE,
    OpenCollection,
    Where,
    all_ids,
    filter_of,
    pages,
)
from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection
from tenantkb.adapters.stores.chroma.encoding import (
    VECTOR,
    Metadata,
    decoded,
    described,
    encoded,
    ids_of,
    key_of,
    order_of,
    physical_id,
    profile_of,
    replacing,
    same_direction,
    scaled,
)
from tenantkb.adapters.stores.chroma.index_reader import stored_vectors
from tenantkb.adapters.stores.chroma.tables import Tables
from tenantkb.adapters.stores.chroma.words import WordIndex
from tenantkb.domain import fields
from tenantkb.domain.checks import Check, State, skipped
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    Remedy,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreMismatchError,
    TenantKbError,
)
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.domain.vectors import require_vectors
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Postings, RawRow, Vector

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.collection_configuration import CreateCollectionConfiguration
    from chromadb.api.models.Collection import Collection

COLLECTION: Final = "knowledge-base"

_REMEMBERED: Final = 1000
"""Selections that are known to be large."""

_READ_BACK: Final = 16
"""Vectors of each request to a server that are read back. All of 256 would cost an eighth of the
write."""

_EF_SEARCH: Final = 400
"""Length of the candidate list: with a shorter one, a filtered search misses true neighbours."""

_STAGED: Final = ".rebuilt"
_REPLACED: Final = ".replaced"
_STATE: Final = "tenantkb.state"
T = TypeVar("T")

_COMPLETE: Final = "complete"

_SIGNS_OF_DAMAGE: Final = (
    "Error finding id",
    "Error getting embedding",
    "hnsw",
    "compact",
    "backfill",
    "Nothing found on disk",
)
_SIGNS_OF_A_FULL_DISK: Final = ("disk is full", "No space left", "Disk quota")


def connect(settings: StoreSettings) -> FilesConnection | ServerConnection:
    """The way to the configured Chroma; nothing is opened before it is used."""
    if settings.kind != "chroma-http":
        return FilesConnection(settings.path, settings.wait)
    return ServerConnection(
        settings.host,
        settings.port,
        ssl=settings.ssl,
        token=settings.token,
        tenant=settings.tenant,
        database=settings.database,
        headers=settings.headers,
        **settings.options,
    )


def open_path(settings: StoreSettings, *, state: Path) -> ChromaEngine:
    """The engine of the kind ``chroma``. Its one option is ``sync_threshold``.

    Args:
        settings: Of the store.
        state: The installation's state file.
    """
    words = WordIndex(state, settings.wait)
    return ChromaEngine(connect(settings), settings.collection, words=words, **settings.options)


def open_server(settings: StoreSettings, *, state: Path) -> ChromaEngine:
    """The engine of the kind ``chroma-http``. Its one option is ``timeout``, in seconds.

    Args:
        settings: Of the store.
        state: The installation's state file.
    """
    words = WordIndex(state, settings.wait)
    return ChromaEngine(connect(settings), settings.collection, words=words)


class ChromaEngine:
    """Rows in one Chroma collection, see :class:`ports.engine.Engine`.

    How they lie there is in :mod:`adapters.stores.chroma.encoding`. Has the capabilities
    :class:`ports.engine.Lexical`, :class:`ports.engine.Reindexable` and
    :class:`ports.engine.Examinable`. Postings lie beside Chroma, see
    :mod:`adapters.stores.chroma.words`. No other collection is
    opened, listed or altered, but, while a server's is rebuilt, two whose names begin with this
    one's.

    A selection of at most ``exact_rows`` rows is searched exactly, a larger one through the index,
    which can miss neighbours in a small, tight selection that lies far from the query. Where the
    index finds fewer than were asked for, the selection is searched exactly as well.

    Args:
        connection: How to reach Chroma, see :mod:`adapters.stores.chroma.connection`.
        collection: Name of the collection, 3 to 500 of ``a-zA-Z0-9._-``.
        words: The postings of its rows; by default, some that end with this engine.
        exact_rows: See above.
        sync_threshold: Of a collection that is made: after how many writes Chroma writes its index
            to disk. Until then its log holds them, which makes the next opening slower.
    """

    def __init__(
        self,
        connection: FilesConnection | ServerConnection,
        collection: str = COLLECTION,
        *,
        words: WordIndex | None = None,
        exact_rows: int = 1000,
        sync_threshold: int = 1000,
    ) -> None:
        self._connection = connection
        self._name = collection
        self._words = words or WordIndex()
        self._exact_rows = exact_rows
        self._sync_threshold = sync_threshold
        self._bound: OpenCollection | None = None
        self._large: set[Selection] = set()

    @property
    def place(self) -> str:
        return self._connection.place

    def profile(self) -> EmbedderProfile | None:
        return self._bound_to(lambda bound: bound.profile, profile_of)

    def _bound_to(
        self,
        of_open: Callable[[OpenCollection], T],
        of_metadata: Callable[[Mapping[str, Any] | None, str], T],
    ) -> T | None:
        """Something of what the collection is bound to, from the files alone where need be."""
        if isinstance(self._connection, FilesConnection):
            with self._answering(), self._connection.locked():
                if self._connection.needs_mending():
                    tables = Tables.find(self._connection.folder, self._name)
                    return of_metadata(tables.metadata(), self._what()) if tables else None
        with self._reading() as bound:
            return of_open(bound) if bound else None

    def ids(self) -> IdScheme | None:
        return self._bound_to(lambda bound: bound.scheme, ids_of)

    def bind(self, profile: EmbedderProfile, ids: IdScheme = IdScheme.CONTENT) -> EmbedderProfile:
        with self._answering(), self._connection.writing() as client:
            made = described(profile, ids)
            bound = self._opened(client) or self._created(client, self._name, made)
            self._words.catch_up(bound)
            return bound.profile

    def nearest(
        self, selection: Selection, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        with self._reading() as bound:
            if bound is None or not selection.labels:
                return []
            where = filter_of(selection)
            if limit <= PAGE and self._is_large(bound, selection, where):
                found = bound.nearest_by_index(where, vector, limit)
                if len(found) == limit:
                    return found
            return bound.nearest_exactly(where, vector, limit)

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        asked = [physical_id(RowKey(label, row_id)) for label in labels for row_id in ids]
        with self._reading() as bound:
            return list(bound.rows(asked).values()) if bound else []

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        with self._reading() as bound:
            ids = bound.ids(filter_of(selection)) if bound and selection.labels else []
        beyond = (after.id, after.label) if after else ("", "")
        ordered = sorted((order, each) for each in ids if (order := order_of(each)) > beyond)
        for page in pages([physical for _, physical in ordered]):
            with self._reading() as bound:
                found = bound.rows(page) if bound else {}
            for physical in page:
                row = found.get(physical)
                if row and selection.matches(row.metadata.get(fields.ACCESS, ""), row.metadata):
                    yield row

    def keys(self, selection: Selection) -> Iterator[RowKey]:
        with self._reading() as bound:
            found = bound.ids(filter_of(selection)) if bound and selection.labels else []
        return map(key_of, found)

    def put(self, rows: Sequence[RawRow], vectors: Vectors, *, exact: bool) -> None:
        with self._writing() as bound:
            require_vectors(bound.profile if bound else None, len(rows), vectors)
            if bound is None:
                return
            written = [
                encoded(row, vector if exact else None)
                for row, vector in zip(rows, vectors, strict=True)
            ]
            with self._words.changing(bound, rows):
                self._upsert(bound, [physical_id(row.key) for row in rows], written, vectors)

    def move(self, moves: Sequence[tuple[RowKey, RawRow]]) -> None:
        with self._writing() as bound:
            if bound is None:
                return
            for page in pages(moves):
                self._move(bound, {physical_id(key): row for key, row in page})

    def delete(self, keys: Sequence[RowKey]) -> int:
        deleted = 0
        with self._writing() as bound:
            if bound is None:
                return 0
            for page in pages(keys):
                # Chroma reports rows that are missing as deleted, too.
                found = bound.present(map(physical_id, page))
                with self._words.changing(bound, gone=page):
                    if found:
                        bound.collection.delete(ids=found)
                deleted += len(found)
        return deleted

    def export(self, after: RowKey | None = None) -> Iterator[tuple[RawRow, Vector]]:
        for page in all_ids(self._reading, after):
            with self._reading() as bound:
                found = bound.with_vectors(page) if bound else {}
            for physical in page:
                if physical in found:
                    metadata, vector = found[physical]
                    yield decoded(physical, metadata), vector

    def fetch(self, keys: Sequence[RowKey]) -> Iterable[tuple[RawRow, Vector]]:
        with self._reading() as bound:
            if bound is None:
                return []
            found = bound.with_vectors([physical_id(key) for key in keys])
        return [(decoded(each, metadata), vector) for each, (metadata, vector) in found.items()]

    def postings(self, selection: Selection, terms: Sequence[str]) -> Postings | None:
        with self._reading() as bound:
            if bound is None:
                return Postings.of_nothing(len(terms))
            return self._words.postings(bound, selection, terms)

    def truncate(self) -> int:
        if self.profile() is None:
            return 0
        self._large.clear()
        if isinstance(self._connection, FilesConnection):
            return self._truncate_files(self._connection)
        return self._truncate_server()

    def needs_reindex(self) -> bool:
        """Whether a writer was killed, so that nothing is read before :meth:`reindex`."""
        if not isinstance(self._connection, FilesConnection):
            return False
        with self._answering(), self._connection.locked():
            return self._connection.needs_mending()

    def reindex(self, vectors_of: Callable[[Sequence[RawRow]], Vectors]) -> Iterator[int]:
        if self.profile() is None and not self.needs_reindex():
            return iter(())
        if isinstance(self._connection, FilesConnection):
            return self._reindex_files(self._connection, vectors_of)
        return self._reindex_server(vectors_of)

    def examine(self) -> Iterator[Check]:
        from tenantkb.adapters.stores.chroma.examination import (
            examine_files,
            examine_postings,
            examine_server,
        )

        remedy = self._remedies()[Remedy.REPAIR_STORE]
        if isinstance(self._connection, FilesConnection):
            checks = list(examine_files(self._connection, self._name, remedy))
        else:
            checks = list(examine_server(self._connection))
        yield from checks
        culprits = [check.name for check in checks if check.state in (State.ERROR, State.SKIPPED)]
        if culprits:  # the rows would be read in this process
            yield skipped("store.postings", culprits[0])
        else:
            yield examine_postings("store.postings", self._words, self._reading, remedy)

    def remedy(self, key: str) -> str | None:
        if key == REPLACE_FILE:
            from tenantkb.adapters.stores.chroma.examination import REPLACE_STATE

            return REPLACE_STATE
        return self._remedies().get(key)

    def close(self) -> None:
        self._bound = None
        self._words.close()
        self._connection.close()

    def _remedies(self) -> Mapping[str, str]:
        migrate = "move the rows of the earlier version over (`tenantkb migrate`)"
        if isinstance(self._connection, FilesConnection):
            return {
                Remedy.REPAIR_STORE: (
                    "make the index anew (`tenantkb repair`, as an operator); if that fails, stop "
                    f"all programs that use it, move {self.place} away and sync again"
                ),
                Remedy.MIGRATE_STORE: migrate,
            }
        return {
            Remedy.REPAIR_STORE: (
                "copy the rows into a collection with a new index (`tenantkb repair`, as an "
                "operator, while nobody writes); if that fails, start the server on an empty "
                "folder and sync again"
            ),
            Remedy.MIGRATE_STORE: migrate,
        }

    def _upsert(
        self,
        bound: OpenCollection,
        ids: Sequence[str],
        written: Sequence[Metadata],
        vectors: Vectors,
    ) -> None:
        """Write rows whole, in requests that a server takes."""
        self._connection.require_room()
        stored = bound.metadata(ids)
        for batch in bound.batches(written):
            some = ids[batch]
            updates = [
                replacing(stored.get(each, {}), metadata)
                for each, metadata in zip(some, written[batch], strict=True)
            ]
            bound.collection.upsert(
                ids=list(some),
                embeddings=scaled(vectors[batch]),
                metadatas=updates,  # type: ignore[arg-type]  # None is allowed: it removes
            )
            if isinstance(self._connection, ServerConnection):
                self._read_back(bound, some, vectors[batch])

    def _read_back(self, bound: OpenCollection, ids: Sequence[str], vectors: Vectors) -> None:
        """Compare a sample of what was written with what is there, the last row included.

        Raises:
            StoreDamagedError: the index has lost it, or holds something else.
        """
        step = max(1, len(ids) // _READ_BACK)
        sample = dict(zip(ids[::-step], vectors[::-step], strict=True))
        answer: Any = bound.collection.get(ids=list(sample), include=["embeddings"])
        expected = [sample[each] for each in answer["ids"]]
        if len(expected) < len(sample) or not same_direction(expected, answer["embeddings"]):
            raise StoreDamagedError(
                f"the server at {self.place} does not give back the vectors that it has just "
                "acknowledged",
                remedy=Remedy.REPAIR_STORE,
            )

    def _move(self, bound: OpenCollection, moves: Mapping[str, RawRow]) -> None:
        """Move rows, by physical ids; what is new is written before what is old is deleted."""
        stored = bound.metadata(list(moves))
        moved = {old: physical_id(row.key) for old, row in moves.items() if old in stored}
        if not moved:
            return
        restamped = [old for old, new in moved.items() if old == new]
        leaving = [old for old, new in moved.items() if old != new]
        kept = {old: {VECTOR: stored[old][VECTOR]} for old in moved if VECTOR in stored[old]}
        written = {old: {**encoded(moves[old]), **kept.get(old, {})} for old in moved}
        vectors = bound.with_vectors(leaving)  # before any row is written over
        arriving = [old for old in leaving if old in vectors]
        updates = [replacing(stored[old], written[old]) for old in restamped]
        rows = [moves[old] for old in (*restamped, *arriving)]
        self._connection.require_room()
        with self._words.changing(bound, rows, gone=map(key_of, (*restamped, *arriving))):
            for batch in bound.batches(updates):
                bound.collection.update(
                    ids=restamped[batch],
                    metadatas=updates[batch],  # type: ignore[arg-type]  # None removes
                )
            if arriving:
                self._upsert(
                    bound,
                    [moved[old] for old in arriving],
                    [written[old] for old in arriving],
                    np.stack([vectors[old][1] for old in arriving]),
                )
                gone = sorted(set(arriving) - set(moved.values()))
                if gone:
                    bound.collection.delete(ids=gone)

    def _truncate_files(self, files: FilesConnection) -> int:
        with self._answering(), files.closed():  # it needs no index, and may have a torn one
            tables = Tables.find(files.folder, self._name)
            if tables is not None:
                tables.drop_index()
            self._bound = None
        with self._mending(files) as bound:
            count = bound.collection.count() if bound else 0
            if bound is not None:
                bound.client.delete_collection(self._name)
                self._words.forget(bound)
        with self._answering(), files.closed():
            if tables is not None:
                tables.drop_index()  # which Chroma has begun anew
            self._bound = None
        files.mended()
        return count

    def _truncate_server(self) -> int:
        with self._writing() as bound:
            if bound is None:
                return 0
            count = bound.collection.count()
            for name in (self._name + _STAGED, self._name + _REPLACED, self._name):
                _delete_collection(bound.client, name)
            self._words.forget(bound)
            self._bound = None
        return count

    def _reindex_files(
        self, files: FilesConnection, vectors_of: Callable[[Sequence[RawRow]], Vectors]
    ) -> Iterator[int]:
        """Drop the index, and write every vector again that Chroma's log does not give back."""
        with self._answering(), files.closed():
            tables = Tables.find(files.folder, self._name)
            logged = tables.logged_ids() if tables else set()
            if tables is not None:
                tables.drop_index()
            self._bound = None
        for page in all_ids(lambda: self._mending(files)):
            with self._mending(files) as bound:
                if bound is None:
                    return
                there = stored_vectors(bound.collection, [each for each in page if each in logged])
                lost = bound.metadata([each for each in page if each not in there])
                if lost:
                    # Not an update: that leaves alone what the index does not know.
                    vectors = bound.vectors_for(lost, vectors_of)
                    bound.collection.upsert(ids=list(lost), embeddings=scaled(vectors))
            yield len(there) + len(lost)
        files.mended()
        self._index_words()

    def _reindex_server(self, vectors_of: Callable[[Sequence[RawRow]], Vectors]) -> Iterator[int]:
        """Copy the rows into a fresh collection, compare, and let it take the name.

        The old collection is deleted last, so that an interruption gives up nothing. What is
        written by others meanwhile may be lost.
        """
        with self._writing() as bound:
            if bound is None:
                return
            _delete_collection(bound.client, self._name + _REPLACED)
            staged = self._staged(bound)
        for page in all_ids(self._reading):
            with self._writing() as bound:
                if bound is None:
                    return
                wanted, there = bound.metadata(page), staged.metadata(page)
                lacking = {
                    physical: metadata
                    for physical, metadata in wanted.items()
                    if there.get(physical) != metadata
                }
                if lacking:
                    vectors = bound.vectors_for(lacking, vectors_of)
                    self._upsert(staged, list(lacking), list(lacking.values()), vectors)
            yield len(wanted)
        with self._writing() as bound:
            if bound is not None:
                self._swap(bound, staged)
        self._index_words()

    def _index_words(self) -> None:
        """Make all postings anew."""
        with self._writing() as bound:
            if bound is not None:
                self._words.catch_up(bound, afresh=True)

    def _staged(self, bound: OpenCollection) -> OpenCollection:
        """The collection that is to take the place of a server's."""
        from chromadb.errors import NotFoundError

        name = self._name + _STAGED
        try:
            found = bound.client.get_collection(name, embedding_function=None)
        except NotFoundError:
            return self._created(bound.client, name, described(bound.profile, bound.scheme))
        staged = self._checked(bound.client, found)
        bound.profile.require(staged.profile)
        return staged

    def _swap(self, bound: OpenCollection, staged: OpenCollection) -> None:
        wanted = set(bound.ids())
        for page in pages(sorted(set(staged.ids()) - wanted)):
            staged.collection.delete(ids=page)
        if set(staged.ids()) != wanted:
            raise StoreError(
                f"rows of {self._name} at {self.place} were written while it was copied; "
                "do it again"
            )
        made = described(bound.profile, bound.scheme)
        staged.collection.modify(metadata={**made, _STATE: _COMPLETE})
        bound.collection.modify(name=self._name + _REPLACED)
        self._bound = None
        self._finish_swap(bound.client)

    def _finish_swap(self, client: Client) -> Collection | None:
        """Give a copied collection its name, if that has been given up and nothing has it."""
        from chromadb.errors import NotFoundError

        if not isinstance(self._connection, ServerConnection):
            return None
        try:
            staged = client.get_collection(self._name + _STAGED, embedding_function=None)
        except NotFoundError:
            return None
        if (staged.metadata or {}).get(_STATE) != _COMPLETE:
            return None
        staged.modify(name=self._name)
        _delete_collection(client, self._name + _REPLACED)
        return staged

    @contextmanager
    def _reading(self) -> Iterator[OpenCollection | None]:
        """The collection for one read; ``None`` before the first bind."""
        with self._answering(), self._connection.reading() as client:
            yield self._opened(client) if client is not None else None

    @contextmanager
    def _writing(self) -> Iterator[OpenCollection | None]:
        """The collection for one write; nothing is made or locked before the first bind."""
        with self._reading() as bound:
            if bound is None:
                yield None
                return
        with self._answering(), self._connection.writing() as client:
            yield self._opened(client)

    @contextmanager
    def _mending(self, files: FilesConnection) -> Iterator[OpenCollection | None]:
        """The collection for one step of making its index anew, or of deleting it."""
        with self._answering(), files.mending() as client:
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
        import httpx
        from chromadb.errors import ChromaError, NotFoundError

        text = str(error)
        if isinstance(error, httpx.HTTPError) or "Could not connect" in text:
            return StoreError(
                f"the Chroma server at {self.place} does not answer ({text}); is it up?"
            )
        if any(sign in text for sign in _SIGNS_OF_A_FULL_DISK):
            return StoreFullError(f"there is no room left at {self.place} ({text})")
        if isinstance(error, NotFoundError):
            return StoreError(
                f"the collection {self._name} at {self.place} was removed meanwhile; try again"
            )
        if isinstance(error, ChromaError) and any(sign in text for sign in _SIGNS_OF_DAMAGE):
            return StoreDamagedError(
                f"the index at {self.place} is damaged ({text})", remedy=Remedy.REPAIR_STORE
            )
        if isinstance(error, ChromaError) and "dimension" in text:
            return StoreMismatchError(f"{self._what()}: {text}")
        return StoreError(f"Chroma failed at {self.place}: {type(error).__name__}: {text}")

    def _what(self) -> str:
        return f"the collection {self._name} at {self.place}"

    def _opened(self, client: Client) -> OpenCollection | None:
        """The collection as this client sees it; ``None`` if there is none.

        Raises:
            StoreMismatchError: it is another program's, of another format, or not compared by
                cosine.
        """
        from chromadb.errors import NotFoundError

        if self._bound is not None and self._bound.client is client:
            return self._bound
        try:
            collection = client.get_collection(self._name, embedding_function=None)
        except NotFoundError:
            swapped = self._finish_swap(client)
            if swapped is None:
                return None
            collection = swapped
        self._bound = self._checked(client, collection)
        return self._bound

    def _checked(self, client: Client, collection: Collection) -> OpenCollection:
        profile = profile_of(collection.metadata, self._what())
        space = (collection.configuration_json.get("hnsw") or {}).get("space")
        if space != "cosine":
            raise StoreMismatchError(
                f"{self._what()} compares by {space}, not by cosine; choose another collection "
                "name and sync again"
            )
        scheme = ids_of(collection.metadata, self._what())
        return OpenCollection(client, collection, profile, scheme)

    def _created(self, client: Client, name: str, metadata: Metadata) -> OpenCollection:
        """Make a collection, or take the one that another process makes at the same moment.

        Not by get-or-create, which takes an existing collection as if its distance and metadata
        were the ones asked for.
        """
        from chromadb.errors import ChromaError, NotFoundError

        index: CreateCollectionConfiguration = {
            "hnsw": {
                "space": "cosine",
                "ef_search": _EF_SEARCH,
                "sync_threshold": self._sync_threshold,
            }
        }
        try:
            client.create_collection(
                name, configuration=index, metadata=metadata, embedding_function=None
            )
        except ChromaError:
            with suppress(NotFoundError):
                return self._checked(client, client.get_collection(name, embedding_function=None))
            raise
        return self._checked(client, client.get_collection(name, embedding_function=None))

    def _is_large(self, bound: OpenCollection, selection: Selection, where: Where) -> bool:
        """Whether the selection exceeds ``exact_rows``.

        One that was found large once is not counted again, for counting costs as much as searching;
        should it shrink, the index still serves it.
        """
        if selection not in self._large:
            if len(bound.ids(where, self._exact_rows + 1)) <= self._exact_rows:
                return False
            if len(self._large) >= _REMEMBERED:
                self._large.clear()
            self._large.add(selection)
        return True


def _delete_collection(client: Client, name: str) -> None:
    from chromadb.errors import NotFoundError

    try:
        client.delete_collection(name)
    except NotFoundError:
        return
