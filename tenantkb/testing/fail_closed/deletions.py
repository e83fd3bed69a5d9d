"""Deletion signals, and everything else that deletes: one (tenant, repository), and nobody else."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest

from tenantkb.application.writing.deletions import DeletionRequest
from tenantkb.domain.errors import AccessDeniedError, AuthenticationError, TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import plain
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.forgeries import OBJECTS, TEXTS
from tenantkb.testing.fail_closed.model import ADA, BOB, CORA, CORPUS, EVE, PEOPLE, chunk
from tenantkb.testing.fail_closed.sabotage import (
    BROKEN_FILTERS,
    NOTICED,
    SABOTAGES,
    no_second_check,
)
from tenantkb.testing.fail_closed.suite import Worlds, no_contexts
from tenantkb.testing.fail_closed.world import TWIN, World, manifest, tombstones

CASE = "8 sync and deletion leave others as they were"
PLACES = ((ADA, "app"), (BOB, "app"), (BOB, "notes"), (EVE, "app"), (CORA, CORPUS))

Empty = Callable[[World, AgentIdentity, str], None]


def empty_by_sync(world: World, who: AgentIdentity, repo: str) -> None:
    """What was private becomes the team's on the way, and the other way round."""
    world.sync(who, repo, [chunk("secret-new.")], private=True)
    world.sync(who, repo, [chunk("secret-new."), chunk("secret-newer.")])
    world.sync(who, repo, [])


def empty_by_manifest(world: World, who: AgentIdentity, repo: str) -> None:
    """No file is left."""
    world.signal(who, repo, [], gone=False)


def empty_by_tombstones(world: World, who: AgentIdentity, repo: str) -> None:
    """Every path that anybody has is said to be gone."""
    paths = {str(row.chunk["source"]) for row in world.model.values()}
    world.signal(who, repo, paths, gone=True)


def empty_by_push(world: World, who: AgentIdentity, repo: str) -> None:
    """Every path that anybody has is pushed without chunks: one alone, then all of them."""
    world.push_nothing(who, repo, [TWIN["source"]])
    world.push_nothing(who, repo, (str(row.chunk["source"]) for row in world.model.values()))


def empty_by_signals_of_a_push(world: World, who: AgentIdentity, repo: str) -> None:
    """A tombstone for one path, then a manifest of no file."""
    context = world.context(who)
    gone = [key for key, row in world.model.items() if row.chunk["source"] == TWIN["source"]]
    report = world.push(context, repo, [], tombstones(repo, [TWIN["source"]]))
    assert report.deleted == len(world.model.remove(who, repo, gone))
    report = world.push(world.context(who), repo, [], manifest(repo, []))
    assert report.deleted == len(world.model.remove(who, repo, list(world.model)))


EMPTYING = pytest.mark.parametrize(
    ("writer", "empty"),
    [
        ("sync", empty_by_sync),
        ("apply_deletions", empty_by_manifest),
        ("apply_deletions", empty_by_tombstones),
        ("ingest", empty_by_push),
        ("ingest", empty_by_signals_of_a_push),
    ],
)


