"""What of the Chroma engine keeps tenants apart, part by part.

The contract's tests see the engine behind the guard, where one part makes up for another.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromadb.api.models.Collection import Collection
from chromadb.errors import InternalError

from tenantkb.adapters.stores.chroma import ChromaEngine, collection, engine
from tenantkb.adapters.stores.chroma.collection import OpenCollection, filter_of
from tenantkb.adapters.stores.chroma.connection import FilesConnection, client_on
from tenantkb.adapters.stores.chroma.encoding import decoded, physical_id
from tenantkb.domain.context import ReadScope, WriteScope
from tenantkb.domain.errors import StoreDamagedError, StoreMismatchError
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import TenantStamp, Visibility
from tenantkb.domain.vectors import nearest
from tenantkb.ports.engine import RawRow
from tenantkb.testing.samples import NOW, PROFILE, context, unit, vectors, writing
from tests.conformance.raw_rows import in_order, put, readable, row

TENANTS = ("acme", "acme-2", "beta", "neo-shared")
AGENTS = ("ada", "bob", "ada:bob")
REPOS = ("app", "lib")

MINE, FOREIGN = writing("acme"), writing("beta")
QUERY = unit(1, 2, 3, 4)

SCOPES: list[ReadScope | WriteScope] = [
    *(context(tenant, agent).reading() for tenant, agent in product(TENANTS, AGENTS)),
    *(writing(tenant, agent, repo) for tenant, agent, repo in product(TENANTS, AGENTS, REPOS)),
]
CRITERIA = [ANY, Criteria(type="guide"), Criteria(type="src", repo_slug="lib"), Criteria(type="")]


def stored_rows() -> dict[str, dict[str, Any]]:
    """Every stamp, one row without label, one without stamp, and labels that only look right."""
    stamps = [
        TenantStamp(tenant, repo, visibility, origin, NOW)
        for tenant, repo, visibility, origin in product(TENANTS, REPOS, Visibility, (*AGENTS, None))
        if visibility is Visibility.TEAM or origin
    ]
    stored: list[dict[str, Any]] = [
        {**stamp.metadata(), "type": type_} for stamp in stamps for type_ in ("guide", "src")
    ]
    stored += [{"type": "guide"}, {"access": "TEAM:acme"}, {"access": "team:acm"}, {"access": 1}]
    return {str(number): metadata for number, metadata in enumerate(stored)}


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    client = client_on(tmp_path_factory.mktemp("filter"))
    made = client.create_collection("rows", embedding_function=None)
    stored = stored_rows()
    made.add(
        ids=list(stored),
        embeddings=np.ones((len(stored), 2), np.float32),
        metadatas=list(stored.values()),
    )
    yield made
    client.close()


@pytest.mark.parametrize("criteria", CRITERIA, ids=repr)
def test_the_filter_selects_exactly_the_rows_in_scope(
    filtered: Collection, criteria: Criteria
) -> None:
    """Fails: a leak or a hole in the translation; see filter_of in collection.py."""
    for scope in SCOPES:
        selection = Selection.of(scope, criteria)
        expected = {
            row_id
            for row_id, metadata in stored_rows().items()
            if selection.matches(metadata.get("access", ""), metadata)
        }
        if selection.labels:
            found = filtered.get(where=filter_of(selection), include=[])["ids"]
            assert set(found) == expected
        else:
            assert expected == set()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChromaEngine]:
    """An engine that reads two rows at a time, with five rows each of two tenants."""
    monkeypatch.setattr(collection, "PAGE", 2)
    with closing(ChromaEngine(FilesConnection(tmp_path / "files"))) as opened:
        for scope in (MINE, FOREIGN):
            put(opened, five(scope))
        yield opened


def five(scope: WriteScope) -> list[RawRow]:
    """By ascending id."""
    return in_order([row(scope, name) for name in "abcde"])


EVERYTHING = {"access": {"$ne": "nothing"}}


def test_a_scan_is_scoped_by_the_filter_and_again_by_the_engine(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: only one of the two is left, and what changed between two pages gets out."""
    monkeypatch.setattr(engine, "filter_of", lambda _: EVERYTHING)
    assert list(store.scan(readable())) == five(MINE)
    monkeypatch.undo()
    monkeypatch.setattr(Selection, "matches", lambda *_: True)
    assert list(store.scan(readable())) == five(MINE)


