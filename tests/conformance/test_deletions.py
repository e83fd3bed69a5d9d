"""Deletion signals against every store: what goes, what stays, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.state.revisions import SqliteRevisionLog
from tenantkb.adapters.state.spool import SqliteSpool
from tenantkb.application.writing.deletions import ApplyDeletions, DeletionRequest, PlanDeletions
from tenantkb.domain.deletion import DeletionPlan, KnownState
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    DeletionConflictError,
    InvalidInputError,
    InvalidSubmissionError,
    ManifestRequiredError,
    PlanOutdatedError,
    StoreError,
)
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import Row, stamped_row
from tenantkb.domain.tenancy import (
    ACCESS_KEY,
    OperatorScope,
    Visibility,
    WriteScope,
    format_instant,
)
from tenantkb.ports.store import VectorStore
from tests.composition import Silent
from tests.conformance.samples import NOW, TENANCY, identity, put, row, writing
from tests.conformance.stores import make_store, places, store

__all__ = ["make_store", "places", "store"]  # fixtures

ADA = identity("acme")
LATER = NOW + timedelta(hours=1)
FILES = ("a.md", "b.md", "c.md", "d.md", "e.md")


@define
class Clock:
    instant: datetime = LATER

    def now(self) -> datetime:
        return self.instant


@frozen
class History:
    """A version control system that knows one answer and notes what it is asked."""

    deleted: frozenset[str] = frozenset()
    asked: list[tuple[str, str]] = field(factory=list)

    def between(self, base: str, head: str) -> frozenset[str]:
        self.asked.append((base, head))
        return self.deleted


@frozen
class Deletions:
    """Planning and applying around one store; the log is opened anew for each."""

    store: VectorStore
    folder: Path
    clock: Clock = field(factory=Clock)
    faults: LoggedIsolationFaults = field(factory=LoggedIsolationFaults)

    @property
    def log(self) -> SqliteRevisionLog:
        return SqliteRevisionLog(self.folder / "log.sqlite3")

    def plan(
        self,
        signals: dict[str, Any],
        caller: AgentIdentity | None = ADA,
        repo: str = "app",
        history: History | None = None,
        pushed: frozenset[str] = frozenset(),
    ) -> DeletionPlan:
        use_case = PlanDeletions(
            store=self.store, log=self.log, tenancy=TENANCY, clock=self.clock, faults=self.faults
        )
        return use_case(caller, DeletionRequest(repo, signals, pushed), history, Silent())

    def apply(
        self,
        plan: DeletionPlan,
        caller: AgentIdentity | None = ADA,
        store: VectorStore | None = None,
    ) -> int:
        use_case = ApplyDeletions(
            store=store or self.store,
            log=self.log,
            tenancy=TENANCY,
            clock=self.clock,
            faults=self.faults,
            spool=SqliteSpool,
            batch_size=2,
        )
        return use_case(caller, plan, Silent())

    def run(self, signals: dict[str, Any], history: History | None = None) -> int:
        return self.apply(self.plan(signals, history=history))


@pytest.fixture
def deletions(store: VectorStore, tmp_path: Path) -> Deletions:
    fill(store, writing("acme"))
    return Deletions(store, tmp_path)


def fill(store: VectorStore, scope: WriteScope) -> None:
    """One row a file, with ids that no other scope's rows have."""
    put(store, scope, [row(scope, f"{name} for {scope.label}", source=name) for name in FILES])


def stored(store: VectorStore) -> set[tuple[str, ...]]:
    """Every row there is, whosesoever, by tenant, repository, access label and path."""
    operator = OperatorScope.of(
        AgentIdentity("acme", "op", frozenset({Role.OPERATOR})), TENANCY, NOW
    )
    keys = ("tenantId", "repoSlug", ACCESS_KEY, "sourcePath")
    return {tuple(str(found.metadata[key]) for key in keys) for found, _ in store.export(operator)}


def mine(*names: str) -> set[tuple[str, ...]]:
    return {("acme", "app", "team:acme", name) for name in names}


def tombstones(*names: str, repo: str = "app") -> dict[str, Any]:
    return {"deleted": [{"sourcePath": name, "repoSlug": repo} for name in names]}


def manifest(*names: str, created_at: datetime | None = None, repo: str = "app") -> dict[str, Any]:
    snapshot: dict[str, Any] = {"repoSlug": repo, "pathsAfterPush": list(names)}
    if created_at is not None:
        snapshot["createdAt"] = format_instant(created_at)
    return {"manifestSnapshot": snapshot}


