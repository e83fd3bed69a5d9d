"""The rules of :mod:`ports.store`, which the guard keeps around whatever engine."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import attrs
import numpy as np
import pytest
from attrs import evolve, frozen

from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.application.guard import GuardedStore
from tenantkb.domain import fields
from tenantkb.domain.context import OperatorScope, ReadScope, TenantContext, WriteScope
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    InvalidInputError,
    NotSupportedError,
    ScopeViolationError,
    StoreMismatchError,
)
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.inventory import Inventory
from tenantkb.domain.rows import Criteria, StampedRow, read_row
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import SharedNamespace, Visibility
from tenantkb.ports.engine import CountsRows, Engine, Lexical, Postings, RawRow, Reindexable
from tenantkb.testing.fixtures import Behind, MakeEngine, StoreSuite
from tenantkb.testing.primitives import ACME, BETA, ODD_VECTORS, OF_ADA, OF_BOB, SCOPES
from tenantkb.testing.samples import (
    NAMESPACE,
    NOW,
    PROFILE,
    StoppedClock,
    keyed,
    operating,
    raw,
    reading,
    row,
    rows,
    unit,
    vectors,
    writing,
)
from tenantkb.testing.wrappers import WrappedEngine, recorded

READER = reading("acme")
OPERATOR = operating()


def guarded(engine: Engine, namespace: SharedNamespace = NAMESPACE) -> GuardedStore:
    """The engine behind the guard, with a clock and a counter of its own."""
    return GuardedStore(engine, StoppedClock(), LoggedIsolationFaults(), namespace)


def put(store: GuardedStore, scope: WriteScope, written: list[StampedRow]) -> None:
    """Write rows, with vectors of any direction."""
    store.bind(PROFILE)
    store.upsert(scope, written, vectors(len(written)))


def ids_in(store: GuardedStore, scope: ReadScope | WriteScope) -> list[str]:
    """The ids of all rows of a scope."""
    return [found.id for found in store.scan(scope)]


_ROW = row(ACME, "a")
_WRITERS: dict[str, Callable[[GuardedStore, Any], Any]] = {
    "upsert": lambda store, scope: store.upsert(scope, [_ROW], vectors(1)),
    "move": lambda store, scope: store.move(scope, [(_ROW.key, _ROW)]),
    "delete": lambda store, scope: store.delete(scope, [_ROW.key]),
    "writing": lambda store, scope: store.writing(scope),
    "keys": lambda store, scope: store.keys(scope),
    "inventory": lambda store, scope: store.inventory(scope, lasting=True),
    "keep_inventory": lambda store, scope: store.keep_inventory(scope, Inventory("", ())),
}
_READERS: dict[str, Callable[[GuardedStore, Any], Any]] = {
    "query": lambda store, scope: store.query(scope, unit(1, 0, 0, 0), 1),
    "postings": lambda store, scope: store.postings(scope, ["a"]),
    "compare": lambda store, scope: store.compare(scope, unit(1, 0, 0, 0), [_ROW.key]),
    "count": lambda store, scope: store.count(scope),
}
_READERS_AND_WRITERS: dict[str, Callable[[GuardedStore, Any], Any]] = {
    "get": lambda store, scope: store.get(scope, [_ROW.id]),
    "scan": lambda store, scope: store.scan(scope),
}
_OPERATORS: dict[str, Callable[[GuardedStore, Any], Any]] = {
    "export": lambda store, scope: store.export(scope),
    "fetch": lambda store, scope: store.fetch(scope, [_ROW.key]),
    "restore": lambda store, scope: store.restore(scope, [_ROW], vectors(1)),
    "discard": lambda store, scope: store.discard(scope, [_ROW.key]),
    "reindex": lambda store, scope: store.reindex(scope, lambda found: vectors(len(found))),
    "truncate": lambda store, scope: store.truncate(scope),
}
_JOBS: dict[str, Callable[[GuardedStore, Any], Any]] = {
    "for_job": lambda store, scope: store.for_job(scope, 600),
}
SCOPED = {**_WRITERS, **_READERS, **_READERS_AND_WRITERS, **_OPERATORS, **_JOBS}
"""How each method of the guard is called that takes a scope."""


class _Scoped:
    """Has every attribute of a scope, and is none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(READER, name)

    def admits(self, stamp: object) -> bool:
        return True

    def require_valid(self, now: object) -> None:
        """Never void."""


def _subclassed(scope: Any) -> Any:
    """An instance of a subclass of a scope's class, with all that the scope has."""
    kind = type("Wider", (type(scope),), {"admits": lambda self, stamp: True})
    made: Any = object.__new__(kind)
    for attribute in attrs.fields(type(scope)):
        object.__setattr__(made, attribute.name, getattr(scope, attribute.name))
    return made