@pytest.mark.parametrize("exact_rows", [0, 1000], ids=["by-index", "exactly"])
def test_a_query_is_scoped_by_the_filter(store: ChromaEngine, exact_rows: int) -> None:
    """Fails: the filter is not sent; behind it nothing else looks before the guard."""
    store._exact_rows = exact_rows
    found = [hit for hit, _ in store.nearest(readable(), QUERY, 10)]
    assert in_order(found) == five(MINE)
    assert store.nearest(Selection((), {}), QUERY, 10) == []
    assert list(store.scan(Selection((), {}))) == []


@pytest.mark.parametrize(
    ("exact_rows", "page"), [(0, 1000), (1000, 2)], ids=["by-index", "exactly"]
)
def test_a_query_answers_the_nearest_rows_in_scope(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch, exact_rows: int, page: int
) -> None:
    """Fails: foreign rows, as near as the reader's own, take their places."""
    store._exact_rows = exact_rows
    monkeypatch.setattr(collection, "PAGE", page)
    written = [row(MINE, str(number)) for number in range(12)]
    twelve = vectors(12, seed=1)
    store.put(written, twelve, exact=False)
    store.put([row(FOREIGN, str(number)) for number in range(12)], twelve, exact=False)
    mine = [*written, *(row(MINE, name) for name in "abcde")]
    keys = [(each.id, each.label) for each in mine]
    theirs = np.concatenate([twelve, vectors(5)])
    # The rows of five() were written in the order of their ids, with the first five vectors.
    keys[12:] = [(each.id, each.label) for each in five(MINE)]
    for limit, narrowed in product((1, 2, 3, 11, 17, 18), ({}, {"type": "guide"})):
        hits = store.nearest(readable(**narrowed), QUERY, limit)
        assert [((hit.id, hit.label), score) for hit, score in hits] == nearest(
            keys, theirs, QUERY, limit
        )
        assert all(hit in mine for hit, _ in hits)
    assert store.nearest(readable(type="src"), QUERY, 2) == []


