"""What the rows of a collection say, as postings in the installation's state file.

Chroma keeps none. A write leaves its keys in ``pending`` before Chroma gets it, and when Chroma has
acknowledged it one transaction writes the postings and takes the keys out again. What a writer that
was killed has left there, the next one looks up in Chroma. So the index follows from the rows, but
for what somebody writes who has another state file, which the number of rows tells. Then, and while
the index is being made, there are no postings; the next :meth:`WordIndex.catch_up` makes good what
is lacking by a comparison of ids. Rows lie here as in :mod:`adapters.lexical`, without content and
vectors.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import orjson
from attrs import evolve

from tenantkb.adapters.lexical import postings
from tenantkb.adapters.lexical.labels import LabelCache, LabelRows, postings_of
from tenantkb.adapters.lexical.rows import delete, find, put
from tenantkb.adapters.lexical.schema import TOKENISER, first_and_last
from tenantkb.adapters.state.database import Database
from tenantkb.adapters.state.leases import WriterNumbers
from tenantkb.adapters.state.sqlite import STATE_FILE, WITH_POSTINGS, leases_of
from tenantkb.adapters.stores.chroma.collection import OpenCollection, all_ids, filter_of, pages
from tenantkb.adapters.stores.chroma.encoding import key_of, physical_id
from tenantkb.domain import lexical
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.lexical import counts_of, terms_of
from tenantkb.domain.selection import Selection
from tenantkb.ports.engine import Ids, Postings, RawRow

_COLLECTION: Final = "collection"
"""The setting that tells whose rows these are: Chroma's id, another one after each truncation."""

_COMPLETE: Final = "complete"

_PAGE: Final = 256
"""Rows that are looked up while others wait to write."""

_SAMPLE: Final = 200
"""Rows whose postings are compared with their text."""

_CACHE_BYTES: Final = 64 * 2**20

_CLEAR: Final = (
    "DELETE FROM setting",
    "DELETE FROM label",
    "DELETE FROM row",
    "DELETE FROM row_count",
    "DELETE FROM block",
    "DELETE FROM posting",
)
_FACTS: Final = (
    "SELECT (SELECT value FROM setting WHERE name = ?),"
    " (SELECT value FROM setting WHERE name = ?),"
    " (SELECT value FROM setting WHERE name = ?),"
    " (SELECT ifnull(sum(rows), 0) FROM row_count),"
    " (SELECT ifnull(sum(rows), 0) FROM pending)"
)


class _Facts(NamedTuple):
    """What an index says of itself.

    Attributes:
        collection: Whose rows these are.
        tokeniser: What made the postings; empty if several have.
        complete: Whether all rows have been there, at one time.
        rows: How many there are.
        pending: How many are being written.
    """

    collection: str | None
    tokeniser: str | None
    complete: int | None
    rows: int
    pending: int

    def is_of(self, bound: OpenCollection) -> bool:
        """Whether what is there can be relied on, as far as it goes."""
        return (self.collection, self.tokeniser) == (bound.identity, lexical.TOKENISER)

    def explain(self, count: int) -> bool:
        """Whether a collection of so many rows can be the one that is indexed."""
        return bool(self.complete) and abs(count - self.rows) <= self.pending


_NONE: Final = _Facts(None, None, None, 0, 0)


class Findings(NamedTuple):
    """How an index differs from its collection.

    Attributes:
        usable: Whether it is the collection's at all.
        lacking: How many rows it does not have.
        left_over: How many it has that are no more.
        wrong: How many of a sample have other postings than text.
        sample: How many that is.
    """

    usable: bool = False
    lacking: int = 0
    left_over: int = 0
    wrong: int = 0
    sample: int = 0


