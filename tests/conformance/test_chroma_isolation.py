"""What of the Chroma store keeps tenants apart, part by part.

The contract's tests see the parts together, where one makes up for another that is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from chromadb.api.models.Collection import Collection

from tenantkb.adapters.stores import chroma
from tenantkb.adapters.stores.chroma import ChromaStore, _where
from tenantkb.adapters.stores.chroma_connection import PathConnection
from tenantkb.adapters.stores.contract import in_scope, nearest
from tenantkb.domain.errors import ScopeViolationError, StoreMismatchError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.rows import ANY, Criteria, Metadata, Row
from tenantkb.domain.tenancy import OperatorScope, ReadScope, TenantStamp, Visibility, WriteScope
from tests.conformance.samples import NOW, TENANCY, put, reading, row, unit, vectors, writing

TENANTS = ("acme", "acme-2", "beta", "neo-shared")
AGENTS = ("ada", "bob", "ada:bob")
REPOS = ("app", "lib")

MINE, FOREIGN = writing("acme"), writing("beta")
QUERY = unit(1, 2, 3, 4)

SCOPES: list[ReadScope | WriteScope] = [
    *(reading(tenant, agent) for tenant, agent in product(TENANTS, AGENTS)),
    *(writing(tenant, agent, repo) for tenant, agent, repo in product(TENANTS, AGENTS, REPOS)),
]
CRITERIA = [ANY, Criteria(type="guide"), Criteria(type="src", repo_slug="lib"), Criteria(type="")]


def rows() -> dict[str, Metadata]:
    """Every stamp, one row without label, one without stamp, and labels that only look right."""
    stamps = [
        TenantStamp(tenant, repo, visibility, origin, NOW)
        for tenant, repo, visibility, origin in product(TENANTS, REPOS, Visibility, (*AGENTS, None))
    ]
    stored: list[Metadata] = [
        {**stamp.metadata(), "type": type_} for stamp in stamps for type_ in ("guide", "src")
    ]
    stored += [{"type": "guide"}, {"access": "TEAM:acme"}, {"access": "team:acm"}, {"access": 1}]
    return {str(number): metadata for number, metadata in enumerate(stored)}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    connection = PathConnection(tmp_path_factory.mktemp("filter"), patience=5.0)
    with connection.writing() as client:
        made = client.create_collection("rows", embedding_function=None)
        stored = rows()
        made.add(
            ids=list(stored),
            embeddings=np.ones((len(stored), 2), np.float32),
            metadatas=list(stored.values()),
        )
        yield made
    connection.close()


@pytest.mark.parametrize("criteria", CRITERIA, ids=repr)
def test_the_filter_selects_exactly_the_rows_in_scope(
    collection: Collection, criteria: Criteria
) -> None:
    """Fails: a leak or a hole in the translation; see _where in adapters/stores/chroma.py."""
    for scope in SCOPES:
        expected = {key for key, metadata in rows().items() if in_scope(scope, criteria, metadata)}
        found = collection.get(where=_where(scope, criteria), include=[])["ids"]
        assert set(found) == expected


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChromaStore]:
    """A store that reads two rows at a time, with five rows of one tenant and five of another."""
    monkeypatch.setattr(chroma, "_PAGE", 2)
    with closing(ChromaStore.at_path(tmp_path / "files")) as opened:
        for scope in (MINE, FOREIGN):
            put(opened, scope, five(scope))
        yield opened


def five(scope: WriteScope) -> list[Row]:
    """By ascending id."""
    return sorted((row(scope, name) for name in "abcde"), key=lambda each: each.id)


EVERYTHING = {"access": {"$ne": "nothing"}}


@pytest.mark.parametrize(
    ("part", "failing"),
    [
        ("_where", lambda scope, criteria: EVERYTHING),
        ("in_scope", lambda scope, criteria, metadata: True),
    ],
)
def test_a_read_is_scoped_by_the_filter_and_again_by_the_store(
    store: ChromaStore, monkeypatch: pytest.MonkeyPatch, part: str, failing: object
) -> None:
    """Fails: only one of the two is left; a fault in it would be a leak."""
    monkeypatch.setattr(chroma, part, failing)
    for scope in (reading("acme"), MINE):
        assert list(store.scan(scope)) == five(MINE)
    found = {match.row.id for match in store.query(reading("acme"), QUERY, 10)}
    assert found == {each.id for each in five(MINE)}


def test_a_query_by_index_is_scoped_by_the_filter(
    store: ChromaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: the filter is not sent; behind the index nothing else looks before the use case."""
    monkeypatch.setattr(chroma, "in_scope", lambda scope, criteria, metadata: True)
    store._exact_rows = 0
    found = [match.row.id for match in store.query(reading("acme"), QUERY, 2)]
    assert len(found) == 2
    assert set(found) <= {each.id for each in five(MINE)}


