"""The contract of :class:`ports.store.VectorStore`, run against every store of ``stores.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    InvalidInputError,
    ScopeViolationError,
    StoreMismatchError,
)
from tenantkb.domain.rows import Criteria, MetadataValue, Row
from tenantkb.domain.tenancy import ReadScope, Visibility, WriteScope
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import VectorStore
from tests.conformance.samples import PROFILE, put, reading, row, rows, unit, vectors, writing
from tests.conformance.stores import MakeStore, Places, chroma_path, make_store, places, store

__all__ = ["make_store", "places", "store"]  # fixtures


def ids_in(store: VectorStore, scope: ReadScope | WriteScope) -> list[str]:
    return [found.id for found in store.scan(scope)]


class TestBinding:
    def test_a_store_without_any_data_answers_as_an_empty_one(self, store: VectorStore) -> None:
        """Fails: a read assumes that the collection exists; see the store's first lookup."""
        scope = reading("acme")
        assert store.profile() is None
        assert store.query(scope, unit(1, 0, 0, 0), 3) == []
        assert store.get(scope, ["x"]) == []
        assert list(store.scan(scope)) == []
        assert store.delete(writing("acme"), ["x"]) == 0
        store.restamp(writing("acme"), [row(writing("acme"), "a")])
        assert store.profile() is None

    def test_the_first_bind_is_remembered_by_the_data(self, make_store: MakeStore) -> None:
        """Fails: the profile lives in the object, not with the rows."""
        with closing(make_store()) as first:
            first.bind(PROFILE)
            first.bind(PROFILE)
        with closing(make_store()) as second:
            assert second.profile() == PROFILE

    @pytest.mark.parametrize(
        "other", [EmbedderProfile("another", 4), EmbedderProfile("test-embedder", 5)]
    )
    def test_another_embedder_is_refused(self, store: VectorStore, other: EmbedderProfile) -> None:
        """Fails: vectors of two embedders would be compared with each other; check bind."""
        store.bind(PROFILE)
        with pytest.raises(StoreMismatchError, match="test-embedder"):
            store.bind(other)
        assert store.profile() == PROFILE

    def test_nothing_is_written_before_bind(self, store: VectorStore) -> None:
        """Fails: an upsert made a collection whose embedder nobody knows."""
        scope = writing("acme")
        with pytest.raises(StoreMismatchError, match="bind"):
            store.upsert(scope, rows(scope, 1), vectors(1))
        assert store.profile() is None

    def test_vectors_of_another_dimension_are_refused(self, store: VectorStore) -> None:
        """Fails: the check in adapters/stores/contract.py is not called."""
        scope = writing("acme")
        store.bind(PROFILE)
        with pytest.raises(StoreMismatchError, match="dimensions"):
            store.upsert(scope, rows(scope, 1), vectors(1, dimension=3))
        with pytest.raises(StoreMismatchError, match="dimensions"):
            store.query(reading("acme"), unit(1, 0, 0), 1)
        assert ids_in(store, scope) == []


