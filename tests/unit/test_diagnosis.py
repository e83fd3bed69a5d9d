"""The diagnosis of embedder and store, on stores that are damaged on purpose."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve, frozen

from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.adapters.stores.chroma_connection import PathConnection
from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.application.operating.diagnosis import (
    STORE_CHECKS,
    DiagnoseStore,
    check_embedder,
    examine,
)
from tenantkb.domain.checks import Check, State
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import EmbedderError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import VectorStore
from tests.conformance.samples import NOW, PROFILE, TENANCY, put, row, rows, unit, vectors, writing
from tests.fail_closed import raw

ADA = AgentIdentity("acme", "ada")
OPERATOR = AgentIdentity("acme", "ada", frozenset({Role.AGENT, Role.OPERATOR}))
OPERATORS_ALONE = STORE_CHECKS[5:]


class Stopped:
    """A clock that stands still."""

    def now(self) -> Any:
        return NOW


def diagnosed(
    store: VectorStore,
    identity: AgentIdentity | None = OPERATOR,
    embedder: EmbedderProfile | None = PROFILE,
) -> dict[str, Check]:
    diagnose = DiagnoseStore(
        store=store,
        tenancy=TENANCY,
        clock=Stopped(),
        collection="knowledge-base",
        if_unreachable="start it",
        if_damaged="renew it",
    )
    checks = list(diagnose(identity, embedder))
    assert tuple(check.name for check in checks) == STORE_CHECKS
    return {check.name: check for check in checks}


def states(checks: dict[str, Check]) -> dict[State, set[str]]:
    found: dict[State, set[str]] = {}
    for check in checks.values():
        found.setdefault(check.state, set()).add(check.name)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(params=["memory", "chroma"])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[VectorStore]:
    opened = MemoryStore() if request.param == "memory" else ChromaStore.at_path(folder)
    yield opened
    opened.close()


def test_a_sound_store_is_ok_for_an_operator(store: VectorStore) -> None:
    put(store, writing("acme"), rows(writing("acme"), 12))
    put(store, writing("beta"), rows(writing("beta"), 3))
    checks = diagnosed(store)
    assert states(checks) == {State.OK: set(STORE_CHECKS)}
    assert checks["store.collection"].finding == "knowledge-base exists, in our format"
    assert (
        checks["store.index"].finding
        == "the index finds the rows that the caller may read, 12 in number"
    )
    assert checks["store.vectors"].finding == "15 rows, each with a fitting vector"


def test_an_empty_store_is_ok_and_stays_as_it_is(store: VectorStore, folder: Path) -> None:
    checks = diagnosed(store)
    assert states(checks) == {State.OK: set(STORE_CHECKS)}
    assert checks["store.collection"].finding == "knowledge-base has not been made yet"
    assert not folder.exists()


def test_who_is_no_operator_learns_nothing_of_what_others_have_stored(store: VectorStore) -> None:
    """Fails: a finding tells whether there is anything, or that a foreign row is malformed."""
    empty = diagnosed(store, ADA)
    assert states(empty) == {
        State.OK: set(STORE_CHECKS) - {*OPERATORS_ALONE},
        State.SKIPPED: {*OPERATORS_ALONE},
    }
    assert empty["store.stamps"].finding == "needs the role operator"
    put(store, writing("beta"), rows(writing("beta"), 3))
    raw.plant(store, "x", {"content": "nobody's"}, unit(1, 0, 0, 0))
    raw.plant(store, "y", {**row(writing("beta"), "y").metadata, "access": "team:acme"},
              unit(1, 0, 0, 0))  # fmt: skip
    assert diagnosed(store, ADA) == empty


def test_without_a_caller_the_store_is_examined_as_far_as_it_is_opened(store: VectorStore) -> None:
    checks = diagnosed(store, None)
    assert states(checks)[State.SKIPPED] == {"store.index", *OPERATORS_ALONE}
    assert checks["store.index"].remedy == "First do what identity says."


def test_rows_that_nobody_reads_are_told_to_an_operator(store: VectorStore) -> None:
    scope = writing("acme")
    put(store, scope, rows(scope, 3))
    raw.plant(store, "x", {"content": "no stamp"}, unit(1, 0, 0, 0))
    raw.plant(store, "y", {**row(scope, "y").metadata, "access": "team:beta"}, unit(1, 0, 0, 0))
    raw.plant(store, "z", {**row(scope, "z").metadata, "tenantId": "Acme"}, unit(1, 0, 0, 0))
    checks = diagnosed(store)
    assert states(checks)[State.ERROR] == {"store.stamps"}
    assert checks["store.stamps"].finding == (
        "rows without a well-formed stamp: 2, the first is x; "
        "rows whose access label is not their stamp's: 1, the first is y; nobody can read them"
    )
    assert "--adopt TENANT/REPO" in str(checks["store.stamps"].remedy)


def test_another_embedder_is_an_error(store: VectorStore) -> None:
    put(store, writing("acme"), rows(writing("acme"), 1))
    for other in (evolve(PROFILE, name="other"), evolve(PROFILE, dimension=5)):
        checks = diagnosed(store, ADA, other)
        assert states(checks)[State.ERROR] == {"store.embedder"}
        assert f"not of {other.name} ({other.dimension})" in checks["store.embedder"].finding
    assert diagnosed(store, ADA, None)["store.embedder"].remedy == "First do what embedder says."


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_an_error(number: float) -> None:
    store = MemoryStore()
    put(store, writing("acme"), rows(writing("acme"), 2))
    raw.plant(store, "x", row(writing("acme"), "x").metadata, np.full(4, number, np.float32))
    found = diagnosed(store)["store.vectors"]
    assert (found.state, found.remedy) == (State.ERROR, "renew it")
    assert found.finding == "rows without a finite vector of 4 dimensions: 1, the first is x"


@pytest.mark.parametrize("count", [5, 1200])
def test_a_row_that_the_index_has_lost_is_an_error(folder: Path, count: int) -> None:
    """The metadata has the row; its vector, not yet in the index, is gone from Chroma's log."""
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as store:
        put(store, scope, rows(scope, count))
        put(store, scope, [row(scope, "lost")])
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as database, database:
        last = "SELECT max(seq_id) FROM embeddings_queue"
        database.execute(f"DELETE FROM embeddings_queue WHERE seq_id = ({last})")
    with closing(ChromaStore.at_path(folder)) as store:
        assert diagnosed(store, ADA)["store.index"].state is State.ERROR
        checks = diagnosed(store)
        assert "is damaged" in checks["store.index"].finding
        assert checks["store.index"].remedy == "renew it"
        assert checks["store.vectors"].state is State.ERROR
        assert checks["store.stamps"].remedy == "First do what store.vectors says."