class Scopes(StoreSuite):
    """Nothing is called without a scope of the right kind."""

    def test_every_method_that_takes_a_scope_is_walked(self) -> None:
        """Fails: the guard has a new method. Add it to the table SCOPED."""
        methods = inspect.getmembers(GuardedStore, inspect.isfunction)
        scoped = {
            name
            for name, method in methods
            if name[0] != "_" and "scope" in inspect.signature(method).parameters
        }
        assert scoped == set(SCOPED)

    def test_what_is_no_scope_of_the_kind_is_refused_before_the_engine_is_touched(
        self, engine: Engine
    ) -> None:
        """Fails: a method of the guard does not begin with its check of the scope."""
        context = TenantContext.admit(
            AgentIdentity("ops", "olga", frozenset({Role.OPERATOR})), NAMESPACE, NOW
        )
        scopes: list[Any] = [READER, ACME, OPERATOR]
        never: list[Any] = [
            None,
            True,
            "acme",
            context,
            context.identity,
            ReadScope,
            {"labels": ("team:beta",)},
            ("team:beta",),
            _Scoped(),
            *map(_subclassed, scopes),
        ]
        recorder, calls = recorded(engine)
        store = guarded(recorder)
        for name, call in SCOPED.items():
            kinds: tuple[Any, ...] = (OperatorScope,)
            if name in _WRITERS:
                kinds = (WriteScope,)
            elif name in _READERS:
                kinds = (ReadScope,)
            elif name in _READERS_AND_WRITERS:
                kinds = (ReadScope, WriteScope)
            elif name in _JOBS:
                kinds = (WriteScope, OperatorScope)
            for scope in (*never, *(each for each in scopes if type(each) not in kinds)):
                with pytest.raises(AccessDeniedError):
                    call(store, scope)
        assert calls == []

    def test_an_expired_scope_is_refused_before_the_engine_is_touched(self, engine: Engine) -> None:
        """Fails: a scope outlives its caller's standing; see GuardedStore._require."""
        ends = NOW + timedelta(minutes=5)
        identity = AgentIdentity("acme", "ada", frozenset({Role.OPERATOR}), expires_at=ends)
        context = TenantContext.admit(identity, NAMESPACE, NOW)
        recorder, calls = recorded(engine)
        clock = StoppedClock(ends - timedelta(microseconds=1))
        store = GuardedStore(recorder, clock, LoggedIsolationFaults())
        scopes: dict[str, Any] = {
            **dict.fromkeys((*_WRITERS, *_JOBS), context.writing("app")),
            **dict.fromkeys((*_READERS, *_READERS_AND_WRITERS), context.reading()),
            **dict.fromkeys(_OPERATORS, context.operating()),
        }
        store.query(context.reading(), unit(1, 0, 0, 0), 1)
        assert calls
        calls.clear()
        clock.instant = ends
        for name, call in SCOPED.items():
            with pytest.raises(AuthenticationError):
                call(store, scopes[name])
        assert calls == []
        job = context.writing("app").lasting(600)
        assert store.scan(job) is not None
        clock.instant = NOW + timedelta(seconds=600)
        with pytest.raises(AuthenticationError):
            store.scan(job)


@frozen
class _LeakingPostings(WrappedEngine):
    """A store whose postings are of all audiences, whichever are asked for."""

    def postings(self, selection: Selection, terms: Sequence[str]) -> Postings | None:
        assert isinstance(self.inner, Lexical)
        labels = sorted({found.label for found, _ in self.inner.export()})
        return self.inner.postings(evolve(selection, labels=tuple(labels)), terms)


class Binding(StoreSuite):
    """The embedder that a collection is for."""

    def test_another_embedder_is_refused(self, engine: Engine) -> None:
        """Fails: vectors of two embedders would be compared with each other."""
        store = guarded(engine)
        store.bind(PROFILE)
        store.bind(PROFILE)
        for other in (EmbedderProfile("another", 4), EmbedderProfile("test-embedder", 5)):
            with pytest.raises(StoreMismatchError, match="test-embedder"):
                store.bind(other)
        assert store.profile() == PROFILE

    @pytest.mark.parametrize("scheme", list(IdScheme))
    def test_ids_of_two_schemes_are_never_mixed(self, engine: Engine, scheme: IdScheme) -> None:
        """Fails: a row is stored, or answered, under a scheme that the store is not of."""
        (other,) = set(IdScheme) - {scheme}
        engine.bind(PROFILE, other)
        store = guarded(engine, SharedNamespace(ids=scheme))
        ours = writing("acme", namespace=SharedNamespace(ids=scheme))
        stored = rows(ours, 1)
        both = f"scheme {other}, and tenancy.ids is {scheme}.*truncate"
        for call in (
            store.profile,
            lambda: store.bind(PROFILE),
            lambda: store.upsert(ours, stored, vectors(1)),
            lambda: store.move(ours, [(stored[0].key, stored[0])]),
        ):
            with pytest.raises(StoreMismatchError, match=both):
                call()
        assert list(engine.export()) == []

    def test_the_guard_writes_nothing_before_a_bind(self, engine: Engine) -> None:
        """Fails: an upsert made a collection whose embedder nobody knows."""
        store = guarded(engine)
        with pytest.raises(StoreMismatchError, match="bind"):
            store.upsert(ACME, rows(ACME, 1), vectors(1))
        with pytest.raises(StoreMismatchError, match="bind"):
            store.restore(OPERATOR, rows(ACME, 1), vectors(1))
        assert store.profile() is None
        assert store.query(READER, unit(1, 0, 0, 0), 3) == []

    def test_vectors_of_another_dimension_are_refused(self, engine: Engine) -> None:
        """Fails: the guard does not hold vectors to the profile."""
        store = guarded(engine)
        store.bind(PROFILE)
        with pytest.raises(StoreMismatchError, match="dimensions"):
            store.upsert(ACME, rows(ACME, 1), vectors(1, dimension=3))
        with pytest.raises(StoreMismatchError, match="dimensions"):
            store.restore(OPERATOR, rows(ACME, 1), vectors(1, dimension=3))
        with pytest.raises(StoreMismatchError, match="dimensions"):
            store.query(READER, unit(1, 0, 0), 1)
        assert ids_in(store, ACME) == []