class TestIsolation:
    def test_a_reader_gets_exactly_the_rows_of_its_labels(self, store: VectorStore) -> None:
        """Fails: a leak or a hole. Compare the store's filter with ReadScope.labels."""
        private = Visibility.PRIVATE
        scopes = {
            "acme team": writing("acme"),
            "acme ada": writing("acme", "ada", "own", private),
            "acme bob": writing("acme", "bob", "own", private),
            "beta team": writing("beta"),
            "beta ada": writing("beta", "ada", "own", private),
            "shared": writing("neo-shared", repo="neo"),
            "shared curator": writing("neo-shared", repo="neo", visibility=private),
        }
        store.bind(PROFILE)
        written = {name: row(scope, name) for name, scope in scopes.items()}
        for name, scope in scopes.items():
            store.upsert(scope, [written[name]], vectors(1))
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
            for limit in (3, 100):
                matches = store.query(reader, unit(1, 0, 0, 0), limit)
                assert {match.row.id for match in matches} <= visible
                assert len(matches) == min(limit, len(visible))

    def test_a_row_without_label_is_in_no_read(self, store: VectorStore) -> None:
        """Fails: the filter is negative or falls back to other keys; it must name the labels."""
        scope = writing("acme")
        put(store, scope, rows(scope, 1))
        orphan = Row("orphan", {**row(scope, "x").metadata, "visibility": "private"})
        orphan = Row("orphan", {k: v for k, v in orphan.metadata.items() if k != "access"})
        with pytest.raises(ScopeViolationError):
            store.upsert(scope, [orphan], vectors(1))
        assert len(ids_in(store, reading("acme"))) == 1

    def test_a_write_scope_scans_what_it_covers(self, store: VectorStore) -> None:
        """Fails: a sync would see, and then delete, rows of another repository or agent."""
        private = Visibility.PRIVATE
        mine, others = writing("acme"), writing("acme", "bob", visibility=private)
        own_private = writing("acme", visibility=private)
        elsewhere, shared = writing("acme", repo="other"), writing("neo-shared", repo="app")
        store.bind(PROFILE)
        for number, scope in enumerate([mine, others, own_private, elsewhere, shared]):
            store.upsert(scope, [row(scope, str(number))], vectors(1))
        expected = [row(mine, "0").id, row(own_private, "2").id]
        assert ids_in(store, mine) == sorted(expected)
        assert ids_in(store, own_private) == sorted(expected)

    def test_uncovered_rows_are_refused_before_anything_is_written(
        self, store: VectorStore
    ) -> None:
        """Fails: the check runs per row instead of before the first write."""
        mine, foreign = writing("acme"), writing("beta")
        store.bind(PROFILE)
        store.upsert(mine, [row(mine, "kept")], vectors(1))
        mixed = [row(mine, "new"), row(foreign, "foreign")]
        with pytest.raises(ScopeViolationError):
            store.upsert(mine, mixed, vectors(2))
        with pytest.raises(ScopeViolationError):
            store.restamp(mine, [row(mine, "kept", extra="x"), row(foreign, "foreign")])
        assert list(store.scan(mine)) == [row(mine, "kept")]

    def test_a_stored_row_outside_the_scope_is_never_replaced(self, store: VectorStore) -> None:
        """Fails: knowing an id is enough to overwrite another's row; check the stored metadata."""
        mine, foreign = writing("acme"), writing("beta")
        target = row(foreign, "target")
        put(store, foreign, [target])
        forged = Row(target.id, row(mine, "forged").metadata)
        with pytest.raises(ScopeViolationError):
            store.upsert(mine, [row(mine, "a"), forged], vectors(2))
        with pytest.raises(ScopeViolationError):
            store.restamp(mine, [forged])
        assert store.delete(mine, [target.id]) == 0
        assert store.get(reading("beta"), [target.id]) == [target]
        assert ids_in(store, mine) == []

    def test_criteria_only_narrow(self, store: VectorStore) -> None:
        """Fails: a criterion replaces the scope's condition, or matches another type of value."""
        mine, foreign = writing("acme"), writing("beta")
        store.bind(PROFILE)
        guide = row(mine, "g")
        method = row(mine, "m", type="src", kind="method", className="Neo.X", source="b.mjs")
        store.upsert(mine, [guide, method], vectors(2))
        store.upsert(foreign, [row(foreign, "g")], vectors(1))
        scope = reading("acme")
        for criteria, expected in [
            (Criteria(type="guide"), [guide]),
            (Criteria(kind="method", class_name="Neo.X"), [method]),
            (Criteria(source_path="b.mjs", type="guide"), []),
            (Criteria(repo_slug="app", type="src"), [method]),
            (Criteria(repo_slug="beta"), []),
            (Criteria(type="GUIDE"), []),
            (Criteria(type=""), []),
            (Criteria(type="a\0b"), []),
        ]:
            assert list(store.scan(scope, criteria)) == expected
            found = [match.row for match in store.query(scope, unit(1, 0, 0, 0), 9, criteria)]
            assert found == expected
        assert list(store.scan(mine, Criteria(repo_slug="other"))) == []