def test_the_three_signals_together_delete_what_they_say_and_nothing_of_others(
    deletions: Deletions,
) -> None:
    """Fails: a deletion crosses its (tenant, repository, reader), or a signal has no effect."""
    for scope in (
        writing("acme", visibility=Visibility.PRIVATE, agent="bob"),
        writing("acme", repo="other"),
        writing("beta"),
        writing("neo-shared", repo="neo"),
        writing("neo-shared", repo="app"),
    ):
        fill(deletions.store, scope)
    before = stored(deletions.store)
    deletions.run({"headRevision": "1", **manifest(*FILES)})
    assert stored(deletions.store) == before
    history = History(frozenset({"a.md", "b.md", "never-stored.md"}))
    deleted = deletions.run(
        {
            "baseRevision": "1",
            "headRevision": "2",
            **tombstones("c.md"),
            **manifest("b.md", "d.md"),
        },
        history,
    )
    assert deleted == 3
    assert before - stored(deletions.store) == mine("a.md", "c.md", "e.md")
    assert stored(deletions.store) <= before
    assert history.asked == [("1", "2")]
    known = deletions.log.known("acme", "app")
    assert known.head == "2"
    assert known.manifest is not None
    assert known.manifest.paths == {"b.md", "d.md"}


def test_every_row_of_a_file_goes_whoever_of_the_scope_reads_it(deletions: Deletions) -> None:
    """Fails: only team rows, or only one row a file, are deleted."""
    private = writing("acme", visibility=Visibility.PRIVATE)
    put(deletions.store, private, [row(private, f"section {n}", source="a.md") for n in range(5)])
    assert deletions.run(tombstones("a.md")) == 6


def test_planning_writes_nothing(deletions: Deletions) -> None:
    """Fails: a dry run deletes rows or moves the head."""
    before = stored(deletions.store)
    plan = deletions.plan({"headRevision": "1", **manifest("a.md")})
    assert (plan.deleted, plan.kept, plan.unaffected) == (4, 0, 1)
    assert stored(deletions.store) == before
    assert deletions.log.known("acme", "app") == KnownState()


def test_a_row_that_is_younger_than_the_manifest_stays(deletions: Deletions) -> None:
    """Fails: the instant of a stored row is not read, or not compared."""
    assert deletions.run(manifest(created_at=NOW)) == 0
    assert deletions.run(manifest(created_at=NOW + timedelta(milliseconds=1))) == 5


def test_a_row_without_an_instant_stays_unless_it_is_named(deletions: Deletions) -> None:
    """Fails: an unknown age is taken for a great one."""
    scope = writing("acme")
    undated = row(scope, "old", source="old.md")
    metadata = {key: value for key, value in undated.metadata.items() if key != "ingestedAt"}
    put(deletions.store, scope, [Row(undated.id, metadata)])
    assert deletions.run(manifest(*FILES)) == 0
    assert deletions.run(tombstones("old.md")) == 1


@pytest.mark.parametrize(
    ("signals", "pushed", "error"),
    [
        ({}, (), InvalidSubmissionError),
        ({"headRevision": "1"}, (), InvalidSubmissionError),
        (tombstones("../a.md"), (), InvalidSubmissionError),
        (tombstones("a.md", repo="other"), (), InvalidInputError),
        (manifest(repo="other"), (), InvalidInputError),
        ({**tombstones("a.md"), **manifest("a.md")}, (), DeletionConflictError),
        (tombstones("a.md"), ("a.md",), DeletionConflictError),
        ({"baseRevision": "0", "headRevision": "1"}, (), ManifestRequiredError),
    ],
)
def test_refused_signals_change_nothing(
    deletions: Deletions, signals: dict[str, Any], pushed: Sequence[str], error: type[Exception]
) -> None:
    """Fails: a refusal comes after a write."""
    before = stored(deletions.store)
    with pytest.raises(error):
        deletions.plan(signals, history=History(frozenset(FILES)), pushed=frozenset(pushed))
    assert stored(deletions.store) == before
    assert deletions.log.known("acme", "app") == KnownState()


@pytest.mark.parametrize(
    ("caller", "error"),
    [
        (None, AuthenticationError),
        (AgentIdentity("acme", "ada", expires_at=NOW), AuthenticationError),
        (AgentIdentity("neo-shared", "eve"), AccessDeniedError),
    ],
)
def test_nobody_plans_or_applies_without_the_right(
    deletions: Deletions, caller: AgentIdentity | None, error: type[Exception]
) -> None:
    """Fails: the scope is not made from the caller."""
    plan = deletions.plan(tombstones("a.md"))
    with pytest.raises(error):
        deletions.plan(tombstones("a.md"), caller)
    with pytest.raises(error):
        deletions.apply(plan, caller)


def test_a_plan_is_of_no_use_to_another_tenant(deletions: Deletions) -> None:
    """Fails: a plan carries a privilege of its own."""
    before = stored(deletions.store)
    plan = deletions.plan(tombstones("a.md"))
    with pytest.raises(AccessDeniedError):
        deletions.apply(plan, identity("beta"))
    assert stored(deletions.store) == before