class Isolation(StoreSuite):
    """Who sees what."""

    def test_a_reader_gets_exactly_the_rows_of_its_labels(self, engine: Engine) -> None:
        """Fails: a leak or a hole. Compare the engine's filter with Selection.labels."""
        private = Visibility.PRIVATE
        store = guarded(engine)
        scopes = {
            "acme team": ACME,
            "acme ada": writing("acme", "ada", "own", private),
            "acme bob": writing("acme", "bob", "own", private),
            "beta team": BETA,
            "beta ada": writing("beta", "ada", "own", private),
            "shared": writing("neo-shared", repo="neo"),
            "shared curator": writing("neo-shared", repo="neo", visibility=private),
        }
        written = {name: row(scope, name) for name, scope in scopes.items()}
        for name, scope in scopes.items():
            put(store, scope, [written[name]])
        for tenant, agent, names in [
            ("acme", "ada", {"acme team", "acme ada", "shared"}),
            ("acme", "bob", {"acme team", "acme bob", "shared"}),
            ("beta", "ada", {"beta team", "beta ada", "shared"}),
            ("gamma", "ada", {"shared"}),
            ("neo-shared", "ada", {"shared", "shared curator"}),
        ]:
            reader = reading(tenant, agent)
            visible = {written[name].id for name in names}
            everything = [each.id for each in written.values()]
            assert {found.id for found in store.get(reader, everything)} == visible
            assert set(ids_in(store, reader)) == visible
            assert sum(store.count(reader).values()) == len(visible)
            for limit in (3, 100):
                matches = store.query(reader, unit(1, 0, 0, 0), limit)
                assert {match.row.id for match in matches} <= visible
                assert len(matches) == min(limit, len(visible))
        assert store.faults.count() == 0

    def test_only_rows_of_the_scope_are_compared(self, engine: Engine) -> None:
        """Fails: a key is enough to learn how near another's row is to a question."""
        store = guarded(engine)
        scopes = (ACME, OF_ADA, OF_BOB, BETA, writing("neo-shared", repo="neo"))
        written = [row(scope, scope.label) for scope in scopes]
        for scope, each in zip(scopes, written, strict=True):
            put(store, scope, [each])
        keys = [each.key for each in written]
        keys += [RowKey(ACME.label, written[3].id), RowKey("team:nobody", written[0].id)]
        question = unit(1, 0, 0, 0)
        compared = store.compare(READER, question, keys)
        assert compared == store.query(READER, question, 9)
        assert {match.row for match in compared} == {written[0], written[1], written[4]}
        narrowed = store.compare(READER, question, keys, Criteria(repo_slug="neo"))
        assert [match.row for match in narrowed] == [written[4]]
        assert store.compare(READER, question, []) == []
        assert store.faults.count() == 0

    def test_postings_of_others_are_withheld_with_all_that_was_counted(
        self, engine: Engine
    ) -> None:
        """Fails: a store with a broken filter tells which words stand in rows of others."""
        if not isinstance(engine, Lexical):
            pytest.skip("the engine keeps no postings")
        store = guarded(_LeakingPostings(engine))
        put(store, ACME, rows(ACME, 2))
        found = store.postings(READER, ["text"])
        assert found is not None
        assert (found.statistics.rows, len(found.keys)) == (2, 2)
        narrowed = store.postings(READER, ["text"], Criteria(type="other"))
        assert narrowed is not None
        assert (narrowed.statistics.rows, len(narrowed.keys)) == (2, 0)
        put(store, BETA, rows(BETA, 2))
        assert store.postings(READER, ["text"]) is None
        assert store.faults.count() == 1
        assert store.has_postings()
        assert not guarded(WrappedEngine(engine)).has_postings()
        assert guarded(WrappedEngine(engine)).postings(READER, ["text"]) is None

    def test_a_write_scope_covers_its_repository_as_its_writer_sees_it(
        self, engine: Engine
    ) -> None:
        """Fails: a sync would see, and then delete, rows of another repository or agent."""
        store = guarded(engine)
        elsewhere, shared = writing("acme", repo="other"), writing("neo-shared", repo="app")
        written = [row(scope, "x") for scope in (ACME, OF_BOB, OF_ADA, elsewhere, shared)]
        for scope, each in zip((ACME, OF_BOB, OF_ADA, elsewhere, shared), written, strict=True):
            put(store, scope, [each])
        expected = sorted([written[0], written[2]], key=lambda each: each.id)
        for scope in (ACME, OF_ADA):
            assert list(store.scan(scope)) == expected
            assert store.get(scope, [each.id for each in written]) == [written[0], written[2]]
        assert store.faults.count() == 0, "rows of another repository are no fault of the engine"

    def test_criteria_only_narrow(self, engine: Engine) -> None:
        """Fails: a criterion replaces the scope's condition, or matches another type of value."""
        store = guarded(engine)
        guide = row(ACME, "g")
        method = row(ACME, "m", type="src", kind="method", className="Neo.X", source="b.mjs")
        number = row(ACME, "n", className=5, source="n.md")
        put(store, ACME, [guide, method, number])
        put(store, BETA, [row(BETA, "g")])
        for criteria, expected in [
            (Criteria(type="guide"), {guide, number}),
            (Criteria(kind="method", class_name="Neo.X"), {method}),
            (Criteria(source_path="b.mjs", type="guide"), set()),
            (Criteria(repo_slug="app", type="src"), {method}),
            (Criteria(repo_slug="beta"), set()),
            (Criteria(type="GUIDE"), set()),
            (Criteria(class_name="5"), set()),
            (Criteria(type=""), set()),
            (Criteria(type="a\0b"), set()),
            (Criteria(path="*.mjs"), {method}),
            (Criteria(path="[a-z].m*", type="guide"), {guide, number}),
            (Criteria(path="other/"), set()),
        ]:
            assert set(store.scan(READER, criteria)) == expected
            matches = store.query(READER, unit(1, 0, 0, 0), 9, criteria)
            assert {match.row for match in matches} == expected
        assert list(store.scan(ACME, Criteria(repo_slug="other"))) == []
        for raw_filter in ({"type": "guide"}, None, "guide", ("type", "guide")):
            for ask in (
                lambda criteria: store.query(READER, unit(1, 0, 0, 0), 1, criteria),
                lambda criteria: store.scan(READER, criteria),
            ):
                with pytest.raises(InvalidInputError):
                    ask(raw_filter)

    def test_ids_that_are_texts_are_refused(self, engine: Engine) -> None:
        """Fails: what a client sent reaches an engine without having been parsed."""
        store = guarded(engine)
        put(store, ACME, [_ROW])
        unparsed: list[Any] = [[str(_ROW.id)], str(_ROW.id), _ROW.id, [None], [{"$ne": ""}]]
        for ids in unparsed:
            with pytest.raises(InvalidInputError):
                store.get(READER, ids)

    def test_get_asks_alike_for_foreign_and_missing_ids(self, engine: Engine) -> None:
        """Fails: how long an answer takes tells whether another tenant has a row of an id."""
        recorder, calls = recorded(engine)
        store = guarded(recorder)
        foreign, private = row(BETA, "foreign"), row(OF_BOB, "private")
        put(store, BETA, [foreign])
        put(store, OF_BOB, [private])
        asked = []
        for row_id in (foreign.id, private.id, ChunkId("0" * 64)):
            calls.clear()
            assert store.get(READER, [row_id]) == []
            assert all(row_id in call.arguments[1] for call in calls)
            asked.append([(call.name, call.arguments[0]) for call in calls])
        assert asked[0] == asked[1] == asked[2] == [("get", READER.labels)]


