"""One collection of Chroma's, as rows: what is asked of it, and what it answers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from attrs import frozen

from tenantkb.adapters.stores.chroma.encoding import (
    Metadata,
    decoded,
    exact_vector,
    order_of,
)
from tenantkb.domain import fields
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import IdScheme, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.domain.vectors import nearest, ranked, require_vectors
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import RawRow, Vector

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection

PAGE: Final = 1000
"""Rows that a read asks for at once. Chroma fails beyond 32,766."""

_PAGE_OF_IDS: Final = 20_000
"""Ids alone that a read asks for at once."""

_BATCH_BYTES: Final = 4 * 2**20
"""A write's size, roughly. A server refuses requests of more than 40 MiB."""

_MARGIN: Final = 16
"""Neighbours that the index is asked for beyond those that are wanted: it rounds scores
otherwise."""

_TORN: Final = "Error finding id"
_PAUSES: Final = (0.02, 0.05, 0.1, 0.2)

Where = dict[str, Any]
Item = TypeVar("Item")


@frozen
class OpenCollection:
    """A collection, opened through one client.

    Attributes:
        client: The client.
        collection: The collection.
        profile: The embedder that it is for.
        scheme: How the ids of its rows are derived.
    """

    client: Client
    collection: Collection
    profile: EmbedderProfile
    scheme: IdScheme

    @property
    def identity(self) -> str:
        """What no other collection has, whatever its name."""
        return str(self.collection.id)

    def present(self, ids: Iterable[str]) -> list[str]:
        """Those of some physical ids that rows have."""
        return [
            physical
            for page in pages(ids)
            for physical in self.collection.get(ids=page, include=[])["ids"]
        ]

    def ids(
        self, where: Where | None = None, limit: int | None = None, offset: int | None = None
    ) -> list[str]:
        """Physical ids, in the order in which rows were added."""
        return self.collection.get(where=where, limit=limit, offset=offset, include=[])["ids"]

    def metadata(self, ids: Sequence[str]) -> dict[str, Metadata]:
        """Metadata as they lie, by physical id, of the rows that exist."""
        found: dict[str, Metadata] = {}
        for page in pages(ids):
            answer: Any = self.collection.get(ids=page, include=["metadatas"])
            found.update(
                (physical, metadata or {})
                for physical, metadata in zip(answer["ids"], answer["metadatas"], strict=True)
            )
        return found

    def rows(self, ids: Sequence[str]) -> dict[str, RawRow]:
        """The rows that exist, by physical id, in no particular order."""
        found = self.metadata(ids)
        return {physical: decoded(physical, metadata) for physical, metadata in found.items()}

    def with_vectors(self, ids: Sequence[str]) -> dict[str, tuple[Metadata, Vector]]:
        """Metadata as they lie, and vectors, by physical id, of the rows that exist."""
        found: dict[str, tuple[Metadata, Vector]] = {}
        for page in pages(ids):
            answer = self._got_with_vectors(page, "metadatas")
            vectors = np.asarray(answer["embeddings"], np.float32)
            for physical, metadata, indexed in zip(
                answer["ids"], answer["metadatas"], vectors, strict=True
            ):
                exact = exact_vector(metadata, self.profile.dimension)
                found[physical] = metadata or {}, indexed if exact is None else exact
        return found

    def nearest_by_index(
        self, where: Where, vector: Vector, limit: int
    ) -> list[tuple[RawRow, float]]:
        """The nearest rows that the index finds, scored as in every store."""
        answer: Any = _settled(
            lambda: self.collection.query(
                query_embeddings=vector[np.newaxis],
                n_results=limit + _MARGIN,
                where=where,
                include=["metadatas", "embeddings"],
            )
        )
        [ids], [metadatas] = answer["ids"], answer["metadatas"]
        if not ids:
            return []
        keys = [(*order_of(physical), physical) for physical in ids]
        metadata = dict(zip(ids, metadatas, strict=True))
        vectors = np.asarray(answer["embeddings"][0], np.float32)
        return [
            (decoded(physical, metadata[physical]), score)
            for (_, _, physical), score in nearest(keys, vectors, vector, limit)
        ]

    def nearest_exactly(
        self, where: Where, vector: Vector, limit: int
    ) -> list[tuple[RawRow, float]]:
        """The nearest rows, each compared."""
        best: list[tuple[tuple[str, str, str], float]] = []
        for page in pages(self.ids(where)):
            answer = self._got_with_vectors(page)
            if answer["ids"]:
                keys = [(*order_of(physical), physical) for physical in answer["ids"]]
                vectors = np.asarray(answer["embeddings"], np.float32)
                best = ranked(best + nearest(keys, vectors, vector, limit), limit)
        rows = self.rows([physical for (_, _, physical), _ in best])
        return [(rows[each[2]], score) for each, score in best if each[2] in rows]

    def _got_with_vectors(self, ids: list[str], *more: Any) -> Any:
        return _settled(lambda: self.collection.get(ids=ids, include=["embeddings", *more]))

    def vectors_for(
        self,
        metadata: Mapping[str, Metadata],
        vectors_of: Callable[[Sequence[RawRow]], Vectors],
    ) -> Vectors:
        """The vectors of rows by their metadata: kept ones, and made ones for the others.

        Returns:
            Shape ``(len(metadata), dimension)``, in the order of the metadata, of which there are
            some.
        """
        dimension = self.profile.dimension
        kept = {physical: exact_vector(each, dimension) for physical, each in metadata.items()}
        lacking = [physical for physical, vector in kept.items() if vector is None]
        made: dict[str, Vector] = {}
        if lacking:
            vectors = vectors_of([decoded(physical, metadata[physical]) for physical in lacking])
            require_vectors(self.profile, len(lacking), vectors)
            made = dict(zip(lacking, vectors, strict=True))
        return np.stack(
            [made[physical] if vector is None else vector for physical, vector in kept.items()]
        )

    def batches(self, written: Sequence[Metadata]) -> Iterator[slice]:
        """Cut a write into requests, by number of rows and by bytes."""
        most_rows = self.client.get_max_batch_size()
        start, size = 0, 0
        for position, metadata in enumerate(written):
            row_size = 6 * self.profile.dimension + sum(
                len(key) + len(str(value)) for key, value in metadata.items()
            )
            full = position - start == most_rows or size + row_size > _BATCH_BYTES
            if full and position > start:
                yield slice(start, position)
                start, size = position, 0
            size += row_size
        if written:
            yield slice(start, len(written))


