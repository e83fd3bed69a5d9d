"""What ``tenantkb doctor`` says about the store: to nobody more than about their own rows."""

from __future__ import annotations

import json

import pytest

from tenantkb.application.operating.diagnosis import DiagnoseStore
from tenantkb.domain.errors import AuthenticationError
from tenantkb.domain.identity import AgentIdentity
from tests.fail_closed.facades import plain
from tests.fail_closed.findings import Findings
from tests.fail_closed.model import ADA, BOB, CORA, EVE, GIL, PEOPLE, chunk
from tests.fail_closed.sabotage import BROKEN_FILTERS
from tests.fail_closed.test_cases import NOBODIES
from tests.fail_closed.test_sabotage import broken_store
from tests.fail_closed.world import TWIN, World

MEMBERS = [who for who in PEOPLE if who is not GIL]
STRANGER = AgentIdentity("delta", "dan")


def diagnosis(world: World, who: AgentIdentity | None) -> str:
    """Every field of every check, as text."""
    container = world.app.container
    diagnose = DiagnoseStore(
        store=container.store(),
        tenancy=container.tenancy(),
        clock=container.clock(),
        collection="knowledge-base",
        if_unreachable="-",
        if_damaged="-",
    )
    return json.dumps(plain(list(diagnose(who, world.app.embedder.profile))))


@pytest.mark.case("3 other tenants' rows, other agents' private rows", facade="DiagnoseStore")
@pytest.mark.parametrize("sabotage", [None, *BROKEN_FILTERS])
def test_a_diagnosis_counts_the_callers_rows_alone(
    shared_world: World, findings: Findings, sabotage: str | None
) -> None:
    """Fails: a check tells of rows that the caller may not see."""
    for who in (*MEMBERS, STRANGER):
        if sabotage is None:
            told = diagnosis(shared_world, who)
            assert f" {len(shared_world.model.seen_by(who))} in number" in told
        else:
            with broken_store(sabotage, shared_world):
                told = diagnosis(shared_world, who)
        assert not shared_world.leaked(who, told)
        findings.answers["DiagnoseStore"] += 1


@pytest.mark.case("non-interference: others change nothing by a byte", facade="DiagnoseStore")
def test_what_others_do_changes_no_diagnosis(world: World, findings: Findings) -> None:
    """Fails: a check depends on rows that the caller may not see."""
    before = [diagnosis(world, who) for who in (ADA, STRANGER, None)]
    world.embed(EVE, "later", [TWIN, chunk("secret-later.")])
    world.embed(BOB, "later", [TWIN], private=True)
    world.sync(EVE, "app", [])
    assert [diagnosis(world, who) for who in (ADA, STRANGER, None)] == before
    findings.answers["DiagnoseStore"] += 2 * len(before)


@pytest.mark.case("no valid identity", facade="DiagnoseStore")
def test_without_a_valid_identity_no_row_is_counted(
    shared_world: World, findings: Findings
) -> None:
    """Fails: a check of rows has no scope."""
    for nobody in NOBODIES.values():
        try:
            told = diagnosis(shared_world, nobody)
        except AuthenticationError as error:
            told = str(error)
        assert "in number" not in told
        assert not shared_world.leaked(None, told)
        findings.answers["DiagnoseStore"] += 1


@pytest.mark.case("3 other tenants' rows, other agents' private rows", facade="DiagnoseStore")
def test_only_an_operator_has_all_rows_examined(shared_world: World, findings: Findings) -> None:
    """Fails: the number of all rows is told to members, or not to the operator."""
    everything = f"{len(shared_world.model)} rows, each with a fitting vector"
    assert everything in diagnosis(shared_world, GIL)
    assert not [who for who in (*MEMBERS, CORA) if everything in diagnosis(shared_world, who)]
    findings.answers["DiagnoseStore"] += 2 + len(MEMBERS)
