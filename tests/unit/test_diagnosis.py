"""The diagnosis of embedder and store, on stores that are damaged on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.application.guard import GuardedStore
from tenantkb.application.operating.diagnosis import (
    STORE_CHECKS,
    Diagnose,
    check_embedder,
    examine,
)
from tenantkb.domain.checks import Check, State
from tenantkb.domain.context import TenantContext
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import EmbedderError, StoreError, StoreLockedError, StoreMismatchError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId
from tenantkb.ports.embedding import Embedder, Vectors
from tenantkb.ports.engine import Engine, RawRow
from tenantkb.testing.samples import (
    NAMESPACE,
    NOW,
    StoppedClock,
    keyed,
    raw,
    row,
    rows,
    vectors,
    writing,
)

EMBEDDER = HashingEmbedder(4)
OPERATORS_ALONE = STORE_CHECKS[5:]


def context(*roles: Role) -> TenantContext:
    identity = AgentIdentity("acme", "ada", frozenset({Role.AGENT, *roles}))
    return TenantContext.admit(identity, NAMESPACE, NOW)


ADA, OPERATOR = context(), context(Role.OPERATOR)


def diagnosed(
    engine: Engine,
    caller: TenantContext | None = OPERATOR,
    embedder: Embedder = EMBEDDER,
) -> dict[str, Check]:
    """Every check by its name: the embedder, the store's, then the engine's own."""
    store = GuardedStore(engine, StoppedClock(), LoggedIsolationFaults())
    checks = list(Diagnose(store=store, embedder=embedder, collection="knowledge-base")(caller))
    names = [check.name for check in checks]
    assert names[: 1 + len(STORE_CHECKS)] == ["embedder", *STORE_CHECKS]
    assert len(set(names)) == len(names)
    return {check.name: check for check in checks}


def states(checks: dict[str, Check]) -> dict[State, set[str]]:
    """Which of the checks that every store has came to what."""
    found: dict[State, set[str]] = {}
    for check in checks.values():
        if check.name in STORE_CHECKS:
            found.setdefault(check.state, set()).add(check.name)
    return found


def put(engine: Engine, *written: RawRow, vector: Any = None) -> None:
    engine.bind(EMBEDDER.profile)
    given = vectors(len(written)) if vector is None else np.stack([vector] * len(written))
    engine.put(written, given, exact=False)


def nobodys(row_id: str, **metadata: Any) -> RawRow:
    return RawRow("team:acme", ChunkId(row_id), {"content": "nobody's", **metadata})


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made: Engine = (
        MemoryEngine() if request.param == "memory" else SqliteEngine(tmp_path / "store", wait=1)
    )
    yield made
    made.close()


def test_a_sound_store_is_ok_for_an_operator(engine: Engine) -> None:
    put(engine, *map(raw, rows(writing("acme"), 12)), *map(raw, rows(writing("beta"), 3)))
    checks = diagnosed(engine)
    assert states(checks) == {State.OK: set(STORE_CHECKS)}
    assert checks["store.collection"].finding == "knowledge-base exists, in our format"
    assert (
        checks["store.index"].finding
        == "the index finds the rows that the caller may read, 12 in number"
    )
    assert checks["store.vectors"].finding == "15 rows, each with a fitting vector"


def test_an_empty_store_is_ok_and_stays_as_it_is(engine: Engine, tmp_path: Path) -> None:
    checks = diagnosed(engine)
    assert states(checks) == {State.OK: set(STORE_CHECKS)}
    assert checks["store.collection"].finding == "knowledge-base has not been made yet"
    assert not (tmp_path / "store").exists()


def test_who_is_no_operator_learns_nothing_of_what_others_have_stored(engine: Engine) -> None:
    """Fails: a finding tells whether there is anything, or that a foreign row is malformed."""
    put(engine, raw(row(writing("gamma"), "first")))
    few = diagnosed(engine, ADA)
    assert states(few) == {
        State.OK: set(STORE_CHECKS) - {*OPERATORS_ALONE},
        State.SKIPPED: {*OPERATORS_ALONE},
    }
    assert few["store.stamps"].finding == "needs the role operator"
    put(engine, *map(raw, rows(writing("beta"), 3)), nobodys("x"))
    assert diagnosed(engine, ADA) == few


def test_without_a_caller_the_store_is_examined_as_far_as_it_is_opened(engine: Engine) -> None:
    checks = diagnosed(engine, None)
    assert states(checks)[State.SKIPPED] == {"store.index", *OPERATORS_ALONE}
    assert checks["store.index"].remedy == "First do what identity says."


def test_rows_that_nobody_reads_are_told_to_an_operator(engine: Engine) -> None:
    scope = writing("acme")
    put(engine, *map(raw, rows(scope, 3)))
    misplaced = keyed(scope, "y")._replace(label="team:beta")
    malformed = keyed(writing("beta"), "z")
    malformed = malformed._replace(metadata={**malformed.metadata, "rootKind": "moon"})
    put(engine, nobodys("w"), nobodys("x", tenantId="Acme"), misplaced, malformed)
    checks = diagnosed(engine)
    assert states(checks)[State.ERROR] == {"store.stamps"}
    assert checks["store.stamps"].finding == (
        "rows without a well-formed stamp: 2, the first is w; "
        "rows without a well-formed path or field: 1, the first is z; "
        "rows that do not lie where their stamp says: 1, the first is y; nobody can read them"
    )


@pytest.mark.parametrize("other", [HashingEmbedder(5), HashingEmbedder(4)])
def test_another_embedder_is_an_error(engine: Engine, other: HashingEmbedder) -> None:
    named = EmbedderProfile("another", 4) if other.profile == EMBEDDER.profile else EMBEDDER.profile
    engine.bind(named)
    engine.put([raw(row(writing("acme"), "a"))], vectors(1), exact=False)
    checks = diagnosed(engine, ADA, other)
    assert states(checks)[State.ERROR] == {"store.embedder"}
    assert f"not of {other.profile.name}" in checks["store.embedder"].finding


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_an_error(number: float) -> None:
    engine = MemoryEngine()
    put(engine, *map(raw, rows(writing("acme"), 2)))
    stamped = raw(row(writing("acme"), "x"))
    engine.rows[stamped.label][stamped.id] = (
        dict(stamped.metadata),
        np.full(4, number, np.float32),
    )
    found = diagnosed(engine)["store.vectors"]
    assert found.state is State.ERROR
    assert found.finding == (
        f"rows without a finite vector of 4 dimensions: 1, the first is {stamped.id}"
    )


def test_an_index_that_finds_fewer_rows_than_there_are_is_an_error() -> None:
    class Forgetful(MemoryEngine):
        def nearest(self, *arguments: Any) -> Any:
            return super().nearest(*arguments)[1:]

    engine = Forgetful()
    put(engine, *map(raw, rows(writing("acme"), 12)))
    found = diagnosed(engine, ADA)["store.index"]
    assert found.state is State.ERROR
    assert found.finding == "of 12 rows asked for, the index finds 11"


def test_rows_that_are_deleted_meanwhile_are_not_missed() -> None:
    gone = [raw(each).key for each in rows(writing("acme"), 4)]

    class Shrinking(MemoryEngine):
        def nearest(self, *arguments: Any) -> Any:
            self.delete(gone)
            return super().nearest(*arguments)

    engine = Shrinking()
    put(engine, *map(raw, rows(writing("acme"), 9)))
    assert diagnosed(engine, ADA)["store.index"].state is State.OK


@pytest.mark.parametrize(
    ("error", "culprit"),
    [
        (StoreError("gone"), "store.reachable"),
        (StoreError("gone", remedy="a-key-that-nobody-knows"), "store.reachable"),
        (ZeroDivisionError("gone"), "store.reachable"),
        (StoreLockedError("gone"), "store.lock"),
        (StoreMismatchError("gone"), "store.collection"),
    ],
)
def test_a_store_that_cannot_be_opened_is_an_error_where_it_fails(
    error: Exception, culprit: str
) -> None:
    class Failing(MemoryEngine):
        def profile(self) -> Any:
            raise error

    checks = diagnosed(Failing())
    place = STORE_CHECKS.index(culprit)
    assert "gone" in checks[culprit].finding
    assert states(checks) == {
        kind: set(names)
        for kind, names in (
            (State.OK, STORE_CHECKS[:place]),
            (State.ERROR, [culprit]),
            (State.SKIPPED, STORE_CHECKS[place + 1 :]),
        )
        if names
    }


@frozen
class Embedding:
    """An embedder that answers whatever it is asked with one array."""

    answer: Vectors

    @property
    def profile(self) -> EmbedderProfile:
        return EMBEDDER.profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        del texts
        return self.answer


def test_an_embedder_that_keeps_its_contract_is_ok() -> None:
    found = check_embedder("embedder", HashingEmbedder(32), "reinstall it")
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
    found = check_embedder("embedder", Embedding(answer), "reinstall it")
    assert (found.state, found.remedy) == (State.ERROR, "reinstall it")
    assert said in found.finding


def test_an_embedder_that_does_not_load_leaves_the_store_to_be_examined(engine: Engine) -> None:
    class Lost:
        @property
        def profile(self) -> EmbedderProfile:
            raise EmbedderError("it went away")

        def embed(self, texts: Sequence[str]) -> Vectors:
            raise EmbedderError("it went away")

    checks = diagnosed(engine, embedder=Lost())
    assert (checks["embedder"].state, checks["embedder"].finding) == (State.ERROR, "it went away")
    assert checks["store.embedder"].remedy == "First do what embedder says."
    assert checks["store.stamps"].state is State.OK


def raising(error: Exception) -> Callable[[str], Check]:
    def look(_: str) -> Check:
        raise error

    return look


def test_a_check_that_breaks_off_is_an_error_with_its_remedy() -> None:
    known = examine("x", raising(EmbedderError("it went away")), "start it")
    assert known == Check("x", State.ERROR, "it went away", "start it")
    unknown = examine("x", raising(ZeroDivisionError("by zero")), "start it")
    assert unknown == Check("x", State.ERROR, "ZeroDivisionError: by zero", "start it")