class Deletions(Worlds):
    """Case 8 of the specification, and what plans tell."""

    @pytest.mark.case(CASE)
    @EMPTYING
    def test_emptying_a_repository_leaves_all_others_as_they_were(
        self, world: World, findings: Findings, writer: str, empty: Empty
    ) -> None:
        """Fails: rows of others were deleted, replaced or stamped anew."""
        for who, repo in PLACES:
            findings.answers[writer] += len(world.model)
            checks.empties_its_own_rows_alone(world, who, repo, empty)

    @pytest.mark.case("10 sabotage")
    @EMPTYING
    def test_with_a_broken_filter_nothing_of_others_is_deleted(
        self, world: World, findings: Findings, writer: str, empty: Empty
    ) -> None:
        """Fails: what a scan answers is deleted without WriteScope.admits."""
        places = ((EVE, "app"), (ADA, "app"), (CORA, CORPUS), (BOB, "app-2"), (ADA, "notes"))
        for sabotage, (who, repo) in zip(BROKEN_FILTERS, places, strict=True):
            broken = world.through(BROKEN_FILTERS[sabotage](world.app.engine))
            before, mine = world.stored(), checks.covered(world, who, repo)
            assert mine
            with suppress(AssertionError):  # own rows are overlooked
                empty(broken, who, repo)
            others = {key: found for key, found in before.items() if key not in mine}
            assert checks.untouched(others, world.stored())
            assert broken.faults() or sabotage not in NOTICED
            findings.caught[writer] += 1

    @pytest.mark.case("10 sabotage")
    @EMPTYING
    def test_without_the_second_check_the_suite_sees_what_is_lost(
        self, world: World, findings: Findings, writer: str, empty: Empty
    ) -> None:
        """Fails: the suite's eyes are bad: rows of others were deleted and none were missed."""
        broken = world.through(SABOTAGES["removed"](world.app.engine))
        with no_second_check(), pytest.raises(AssertionError):
            checks.empties_its_own_rows_alone(broken, EVE, "app", empty)
        findings.caught[writer] += 1

    @pytest.mark.case(CASE, facade="the store")
    def test_a_deletion_by_address_takes_only_what_its_scope_covers(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: addresses alone decide what is deleted."""
        for who in PEOPLE[:3]:
            before = world.stored()
            gone = set(world.model.remove(who, "app", world.addresses()))
            scope = world.context(who).writing("app")
            assert world.store.delete(scope, list(before)) == len(gone)
            after = world.stored()
            assert after == {key: found for key, found in before.items() if key not in gone}
            findings.answers["the store"] += len(before)

    @pytest.mark.case("non-interference: others change nothing by a byte", facade="plan_deletions")
    def test_a_plan_tells_nothing_of_others(self, world: World, findings: Findings) -> None:
        """Fails: a count, a path or a digest of a plan comes from what its reader may not see."""
        paths = [str(row.chunk["source"]) for row in world.model.values()]
        signals = (
            manifest("app", [TWIN["source"]]),
            tombstones("app", paths),
            manifest("app", []),
        )
        context = world.context(EVE)
        before = [plain(world.plan_deletions(context, "app", each)) for each in signals]
        bea = AgentIdentity("beta", "bea")
        for who in (ADA, BOB, bea):
            more = [chunk(f"secret-of-{who.agent_id}."), {**TWIN, "content": "other words"}]
            world.embed(who, "app", more, private=who is not ADA)
        world.signal(ADA, "app", ["docs/secret-of-acme.md"], gone=False)
        after = [plain(world.plan_deletions(context, "app", each)) for each in signals]
        assert after == before
        own = {str(world.model[key].chunk["source"]) for key in checks.covered(world, EVE, "app")}
        assert {path["source_path"] for path in before[1]["paths"]} == own
        findings.answers["plan_deletions"] += 2 * len(signals)

    @pytest.mark.case("3 other tenants' rows, other agents' private rows", facade="plan_deletions")
    def test_a_plan_does_not_hold_the_paths_of_a_colleagues_manifest(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: what an earlier push told is in the plan of whoever pushes next."""
        bea = AgentIdentity("beta", "bea")
        world.embed(bea, "app", [chunk("secret-of-bea.")], private=True)
        told = [str(row.chunk["source"]) for row in world.model.seen_by(bea) if row.repo == "app"]
        world.signal(bea, "app", told, gone=False)
        plan = world.plan_deletions(world.context(EVE), "app", tombstones("app", [TWIN["source"]]))
        assert not world.leaked(EVE, plan)
        assert "secret-of-bea" not in json.dumps(plain(plan)) + repr(plan)
        findings.answers["plan_deletions"] += 1

    @pytest.mark.case("no valid identity", facade="plan_deletions")
    def test_without_a_context_nothing_is_planned_or_deleted(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a deletion does not begin with require_context."""
        before = world.stored()
        plan = world.plan_deletions(world.context(EVE), "app", manifest("app", []))
        request = DeletionRequest("app", plan.signals.signals)
        for nobody in no_contexts(world, EVE).values():
            with pytest.raises(AuthenticationError):
                world.knowledge_base.plan_deletions(nobody, request)
            with pytest.raises(AuthenticationError):
                world.knowledge_base.apply_deletions(nobody, plan, confirmed=True)
            findings.answers["plan_deletions"] += 2
        assert world.stored() == before

    @pytest.mark.case("forged arguments", facade="apply_deletions")
    def test_a_plan_of_another_tenant_is_not_applied(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: whose rows go is what a plan says, and not who applies it."""
        before, face = world.stored(), world.knowledge_base
        plan = world.plan_deletions(world.context(ADA), "app", manifest("app", []))
        for who in (EVE, CORA):
            with pytest.raises(AccessDeniedError):
                face.apply_deletions(world.context(who), plan, confirmed=True)
            findings.answers["apply_deletions"] += 1
        assert world.stored() == before
        forged = attrs.evolve(plan, tenant_id="beta", repo_slug="app")
        others = {key: found for key, found in before.items() if world.model[key].tenant != "beta"}
        face.apply_deletions(world.context(EVE), forged, confirmed=True)
        assert checks.untouched(others, world.stored())
        findings.answers["apply_deletions"] += 1

    @pytest.mark.case("forged arguments", facade="apply_deletions")
    def test_forged_signals_delete_nothing_of_others(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a part of a signal is more than a text to compare with."""
        before = world.stored()
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
                    context = world.context(EVE)
                    plan = world.plan_deletions(context, repo, signals)
                    world.knowledge_base.apply_deletions(context, plan, confirmed=True)
                findings.answers["apply_deletions"] += 1
        assert checks.untouched(others, world.stored())