class TestReading:
    def test_the_nearest_rows_come_first_with_their_cosine(self, store: VectorStore) -> None:
        """Fails: the distance is not cosine, or a score is a distance."""
        scope = writing("acme")
        written = rows(scope, 3)
        store.bind(PROFILE)
        directions = np.stack([unit(1, 0, 0, 0), unit(1, 1, 0, 0), unit(-1, 0, 0, 0)])
        store.upsert(scope, written, directions)
        matches = store.query(reading("acme"), unit(1, 0, 0, 0), 3)
        assert [match.row for match in matches] == written
        assert [match.score for match in matches] == pytest.approx([1, 0.5**0.5, -1], abs=1e-5)

    def test_equal_scores_are_ordered_by_id(self, store: VectorStore) -> None:
        """Fails: ties come back in the order of storage, which changes between runs."""
        scope = writing("acme")
        written = rows(scope, 30)
        store.bind(PROFILE)
        for each in written:
            store.upsert(scope, [each], unit(1, 2, 3, 4)[np.newaxis])
        matches = store.query(reading("acme"), unit(1, 1, 1, 1), 30)
        assert [match.row.id for match in matches] == sorted(each.id for each in written)
        assert len({match.score for match in matches}) == 1

    @pytest.mark.parametrize("limit", [-1, 0])
    def test_no_rows_are_asked_for(self, store: VectorStore, limit: int) -> None:
        """Fails: Chroma raises for it."""
        scope = writing("acme")
        put(store, scope, rows(scope, 2))
        assert store.query(reading("acme"), unit(1, 0, 0, 0), limit) == []

    def test_fewer_than_limit_only_where_the_scope_holds_fewer(self, store: VectorStore) -> None:
        """Fails: a tight tenant far from the query is lost in the index; see the exact search."""
        crowd, tight = writing("acme"), writing("beta")
        store.bind(PROFILE)
        store.upsert(crowd, rows(crowd, 1200), vectors(1200))
        near = np.repeat(unit(1, 1, 1, 1)[np.newaxis], 40, axis=0)
        store.upsert(tight, rows(tight, 40), near)
        for limit in (10, 40, 5000):
            matches = store.query(reading("beta"), unit(-1, -1, -1, -1), limit)
            assert len(matches) == min(limit, 40)
        assert len(store.query(reading("acme"), unit(1, 0, 0, 0), 1100)) == 1100

    def test_get_answers_in_the_order_of_the_ids(self, store: VectorStore) -> None:
        """Fails: Chroma answers in its own order; put the rows back into that of the request."""
        scope = writing("acme")
        written = rows(scope, 5)
        put(store, scope, written)
        wanted = [written[3], written[0], written[4], written[0]]
        asked = [wanted[0].id, "missing", "", "\ud800", *(each.id for each in wanted[1:])]
        assert store.get(reading("acme"), asked) == wanted
        assert store.get(reading("acme"), []) == []

    def test_scan_is_by_ascending_id_and_resumes(self, store: VectorStore) -> None:
        """Fails: paging by offset or insertion order."""
        scope = writing("acme")
        written = rows(scope, 1203)
        put(store, scope, written)
        ids = sorted(each.id for each in written)
        assert ids_in(store, reading("acme")) == ids
        assert [found.id for found in store.scan(reading("acme"), after=ids[1100])] == ids[1101:]

    def test_scan_goes_on_while_rows_are_written_and_deleted(self, store: VectorStore) -> None:
        """Fails: a lock or a cursor is held between two rows."""
        scope = writing("acme")
        written = rows(scope, 1100)
        put(store, scope, written)
        scanned: Iterator[Row] = store.scan(scope)
        first = next(scanned)
        assert store.delete(scope, [each.id for each in written if each.id > first.id]) == 1099
        store.upsert(scope, [row(scope, "another")], vectors(1))
        assert len(list(scanned)) <= 999
        assert len(ids_in(store, scope)) == 2