def test_an_index_that_finds_fewer_rows_than_there_are_is_an_error() -> None:
    class Forgetful(MemoryStore):
        def query(self, *arguments: Any, **named: Any) -> Any:
            return super().query(*arguments, **named)[1:]

    store = Forgetful()
    put(store, writing("acme"), rows(writing("acme"), 12))
    found = diagnosed(store, ADA)["store.index"]
    assert found.state is State.ERROR
    assert found.finding == "of 12 rows asked for, the index finds 11"


def test_rows_that_are_deleted_meanwhile_are_not_missed() -> None:
    class Shrinking(MemoryStore):
        def query(self, *arguments: Any, **named: Any) -> Any:
            self.delete(writing("acme"), [each.id for each in rows(writing("acme"), 4)])
            return super().query(*arguments, **named)

    store = Shrinking()
    put(store, writing("acme"), rows(writing("acme"), 9))
    assert diagnosed(store, ADA)["store.index"].state is State.OK


@contextmanager
def collection_made_by(folder: Path, metadata: dict[str, Any], space: str) -> Iterator[ChromaStore]:
    """A store whose collection somebody else has made, with two rows of three dimensions."""
    configuration: Any = {"hnsw": {"space": space}}
    connection = PathConnection(folder, patience=5)
    with closing(connection), connection.writing() as client:
        made = client.create_collection(
            "knowledge-base",
            configuration=configuration,
            metadata=metadata,
            embedding_function=None,
        )
        stamped: list[Any] = [dict(row(writing("acme"), str(n)).metadata) for n in range(2)]
        made.add(ids=["a", "b"], embeddings=np.eye(2, 3, dtype=np.float32), metadatas=stamped)
    with closing(ChromaStore.at_path(folder)) as store:
        yield store


OURS = {"tenantkb.format": 1, "tenantkb.embedder": PROFILE.name, "tenantkb.dimension": 4}


