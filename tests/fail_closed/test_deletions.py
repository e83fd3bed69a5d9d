"""Deletion signals, and everything else that deletes: one (tenant, repository), and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest

from tenantkb.domain.errors import AccessDeniedError, TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.tenancy import Visibility, WriteScope
from tests.fail_closed import checks, raw
from tests.fail_closed.findings import Findings
from tests.fail_closed.forgeries import OBJECTS, TEXTS
from tests.fail_closed.model import ADA, BOB, CORA, CORPUS, EVE, PEOPLE, chunk
from tests.fail_closed.sabotage import BROKEN_FILTERS
from tests.fail_closed.test_cases import NOBODIES
from tests.fail_closed.test_sabotage import broken_store
from tests.fail_closed.world import TWIN, World

CASE = "8 sync and deletion leave others as they were"
PLACES = ((ADA, "app"), (BOB, "app"), (BOB, "notes"), (EVE, "app"), (CORA, CORPUS))


Empty = Callable[[World, AgentIdentity, str], None]


def empty_by_sync(world: World, who: AgentIdentity, repo: str) -> None:
    """What was private becomes the team's on the way, and the other way round."""
    world.sync(who, repo, [chunk("secret-new.")], private=True)
    world.sync(who, repo, [chunk("secret-newer.")])
    world.sync(who, repo, [])


def empty_by_manifest(world: World, who: AgentIdentity, repo: str) -> None:
    world.signal(who, repo, [], gone=False)


def empty_by_tombstones(world: World, who: AgentIdentity, repo: str) -> None:
    """Every path that anybody has is said to be gone."""
    paths = {str(row.chunk["source"]) for row in world.model.values()}
    world.signal(who, repo, paths, gone=True)


EMPTYING = pytest.mark.parametrize(
    ("writer", "empty"),
    [
        ("Sync", empty_by_sync),
        ("ApplyDeletions", empty_by_manifest),
        ("ApplyDeletions", empty_by_tombstones),
    ],
)


@pytest.mark.case(CASE)
@EMPTYING
def test_emptying_a_repository_leaves_all_others_as_they_were(
    world: World, findings: Findings, writer: str, empty: Empty
) -> None:
    """Fails: rows of others were deleted, replaced or stamped anew."""
    for who, repo in PLACES:
        findings.answers[writer] += len(world.model)
        checks.empties_its_own_rows_alone(world, who, repo, empty)


@pytest.mark.case("10 sabotage")
@EMPTYING
def test_with_a_broken_filter_nothing_of_others_is_deleted(
    world: World, findings: Findings, writer: str, empty: Empty
) -> None:
    """Fails: what a scan answers is deleted without WriteScope.covers."""
    places = (EVE, "app"), (ADA, "app"), (CORA, CORPUS)
    for sabotage, (who, repo) in zip(BROKEN_FILTERS, places, strict=True):
        faults = world.faults()
        before, mine = raw.stored(world.store), checks.covered(world, who, repo)
        assert mine
        with broken_store(sabotage, world), suppress(AssertionError):  # own rows are overlooked
            empty(world, who, repo)
        after = raw.stored(world.store)
        others = {key: found for key, found in before.items() if key not in mine}
        assert {key: after.get(key) for key in others} == others
        assert world.faults() > faults
        findings.caught[writer] += 1


@pytest.mark.case("10 sabotage")
@EMPTYING
def test_without_the_check_of_what_a_scope_covers_the_suite_sees_what_is_lost(
    world: World, findings: Findings, writer: str, empty: Empty
) -> None:
    """Fails: the suite's eyes are bad: rows of others were deleted and it found none missing."""
    with broken_store("removed", world), pytest.MonkeyPatch.context() as patch:
        patch.setattr(WriteScope, "covers", lambda self, metadata: True)
        with pytest.raises(AssertionError):
            checks.empties_its_own_rows_alone(world, EVE, "app", empty)
    findings.caught[writer] += 1


@pytest.mark.case(CASE, facade="the store")
def test_a_deletion_by_id_takes_only_what_its_scope_covers(
    world: World, findings: Findings
) -> None:
    """Fails: ids alone decide what a store deletes."""
    now, tenancy = world.app.container.clock().now(), world.app.container.tenancy()
    for who in PEOPLE[:3]:
        scope = WriteScope.of(who, tenancy, now, repo_slug="app", visibility=Visibility.TEAM)
        before = raw.stored(world.store)
        gone = set(world.model.remove(who, "app", world.ids()))
        assert world.store.delete(scope, list(before)) == len(gone)
        after = raw.stored(world.store)
        assert after == {key: found for key, found in before.items() if key not in gone}
        findings.answers["the store"] += len(before)


