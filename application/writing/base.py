"""What the use cases that write chunks share: rows wait in a spool and are stored in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, TypeVar

from attrs import frozen

from tenantkb.application.embedding import embed_taken
from tenantkb.domain.context import WriteScope
from tenantkb.domain.ids import RowKey
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import StampedRow, read_row, stamped_row, twin_id
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Change, Refusal, change_of
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.progress import Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.state import State
from tenantkb.ports.store import WritingStore

T = TypeVar("T")


class Intake:
    """Turns chunks into stamped rows of a spool.

    Attributes:
        duplicates: Chunks left out because an earlier one has the same id.
    """

    def __init__(self, spool: Spool, scope: WriteScope) -> None:
        self.duplicates = 0
        self._spool = spool
        self._scope = scope
        self._other_label = scope.stamp_as(
            Visibility.TEAM if scope.visibility is Visibility.PRIVATE else Visibility.PRIVATE
        ).label

    def add(self, chunk: Mapping[str, Any], root_kind: RootKind) -> StampedRow:
        """Stamp a chunk and note its row.

        Raises:
            InvalidInputError: see :func:`domain.rows.stamped_row`.
        """
        row = stamped_row(chunk, self._scope, root_kind)
        twin = RowKey(self._other_label, twin_id(row, chunk, self._scope))
        if not self._spool.add(row.key, row.metadata(), twin):
            self.duplicates += 1
        return row


@frozen
class Written:
    """What became of a spool's changes; everything else was carried out.

    Attributes:
        refused: Chunks that are not stored.
        deleted: Stale rows that are gone.
    """

    refused: tuple[Refusal, ...]
    deleted: int


@frozen(kw_only=True)
class WriteUseCase:
    """Base of the use cases that embed and write rows.

    Attributes:
        store: Where the rows go.
        embedder: What embeds them.
        state: What the installation remembers.
        spool: Opens a scratch list of rows.
        batch_size: Rows embedded and written at a time.
        job_seconds: A job that was admitted in time may take so long, even if the caller's standing
            ends meanwhile.
    """

    store: WritingStore
    embedder: Embedder
    state: State
    spool: Callable[[], Spool]
    batch_size: int = 256
    job_seconds: float = 3600.0

    def _compare(self, stored: StampedRow, spool: Spool) -> bool:
        """Mark the wanted row that a stored one is, or becomes; whether there is one.

        A stored row is either at the address of a wanted one, or at that of its twin, whose
        visibility then changes: it keeps its vector and gets a new id.
        """
        if (payload := spool.get(stored.key)) is not None:
            change = change_of(read_row(stored.key.id, payload), stored)
            twin = spool.mark(stored.key, change, stored.key)
            if twin is not None and twin != stored.key:
                spool.add_stale(twin)
            return True
        wanted = spool.by_twin(stored.key)
        payload = None if wanted is None else spool.get(wanted)
        if wanted is None or payload is None:
            return False
        if change_of(read_row(wanted.id, payload), stored) is not Change.RESTAMPED:
            return False
        if spool.stored(wanted) is None:
            spool.mark(wanted, Change.RESTAMPED, stored.key)
        else:  # the wanted row is stored as well
            spool.add_stale(stored.key)
        return True

    def _write(
        self,
        scope: WriteScope,
        spool: Spool,
        progress: Progress,
        *,
        stale: bool = False,
        finish: Callable[[Sequence[Refusal]], None] | None = None,
    ) -> Written:
        """Carry out the changes that the spool's rows are marked with; deletions come last.

        A unit of work holds one batch, never an embedding.

        Args:
            scope: Admits all of them.
            spool: The rows.
            progress: Takes notice.
            stale: Whether the rows that are noted as stale are deleted. Those of a file with a text
                that the embedder refuses stay: they are the last of it that can be found.
            finish: Called in one unit of work with the last batch, and told which rows have not
                been written.

        Raises:
            EmbedderError, StoreError: failed on the way. Every batch is written whole, so the same
                call again goes on from there.
        """
        refused: list[Refusal] = []
        if restamped := spool.count(Change.RESTAMPED):
            progress.phase("Updating metadata", restamped)
            for entries in batches(spool.entries(Change.RESTAMPED), self.batch_size):
                moves = [
                    (entry.stored or entry.key, read_row(entry.key.id, entry.payload))
                    for entry in entries
                ]
                self.store.move(scope, moves)
                progress.advance(len(moves))
        if embedded := spool.count(Change.ADDED) + spool.count(Change.REEMBEDDED):
            progress.phase("Embedding", embedded)
            for change in (Change.ADDED, Change.REEMBEDDED):
                for entries in batches(spool.entries(change), self.batch_size):
                    rows = [read_row(entry.key.id, entry.payload) for entry in entries]
                    vectors, reasons = embed_taken(self.embedder, [row.fields for row in rows])
                    taken = [row for place, row in enumerate(rows) if place not in reasons]
                    if taken:
                        self.store.upsert(scope, taken, vectors)
                    refused += [
                        Refusal.of(
                            rows[place].metadata(), reason, stored=change is Change.REEMBEDDED
                        )
                        for place, reason in sorted(reasons.items())
                    ]
                    progress.advance(len(rows))
        deleted = delete_stale(
            self.store,
            scope,
            spool if stale else None,
            self.batch_size,
            progress,
            None if finish is None else lambda: finish(refused),
            kept={refusal.path for refusal in refused},
        )
        return Written(tuple(refused), deleted)


def leased(state: State, scope: WriteScope, progress: Progress) -> AbstractContextManager[None]:
    """The one job that writes the scope's repository; ``progress`` tells whom it waits for.

    Raises:
        StoreLockedError: another job goes on for too long.
    """
    return state.lease(
        scope.tenant_id,
        scope.repo_slug,
        lambda holder: progress.phase(f"Waiting for {holder}"),
    )


def delete_stale(
    store: WritingStore,
    scope: WriteScope,
    spool: Spool | None,
    batch_size: int,
    progress: Progress,
    finish: Callable[[], None] | None = None,
    *,
    kept: Collection[str] = (),
) -> int:
    """Delete the rows that a spool notes as stale; returns how many there were.

    Args:
        store: Where they lie.
        scope: Admits them.
        spool: The rows; ``None`` where nothing is to be deleted.
        batch_size: Rows deleted at a time.
        progress: Takes notice.
        finish: Called in one unit of work with the last batch, or in one of its own.
        kept: Files whose rows stay; not what a chunk was under another visibility, for it is stored
            under the new one.
    """
    deleted = 0
    if spool is not None and (total := spool.stale_count()):
        progress.phase("Deleting stale rows", total)
    remaining = iter(()) if spool is None else batches(spool.stale(), batch_size)
    keys = next(remaining, [])
    while keys or finish is not None:
        following = next(remaining, [])
        gone = set(keys)
        if spool is not None and kept:
            gone -= {
                row.key
                for row in store.get(scope, [key.id for key in keys])
                if row.path.source_path in kept and spool.by_twin(row.key) is None
            }
        with store.writing(scope):
            deleted += store.delete(scope, sorted(gone)) if gone else 0
            if finish is not None and not following:
                finish()
                finish = None
        progress.advance(len(keys))
        keys = following
    return deleted


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """``items`` in lists of ``size``, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