@pytest.mark.parametrize(
    ("exact_rows", "page"), [(0, 1000), (1000, 2)], ids=["by-index", "exactly"]
)
def test_a_query_answers_the_nearest_rows_in_scope(
    store: ChromaStore, monkeypatch: pytest.MonkeyPatch, exact_rows: int, page: int
) -> None:
    """Fails: foreign rows, as near as the reader's own, take their places."""
    store._exact_rows = exact_rows
    monkeypatch.setattr(chroma, "_PAGE", page)
    written = [row(MINE, str(number)) for number in range(12)]
    twelve = vectors(12, seed=1)
    store.upsert(MINE, written, twelve)
    store.upsert(FOREIGN, [row(FOREIGN, str(number)) for number in range(12)], twelve)
    ids = [each.id for each in [*written, *five(MINE)]]
    theirs = np.concatenate([twelve, vectors(5)])
    for limit, criteria in product((1, 2, 3, 11, 17, 18), (ANY, Criteria(type="guide"))):
        best = nearest(ids, theirs, QUERY, limit)
        matches = store.query(reading("acme"), QUERY, limit, criteria)
        assert [match.row.id for match in matches] == [row_id for row_id, _ in best]
        assert [match.score for match in matches] == pytest.approx([score for _, score in best])
        assert all(match.row in [*written, *five(MINE)] for match in matches)
    assert store.query(reading("acme"), QUERY, 2, Criteria(type="src")) == []
    assert store.query(reading("acme"), QUERY, 0) == []


