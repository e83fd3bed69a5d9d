"""Deletion signals as a push brings them: planned for one caller, then applied."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.writing.deletions import DeletionRequest, parse_signals
from tenantkb.domain.context import TenantContext
from tenantkb.domain.deletion import DeletionPlan, KnownState, ManifestSnapshot, Verdict
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    DeletionGuardError,
    InvalidInputError,
    InvalidSubmissionError,
    PlanOutdatedError,
    Remedy,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.stamps import Visibility, format_instant
from tenantkb.testing.samples import NOW, Passing, StoppedClock
from tenantkb.testing.wrappers import recorded
from tests.composition import ADA, BOB, CURATOR, EVE, Application, compose

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def app(tmp_path: Path, clock: StoppedClock) -> Application:
    return compose(tmp_path / "state", MemoryEngine(), clock=clock)


def chunks(path: str, count: int = 1) -> list[dict[str, Any]]:
    return [
        {"type": "guide", "name": f"{path} {number}", "content": "text", "source": path}
        for number in range(count)
    ]


def request(context: TenantContext, *, repo: str = "app", **document: Any) -> DeletionRequest:
    return DeletionRequest(repo, parse_signals(document, context))


def tombstones(*paths: str) -> dict[str, Any]:
    return {"deleted": [{"repoSlug": "app", "sourcePath": path} for path in paths]}


def manifest(*paths: str, **more: Any) -> dict[str, Any]:
    return {"manifestSnapshot": {"repoSlug": "app", "pathsAfterPush": list(paths), **more}}


def planned(app: Application, caller: AgentIdentity = ADA, **document: Any) -> DeletionPlan:
    context = app.context(caller)
    return app.knowledge_base.plan_deletions(context, request(context, **document))


def applied(app: Application, plan: DeletionPlan, caller: AgentIdentity = ADA, **how: Any) -> int:
    return app.knowledge_base.apply_deletions(app.context(caller), plan, **how)


def paths(app: Application) -> list[tuple[str, str]]:
    """Label and path of everything that is stored."""
    return sorted((raw.label, raw.metadata["sourcePath"]) for raw, _ in app.engine.export())


def test_only_the_callers_repository_and_what_it_may_see_there_is_planned_and_deleted(
    app: Application,
) -> None:
    app.embed(ADA, chunks("a.md", 2) + chunks("b.md"))
    app.embed(ADA, chunks("a.md", 9)[8:], visibility=Visibility.PRIVATE)
    app.embed(BOB, chunks("a.md", 8)[7:], visibility=Visibility.PRIVATE)
    app.embed(ADA, chunks("a.md"), "other")
    app.embed(EVE, chunks("a.md"))
    app.embed(CURATOR, chunks("a.md"))
    plan = planned(app, **tombstones("a.md", "gone.md"))
    assert [(path.source_path, path.rows) for path in plan.paths] == [("a.md", 3)]
    assert (plan.deleted, plan.kept, plan.unaffected) == (3, 0, 1)
    assert applied(app, plan, confirmed=True) == 3
    assert paths(app) == [
        ("private:acme:bob", "a.md"),
        ("team:acme", "a.md"),
        ("team:acme", "b.md"),
        ("team:beta", "a.md"),
        ("team:neo-shared", "a.md"),
    ]


def test_a_deletion_begins_as_every_job_that_writes(tmp_path: Path) -> None:
    """Fails: where a killed one has deleted all, what it left beside the rows stays for good."""
    engine, calls = recorded(MemoryEngine())
    app = compose(tmp_path / "state", engine)
    app.embed(ADA, chunks("a.md"))
    calls.clear()
    applied(app, planned(app, **tombstones("b.md")))
    bound = [call.arguments for call in calls if call.name == "bind"]
    assert bound == [(engine.profile(), engine.ids())]
    assert not [call for call in calls if call.name == "delete"]


def test_a_plan_tells_nothing_of_another_agents_private_rows(app: Application) -> None:
    """Fails: a path, a count or a digest differs by rows that the caller may not see."""
    app.embed(ADA, chunks("a.md"))
    before = planned(app, **manifest("a.md"))
    app.embed(BOB, chunks("secret/plan.md", 3), visibility=Visibility.PRIVATE)
    assert planned(app, **manifest("a.md")) == before


def test_a_plan_does_not_tell_what_others_listed_before(app: Application) -> None:
    applied(app, planned(app, BOB, **manifest("secret/plan.md")), BOB)
    plan = planned(app, EVE, **manifest("a.md"))
    plan = planned(app, ADA, **manifest("a.md"))
    assert "secret" not in repr(plan)
    known = app.state.known("acme", "app")
    assert known.manifest is not None
    other = KnownState(known.head, evolve(known.manifest, paths=frozenset({"x.md"})))
    assert plan.known_digest == known.digest == other.digest


@pytest.mark.parametrize("ahead", [SECOND, timedelta(days=365)])
def test_a_manifest_of_the_future_is_one_of_now(
    app: Application, clock: StoppedClock, ahead: timedelta
) -> None:
    """Fails: rows go that were written after the files were listed."""
    app.embed(ADA, chunks("a.md"))
    plan = planned(app, **manifest(createdAt=format_instant(NOW + ahead)))
    assert [path.verdict for path in plan.paths] == [Verdict.YOUNGER]
    assert plan.signals.manifest == ManifestSnapshot("app", frozenset(), NOW)
    assert applied(app, plan) == 0
    clock.instant += SECOND
    assert applied(app, planned(app, **manifest()), confirmed=True) == 1


def test_a_manifest_that_does_not_say_when_it_was_made_was_made_at_the_admission(
    app: Application, clock: StoppedClock
) -> None:
    context = app.context(ADA)
    clock.instant += SECOND
    [signal] = parse_signals(manifest("a.md"), context)
    assert signal == ManifestSnapshot("app", frozenset({"a.md"}), NOW)


def test_signals_that_do_not_fulfil_their_contract_are_refused_by_pointer(
    app: Application,
) -> None:
    with pytest.raises(InvalidSubmissionError) as refused:
        request(app.context(ADA), **tombstones("../a.md"))
    assert [problem.pointer for problem in refused.value.problems] == ["/deleted/0/sourcePath"]


def test_more_than_the_allowed_share_is_deleted_only_if_it_is_confirmed(app: Application) -> None:
    app.embed(ADA, chunks("a.md", 6) + chunks("b.md", 4))
    plan = planned(app, **tombstones("a.md"))
    with pytest.raises(DeletionGuardError, match="6 of 10 rows") as refused:
        applied(app, plan)
    assert refused.value.remedy == Remedy.CONFIRM_DELETION
    assert len(paths(app)) == 10
    assert applied(app, plan, deletable_share=0.6) == 6


def test_what_was_stored_since_the_plan_is_counted_before_anything_is_deleted(
    app: Application,
) -> None:
    """Fails: a plan that would delete little is applied to rows that make it delete nearly all."""
    app.embed(ADA, chunks("a.md") + chunks("b.md", 4))
    plan = planned(app, **tombstones("a.md"))
    app.embed(ADA, chunks("a.md", 20))
    with pytest.raises(DeletionGuardError):
        applied(app, plan)
    assert len(paths(app)) == 24
    assert applied(app, plan, confirmed=True) == 20


def test_a_plan_is_outdated_once_another_push_was_applied(
    app: Application, clock: StoppedClock
) -> None:
    app.embed(ADA, chunks("a.md", 2))
    outdated = planned(app, **tombstones("a.md"))
    clock.instant += SECOND
    current = planned(app, **manifest("a.md"), headRevision="1")
    assert applied(app, current) == 0
    assert applied(app, current) == 0, "what has been applied may be applied again"
    with pytest.raises(PlanOutdatedError) as refused:
        applied(app, outdated, confirmed=True)
    assert refused.value.remedy == Remedy.PLAN_AGAIN
    assert len(paths(app)) == 2
    assert app.state.known("acme", "app").head == "1"


def test_a_plan_is_for_the_tenant_that_made_it(app: Application) -> None:
    app.embed(ADA, chunks("a.md"))
    plan = planned(app, **tombstones("a.md"))
    for stranger in (EVE, CURATOR):
        with pytest.raises(AccessDeniedError):
            applied(app, plan, stranger, confirmed=True)
    with pytest.raises(AuthenticationError):
        app.knowledge_base.apply_deletions(None, plan)  # type: ignore[arg-type] # what the test is about
    assert len(paths(app)) == 1


def test_a_boundary_needs_the_history_of_the_repository(
    app: Application, clock: StoppedClock
) -> None:
    applied(app, planned(app, **manifest("a.md"), headRevision="1"))
    clock.instant += SECOND
    with pytest.raises(InvalidInputError, match="history"):
        planned(app, baseRevision="1", headRevision="2")


def test_a_deletion_that_was_admitted_in_time_finishes_within_its_time(
    app: Application, clock: StoppedClock
) -> None:
    app.container.job_seconds.override(60.0)
    app.embed(ADA, chunks("a.md", 2))
    context = app.context(evolve(ADA, expires_at=NOW + SECOND))
    plan = app.knowledge_base.plan_deletions(context, request(context, **tombstones("a.md")))
    apply = app.knowledge_base.apply_deletions
    with pytest.raises(AuthenticationError, match="expired"):
        apply(context, plan, Passing(clock, 60), confirmed=True)
    clock.instant = NOW
    assert apply(context, plan, Passing(clock, 59), confirmed=True) == 2
    with pytest.raises(AuthenticationError, match="expired"):  # nothing begins any more
        apply(context, plan, confirmed=True)
    with pytest.raises(AuthenticationError, match="expired"):
        app.knowledge_base.plan_deletions(context, request(context, **tombstones("a.md")))
