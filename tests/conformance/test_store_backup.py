"""What every store gives an operator: rows with their exact vectors, written back whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.domain.errors import InvalidInputError, StoreError, StoreMismatchError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.rows import Row
from tenantkb.domain.tenancy import OperatorScope, Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import VectorStore
from tests.conformance.samples import (
    NOW,
    PROFILE,
    TENANCY,
    put,
    reading,
    row,
    rows,
    unit,
    vectors,
    writing,
)
from tests.conformance.stores import MakeStore, Places, chroma_path, make_store, places, store
from tests.fail_closed import raw

__all__ = ["make_store", "places", "store"]  # fixtures

OPERATOR = OperatorScope.of(AgentIdentity("ops", "olga", frozenset({Role.OPERATOR})), TENANCY, NOW)
SCOPES = [
    writing("acme"),
    writing("acme", "bob", visibility=Visibility.PRIVATE),
    writing("beta", repo="other"),
    writing("neo-shared", repo="neo"),
]
ODD = np.array(
    [
        [3.0, 4.0, 0.0, 0.0],
        [-0.0, 1e-38, 1.4e-45, -1e38],
        [0.1, 0.2, 0.3, 0.4],
        [0.0, 0.0, 0.0, 0.0],
    ],
    np.float32,
)
"""Vectors whose length is not 1, which an index that compares by cosine does not keep."""


def exported(store: VectorStore) -> list[tuple[Row, bytes]]:
    return [(found, vector.tobytes()) for found, vector in store.export(OPERATOR)]


def expected(written: list[Row], given_vectors: Vectors) -> list[tuple[Row, bytes]]:
    pairs = zip(written, given_vectors, strict=True)
    return sorted(((each, vector.tobytes()) for each, vector in pairs), key=lambda p: p[0].id)


def test_a_store_without_data_exports_nothing(store: VectorStore) -> None:
    """Fails: an export assumes that the collection exists."""
    assert exported(store) == []
    assert list(store.export(OPERATOR, ["x"])) == []
    assert store.truncate(OPERATOR) == 0
    assert store.profile() is None


def test_restored_rows_are_exported_bit_by_bit(make_store: MakeStore) -> None:
    """Fails: the index scales vectors to unit length; the exact ones have to be kept beside it."""
    written = [row(scope, str(n), extra=n, flag=True) for n, scope in enumerate(SCOPES)]
    many = rows(SCOPES[0], 300, document="its document")
    with closing(make_store()) as first:
        first.bind(PROFILE)
        first.restore(OPERATOR, written, ODD)
        first.restore(OPERATOR, many, vectors(300))
        both = np.concatenate([ODD, vectors(300)])
        assert exported(first) == expected([*written, *many], both)
    with closing(make_store()) as again:
        assert exported(again) == expected([*written, *many], both)


def test_an_export_restored_elsewhere_is_the_same_export(
    make_store: MakeStore, places: Places
) -> None:
    """Fails: a second copy differs from the first in the last bits of its vectors."""
    with closing(make_store()) as source, closing(chroma_path(places)()) as copy:
        put(source, SCOPES[0], rows(SCOPES[0], 300))
        found = list(source.export(OPERATOR))
        copy.bind(PROFILE)
        copy.restore(OPERATOR, [each for each, _ in found], np.stack([v for _, v in found]))
        assert exported(copy) == exported(source)


def test_an_export_goes_by_ascending_id_over_all_owners_and_pages(store: VectorStore) -> None:
    """Fails: paging by offset or by insertion, or a filter on the caller."""
    store.bind(PROFILE)
    written: list[Row] = []
    for number, scope in enumerate(SCOPES):
        batch = rows(scope, 600, description=f"of scope {number}")
        store.upsert(scope, batch, vectors(600))
        written += batch
    ids = [found.id for found, _ in store.export(OPERATOR)]
    assert ids == sorted(each.id for each in written)
    some = [written[900].id, "missing", "", "\ud800", written[3].id, written[3].id]
    found = [each for each, _ in store.export(OPERATOR, some)]
    assert found == sorted((written[900], written[3]), key=lambda each: each.id)
    assert list(store.export(OPERATOR, [])) == []


def test_malformed_rows_are_exported_too(store: VectorStore) -> None:
    """Fails: an export filters by stamps; what nobody can read can be saved by nobody then."""
    put(store, SCOPES[0], rows(SCOPES[0], 1))
    raw.plant(store, "unowned", {"content": "text"}, unit(0, 1, 0, 0))
    raw.plant(store, "private", {**row(SCOPES[1], "a").metadata, "access": "?"}, unit(1, 0, 0, 0))
    assert {"unowned", "private"} < {found.id for found, _ in store.export(OPERATOR)}
    assert store.delete(OPERATOR, ["unowned", "private", "missing"]) == 2


def test_an_export_goes_on_while_rows_are_deleted(store: VectorStore) -> None:
    """Fails: a row that is deleted meanwhile makes another one slip through."""
    put(store, SCOPES[0], rows(SCOPES[0], 1100))
    export = store.export(OPERATOR)
    first, _ = next(export)
    gone = [each.id for each in rows(SCOPES[0], 1100) if each.id > first.id][:500]
    assert store.delete(OPERATOR, gone) == 500
    kept = {each.id for each in rows(SCOPES[0], 1100)} - set(gone) - {first.id}
    assert kept <= {found.id for found, _ in export}


def test_a_restored_row_obeys_the_read_rule(store: VectorStore) -> None:
    """Fails: a restore writes another label than the stamp gives."""
    written = [row(scope, str(n)) for n, scope in enumerate(SCOPES)]
    store.bind(PROFILE)
    store.restore(OPERATOR, written, vectors(4))
    team, private, foreign, shared = written
    for reader, seen in [
        (reading("acme"), {team.id, shared.id}),
        (reading("acme", "bob"), {team.id, private.id, shared.id}),
        (reading("beta"), {foreign.id, shared.id}),
    ]:
        assert {found.id for found in store.scan(reader)} == seen
        assert {match.row.id for match in store.query(reader, unit(1, 1, 1, 1), 9)} == seen


def test_a_restored_row_replaces_all_of_another_owner_and_is_replaced_whole(
    store: VectorStore,
) -> None:
    """Fails: something of the earlier row, or its exact vector, is left."""
    mine, foreign = SCOPES[0], SCOPES[2]
    before = row(foreign, "a", extra="old", size=3)
    put(store, foreign, [before])
    after = Row(before.id, row(mine, "a", added="new").metadata)
    store.restore(OPERATOR, [after], ODD[:1])
    assert exported(store) == expected([after], ODD[:1])
    assert store.get(reading("beta"), [before.id]) == []
    again = Row(before.id, row(mine, "b").metadata)
    store.upsert(mine, [again], unit(0, 0, 0, 1)[np.newaxis])
    assert exported(store) == expected([again], unit(0, 0, 0, 1)[np.newaxis])


def test_restamping_a_restored_row_keeps_its_exact_vector(store: VectorStore) -> None:
    """Fails: what is kept beside the index is lost with the earlier metadata."""
    mine = SCOPES[0]
    store.bind(PROFILE)
    store.restore(OPERATOR, [Row("r", row(mine, "a", extra="old").metadata)], ODD[2:3])
    moved = Row("r", row(mine, "b").metadata)
    store.restamp(mine, [moved])
    assert exported(store) == expected([moved], ODD[2:3])
    assert store.get(reading("acme"), ["r"]) == [moved]
    [match] = store.query(reading("acme"), unit(1, 2, 3, 4), 1)
    assert match.row == moved
    assert match.score == pytest.approx(1, abs=1e-5)


def test_restored_vectors_of_any_length_are_ranked_by_their_cosine(store: VectorStore) -> None:
    """Fails: a long vector wins by its length."""
    store.bind(PROFILE)
    written = rows(SCOPES[0], 3)
    given_vectors = np.array([[9, 9, 0, 0], [0.1, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    store.restore(OPERATOR, written, given_vectors)
    matches = store.query(reading("acme"), unit(1, 0, 0, 0), 3)
    assert [match.row.id for match in matches] == [written[n].id for n in (1, 0, 2)]
    assert [match.score for match in matches] == pytest.approx([1, 0.5**0.5, 0], abs=1e-5)


def test_malformed_restores_are_refused_whole(store: VectorStore) -> None:
    """Fails: see restorable in adapters/stores/contract.py."""
    good, other = rows(SCOPES[0], 2)
    with pytest.raises(StoreMismatchError, match="bind"):
        store.restore(OPERATOR, [good], vectors(1))
    store.bind(PROFILE)
    with pytest.raises(StoreMismatchError, match="dimensions"):
        store.restore(OPERATOR, [good], vectors(1, dimension=3))
    for bad in (
        good,
        Row("", other.metadata),
        Row("x", {**other.metadata, "visibility": "public"}),
        Row("x", {**other.metadata, "access": "team:beta"}),
        Row("x", {**other.metadata, "tenantkb.vector": "AAAA"}),
        Row("x", {**other.metadata, "n": None}),  # type: ignore[dict-item] # the point
    ):
        with pytest.raises(InvalidInputError):
            store.restore(OPERATOR, [good, bad], vectors(2))
    assert exported(store) == []


def test_nonsense_in_place_of_an_exact_vector_is_passed_over(store: VectorStore) -> None:
    """Fails: one tampered row breaks every later backup."""
    store.bind(PROFILE)
    for n, text in enumerate(["?", "AAAA", "ü"]):
        planted = {**row(SCOPES[0], "a").metadata, "tenantkb.vector": text}
        raw.plant(store, f"planted {n}", planted, unit(0, 1, 0, 0))
    found = {vector.tobytes() for _, vector in store.export(OPERATOR)}
    assert found == {unit(0, 1, 0, 0).tobytes()}


def test_a_truncated_store_is_as_before_its_first_bind(make_store: MakeStore) -> None:
    """Fails: rows, the embedder or a cached collection stay behind."""
    with closing(make_store()) as store:
        put(store, SCOPES[0], rows(SCOPES[0], 5))
        assert store.truncate(OPERATOR) == 5
        assert store.profile() is None
        assert list(store.scan(reading("acme"))) == []
        assert store.truncate(OPERATOR) == 0
    with closing(make_store()) as again:
        assert again.profile() is None
        put(again, SCOPES[0], rows(SCOPES[0], 2))
        assert len(exported(again)) == 2


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=15)
@given(st.lists(st.lists(floats, min_size=4, max_size=4), min_size=1, max_size=8))
def test_memory_and_chroma_export_the_same_bits(places: Places, numbers: list[list[float]]) -> None:
    """Fails: a vector is changed by one of the stores."""
    drawn = np.array(numbers, np.float32)
    written = rows(SCOPES[0], len(drawn))
    for open_store in (MemoryStore, chroma_path(places)):
        with closing(open_store()) as store:
            store.bind(PROFILE)
            store.restore(OPERATOR, written, drawn)
            assert exported(store) == expected(written, drawn)


# Making the index anew


def other_vectors(found: Sequence[Row]) -> Vectors:
    """What an embedder gives now: not what is stored."""
    return vectors(len(found))[::-1]


def test_a_new_index_has_every_row_as_it_was_with_the_vectors_it_is_given(
    store: VectorStore,
) -> None:
    store.bind(PROFILE)
    written = rows(SCOPES[0], 3)
    store.upsert(SCOPES[0], written, vectors(3))
    assert sum(store.reindex(OPERATOR, other_vectors)) == 3
    found = list(store.export(OPERATOR))
    assert sorted(row.id for row, _ in found) == sorted(row.id for row in written)
    assert {row.id: row.metadata for row, _ in found} == {row.id: row.metadata for row in written}
    order = [row.id for row, _ in found]
    [match] = store.query(reading("acme"), found[1][1], 1)
    assert (match.row.id, round(match.score, 5)) == (order[1], 1.0)
    np.testing.assert_allclose(
        np.sort([vector for _, vector in found], axis=0), np.sort(vectors(3), axis=0), rtol=1e-5
    )


def test_vectors_that_a_restore_brought_outlive_the_index(store: VectorStore) -> None:
    store.bind(PROFILE)
    if isinstance(store, MemoryStore):
        pytest.skip("it keeps no vectors beside the index")
    store.restore(OPERATOR, rows(SCOPES[0], 1), ODD[1:2])
    before = exported(store)
    assert list(store.reindex(OPERATOR, lambda found: vectors(len(found)))) == [1]
    assert exported(store) == before


@pytest.mark.parametrize("torn", ["data_level0.bin", None])
def test_an_index_that_is_damaged_on_disk_is_made_anew(tmp_path: Path, torn: str | None) -> None:
    """Fails: what Chroma leaves behind when it is killed while it writes its files is final."""
    count = 1_100  # Chroma writes an index to its files at the thousandth row
    written = rows(SCOPES[0], count)
    with closing(ChromaStore.at_path(tmp_path)) as store:
        store.bind(PROFILE)
        store.upsert(SCOPES[0], written, vectors(count))
    [index] = [file.parent for file in tmp_path.glob("*/header.bin")]
    if torn is None:
        shutil.rmtree(index)
    else:
        (index / torn).write_bytes((index / torn).read_bytes()[:40])
    with closing(ChromaStore.at_path(tmp_path)) as store:
        with pytest.raises(StoreError):
            list(store.export(OPERATOR))
        assert sum(store.reindex(OPERATOR, lambda found: vectors(len(found)))) == count
        assert len(list(store.export(OPERATOR))) == count
    with closing(ChromaStore.at_path(tmp_path)) as store:
        assert len(list(store.export(OPERATOR))) == count
        assert len(store.query(reading("acme"), vectors(1)[0], 10)) == 10