@pytest.mark.parametrize(
    ("metadata", "space", "said"),
    [
        ({**OURS, "tenantkb.format": 2}, "cosine", "another version"),
        ({"made": "elsewhere"}, "cosine", "another program"),
        (OURS, "l2", "compares by l2"),
    ],
)
def test_a_collection_of_another_format_is_an_error(
    folder: Path, metadata: dict[str, Any], space: str, said: str
) -> None:
    with collection_made_by(folder, metadata, space) as store:
        checks = diagnosed(store, ADA)
    assert states(checks) == {
        State.OK: {"store.reachable", "store.lock"},
        State.ERROR: {"store.collection"},
        State.SKIPPED: {*STORE_CHECKS[3:]},
    }
    assert said in checks["store.collection"].finding


def test_vectors_of_another_dimension_than_the_collections_are_an_error(folder: Path) -> None:
    with collection_made_by(folder, OURS, "cosine") as store:
        checks = diagnosed(store)
    assert states(checks)[State.ERROR] == {"store.index", "store.vectors"}
    assert checks["store.vectors"].finding == (
        "rows without a finite vector of 4 dimensions: 2, the first is a"
    )
    assert checks["store.stamps"].state is State.OK


def test_files_that_are_no_database_are_an_error(folder: Path) -> None:
    folder.mkdir()
    (folder / "chroma.sqlite3").write_bytes(b"no database" * 1000)
    with closing(ChromaStore.at_path(folder)) as store:
        checks = diagnosed(store)
    assert checks["store.reachable"].state is State.ERROR
    assert checks["store.reachable"].remedy == "start it"
    assert states(checks)[State.SKIPPED] == {*STORE_CHECKS[1:]}


def test_a_locked_store_is_an_error_that_names_the_writer(folder: Path) -> None:
    with closing(ChromaStore.at_path(folder)) as writer:
        put(writer, writing("acme"), rows(writing("acme"), 1))
        reader = ChromaStore(PathConnection(folder, patience=0.1))
        checks = diagnosed(reader)
        reader.close()
    assert checks["store.reachable"].state is State.OK
    assert "is being written by" in checks["store.lock"].finding
    assert states(checks)[State.SKIPPED] == {*STORE_CHECKS[2:]}


@frozen
class Embedding:
    """An embedder that answers whatever it is asked with one array."""

    answer: Vectors

    @property
    def profile(self) -> EmbedderProfile:
        return PROFILE

    def embed(self, texts: Sequence[str]) -> Vectors:
        del texts
        return self.answer


def test_an_embedder_that_keeps_its_contract_is_ok() -> None:
    found = check_embedder("embedder", lambda: HashingEmbedder(32), "reinstall it")
    assert found.state is State.OK
    assert found.finding.endswith("32 dimensions")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (vectors(2), "an array of shape (2, 4)"),
        (vectors(1, dimension=5), "an array of shape (1, 5)"),
        (vectors(1) * np.float32(np.nan), "NaN or infinity"),
        (vectors(1) * np.float32(2), "the length 2.000, not 1"),
    ],
)
def test_an_embedder_that_breaks_its_contract_is_an_error(answer: Vectors, said: str) -> None:
    found = check_embedder("embedder", lambda: Embedding(answer), "reinstall it")
    assert (found.state, found.remedy) == (State.ERROR, "reinstall it")
    assert said in found.finding


def raising(error: Exception) -> Callable[[str], Check]:
    def look(_: str) -> Check:
        raise error

    return look


def test_a_check_that_breaks_off_is_an_error_with_its_remedy() -> None:
    known = examine("x", raising(EmbedderError("it went away")), "start it")
    assert known == Check("x", State.ERROR, "it went away", "start it")
    unknown = examine("x", raising(ZeroDivisionError("by zero")), "start it")
    assert unknown == Check("x", State.ERROR, "ZeroDivisionError: by zero", "start it")


def test_a_row_whose_stamp_gives_no_label_is_as_it_should_be(store: VectorStore) -> None:
    """Older systems left private rows without their agent: nobody reads them, by the rule."""
    put(store, writing("acme"), rows(writing("acme"), 1))
    stamped = {**row(writing("acme"), "x").metadata, "visibility": "private"}
    del stamped["access"]
    raw.plant(store, "x", stamped, unit(1, 0, 0, 0))
    assert diagnosed(store)["store.stamps"].state is State.OK