class TestWriting:
    def test_an_upsert_leaves_nothing_of_the_earlier_row(self, store: VectorStore) -> None:
        """Fails: metadata is merged; keys that vanished must be removed."""
        scope = writing("acme")
        before = row(scope, "a", extra="old", size=3, flag=True)
        after = Row(before.id, {**row(scope, "a").metadata, "added": "new"})
        store.bind(PROFILE)
        store.upsert(scope, [before], unit(1, 0, 0, 0)[np.newaxis])
        store.upsert(scope, [after], unit(0, 1, 0, 0)[np.newaxis])
        assert list(store.scan(scope)) == [after]
        assert store.query(reading("acme"), unit(0, 1, 0, 0), 1)[0].score == pytest.approx(1)

    def test_restamping_keeps_the_vector_and_replaces_the_metadata(
        self, store: VectorStore
    ) -> None:
        """Fails: the vector is lost, or old keys stay, or a missing row is made."""
        team, private = writing("acme"), writing("acme", visibility=Visibility.PRIVATE)
        before = row(team, "a", extra="old")
        after = Row(before.id, row(private, "a").metadata)
        store.bind(PROFILE)
        store.upsert(team, [before], unit(0, 0, 1, 0)[np.newaxis])
        store.restamp(private, [after, row(private, "missing")])
        assert list(store.scan(reading("acme"))) == [after]
        assert list(store.scan(reading("acme", "bob"))) == []
        assert store.query(reading("acme"), unit(0, 0, 1, 0), 1)[0].score == pytest.approx(1)

    def test_delete_counts_the_rows_that_were_there(self, store: VectorStore) -> None:
        """Fails: Chroma reports ids that do not exist as deleted; count before."""
        scope = writing("acme")
        written = rows(scope, 5)
        put(store, scope, written)
        doomed = [written[0].id, "missing", written[0].id, "", written[3].id]
        assert store.delete(scope, doomed) == 2
        assert store.delete(scope, doomed) == 0
        assert store.delete(scope, []) == 0
        assert ids_in(store, scope) == sorted(written[number].id for number in (1, 2, 4))

    def test_deletion_spares_what_the_scope_does_not_cover(self, store: VectorStore) -> None:
        """Fails: ids alone decide; the scope has to be part of the deletion."""
        private = Visibility.PRIVATE
        scopes = [
            writing("acme", "bob", visibility=private),
            writing("acme", repo="other"),
            writing("beta"),
            writing("neo-shared", repo="app"),
        ]
        store.bind(PROFILE)
        spared = [row(scope, str(number)) for number, scope in enumerate(scopes)]
        for scope, each in zip(scopes, spared, strict=True):
            store.upsert(scope, [each], vectors(1))
        assert store.delete(writing("acme"), [each.id for each in spared]) == 0
        for scope, each in zip(scopes, spared, strict=True):
            assert list(store.scan(scope)) == [each]

    def test_values_come_back_as_they_went_in(self, store: VectorStore) -> None:
        """Fails: the store changes a value or its type; see adapters/stores/contract.py."""
        scope = writing("acme")
        values: dict[str, MetadataValue] = {
            "empty": "",
            "nul": "a\0b",
            "emoji": "\U0001f600 ü",
            "long": "x" * 100_000,
            "yes": True,
            "no": False,
            "one": 1,
            "one_float": 1.0,
            "half": 0.5,
            "most": 2**63 - 1,
            "least": -(2**63),
        }
        written = Row("r", {**row(scope, "a").metadata, **values})
        put(store, scope, [written])
        found = store.get(reading("acme"), ["r"])[0].metadata
        assert found == written.metadata
        assert {key: type(found[key]) for key in values} == {k: type(values[k]) for k in values}

    def test_negative_zero_becomes_zero(self, store: VectorStore) -> None:
        """Fails: the stores differ in it, and a re-sync would see a change."""
        scope = writing("acme")
        put(store, scope, [Row("r", {**row(scope, "a").metadata, "zero": -0.0})])
        assert str(store.get(reading("acme"), ["r"])[0].metadata["zero"]) == "0.0"

    @pytest.mark.parametrize(
        "fields",
        [
            {"x": None},
            {"x": float("nan")},
            {"x": float("inf")},
            {"x": 2**63},
            {"x": ["a"]},
            {"x": {}},
            {"x": "\ud800"},
            {"": "x"},
            {"$x": "x"},
            {"#x": "x"},
            {"chroma:document": "x"},
            {"\ud800": "x"},
        ],
        ids=repr,
    )
    def test_what_no_store_can_hold_is_refused_whole(
        self, store: VectorStore, fields: dict[str, object]
    ) -> None:
        """Fails: Chroma drops some of these silently; they must be refused before."""
        scope = writing("acme")
        store.bind(PROFILE)
        metadata: dict[str, object] = {**row(scope, "bad").metadata, **fields}
        bad = Row("bad", metadata)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InvalidInputError):
            store.upsert(scope, [row(scope, "good"), bad], vectors(2))
        with pytest.raises(InvalidInputError):
            store.restamp(scope, [bad])
        assert ids_in(store, scope) == []

    def test_malformed_writes_are_refused_whole(self, store: VectorStore) -> None:
        """Fails: see adapters/stores/contract.py for the rules."""
        scope = writing("acme")
        store.bind(PROFILE)
        pair = rows(scope, 2)
        broken = vectors(2)
        broken[1, 0] = np.nan
        for bad_rows, bad_vectors in [
            ([pair[0], pair[0]], vectors(2)),
            ([pair[0], evolve(pair[1], id="")], vectors(2)),
            ([pair[0], evolve(pair[1], id="\ud800")], vectors(2)),
            (pair, vectors(3)),
            (pair, vectors(2)[0]),
            (pair, broken),
        ]:
            with pytest.raises(InvalidInputError):
                store.upsert(scope, bad_rows, bad_vectors)
        with pytest.raises(InvalidInputError):
            store.query(reading("acme"), broken[1], 1)
        with pytest.raises(InvalidInputError):
            store.query(reading("acme"), vectors(2), 1)
        assert ids_in(store, scope) == []

    def test_more_rows_than_one_request_takes_arrive_whole(self, store: VectorStore) -> None:
        """Fails: a request exceeds Chroma's batch size of 5,461."""
        scope = writing("acme")
        many = [Row(f"{number:05}", row(scope, "a").metadata) for number in range(5500)]
        put(store, scope, many)
        assert [found.id for found in store.scan(scope)] == [each.id for each in many]

    def test_writes_outlive_the_object(self, make_store: MakeStore) -> None:
        """Fails: something is only in memory; close must not be what saves."""
        scope = writing("acme")
        with closing(make_store()) as first:
            put(first, scope, rows(scope, 3))
            query = vectors(1)[0]
            matches = first.query(reading("acme"), query, 3)
        with closing(make_store()) as second:
            assert list(second.scan(scope)) == sorted(rows(scope, 3), key=lambda each: each.id)
            assert second.query(reading("acme"), query, 3) == matches

    def test_callers_cannot_change_what_is_stored(self, store: VectorStore) -> None:
        """Fails: the store hands out its own dictionaries."""
        scope = writing("acme")
        put(store, scope, rows(scope, 1))
        found = next(store.scan(scope))
        assert isinstance(found.metadata, dict)
        found.metadata["access"] = "team:beta"
        assert ids_in(store, scope) == [found.id]
        assert ids_in(store, reading("beta")) == []