class Tampered(StoreSuite):
    """Rows that no write scope lets in."""

    def planted(self, behind: Behind) -> list[RawRow]:
        """Rows that the reader must not see, nearer to the axis than any other."""
        sound = dict(keyed(ACME, "sound").metadata)
        foreign = dict(keyed(BETA, "foreign").metadata)
        altered = [
            {**sound, fields.VISIBILITY: "public"},
            {**sound, fields.TENANT_ID: "beta"},
            {key: value for key, value in sound.items() if key != fields.TENANT_ID},
            {key: value for key, value in sound.items() if key != fields.SOURCE_PATH},
            {**sound, fields.VISIBILITY: "private"},
            {**sound, fields.INGESTED_AT: 5},
            foreign,
            {**foreign, fields.ACCESS: ACME.label},
        ]
        made = [
            RawRow(ACME.label, ChunkId(f"planted {n}"), metadata)
            for n, metadata in enumerate(altered)
        ]
        for each in made:
            behind.plant(each, unit(1, 0, 0, 0))
        return made

    def test_a_tampered_row_is_withheld_and_counted_and_leaves_no_hole(
        self, engine: Engine, behind: Behind
    ) -> None:
        """Fails: a row is shown because its label is in scope, or it takes another one's place."""
        store = guarded(engine)
        mine = rows(ACME, 3)
        store.bind(PROFILE)
        store.upsert(ACME, mine, np.stack([unit(1, n, 0, 0) for n in (1, 2, 3)]))
        planted = self.planted(behind)
        for limit in (1, 2, 3, 100):
            matches = store.query(READER, unit(1, 0, 0, 0), limit)
            assert [match.row for match in matches] == mine[:limit]
        assert store.faults.count() > 0, "nobody is told of rows that were withheld"
        assert set(store.scan(READER)) == set(mine)
        assert store.get(READER, [each.id for each in planted]) == []
        assert set(store.scan(ACME)) == set(mine)

    def test_a_tampered_row_is_counted_once_an_answer(self, engine: Engine, behind: Behind) -> None:
        """Fails: the guard counts a row again each time that it asks for more."""
        store = guarded(engine)
        store.bind(PROFILE)
        store.upsert(ACME, rows(ACME, 1), unit(0, 1, 0, 0)[np.newaxis])
        for n in range(8):
            metadata = {**keyed(ACME, "x").metadata, fields.VISIBILITY: "public"}
            behind.plant(RawRow(ACME.label, ChunkId(f"{n}"), metadata), unit(1, 0, 0, 0))
        assert len(store.query(READER, unit(1, 0, 0, 0), 1)) == 1
        assert store.faults.count() == 8

    def test_a_row_that_is_gone_or_sound_when_read_again_is_no_fault(
        self, engine: Engine, behind: Behind
    ) -> None:
        """Fails: what somebody else changes between two reads raises a false alarm."""
        store = guarded(engine)
        put(store, ACME, [_ROW])
        torn = RawRow(*keyed(ACME, "torn").key, {"content": "half a row"})
        whole = keyed(ACME, "torn")
        for change in (
            lambda: engine.delete([whole.key]),
            lambda: engine.put([whole], vectors(1), exact=False),
        ):
            behind.plant(torn, unit(1, 0, 0, 0))
            recorder, _ = recorded(engine)

            def answer_and_change(*_: object, change: Any = change) -> Any:
                change()
                yield torn

            recorder.scan = answer_and_change  # type: ignore[method-assign, assignment]
            assert list(evolve(store, engine=recorder).scan(READER)) == []
            assert store.faults.count() == 0
            engine.delete([whole.key])

    def test_an_owner_replaces_its_own_damaged_row(self, engine: Engine, behind: Behind) -> None:
        """Fails: a damaged row keeps its owner from writing its batch."""
        store = guarded(engine)
        store.bind(PROFILE)
        for damage in ({fields.VISIBILITY: "public"}, {fields.TENANT_ID: "beta"}, {"extra": "x"}):
            engine.delete([_ROW.key])
            behind.plant(RawRow(*_ROW.key, {**_ROW.metadata(), **damage}), unit(1, 0, 0, 0))
            store.upsert(ACME, [row(ACME, "b"), _ROW], vectors(2))
            assert store.get(READER, [_ROW.id]) == [_ROW]

    def test_a_damaged_row_is_neither_deleted_nor_moved_by_a_writer(
        self, engine: Engine, behind: Behind
    ) -> None:
        """Fails: ids and labels decide what is deleted, whosesoever the row says it is."""
        store = guarded(engine)
        put(store, ACME, [_ROW])
        planted = self.planted(behind)
        before = behind.stored()
        assert store.delete(ACME, [each.key for each in planted]) == 0
        store.move(ACME, [(each.key, row(ACME, f"m{n}")) for n, each in enumerate(planted)])
        assert behind.stored() == before
        assert store.discard(OPERATOR, [each.key for each in planted]) == len(planted)

    def test_counts_that_are_of_others_are_withheld(self, engine: Engine) -> None:
        """Fails: an engine's counts are believed, whatever label or tenant they are of."""
        if not isinstance(engine, CountsRows):
            pytest.skip("the engine keeps no counts")
        store = guarded(engine)
        put(store, ACME, rows(ACME, 2))
        put(store, BETA, rows(BETA, 3))
        recorder, _ = recorded(engine)
        everything = [*READER.labels, BETA.label]
        recorder.counts = lambda labels: engine.counts(everything)  # type: ignore[attr-defined]
        babbling = guarded(recorder)
        assert babbling.count(READER) == {("acme", "app"): 2}
        assert babbling.faults.count() == 1