class WordIndex:
    """The postings of one collection.

    Args:
        path: The installation's state file; ``None`` for an index that ends with this object.
        wait: Seconds to wait for other writers.
    """

    def __init__(self, path: Path | None = None, wait: float = 60.0) -> None:
        self._database = Database(path, STATE_FILE, wait)
        self._numbers = WriterNumbers(None if path is None else leases_of(path))
        self._cache = LabelCache[LabelRows](_CACHE_BYTES)
        self._lock = threading.Lock()
        self._writer: int | None = None

    def postings(
        self, bound: OpenCollection, selection: Selection, terms: Sequence[str]
    ) -> Postings | None:
        """See :meth:`ports.engine.Lexical.postings`; ``None`` where this is not all there is."""
        with self._database.reading() as connection:
            before = self._facts(connection)
        if not before.is_of(bound):
            return None
        count = bound.collection.count()
        with self._database.reading() as connection:
            facts = self._facts(connection)
            # Where others have written meanwhile, the number tells nothing.
            if not facts.is_of(bound) or (facts == before and not facts.explain(count)):
                return None
            labels = self._cache.of(connection, selection.labels, partial(_load, connection))
            others = partial(_others, bound, selection)
            return postings_of(connection, labels, selection, terms, others)

    @contextmanager
    def changing(
        self, bound: OpenCollection, rows: Sequence[RawRow] = (), gone: Iterable[RowKey] = ()
    ) -> Iterator[None]:
        """Around a write to the collection.

        Args:
            bound: The collection.
            rows: Those that are there afterwards.
            gone: Those that are not, unless they are of the ``rows``.
        """
        keys = {*gone, *(row.key for row in rows)}
        number = self._announce(bound, keys, self._recover(bound))
        if number is None:
            yield
            return
        try:
            with ThreadPoolExecutor(1) as beside:  # while Chroma writes, which takes longer
                counting = beside.submit(lambda: [(row, counts_of(row.metadata)) for row in rows])
                yield
                made = counting.result()
            with self._database.writing() as connection:
                if self._facts(connection).collection == bound.identity:
                    _apply(connection, keys, made)
                connection.execute("DELETE FROM pending WHERE number = ?", (number,))
        except BaseException:
            self._give_up()
            raise

    def catch_up(self, bound: OpenCollection, *, afresh: bool = False) -> None:
        """Make good whatever is lacking; after an interruption the same call goes on.

        Args:
            bound: The collection.
            afresh: Whether all postings are made anew.
        """
        with self._database.writing() as connection:
            if afresh or not self._facts(connection).is_of(bound):
                _clear(connection)
                settings = (_COLLECTION, bound.identity), (TOKENISER, lexical.TOKENISER)
                connection.executemany("INSERT INTO setting VALUES (?, ?)", settings)
        self._recover(bound)
        with self._database.reading() as connection:
            before = self._facts(connection)
        count = bound.collection.count()
        with self._database.reading() as connection:
            facts = self._facts(connection)
        if facts.complete and (facts != before or facts.explain(count)):
            return
        self._set_complete(bound, complete=False)
        for lacking in self._lacking(bound):
            self._look_up(bound, lacking)
        if facts.rows:
            for left_over in self._left_over(bound):
                self._look_up(bound, left_over)
        self._set_complete(bound, complete=True)

    def forget(self, bound: OpenCollection) -> None:
        """Delete all that is kept of a collection that is no more."""
        with self._database.writing() as connection:
            if self._facts(connection).collection == bound.identity:
                _clear(connection)
        self._cache.clear()

    def compared(self, bound: OpenCollection) -> Findings:
        """Compare the index with the collection, every id and a sample of the words."""
        with self._database.reading() as connection:
            facts = self._facts(connection)
        if not facts.is_of(bound) or not facts.complete:
            return Findings()
        suspects = list(chain(*self._lacking(bound), *self._left_over(bound)))
        there = {key_of(each) for each in bound.present(map(physical_id, suspects))}
        with self._database.reading() as connection:
            known = find(connection, suspects).keys()
            # Others may have written between the two looks.
            steady = set(suspects) - _pending(connection)
            kept = connection.execute(
                "SELECT label, id, number FROM row ORDER BY number"
            ).fetchall()
            sample = {
                RowKey(label, ChunkId(row_id)): number
                for label, row_id, number in kept[:: len(kept) // _SAMPLE + 1]
            }
            stored = bound.rows([physical_id(key) for key in sample]).values()
            wrong = sum(
                not postings.agree(connection, sample[row.key], terms_of(row.metadata))
                for row in stored
            )
        lacking, left_over = len((there - known) & steady), len((known - there) & steady)
        return Findings(True, lacking, left_over, wrong, len(sample))

    def close(self) -> None:
        """Release the file, and what tells others that a writer lives."""
        self._give_up()
        self._cache.clear()
        self._database.close()

    def _facts(self, connection: sqlite3.Connection) -> _Facts:
        if not self._database.is_of(connection, WITH_POSTINGS):
            return _NONE
        settings = (_COLLECTION, TOKENISER, _COMPLETE)
        return _Facts(*connection.execute(_FACTS, settings).fetchone())

    def _announce(self, bound: OpenCollection, keys: Collection[RowKey], writer: int) -> int | None:
        """Say durably what is about to change; ``None`` where the index is not the collection's."""
        with self._database.writing() as connection:
            if self._facts(connection).collection != bound.identity:
                return None
            text = orjson.dumps([list(key) for key in keys]).decode()
            added = connection.execute(
                "INSERT INTO pending (writer, rows, keys) VALUES (?, ?, ?)",
                (writer, len(keys), text),
            )
            return added.lastrowid

    def _recover(self, bound: OpenCollection) -> int:
        """Look up what writers that have ended were writing; returns the number of this one."""
        with self._lock:
            taken = self._numbers.take() if self._writer is None else None
            try:
                for writer in self._writers():
                    if writer == taken or (
                        writer != self._writer and self._numbers.is_free(writer)
                    ):
                        self._finish(bound, writer)
            except BaseException:
                if taken is not None:
                    self._numbers.release()
                raise
            if taken is not None:
                self._writer = taken
            return self._writer or 0

    def _writers(self) -> set[int]:
        with self._database.reading() as connection:
            if not self._database.is_of(connection, WITH_POSTINGS):
                return set()
            found = connection.execute("SELECT DISTINCT writer FROM pending")
            return {writer for (writer,) in found}

    def _finish(self, bound: OpenCollection, writer: int) -> None:
        with self._database.writing() as connection:
            found = connection.execute("SELECT keys FROM pending WHERE writer = ?", (writer,))
            keys = list(dict.fromkeys(_keys(found.fetchall())))
            if self._facts(connection).collection == bound.identity:
                _look_up(connection, bound, keys)
            connection.execute("DELETE FROM pending WHERE writer = ?", (writer,))

    def _give_up(self) -> None:
        """Leave to the next writer, which this one may be, what has not come to its end."""
        with self._lock:
            self._numbers.release()
            self._writer = None

    def _set_complete(self, bound: OpenCollection, *, complete: bool) -> None:
        with self._database.writing() as connection:
            if self._facts(connection).collection == bound.identity:
                connection.execute(
                    "INSERT OR REPLACE INTO setting VALUES (?, ?)", (_COMPLETE, complete)
                )

    def _lacking(self, bound: OpenCollection) -> Iterator[list[RowKey]]:
        """Rows of the collection that the index does not have, in pages."""
        for page in all_ids(lambda: nullcontext(bound)):
            keys = [key_of(physical) for physical in page]
            with self._database.reading() as connection:
                known = find(connection, keys)
            yield [key for key in keys if key not in known]

    def _left_over(self, bound: OpenCollection) -> Iterator[list[RowKey]]:
        """Rows of the index that the collection does not have, in pages."""
        with self._database.reading() as connection:
            kept = connection.execute("SELECT label, id FROM row ORDER BY number").fetchall()
        for page in pages(physical_id(RowKey(label, ChunkId(row_id))) for label, row_id in kept):
            there = set(bound.present(page))
            yield [key_of(physical) for physical in page if physical not in there]

    def _look_up(self, bound: OpenCollection, keys: Sequence[RowKey]) -> None:
        """Index rows as they are now, but for those that somebody is writing, who will.

        Whoever is about to write waits, so that nothing older than its rows is indexed.
        """
        for start in range(0, len(keys), _PAGE):
            with self._database.writing() as connection:
                if self._facts(connection).collection != bound.identity:
                    return
                pending = _pending(connection)
                some = [key for key in keys[start : start + _PAGE] if key not in pending]
                _look_up(connection, bound, some)


def _clear(connection: sqlite3.Connection) -> None:
    for statement in _CLEAR:
        connection.execute(statement)


def _look_up(connection: sqlite3.Connection, bound: OpenCollection, keys: Sequence[RowKey]) -> None:
    found = bound.rows([physical_id(key) for key in keys]).values()
    _apply(connection, keys, [(row, counts_of(row.metadata)) for row in found])


def _apply(
    connection: sqlite3.Connection,
    keys: Iterable[RowKey],
    made: Sequence[tuple[RawRow, lexical.Counts]],
) -> None:
    """Index some rows, and take out those of the keys that are none of them."""
    there = {row.key for row, _ in made}
    gone = find(connection, (key for key in keys if key not in there))
    if gone:
        delete(connection, gone)
    put(connection, made)


def _pending(connection: sqlite3.Connection) -> set[RowKey]:
    """What is being written."""
    return set(_keys(connection.execute("SELECT keys FROM pending").fetchall()))


def _keys(found: Iterable[tuple[str]]) -> Iterator[RowKey]:
    """The keys of some lines of ``pending``."""
    listed = chain.from_iterable(orjson.loads(keys) for (keys,) in found)
    return (RowKey(label, ChunkId(row_id)) for label, row_id in listed)


def _load(connection: sqlite3.Connection, _: str, number: int) -> LabelRows:
    found = connection.execute(
        "SELECT number, id FROM row WHERE number BETWEEN ? AND ? ORDER BY number",
        first_and_last(number),
    ).fetchall()
    numbers, ids = zip(*found, strict=True) if found else ((), ())
    return LabelRows(np.array(numbers, np.int64), Ids(list(map(ChunkId, ids))))


def _others(
    bound: OpenCollection,
    selection: Selection,
    label: str,
    rows: LabelRows,
    numbers: Sequence[int],
) -> Sequence[int]:
    """Those of some rows that Chroma selects."""
    asked = bound.ids(filter_of(evolve(selection, labels=(label,))))
    ids = [key.id for key in map(key_of, asked) if key.label == label]
    places = [rows.ids.places[row_id] for row_id in ids if row_id in rows.ids.places]
    selected = set(rows.numbers[places].tolist())
    return [number for number in numbers if number in selected]
