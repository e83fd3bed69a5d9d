"""What the guard passes on to a store's capabilities, and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

import numpy as np
import pytest
from attrs import define, field, frozen

from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.guard import GuardedStore
from tenantkb.domain.checks import Check, State
from tenantkb.domain.errors import ScopeViolationError
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Engine, RawRow, Vector
from tenantkb.testing.primitives import ACME, BETA, OF_ADA
from tenantkb.testing.samples import (
    PROFILE,
    StoppedClock,
    operating,
    raw,
    reading,
    row,
    rows,
    unit,
    vectors,
    writing,
)
from tenantkb.testing.wrappers import Call, WrappedEngine, recorded

OPERATOR = operating()
CHECK = Check("store.odd", State.OK, "fine")


@define
class Faults:
    """What was said of each fault."""

    told: list[str] = field(factory=list)

    def record(self, what: str) -> None:
        self.told.append(what)

    def count(self) -> int:
        return len(self.told)


@frozen
class Fragile(WrappedEngine):
    """A store that can be examined, and whose index is lost while this event is set."""

    lost: Event = field(factory=Event)
    made: list[Vectors] = field(factory=list)

    def needs_reindex(self) -> bool:
        return self.lost.is_set()

    def reindex(self, vectors_of: Callable[[Sequence[RawRow]], Vectors]) -> Iterator[int]:
        kept = [found for found, _ in self.inner.export()]
        for found in kept:
            self.made.append(vectors_of([found]))
            yield 1
        self.lost.clear()

    def examine(self) -> Iterator[Check]:
        yield CHECK

    def remedy(self, key: str) -> str | None:
        return f"do {key}"


def guarded(
    engine: Engine, vectors_of: Callable[[Sequence[RawRow]], Vectors] | None = None
) -> GuardedStore:
    return GuardedStore(engine, StoppedClock(), Faults(), vectors_of=vectors_of)


def ones(found: Sequence[RawRow]) -> Vectors:
    return np.ones((len(found), PROFILE.dimension), np.float32)


def test_a_store_is_examined_and_its_remedies_are_told_where_it_has_any() -> None:
    store = guarded(Fragile(MemoryEngine()))
    assert list(store.examine()) == [CHECK]
    assert store.remedy("this") == "do this"
    plain = guarded(MemoryEngine())
    assert list(plain.examine()) == []
    assert plain.remedy("this") is None


def test_an_index_is_made_anew_with_the_given_vectors() -> None:
    engine = Fragile(MemoryEngine())
    store = guarded(engine)
    store.bind(PROFILE)
    store.upsert(ACME, rows(ACME, 3), vectors(3))
    assert list(store.reindex(OPERATOR, ones)) == [1, 1, 1]
    assert [found.tolist() for found in engine.made] == [[[1.0] * PROFILE.dimension]] * 3


def test_a_lost_index_is_made_anew_before_anything_reads_it_but_for_an_operator() -> None:
    engine = Fragile(MemoryEngine())
    store = guarded(engine, ones)
    store.bind(PROFILE)
    store.upsert(ACME, rows(ACME, 2), vectors(2))
    assert engine.made == []
    engine.lost.set()
    assert len(list(store.export(OPERATOR))) == 2
    assert engine.made == []
    assert len(list(store.scan(ACME))) == 2
    assert [len(found) for found in engine.made] == [1, 1]
    assert not engine.lost.is_set()


def test_without_what_embeds_a_lost_index_is_left_to_the_store() -> None:
    engine = Fragile(MemoryEngine())
    engine.lost.set()
    assert list(guarded(engine).scan(ACME)) == []
    assert engine.lost.is_set()


def test_only_an_index_that_can_be_made_anew_can_be_lost() -> None:
    class Lost(WrappedEngine):
        def needs_reindex(self) -> bool:
            return True

    with pytest.raises(TypeError):
        list(guarded(Lost(MemoryEngine()), ones).scan(ACME))


def test_a_store_without_an_index_of_its_own_is_never_mended() -> None:
    assert list(guarded(WrappedEngine(MemoryEngine()), ones).scan(ACME)) == []


def test_nothing_is_compared_before_there_is_an_embedder_or_without_keys() -> None:
    engine, calls = recorded(MemoryEngine())
    store = guarded(engine)
    key = row(ACME, "a").key
    question = unit(1, 0, 0, 0)
    assert store.compare(reading("acme"), question, [key]) == []
    store.bind(PROFILE)
    assert store.compare(reading("acme"), question, []) == []
    assert store.compare(reading("acme"), question, [row(BETA, "b").key]) == []
    assert "fetch" not in {call.name for call in calls}


def test_whether_there_are_postings_is_asked_of_no_label() -> None:
    engine, calls = recorded(MemoryEngine())
    assert guarded(engine).has_postings()
    assert calls == [Call("postings", (Selection((), {}), ()))]


def test_nothing_is_asked_to_be_deleted_or_fetched_where_nothing_is_named() -> None:
    engine, calls = recorded(MemoryEngine())
    store = guarded(engine)
    assert store.discard(OPERATOR, []) == 0
    assert store.fetch(OPERATOR, []) == []
    assert store.delete(ACME, []) == 0
    assert calls == []


def test_a_refused_write_names_the_row_and_what_may_be_written() -> None:
    store = guarded(MemoryEngine())
    store.bind(PROFILE)
    other = row(writing("acme", repo="other"), "x")
    with pytest.raises(ScopeViolationError) as raised:
        store.upsert(ACME, [other], vectors(1))
    assert str(raised.value) == (
        f"row {other.id} is outside what this write may touch, app of acme; "
        "nothing has been written"
    )


def test_what_is_withheld_is_told_to_the_operator_by_id_or_by_what_it_was() -> None:
    class Leaking(WrappedEngine):
        def scan(self, selection: object, after: RowKey | None = None) -> Iterator[RawRow]:
            return (found for found, _ in self.inner.export(after))

        def postings(self, selection: object, terms: Sequence[str]) -> object:
            assert isinstance(self.inner, MemoryEngine)
            everything = type(selection)((ACME.label, BETA.label), {})  # type: ignore[call-arg]
            return self.inner.postings(everything, terms)  # type: ignore[arg-type]

    store = guarded(Leaking(MemoryEngine()))
    store.bind(PROFILE)
    mine, theirs = row(ACME, "a"), row(BETA, "b")
    store.upsert(ACME, [mine], vectors(1))
    store.upsert(BETA, [theirs], vectors(1))
    assert list(store.scan(reading("acme"))) == [mine]
    assert store.postings(reading("acme"), ["text"]) is None
    assert isinstance(store.faults, Faults)
    assert store.faults.told == [theirs.id, "postings of rows under another label"]


@frozen
class Everything(WrappedEngine):
    """A store that answers all its rows, whatever is asked for, and notes how many are asked for.

    Attributes:
        odd: What it answers besides.
    """

    odd: list[RawRow] = field(factory=list)
    asked: list[int] = field(factory=list)

    def _all(self) -> list[RawRow]:
        return [*self.odd, *(found for found, _ in self.inner.export())]

    def scan(self, selection: object, after: RowKey | None = None) -> Iterator[RawRow]:
        return iter(self._all())

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> list[RawRow]:
        return [found for found in self._all() if found.id in ids]

    def nearest(
        self, selection: object, vector: Vector, limit: int
    ) -> Sequence[tuple[RawRow, float]]:
        self.asked.append(limit)
        return [(found, 1.0) for found in self._all()][:limit]


def test_a_question_asks_on_by_twice_as_many_until_it_is_filled_and_no_further() -> None:
    engine = Everything(MemoryEngine())
    store = guarded(engine)
    store.bind(PROFILE)
    store.upsert(BETA, rows(BETA, 5), vectors(5))
    mine = rows(ACME, 4)
    store.upsert(ACME, mine, vectors(4))
    places = [found.label for found, _ in engine.inner.export()]
    wanted, needed = (
        unit(1, 0, 0, 0),
        next(end for end in range(10) if places[:end].count(ACME.label) == 3),
    )
    assert len(store.query(reading("acme"), wanted, 3)) == 3
    *_, last = engine.asked
    assert engine.asked == [3 * 2**turn for turn in range(len(engine.asked))]
    assert last / 2 < needed <= last
    engine.asked.clear()
    assert len(store.query(reading("beta"), wanted, 9)) == 5
    assert engine.asked == [9, 18]
    exact = guarded(Everything(MemoryEngine()))
    exact.bind(PROFILE)
    exact.upsert(ACME, mine, vectors(4))
    assert len(exact.query(reading("acme"), wanted, 2)) == 2
    assert isinstance(exact.engine, Everything)
    assert exact.engine.asked == [2]


def test_what_is_restored_is_stored_exactly_and_exported_from_where_one_was() -> None:
    engine, calls = recorded(MemoryEngine())
    store = guarded(engine)
    store.bind(PROFILE)
    first, second = sorted(rows(ACME, 2), key=lambda each: each.key.id)
    store.upsert(ACME, [first], vectors(1))
    store.restore(OPERATOR, [second], vectors(1))
    assert [call.arguments[-1] for call in calls if call.name == "put"] == [False, True]
    assert [found.id for found, _ in store.export(OPERATOR)] == [first.id, second.id]
    assert [found.id for found, _ in store.export(OPERATOR, first.key)] == [second.id]


MISPLACED = {
    "under another audience in scope": (ACME.label, OF_ADA),
    "under another audience out of scope": (BETA.label, ACME),
    "under no audience": ("", ACME),
}


@pytest.mark.parametrize("name", MISPLACED)
def test_a_row_that_lies_where_its_stamp_does_not_say_is_withheld_and_counted(name: str) -> None:
    label, owner = MISPLACED[name]
    sound = raw(row(owner, "x"))
    engine = Everything(MemoryEngine(), [sound._replace(label=label)])
    for scope in (reading("acme"), owner):
        store = guarded(engine)
        store.bind(PROFILE)
        assert list(store.scan(scope)) == []
        assert store.get(scope, [sound.id]) == []
        assert store.faults.count() == 2
        assert store.delete(owner, [sound._replace(label=label).key]) == 0


def test_what_is_no_row_is_withheld_and_counted_for_writers_too() -> None:
    damaged = RawRow(ACME.label, ChunkId("x"), {})
    for scope in (reading("acme"), ACME):
        store = guarded(Everything(MemoryEngine(), [damaged]))
        assert list(store.scan(scope)) == []
        assert store.faults.count() == 1


def test_other_repositories_under_a_writers_label_are_no_fault() -> None:
    store = guarded(Everything(MemoryEngine(), [raw(row(writing("acme", repo="other"), "x"))]))
    assert list(store.scan(ACME)) == []
    assert store.faults.count() == 0


def test_rows_are_counted_one_by_one_where_the_store_keeps_no_counts() -> None:
    store = guarded(Everything(MemoryEngine()))
    store.bind(PROFILE)
    store.upsert(ACME, rows(ACME, 3), vectors(3))
    other = writing("acme", repo="other")
    store.upsert(other, rows(other, 2), vectors(2))
    store.upsert(BETA, rows(BETA, 4), vectors(4))
    assert store.count(reading("acme")) == {("acme", "app"): 3, ("acme", "other"): 2}