class Reading(StoreSuite):
    """What an answer is."""

    def test_a_query_keeps_the_order_and_the_scores_of_the_engine(self, engine: Engine) -> None:
        """Fails: the guard changes an order or a score."""
        store = guarded(engine)
        written = rows(ACME, 3)
        store.bind(PROFILE)
        directions = np.stack([unit(1, 0, 0, 0), unit(1, 1, 0, 0), unit(-1, 0, 0, 0)])
        store.upsert(ACME, written, directions)
        matches = store.query(READER, unit(1, 0, 0, 0), 3)
        assert [match.row for match in matches] == written
        assert [match.score for match in matches] == pytest.approx([1, 0.5**0.5, -1], abs=1e-5)
        for limit in (0, -1):
            assert store.query(READER, unit(1, 0, 0, 0), limit) == []

    def test_get_answers_in_the_order_of_the_ids(self, engine: Engine) -> None:
        """Fails: an engine answers in its own order, and the guard does not sort."""
        store = guarded(engine)
        written = rows(ACME, 5)
        put(store, ACME, written)
        wanted = [written[3], written[0], written[4], written[0]]
        asked = [wanted[0].id, ChunkId("missing"), *(each.id for each in wanted[1:])]
        assert store.get(READER, asked) == wanted
        assert store.get(READER, []) == []

    def test_rows_of_one_id_under_two_labels_are_both_answered(self, engine: Engine) -> None:
        """Fails: one of the rows that a caller may read hides another."""
        store = guarded(engine)
        team = evolve(row(ACME, "team"), id=ChunkId("x"))
        private = evolve(row(OF_ADA, "private"), id=ChunkId("x"))
        foreign = evolve(row(OF_BOB, "foreign"), id=ChunkId("x"))
        for scope, each in ((ACME, team), (OF_ADA, private), (OF_BOB, foreign)):
            put(store, scope, [each])
        both = sorted((team, private), key=lambda each: each.key)
        assert store.get(READER, [ChunkId("x")]) == both
        assert list(store.scan(READER)) == both

    def test_a_scan_is_by_ascending_id_and_resumes(self, engine: Engine) -> None:
        """Fails: paging by offset or by insertion."""
        store = guarded(engine)
        written = rows(ACME, 1203)
        put(store, ACME, written)
        ids = sorted(each.id for each in written)
        assert ids_in(store, READER) == ids
        after = RowKey(ACME.label, ids[1100])
        assert [found.id for found in store.scan(READER, after=after)] == ids[1101:]

    def test_counts_are_by_repository_and_without_zeros(self, engine: Engine) -> None:
        """Fails: a count is of rows that the scope does not admit, or stays when they are gone."""
        store = guarded(engine)
        for scope, size in ((ACME, 3), (writing("acme", repo="lib"), 2), (OF_ADA, 1), (BETA, 4)):
            put(store, scope, rows(scope, size))
        assert store.count(READER) == {("acme", "app"): 4, ("acme", "lib"): 2}
        assert store.count(reading("gamma")) == {}
        assert store.delete(ACME, [each.key for each in store.scan(ACME)]) == 4
        assert store.count(READER) == {("acme", "lib"): 2}

    def test_criteria_and_scopes_hold_in_a_scan_that_resumes(self, engine: Engine) -> None:
        """Fails: the second page of a scan has another filter than the first."""
        store = guarded(engine)
        put(store, ACME, [row(ACME, f"{n}", kind="odd" if n % 2 else "even") for n in range(20)])
        put(store, BETA, [row(BETA, f"{n}", kind="odd") for n in range(20)])
        odd = list(store.scan(READER, Criteria(kind="odd")))
        assert len(odd) == 10
        assert list(store.scan(READER, Criteria(kind="odd"), odd[4].key)) == odd[5:]