def _settled(ask: Callable[[], Any]) -> Any:
    """The answer to a question about rows and vectors, which is asked again while it is torn.

    A server applies a write to the rows and to the index one after the other, and refuses what
    falls in between. What it refuses for good is damage.
    """
    from chromadb.errors import InternalError

    for pause in _PAUSES:
        try:
            return ask()
        except InternalError as error:
            if _TORN not in str(error):
                raise
        time.sleep(pause)
    return ask()


def all_ids(
    opened: Callable[[], AbstractContextManager[OpenCollection | None]],
    after: RowKey | None = None,
) -> Iterator[list[str]]:
    """All physical ids, by id and label, beyond a key, in pages.

    They are sorted on disk, for they may be many. Chroma pages through rows by offset, in the
    order in which they were added. From the last page to the first, a row that is deleted
    meanwhile makes no other one slip through.
    """
    with closing(sqlite3.connect("")) as scratch:
        scratch.execute(
            "CREATE TABLE row (id TEXT, label TEXT, physical TEXT,"
            " PRIMARY KEY (id, label, physical)) WITHOUT ROWID"
        )
        with opened() as bound:
            total = bound.collection.count() if bound else 0
        for offset in reversed(range(0, total, _PAGE_OF_IDS)):
            with opened() as bound:
                ids = bound.ids(None, _PAGE_OF_IDS, offset) if bound else []
            scratch.executemany(
                "INSERT OR IGNORE INTO row VALUES (?, ?, ?)",
                ((*map(str, order_of(physical)), physical) for physical in ids),
            )
        beyond = (str(after.id), after.label) if after else ("", "")
        found = scratch.execute(
            "SELECT physical FROM row WHERE (id, label) > (?, ?) ORDER BY id, label, physical",
            beyond,
        )
        while page := found.fetchmany(PAGE):
            yield [physical for (physical,) in page]


def filter_of(selection: Selection) -> Where:
    """A selection with labels as a filter.

    Only positive conditions, since negated ones match absent keys.
    """
    conditions: list[Where] = [{fields.ACCESS: {"$in": list(selection.labels)}}]
    conditions += [{key: value} for key, value in selection.equalities.items()]
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def pages(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items by as many as one request takes."""
    remaining = iter(items)
    while page := list(islice(remaining, PAGE)):
        yield page
