"""What a diagnosis says about the store: to nobody more than about their own rows."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import json
from typing import Any

import pytest

from tenantkb.domain.errors import AuthenticationError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.testing.fail_closed.facades import plain
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import ADA, BOB, EVE, GIL, PEOPLE, chunk
from tenantkb.testing.fail_closed.sabotage import SABOTAGES
from tenantkb.testing.fail_closed.suite import Worlds, no_contexts
from tenantkb.testing.fail_closed.world import TWIN, World

MEMBERS = [who for who in PEOPLE if who is not GIL]
STRANGER = AgentIdentity("delta", "dan")


def diagnosis(world: World, context: Any) -> str:
    """Every field of every check, as text."""
    return json.dumps(plain(list(world.knowledge_base.diagnose(context))))


class Diagnosis(Worlds):
    """Checks, to whom they are told."""

    @pytest.mark.case("3 other tenants' rows, other agents' private rows", facade="diagnose")
    def test_a_diagnosis_counts_the_callers_rows_alone(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a check tells of rows that the caller may not see."""
        for who in (*MEMBERS, STRANGER):
            told = diagnosis(world, world.context(who))
            assert f" {len(world.model.seen_by(who))} in number" in told
            assert not world.leaked(who, told)
            findings.answers["diagnose"] += 1
            for sabotage in SABOTAGES.values():
                broken = world.through(sabotage(world.app.engine))
                assert not world.leaked(who, diagnosis(broken, broken.context(who)))
                findings.answers["diagnose"] += 1

    @pytest.mark.case("non-interference: others change nothing by a byte", facade="diagnose")
    def test_what_others_do_changes_no_diagnosis(self, world: World, findings: Findings) -> None:
        """Fails: a check, the engine's own ones included, depends on rows of others."""
        contexts = [world.context(ADA), world.context(STRANGER), None]
        before = [diagnosis(world, context) for context in contexts]
        more = [chunk(f"secret-later-{number}.") for number in range(50)]
        world.embed(EVE, "later", [TWIN, *more])
        world.embed(BOB, "later", [TWIN], private=True)
        world.sync(EVE, "app", [])
        assert [diagnosis(world, context) for context in contexts] == before
        findings.answers["diagnose"] += 2 * len(before)

    @pytest.mark.case("no valid identity", facade="diagnose")
    def test_without_a_context_no_row_is_counted(self, world: World, findings: Findings) -> None:
        """Fails: a check of rows has no scope."""
        for nobody in no_contexts(world, ADA).values():
            try:
                told = diagnosis(world, nobody)
            except AuthenticationError as error:
                told = str(error)
            assert "in number" not in told
            assert not world.leaked(None, told)
            findings.answers["diagnose"] += 1

    @pytest.mark.case("3 other tenants' rows, other agents' private rows", facade="diagnose")
    def test_only_an_operator_has_all_rows_examined(self, world: World, findings: Findings) -> None:
        """Fails: the number of all rows is told to members, or not to the operator."""
        everything = f"{len(world.model)} rows, each with a fitting vector"
        assert everything in diagnosis(world, world.context(GIL))
        told = [who for who in MEMBERS if everything in diagnosis(world, world.context(who))]
        assert told == []
        findings.answers["diagnose"] += 1 + len(MEMBERS)