def test_the_index_serves_large_scopes_and_no_others(
    store: ChromaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: a scope is taken for another one's, and a small one loses neighbours."""
    put(store, MINE, [row(MINE, str(number)) for number in range(12)])
    store._exact_rows = 16
    with monkeypatch.context() as context:
        context.setattr(chroma, "_exactly", None)
        assert len(store.query(reading("acme"), QUERY, 2)) == 2
        context.setattr(chroma, "_PAGE", 17)
        assert len(store.query(reading("acme"), QUERY, 17)) == 17
    monkeypatch.setattr(chroma, "_by_index", None)
    assert store.query(reading("acme"), QUERY, 2, Criteria(type="src")) == []
    assert store.query(reading("gamma"), QUERY, 2) == []


def test_what_the_index_misses_is_found_by_an_exact_search(
    store: ChromaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: the index has the last word, and a small tenant far from the query gets nothing."""
    by_index = chroma._by_index
    monkeypatch.setattr(chroma, "_by_index", lambda *arguments: by_index(*arguments)[:-1])
    expected = store.query(reading("acme"), QUERY, 2)
    store._exact_rows = 0
    assert store.query(reading("acme"), QUERY, 2) == expected
    assert len(expected) == 2


def test_a_scan_resumes_behind_an_id_and_gets_are_in_scope(store: ChromaStore) -> None:
    """Fails: a page boundary repeats or drops a row, or knowing an id is enough to read it."""
    mine, foreign = five(MINE), five(FOREIGN)
    assert list(store.scan(reading("acme"), after=mine[2].id)) == mine[3:]
    ids = [each.id for each in [*foreign, *mine]]
    assert store.get(reading("acme"), ids) == mine


def test_a_deletion_takes_the_rows_that_are_covered_and_no_others(store: ChromaStore) -> None:
    """Fails: a page is counted wrongly, or another tenant's rows go with it."""
    assert store.delete(MINE, [each.id for each in [*five(FOREIGN), *five(MINE)]]) == 5
    assert list(store.scan(reading("acme"))) == []
    assert list(store.scan(reading("beta"))) == five(FOREIGN)


@pytest.mark.parametrize("operation", ["upsert", "restamp"])
def test_a_foreign_row_is_not_replaced_and_the_refusal_names_it(
    store: ChromaStore, operation: str
) -> None:
    """Fails: the stored row's owner is not looked at, or only after the first rows are written."""
    target = five(FOREIGN)[0].id
    mine = evolve(five(MINE)[0], metadata={**five(MINE)[0].metadata, "tier": 1})
    for forged in (Row(target, row(MINE, "forged").metadata), five(FOREIGN)[0]):
        with pytest.raises(ScopeViolationError, match=target):
            write(store, operation, [mine, forged])
    assert list(store.scan(reading("acme"))) == five(MINE)
    assert list(store.scan(reading("beta"))) == five(FOREIGN)


def write(store: ChromaStore, operation: str, written: list[Row]) -> None:
    if operation == "upsert":
        store.upsert(MINE, written, vectors(len(written)))
    else:
        store.restamp(MINE, written)


@pytest.mark.parametrize("operation", ["upsert", "restamp"])
def test_a_rewritten_row_keeps_nothing_of_the_earlier_stamp(
    store: ChromaStore, operation: str
) -> None:
    """Fails: Chroma merges metadata, and a former writer stays on the row as its origin."""
    private = writing("acme", visibility=Visibility.PRIVATE)
    was = [row(private, name) for name in "abcde"]
    store.upsert(private, was, vectors(5))
    assert "originAgentIdentity" in store.get(reading("acme"), [was[0].id])[0].metadata
    write(store, operation, [row(MINE, name) for name in "abcde"])
    assert list(store.scan(reading("acme"))) == five(MINE)
    write(store, operation, [])


def test_a_restamp_keeps_vectors_and_makes_no_rows(store: ChromaStore) -> None:
    """Fails: a changed audience moves a row, or brings back one that was deleted."""
    before = store.query(reading("acme"), QUERY, 5)
    store.restamp(MINE, [*five(MINE), row(MINE, "missing")])
    assert store.query(reading("acme"), QUERY, 6) == before


def test_an_export_holds_every_owners_rows_once(
    store: ChromaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: a page of ids is read twice, and others are left out of the backup."""
    monkeypatch.setattr(chroma, "_PAGE_OF_IDS", 3)
    operator = AgentIdentity("ops", "olga", frozenset({Role.OPERATOR}))
    exported = [found for found, _ in store.export(OperatorScope.of(operator, TENANCY, NOW))]
    assert exported == sorted([*five(MINE), *five(FOREIGN)], key=lambda each: each.id)


def test_a_store_without_data_has_no_rows_to_read_or_to_change(tmp_path: Path) -> None:
    """Fails: a read assumes that the collection exists."""
    with closing(ChromaStore.at_path(tmp_path / "none")) as store:
        assert list(store.scan(MINE)) == []
        assert store.get(reading("acme"), ["x"]) == []
        assert store.delete(MINE, ["x"]) == 0
        assert store.query(reading("acme"), QUERY, 1) == []
        store.restamp(MINE, [row(MINE, "a")])
        with pytest.raises(StoreMismatchError):
            store.upsert(MINE, [row(MINE, "a")], vectors(1))


def test_a_scan_ends_where_the_data_are_removed_meanwhile(
    tmp_path: Path, store: ChromaStore
) -> None:
    """Fails: a scan that outlives its collection raises something that is no StoreError."""
    scan = store.scan(reading("acme"))
    assert [next(scan), next(scan)] == five(MINE)[:2]
    store.close()
    shutil.rmtree(tmp_path / "files")
    assert list(scan) == []