class Writing(StoreSuite):
    """What a writer may do."""

    def test_rows_that_a_scope_does_not_admit_are_refused_before_anything_is_written(
        self, engine: Engine
    ) -> None:
        """Fails: the check runs row by row instead of before the first write."""
        store = guarded(engine)
        put(store, ACME, [_ROW])
        other_repo = row(writing("acme", repo="other"), "x")
        for foreign in (row(BETA, "x"), row(OF_BOB, "x"), other_repo):
            with pytest.raises(ScopeViolationError):
                store.upsert(ACME, [row(ACME, "new"), foreign], vectors(2))
            changed = row(ACME, "a", extra="x")
            with pytest.raises(ScopeViolationError):
                store.move(ACME, [(_ROW.key, changed), (foreign.key, foreign)])
        assert list(store.scan(ACME)) == [_ROW]

    def test_an_id_under_another_label_is_another_row(self, engine: Engine) -> None:
        """Fails: knowing an id is enough to overwrite another's row, or to learn that it exists."""
        store = guarded(engine)
        targets = [row(BETA, "target"), row(OF_BOB, "target")]
        for scope, target in zip((BETA, OF_BOB), targets, strict=True):
            put(store, scope, [target])
            squatting = evolve(row(ACME, "squatting"), id=target.id)
            store.upsert(ACME, [squatting], vectors(1))
            assert store.get(READER, [target.id]) == [squatting]
            assert list(store.scan(scope))[-1:] != []
        assert store.get(reading("beta"), [targets[0].id]) == [targets[0]]
        assert targets[1] in store.get(reading("acme", "bob"), [targets[1].id])
        for target in targets:
            assert store.delete(ACME, [target.key]) == 0
            store.move(ACME, [(target.key, evolve(row(ACME, "moved"), id=ChunkId("moved")))])
        assert store.get(READER, [ChunkId("moved")]) == []
        assert store.get(reading("beta"), [targets[0].id]) == [targets[0]]

    def test_a_row_of_another_repository_is_not_replaced_under_its_id(self, engine: Engine) -> None:
        """Fails: a write of one repository destroys a row of another that has the same label."""
        store = guarded(engine)
        lib = writing("acme", repo="lib")
        target, mine = row(lib, "target"), row(ACME, "mine")
        put(store, lib, [target])
        put(store, ACME, [mine])
        squatting = evolve(row(ACME, "squatting"), id=target.id)
        with pytest.raises(ScopeViolationError):
            store.upsert(ACME, [row(ACME, "new"), squatting], vectors(2))
        with pytest.raises(ScopeViolationError):
            store.move(ACME, [(mine.key, squatting)])
        assert list(store.scan(lib)) == [target]
        assert list(store.scan(ACME)) == [mine]

    def test_a_writer_changes_a_visibility_without_a_new_vector(self, engine: Engine) -> None:
        """Fails: a change of visibility costs an embedding, or old fields stay."""
        store = guarded(engine)
        before, after = row(ACME, "a", extra="old"), row(OF_ADA, "a")
        store.bind(PROFILE)
        store.upsert(ACME, [before], unit(0, 0, 1, 0)[np.newaxis])
        missing = row(OF_ADA, "missing")
        store.move(OF_ADA, [(before.key, after), (row(ACME, "missing").key, missing)])
        assert list(store.scan(READER)) == [after]
        assert list(store.scan(reading("acme", "bob"))) == []
        assert store.query(READER, unit(0, 0, 1, 0), 1)[0].score == pytest.approx(1)

    def test_rows_outside_the_scope_are_not_moved(self, engine: Engine) -> None:
        """Fails: a move takes a row, and its vector, from whom it belongs to."""
        store = guarded(engine)
        scopes = (OF_BOB, writing("acme", repo="other"), BETA, writing("neo-shared", repo="app"))
        spared = [row(scope, "x") for scope in scopes]
        for scope, each in zip(scopes, spared, strict=True):
            put(store, scope, [each])
        store.move(ACME, [(each.key, row(ACME, f"{n}")) for n, each in enumerate(spared)])
        assert list(store.scan(ACME)) == []
        for scope, each in zip(scopes, spared, strict=True):
            assert list(store.scan(scope)) == [each]

    def test_a_row_moves_to_one_place(self, engine: Engine) -> None:
        """Fails: one stored row is put in two places, and which has the vector is chance."""
        store = guarded(engine)
        put(store, ACME, [_ROW])
        with pytest.raises(InvalidInputError):
            store.move(ACME, [(_ROW.key, row(ACME, "b")), (_ROW.key, row(ACME, "c"))])
        assert list(store.scan(ACME)) == [_ROW]

    def test_a_writer_is_told_how_many_rows_it_has_deleted(self, engine: Engine) -> None:
        """Fails: missing rows are counted, or one that is named twice counts twice."""
        store = guarded(engine)
        written = rows(ACME, 5)
        put(store, ACME, written)
        missing = RowKey(ACME.label, ChunkId("missing"))
        doomed = [written[0].key, missing, written[0].key, written[3].key]
        assert store.delete(ACME, doomed) == 2
        assert store.delete(ACME, doomed) == 0
        assert store.delete(ACME, []) == 0
        assert ids_in(store, ACME) == sorted(written[number].id for number in (1, 2, 4))

    def test_a_deletion_spares_what_the_scope_does_not_cover(self, engine: Engine) -> None:
        """Fails: keys alone decide; the scope has to be part of the deletion."""
        store = guarded(engine)
        scopes = (OF_BOB, writing("acme", repo="other"), BETA, writing("neo-shared", repo="app"))
        spared = [row(scope, "x") for scope in scopes]
        for scope, each in zip(scopes, spared, strict=True):
            put(store, scope, [each])
        relabelled = [RowKey(ACME.label, each.id) for each in spared]
        assert store.delete(ACME, [*(each.key for each in spared), *relabelled]) == 0
        for scope, each in zip(scopes, spared, strict=True):
            assert list(store.scan(scope)) == [each]

    def test_malformed_writes_are_refused_whole(self, engine: Engine) -> None:
        """Fails: see GuardedStore._raw and domain/vectors.py for the rules."""
        store = guarded(engine)
        store.bind(PROFILE)
        pair = rows(ACME, 2)
        broken = vectors(2)
        broken[1, 0] = np.nan
        bad: list[tuple[list[Any], Any]] = [
            ([pair[0], pair[0]], vectors(2)),
            ([pair[0], raw(pair[1])], vectors(2)),
            ([pair[0], None], vectors(2)),
            (pair, vectors(3)),
            (pair, vectors(2)[0]),
            (pair, broken),
        ]
        for bad_rows, bad_vectors in bad:
            with pytest.raises(InvalidInputError):
                store.upsert(ACME, bad_rows, bad_vectors)
            with pytest.raises(InvalidInputError):
                store.restore(OPERATOR, bad_rows, bad_vectors)
        for question in (broken[1], vectors(2)):
            with pytest.raises(InvalidInputError):
                store.query(READER, question, 1)
        assert ids_in(store, ACME) == []

    def test_a_unit_of_work_is_entered_and_left(self, engine: Engine) -> None:
        """Fails: writes within it are not seen by the same thread, or not there afterwards."""
        store = guarded(engine)
        store.bind(PROFILE)
        with store.writing(ACME):
            store.upsert(ACME, [_ROW], vectors(1))
            assert list(store.scan(ACME)) == [_ROW]
        assert list(store.scan(ACME)) == [_ROW]


