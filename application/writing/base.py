"""What every writing use case shares: rows wait in a spool, then go to the store in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from attrs import frozen

from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.sync import Change
from tenantkb.domain.tenancy import Tenancy, WriteScope
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.progress import Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.store import VectorStore

T = TypeVar("T")


@frozen(kw_only=True)
class WriteUseCase:
    """Base of the use cases that embed and write rows.

    Attributes:
        store: Where the rows go.
        embedder: What embeds them.
        spool: Opens a scratch list of rows.
        tenancy: The shared namespace.
        clock: The time of the stamps.
        batch_size: Rows embedded and written at a time.
    """

    store: VectorStore
    embedder: Embedder
    spool: Callable[[], Spool]
    tenancy: Tenancy
    clock: Clock
    batch_size: int = 256

    def _write(self, scope: WriteScope, spool: Spool, progress: Progress) -> None:
        """Carry out the changes that the spool's rows are marked with.

        Raises:
            EmbedderError, StoreError: failed on the way. Every batch is written whole, so the same
                call again goes on from there.
        """
        if restamped := spool.count(Change.RESTAMPED):
            progress.phase("Updating metadata", restamped)
            for rows in batches(spool.rows(Change.RESTAMPED), self.batch_size):
                self.store.restamp(scope, rows)
                progress.advance(len(rows))
        if embedded := spool.count(Change.ADDED) + spool.count(Change.REEMBEDDED):
            progress.phase("Embedding", embedded)
            for change in (Change.ADDED, Change.REEMBEDDED):
                for rows in batches(spool.rows(change), self.batch_size):
                    vectors = self.embedder.embed([embedding_text(row.metadata) for row in rows])
                    self.store.upsert(scope, rows, vectors)
                    progress.advance(len(rows))


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """``items`` in lists of ``size``, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