def test_a_plan_that_another_push_has_overtaken_is_refused(deletions: Deletions) -> None:
    """Fails: the head goes back to an older one, or rows go that came back since."""
    deletions.run({"headRevision": "1", **manifest(*FILES)})
    old = deletions.plan(
        {"baseRevision": "1", "headRevision": "2"}, history=History(frozenset({"a.md"}))
    )
    deletions.run({"baseRevision": "1", "headRevision": "3"}, History())
    with pytest.raises(PlanOutdatedError, match="nothing was deleted"):
        deletions.apply(old)
    assert deletions.log.known("acme", "app").head == "3"
    assert stored(deletions.store) == mine(*FILES)


class Overtaken:
    """A store during whose deletions another push is applied."""

    def __init__(self, store: VectorStore, other_push: Any) -> None:
        self._store = store
        self._other_push = other_push

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, scope: WriteScope, ids: Sequence[str]) -> int:
        self._other_push()
        return self._store.delete(scope, ids)


def test_a_push_that_is_overtaken_while_it_is_applied_leaves_the_other_head(
    deletions: Deletions,
) -> None:
    """Fails: the last one to finish records its head over one that it has not seen."""
    deletions.run({"headRevision": "1", **manifest(*FILES)})
    slow = deletions.plan(
        {"baseRevision": "1", "headRevision": "2"}, history=History(frozenset({"a.md"}))
    )

    def other_push() -> None:
        deletions.run({"baseRevision": "1", "headRevision": "3"}, History())

    overtaken: Any = Overtaken(deletions.store, other_push)
    with pytest.raises(PlanOutdatedError):
        deletions.apply(slow, store=overtaken)
    assert deletions.log.known("acme", "app").head == "3"


class Failing:
    """A store that fails at its n-th deletion."""

    def __init__(self, store: VectorStore, good: int) -> None:
        self._store = store
        self._good = good

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, scope: WriteScope, ids: Sequence[str]) -> int:
        if not self._good:
            raise StoreError("the store went away")
        self._good -= 1
        return self._store.delete(scope, ids)


@pytest.mark.parametrize("batches", [0, 1])
def test_after_a_failure_the_head_stands_and_the_same_signals_finish_the_job(
    deletions: Deletions, batches: int
) -> None:
    """Fails: the head moves before the last row is gone, and the rest is never deleted."""
    deletions.run({"headRevision": "1", **manifest(*FILES)})
    signals = {"baseRevision": "1", "headRevision": "2", **tombstones("d.md")}
    history = History(frozenset({"a.md", "b.md"}))
    failing: Any = Failing(deletions.store, batches)
    with pytest.raises(StoreError, match="went away"):
        deletions.apply(deletions.plan(signals, history=history), store=failing)
    assert deletions.log.known("acme", "app").head == "1"
    assert deletions.run(signals, history) == 3 - 2 * batches
    assert deletions.log.known("acme", "app").head == "2"
    assert deletions.run(signals, history) == 0
    assert stored(deletions.store) & mine(*FILES) == mine("c.md", "e.md")


def test_rows_that_were_written_after_the_plan_are_judged_when_it_is_applied(
    deletions: Deletions,
) -> None:
    """Fails: a plan trusts the rows that it saw, not the store."""
    plan = deletions.plan(manifest("a.md"))
    scope = writing("acme")
    chunk = {"type": "guide", "name": "new", "content": "text", "source": "new.md"}
    put(deletions.store, scope, [stamped_row(chunk, scope, RootKind.BARE_REPO, LATER)])
    assert deletions.apply(plan) == 4
    assert stored(deletions.store) == mine("a.md", "new.md")


def test_a_boundary_needs_a_history(deletions: Deletions) -> None:
    """Fails: a boundary whose paths nobody knows is taken for an empty one."""
    deletions.run({"headRevision": "1", **manifest(*FILES)})
    with pytest.raises(InvalidInputError, match="history"):
        deletions.plan({"baseRevision": "1", "headRevision": "2"})


def test_a_manifest_from_the_future_is_one_of_now(deletions: Deletions) -> None:
    """Fails: a client's clock decides over rows that the server has yet to write."""
    deletions.run(manifest(*FILES, created_at=LATER + timedelta(days=1)))
    known = deletions.log.known("acme", "app")
    assert known.manifest is not None
    assert known.manifest.made_at == LATER


def test_a_row_that_the_store_should_not_have_answered_is_counted_and_kept(
    deletions: Deletions,
) -> None:
    """Fails: deletion trusts the store's filter alone."""
    foreign = row(writing("beta"), "a.md", source="a.md")
    put(deletions.store, writing("beta"), [foreign])

    class Leaking(Overtaken):
        def scan(self, scope: WriteScope) -> Any:
            yield foreign
            yield from self._store.scan(scope)

    leaking: Any = Leaking(deletions.store, lambda: None)
    plan = deletions.plan(tombstones("a.md"))
    assert deletions.apply(plan, store=leaking) == 1
    assert deletions.faults.count() == 1
    assert ("beta", "app", "team:beta", "a.md") in stored(deletions.store)