class Operating(StoreSuite):
    """What an operator reaches."""

    def test_a_restored_row_obeys_the_read_rule(self, engine: Engine) -> None:
        """Fails: a restore writes another label than the stamp gives."""
        store = guarded(engine)
        scopes = (ACME, OF_BOB, BETA, writing("neo-shared", repo="neo"))
        written = [row(scope, "x") for scope in scopes]
        store.bind(PROFILE)
        store.restore(operating(Role.CURATOR), written, vectors(4))
        team, private, foreign, shared = written
        for reader, seen in [
            (READER, {team, shared}),
            (reading("acme", "bob"), {team, private, shared}),
            (reading("beta"), {foreign, shared}),
        ]:
            assert set(store.scan(reader)) == seen
            assert {match.row for match in store.query(reader, unit(1, 1, 1, 1), 9)} == seen

    def test_only_a_curator_restores_rows_of_the_shared_tenant(self, engine: Engine) -> None:
        """Fails: an operator gives rows to all tenants."""
        store = guarded(engine)
        store.bind(PROFILE)
        shared = row(writing("neo-shared", repo="neo"), "x")
        with pytest.raises(AccessDeniedError, match="curator"):
            store.restore(OPERATOR, [_ROW, shared], vectors(2))
        assert list(store.export(OPERATOR)) == []

    def test_an_export_restored_elsewhere_is_the_same_export(self, make_engine: MakeEngine) -> None:
        """Fails: a copy differs from the first in the last bits of its vectors, or in a value."""
        with closing(make_engine()) as engine:
            store = guarded(engine)
            for scope in SCOPES:
                put(store, scope, rows(scope, 60, size=1, share=0.5, done=True))
            before = [(each, vector.tobytes()) for each, vector in store.export(OPERATOR)]
            found = list(store.fetch(OPERATOR, [each.key for each, _ in before]))
            curator = operating(Role.CURATOR)
            assert store.truncate(OPERATOR) == len(before)
            store.bind(PROFILE)
            store.restore(
                curator,
                [read_row(each.id, each.metadata) for each, _ in found],
                np.stack([vector for _, vector in found]),
            )
            assert [(each, vector.tobytes()) for each, vector in store.export(OPERATOR)] == before

    def test_a_restored_row_is_replaced_whole(self, engine: Engine) -> None:
        """Fails: something of the earlier row, or its exact vector, is left."""
        store = guarded(engine)
        before = row(ACME, "a", extra="old", size=3)
        put(store, ACME, [before])
        after = evolve(row(ACME, "a", added="new"), id=before.id)
        store.restore(OPERATOR, [after], ODD_VECTORS[:1])
        [(found, vector)] = store.export(OPERATOR)
        assert (found, vector.tobytes()) == (raw(after), ODD_VECTORS[0].tobytes())
        store.upsert(ACME, [before], unit(0, 0, 0, 1)[np.newaxis])
        [(found, vector)] = store.fetch(OPERATOR, [before.key, before.key])
        assert found == raw(before)
        assert np.allclose(vector, unit(0, 0, 0, 1))

    def test_moving_a_restored_row_keeps_its_exact_vector(self, engine: Engine) -> None:
        """Fails: what is kept beside the index is lost with the earlier metadata."""
        store = guarded(engine)
        stored = row(ACME, "a", extra="old")
        store.bind(PROFILE)
        store.restore(OPERATOR, [stored], ODD_VECTORS[2:3])
        moved = row(OF_ADA, "a")
        store.move(OF_ADA, [(stored.key, moved)])
        [(found, vector)] = store.export(OPERATOR)
        assert (found, vector.tobytes()) == (raw(moved), ODD_VECTORS[2].tobytes())
        [match] = store.query(READER, unit(1, 2, 3, 4), 1)
        assert match.score == pytest.approx(1, abs=1e-5)

    def test_discard_and_truncate_reach_the_rows_of_all(self, engine: Engine) -> None:
        """Fails: an operator's deletion is narrowed to somebody's rows."""
        store = guarded(engine)
        for scope in SCOPES:
            put(store, scope, rows(scope, 2))
        keys = [each.key for each, _ in store.export(OPERATOR)]
        assert store.discard(OPERATOR, [*keys[:3], keys[0]]) == 3
        assert store.discard(OPERATOR, []) == 0
        assert store.truncate(OPERATOR) == 7
        assert store.profile() is None

    def test_an_index_is_made_anew_where_there_is_one(self, engine: Engine) -> None:
        """Fails: an engine without an index of its own does not say so."""
        store = guarded(engine)
        put(store, ACME, rows(ACME, 3))
        if isinstance(engine, Reindexable):
            assert sum(store.reindex(OPERATOR, lambda found: vectors(len(found)))) == 3
        else:
            with pytest.raises(NotSupportedError):
                store.reindex(OPERATOR, lambda found: vectors(len(found)))
        assert len(ids_in(store, ACME)) == 3