ACTORS = [("acme", "ada"), ("acme", "bob"), ("beta", "ada"), ("neo-shared", "cy")]
CRITERIA = [Criteria(), Criteria(type="guide"), Criteria(repo_slug="app", class_name="X")]
DIRECTIONS = [
    unit(*numbers) for numbers in [(1, 0, 0, 0), (1, 1, 0, 0), (1, 2, 3, 4), (-1, 0, 1, 0)]
]

scopes = st.builds(
    lambda actor, repo, visibility: writing(actor[0], actor[1], repo, visibility),
    st.sampled_from(ACTORS),
    st.sampled_from(["app", "lib"]),
    st.sampled_from(Visibility),
)
chunks = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abcd"),
        "type": st.sampled_from(["guide", "src"]),
        "className": st.sampled_from(["X", "Y"]) | st.none(),
        "flag": st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    }
)
operations = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "upsert", "restamp", "delete"]),
        scopes,
        st.lists(st.tuples(chunks, st.sampled_from(DIRECTIONS)), max_size=4),
    ),
    max_size=8,
)


def outcome(
    store: VectorStore, name: str, scope: WriteScope, drawn: list[tuple[Row, Vectors]]
) -> object:
    written = [each for each, _ in drawn]
    try:
        if name == "upsert":
            directions = np.array([direction for _, direction in drawn], np.float32)
            store.upsert(scope, written, directions.reshape(-1, PROFILE.dimension))
        elif name == "restamp":
            store.restamp(scope, written)
        else:
            return store.delete(scope, [each.id for each in written])
    except (InvalidInputError, ScopeViolationError) as error:
        return str(error)
    return None


def everything(store: VectorStore) -> list[object]:
    seen: list[object] = []
    for actor in ACTORS:
        scope = reading(*actor)
        for criteria in CRITERIA:
            scanned = list(store.scan(scope, criteria))
            matches = store.query(scope, unit(2, 1, 0, 1), 5, criteria)
            ordered = [(match.row, round(match.score, 4)) for match in matches]
            seen += [scanned, ordered, store.get(scope, [each.id for each in scanned][::-1])]
        seen += [list(store.scan(writing(actor[0], actor[1], repo))) for repo in ("app", "lib")]
    return seen


@settings(max_examples=25)
@given(operations)
def test_memory_and_chroma_cannot_be_told_apart(
    places: Places, drawn: list[tuple[str, WriteScope, list[tuple[dict[str, object], Vectors]]]]
) -> None:
    """Fails: the printed operations give two answers; decide by ports/store.py which is right."""
    with closing(MemoryStore()) as memory, closing(chroma_path(places)()) as chroma:
        for each in (memory, chroma):
            each.bind(PROFILE)
        for name, scope, chunks_and_directions in drawn:
            written = [
                (row(scope, **chunk), direction)  # type: ignore[arg-type]  # name is among them
                for chunk, direction in chunks_and_directions
            ]
            assert outcome(memory, name, scope, written) == outcome(chroma, name, scope, written)
        assert everything(memory) == everything(chroma)