def test_the_index_serves_large_selections_and_no_others(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: a selection is taken for another one, and a small one loses neighbours."""
    put(store, [row(MINE, str(number)) for number in range(12)])
    store._exact_rows = 16
    with monkeypatch.context() as patch:
        patch.setattr(OpenCollection, "nearest_exactly", None)
        patch.setattr(engine, "PAGE", 17)
        assert len(store.nearest(readable(), QUERY, 2)) == 2
        assert len(store.nearest(readable(), QUERY, 17)) == 17
    monkeypatch.setattr(OpenCollection, "nearest_by_index", None)
    assert store.nearest(readable(type="src"), QUERY, 2) == []
    assert store.nearest(readable("gamma"), QUERY, 2) == []


def test_what_the_index_misses_is_found_by_an_exact_search(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: the index has the last word, and a small tenant far from the query gets nothing."""
    by_index = OpenCollection.nearest_by_index
    monkeypatch.setattr(
        OpenCollection, "nearest_by_index", lambda *arguments: by_index(*arguments)[:-1]
    )
    expected = store.nearest(readable(), QUERY, 2)
    store._exact_rows = 0
    assert store.nearest(readable(), QUERY, 2) == expected
    assert len(expected) == 2


def test_a_scan_resumes_behind_a_key(store: ChromaEngine) -> None:
    """Fails: a page boundary repeats or drops a row."""
    mine = five(MINE)
    assert list(store.scan(readable(), mine[2].key)) == mine[3:]
    twin = RawRow("team:zzz", mine[2].id, {**mine[2].metadata, "access": "team:zzz"})
    put(store, [twin])
    both = Selection(("team:acme", "team:zzz"), {})
    assert list(store.scan(both, mine[1].key)) == [mine[2], twin, *mine[3:]]
    assert list(store.scan(both, mine[2].key)) == [twin, *mine[3:]]


def test_an_id_is_looked_up_under_the_labels_that_are_asked_for_and_no_others(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: a foreign row is read and dropped, which takes longer than to find nothing."""
    asked: list[str] = []
    metadata = OpenCollection.metadata

    def watched(self: OpenCollection, ids: Any) -> Any:
        found = metadata(self, ids)
        asked.extend(found)
        return found

    monkeypatch.setattr(OpenCollection, "metadata", watched)
    ids = [each.id for each in [*five(FOREIGN), *five(MINE)]]
    assert in_order(list(store.get(readable().labels, ids))) == five(MINE)
    assert sorted(asked) == sorted(physical_id(each.key) for each in five(MINE))


def test_a_deletion_takes_the_rows_with_these_keys_and_no_others(store: ChromaEngine) -> None:
    """Fails: a page is counted wrongly, or another tenant's rows go with it."""
    mine = [each.key for each in five(MINE)]
    mislabelled = [RowKey(MINE.label, each.id) for each in five(FOREIGN)]
    assert store.delete([*mislabelled, *mine]) == 5
    assert list(store.scan(readable())) == []
    assert list(store.scan(readable("beta"))) == five(FOREIGN)


@pytest.mark.parametrize("operation", ["put", "move"])
def test_a_rewritten_row_keeps_nothing_of_the_earlier_one(
    store: ChromaEngine, operation: str
) -> None:
    """Fails: Chroma merges metadata, and a field that is gone stays on the row."""
    was = five(MINE)
    more = [RawRow(each.label, each.id, {**each.metadata, "$gone": 1}) for each in was]
    store.put(more, vectors(5), exact=True)
    assert list(store.scan(readable())) == more
    if operation == "put":
        store.put(was, vectors(5), exact=False)
    else:
        store.move([(each.key, each) for each in was])
    assert list(store.scan(readable())) == was
    store.put([], vectors(0), exact=False)
    store.move([])
    heavy = [
        RawRow(each.label, each.id, {**each.metadata, "text": "x" * 3_000_000}) for each in was
    ]
    store.move([(each.key, each) for each in heavy])
    assert list(store.scan(readable())) == heavy


def test_a_move_keeps_vectors_and_makes_no_rows(store: ChromaEngine) -> None:
    """Fails: a changed audience loses the vector, or brings back a row that was deleted."""
    exact = 3 * vectors(5)
    store.put(five(MINE), exact, exact=True)
    before = store.nearest(readable(), QUERY, 6)
    private = writing(visibility=Visibility.PRIVATE)
    moved = five(private)
    names = {each.metadata["name"]: each for each in moved}
    moves = [(each.key, names[each.metadata["name"]]) for each in five(MINE)]
    store.move([*moves, (RowKey(MINE.label, ChunkId("missing")), row(private, "missing"))])
    after = store.nearest(readable(), QUERY, 6)
    assert [score for _, score in after] == [score for _, score in before]
    assert {hit.label for hit, _ in after} == {private.label}
    kept = {found.metadata["name"]: vector.tobytes() for found, vector in store.export()
            if found.label == private.label}  # fmt: skip
    by_name = zip(five(MINE), exact, strict=True)
    assert kept == {was.metadata["name"]: vector.tobytes() for was, vector in by_name}


def test_at_no_moment_of_a_move_is_neither_row_stored(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: a process that dies between the two writes has lost the row."""
    was, becomes = five(MINE)[0], row(writing(visibility=Visibility.PRIVATE), "new")
    monkeypatch.setattr(Collection, "delete", None)
    with pytest.raises(Exception, match="NoneType"):
        store.move([(was.key, becomes)])
    assert {was.key, becomes.key} <= {found.key for found, _ in store.export()}


def test_rows_that_change_places_keep_their_own_vectors(store: ChromaEngine) -> None:
    """Fails: a row is written over before its vector is read, or deleted as one that left."""
    left, right = five(MINE)[:2]
    before = {found.key: vector for found, vector in store.export()}
    store.move([(left.key, right), (right.key, left)])
    after = {found.key: vector for found, vector in store.export()}
    assert after.keys() == before.keys()
    assert after[left.key] == pytest.approx(before[right.key])
    assert after[right.key] == pytest.approx(before[left.key])


def test_an_export_holds_every_owners_rows_once(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: a page of ids is read twice, and others are left out of the backup."""
    monkeypatch.setattr(collection, "_PAGE_OF_IDS", 3)
    monkeypatch.setattr(collection, "PAGE", 2)
    everyone = in_order([*five(MINE), *five(FOREIGN)])
    assert [found for found, _ in store.export()] == everyone
    assert [found for found, _ in store.export(everyone[3].key)] == everyone[4:]


def test_a_tampered_row_is_answered_as_it_lies(store: ChromaEngine) -> None:
    """Fails: the guard cannot tell that a label and a stamp disagree, and counts no fault."""
    target = five(FOREIGN)[0]
    with store._writing() as bound:
        assert bound is not None
        bound.collection.update(ids=[physical_id(target.key)], metadatas=[{"access": MINE.label}])
        lies = bound.metadata([physical_id(target.key)])[physical_id(target.key)]
    tampered = decoded(physical_id(target.key), lies)
    assert tampered.label == FOREIGN.label
    assert tampered in list(store.scan(readable()))
    assert tampered in [hit for hit, _ in store.nearest(readable(), QUERY, 10)]
    assert list(store.get([FOREIGN.label], [target.id])) == [tampered]
    assert list(store.get([MINE.label], [target.id])) == []


@pytest.mark.parametrize("refusals", [3, 9])
def test_what_falls_between_two_steps_of_a_servers_write_is_asked_again(
    store: ChromaEngine, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    """Fails: a read beside a write calls a sound store damaged, or a damaged one sound."""
    get, refused = Collection.get, iter(range(refusals))

    def refusing(self: Collection, **request: Any) -> Any:
        if "embeddings" in request["include"] and next(refused, None) is not None:
            raise InternalError("Error executing plan: Internal error: Error finding id")
        return get(self, **request)

    monkeypatch.setattr(Collection, "get", refusing)
    keys = [each.key for each in five(MINE)[:2]]
    if refusals == 3:
        assert len(list(store.fetch(keys))) == 2
    else:
        with pytest.raises(StoreDamagedError):
            store.fetch(keys)


def test_a_store_without_data_has_no_rows_to_read_or_to_change(tmp_path: Path) -> None:
    """Fails: a read assumes that the collection exists."""
    one = row(MINE, "a")
    with closing(ChromaEngine(FilesConnection(tmp_path / "none"))) as empty:
        assert list(empty.scan(readable())) == []
        assert empty.get(readable().labels, [one.id]) == []
        assert empty.delete([one.key]) == 0
        assert empty.nearest(readable(), QUERY, 1) == []
        assert empty.fetch([one.key]) == []
        assert list(empty.export()) == []
        assert list(empty.reindex(lambda lost: vectors(len(lost)))) == []
        assert empty.truncate() == 0
        empty.move([(one.key, one)])
        with pytest.raises(StoreMismatchError):
            empty.put([one], vectors(1), exact=False)
    assert not (tmp_path / "none").exists()


def test_a_scan_ends_where_the_data_are_removed_meanwhile(
    tmp_path: Path, store: ChromaEngine
) -> None:
    """Fails: a scan that outlives its collection raises something that is no StoreError."""
    scan = store.scan(readable())
    assert [next(scan), next(scan)] == five(MINE)[:2]
    store.close()
    shutil.rmtree(tmp_path / "files")
    assert list(scan) == []


def test_binding_tells_which_embedder_is_in_force(store: ChromaEngine) -> None:
    """Fails: the second one is taken, and two models' vectors are mixed."""
    other = type(PROFILE)("another", 4)
    assert store.bind(other) == PROFILE
    assert store.profile() == PROFILE
