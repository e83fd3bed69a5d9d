"""Collections of format 1, as version 0.1.0 wrote them, for those who move their rows elsewhere.

In format 1 a row's physical id is its id. The rows of files are read from Chroma's tables, which
survive every kill; vectors come from where they were kept bit by bit, from Chroma's log, or from
its index, which another process reads: a torn one may end it. Nothing is written, but what Chroma
writes by itself when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define

from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection
from tenantkb.adapters.stores.chroma.encoding import VECTOR, exact_vector, profile_of
from tenantkb.adapters.stores.chroma.index_reader import (
    IndexReader,
    IndexReaderDied,
    stored_vectors,
)
from tenantkb.adapters.stores.chroma.tables import TableRow, Tables
from tenantkb.domain import fields
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import StoreError, TenantKbError
from tenantkb.domain.ids import ChunkId
from tenantkb.ports.engine import RawRow, Vector

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection

FORMAT: Final = 1

_PAGE: Final = 1000
_DEATHS: Final = 3
"""After so many processes that the index has ended, the rest of its vectors are given up."""


class _Collection(Protocol):
    """What files and servers have in common."""

    def metadata(self) -> Mapping[str, Any]: ...

    def pages(self, after: str) -> Iterator[list[TableRow]]:
        """All rows by ascending id beyond one, with the vectors that are not lost."""
        ...


class Format1:
    """A collection of format 1, to be read.

    Args:
        connection: To files, which are locked while rows are read, or to a server.
        collection: Name of the collection.
    """

    def __init__(self, connection: FilesConnection | ServerConnection, collection: str) -> None:
        self._connection = connection
        self._name = collection

    @property
    def place(self) -> str:
        """Where the rows are, for messages."""
        return self._connection.place

    def profile(self) -> EmbedderProfile | None:
        """The embedder of the vectors; ``None`` if there is no such collection.

        Raises:
            StoreMismatchError: it is of another format, or another program's.
            StoreError: it cannot be read.
        """
        with self._opened() as found:
            return self._profile(found) if found else None

    def rows(self, after: str = "") -> Iterator[tuple[RawRow, Vector | None]]:
        """All rows by ascending id beyond ``after``, with the vectors that Chroma has not lost.

        Raises:
            StoreMismatchError, StoreError: as for :meth:`profile`.
        """
        with self._opened() as found:
            if found is None:
                return
            dimension = self._profile(found).dimension
            for page in found.pages(after):
                for row_id, metadata, vector in page:
                    exact = exact_vector(metadata, dimension)
                    yield _raw(row_id, metadata), vector if exact is None else exact

    def close(self) -> None:
        """Give back locks, files and connections."""
        self._connection.close()

    def _profile(self, found: _Collection) -> EmbedderProfile:
        what = f"the collection {self._name} at {self.place}"
        return profile_of(found.metadata(), what, FORMAT)

    @contextmanager
    def _opened(self) -> Iterator[_Collection | None]:
        try:
            if isinstance(self._connection, FilesConnection):
                with self._connection.released():
                    tables = Tables.find(self._connection.folder, self._name)
                    yield _OnFiles(tables, self._name) if tables else None
            else:
                with self._connection.reading() as client:
                    yield _on_server(client, self._name)
        except TenantKbError:
            raise
        except Exception as error:  # Chroma raises bare Exception too
            raise StoreError(f"{self.place} cannot be read: {error}") from error


@define
class _OnFiles:
    tables: Tables
    name: str

    def metadata(self) -> Mapping[str, Any]:
        return self.tables.metadata()

    def pages(self, after: str) -> Iterator[list[TableRow]]:
        index = _Index(self.tables.folder, self.name)
        try:
            for page in self.tables.all_rows(after, _PAGE):
                lacking = [
                    row.id for row in page if row.vector is None and VECTOR not in row.metadata
                ]
                found = index.vectors(lacking) if lacking else {}
                yield [row._replace(vector=found.get(row.id, row.vector)) for row in page]
        finally:
            index.close()


@define
class _OnServer:
    collection: Collection

    def metadata(self) -> Mapping[str, Any]:
        return self.collection.metadata or {}

    def pages(self, after: str) -> Iterator[list[TableRow]]:
        ids = sorted(each for each in self.collection.get(include=[])["ids"] if each > after)
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            answer: Any = self.collection.get(ids=page, include=["metadatas"])
            vectors = stored_vectors(self.collection, page)
            found = zip(answer["ids"], answer["metadatas"], strict=True)
            yield sorted(
                (
                    TableRow(row_id, metadata or {}, vectors.get(row_id))
                    for row_id, metadata in found
                ),
                key=lambda row: row.id,
            )


def _on_server(client: Client | None, name: str) -> _OnServer | None:
    from chromadb.errors import NotFoundError

    if client is None:
        return None
    try:
        return _OnServer(client.get_collection(name, embedding_function=None))
    except NotFoundError:
        return None


class _Index:
    """The vectors of an index, as far as they can be had."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._reader: IndexReader | None = None
        self._deaths = 0

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        if self._deaths == _DEATHS:
            return {}
        if self._reader is None:
            self._reader = IndexReader(self._folder, self._name)
        try:
            return self._reader.vectors(ids)
        except IndexReaderDied:
            self.close()
            self._deaths += 1
            return {}

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _raw(row_id: str, metadata: Mapping[str, Any]) -> RawRow:
    label = metadata.get(fields.ACCESS)
    public = {key: value for key, value in metadata.items() if key != VECTOR}
    return RawRow(label if isinstance(label, str) else "", ChunkId(row_id), public)