@pytest.mark.case("non-interference: others change nothing by a byte", facade="PlanDeletions")
def test_a_plan_tells_nothing_of_others(world: World, findings: Findings) -> None:
    """Fails: a count or a path of a plan comes from rows that the caller may not delete."""
    paths = [str(row.chunk["source"]) for row in world.model.values()]
    signals = manifest("app", [TWIN["source"]]), tombstones("app", paths), manifest("app", [])
    before = [world.plan_deletions(EVE, "app", each).paths for each in signals]
    for who in (ADA, BOB, AgentIdentity("beta", "bea")):
        more = [chunk(f"secret-of-{who.agent_id}."), {**TWIN, "content": "other words"}]
        world.embed(who, "app", more, private=who is not ADA)
    assert [world.plan_deletions(EVE, "app", each).paths for each in signals] == before
    own = {str(world.model[key].chunk["source"]) for key in checks.covered(world, EVE, "app")}
    assert {path.source_path for path in before[1]} == own
    findings.answers["PlanDeletions"] += 2 * len(signals)


@pytest.mark.case("no valid identity", facade="PlanDeletions")
@pytest.mark.parametrize("nobody", NOBODIES)
def test_without_a_valid_identity_nothing_is_planned_or_deleted(
    shared_world: World, findings: Findings, nobody: str
) -> None:
    """Fails: a deletion has no scope; see WriteScope.of."""
    before = raw.stored(shared_world.store)
    plan = shared_world.plan_deletions(EVE, "app", manifest("app", []))
    with pytest.raises(TenantKbError, match=r"identity|curator"):
        shared_world.plan_deletions(NOBODIES[nobody], "app", manifest("app", []))
    with pytest.raises(TenantKbError, match=r"identity|curator"):
        shared_world.apply_deletions(NOBODIES[nobody], plan)
    assert raw.stored(shared_world.store) == before
    findings.answers["PlanDeletions"] += 2


@pytest.mark.case("forged arguments", facade="ApplyDeletions")
def test_a_plan_of_another_tenant_is_not_applied(world: World, findings: Findings) -> None:
    """Fails: whose rows go is what a plan says, and not who applies it."""
    before = raw.stored(world.store)
    plan = world.plan_deletions(ADA, "app", manifest("app", []))
    for who in (EVE, CORA):
        with pytest.raises(AccessDeniedError):
            world.apply_deletions(who, plan)
        findings.answers["ApplyDeletions"] += 1
    assert raw.stored(world.store) == before
    forged = attrs.evolve(plan, tenant_id="beta", repo_slug="app")
    others = {key: found for key, found in before.items() if world.model[key].tenant != "beta"}
    world.apply_deletions(EVE, forged)
    after = raw.stored(world.store)
    assert {key: after.get(key) for key in others} == others
    findings.answers["ApplyDeletions"] += 1


@pytest.mark.case("forged arguments", facade="ApplyDeletions")
def test_forged_signals_delete_nothing_of_others(world: World, findings: Findings) -> None:
    """Fails: a part of a signal is more than a text to compare with."""
    before = raw.stored(world.store)
    mine = checks.covered(world, EVE, "app")
    others = {key: found for key, found in before.items() if key not in mine}
    for value in (*TEXTS, *OBJECTS, None):
        for repo, signals in (
            (value, tombstones("app", [TWIN["source"]])),
            ("app", value),
            ("app", manifest(value, [])),
            ("app", tombstones(value, [TWIN["source"]])),
            ("app", tombstones("app", [value])),
            ("app", manifest("app", value)),
            ("app", manifest("app", [value])),
        ):
            with suppress(TenantKbError):
                world.apply_deletions(EVE, world.plan_deletions(EVE, repo, signals))
            findings.answers["ApplyDeletions"] += 1
    after = raw.stored(world.store)
    assert {key: after.get(key) for key in others} == others


def manifest(repo: Any, paths: Any) -> dict[str, Any]:
    return {"manifestSnapshot": {"repoSlug": repo, "pathsAfterPush": paths}}


def tombstones(repo: Any, paths: list[Any]) -> dict[str, Any]:
    return {"deleted": [{"repoSlug": repo, "sourcePath": path} for path in paths]}
