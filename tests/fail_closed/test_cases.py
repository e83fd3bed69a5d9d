"""What must hold for every reading facade on every store, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.ports.store import VectorStore
from tests.fail_closed import checks
from tests.fail_closed.conftest import SharedWorlds
from tests.fail_closed.facades import WRITERS, Reader, Request
from tests.fail_closed.findings import Findings
from tests.fail_closed.forgeries import JSON_OBJECTS, TEXTS
from tests.fail_closed.model import (
    ADA,
    BOB,
    CORA,
    CORPUS,
    EVE,
    GIL,
    PEOPLE,
    SHARED,
    Planted,
    chunk,
    secret_of,
)
from tests.fail_closed.world import TWIN, World, populated

FORGED_TENANTS: list[Any] = ["beta", "acme", SHARED, *TEXTS, *JSON_OBJECTS]
FORGED_STAMPS: list[dict[str, Any]] = [
    {"visibility": "team"},
    {"visibility": "public"},
    {"visibility": ["team"]},
    {"originAgentIdentity": "ada"},
    {"originAgentIdentity": {"$ne": ""}},
    {"repoSlug": "app"},
    {"repoSlug": CORPUS},
    {"repoSlug": 5},
    {"ingestedAt": "1970-01-01T00:00:00.000Z"},
    {"ingestedAt": {"$gt": 0}},
    {"access": "team:acme"},
    {"access": ["team:acme", "team:beta"]},
    {"id": "0" * 64, "hash": "0" * 64},
    {
        "tenantId": "acme",
        "repoSlug": "app",
        "visibility": "team",
        "originAgentIdentity": "bob",
        "access": "private:acme:bob",
    },
]


def forged(store: VectorStore, folder: Path, claims: list[dict[str, Any]]) -> World:
    """A world where Eve and Bob claim in every row to be somebody else."""
    world = populated(store, folder)
    for who, private in ((EVE, False), (BOB, True)):
        for writer in WRITERS:
            repo = f"forged-{writer}"
            chunks = [
                {**chunk(f"secret-{who.tenant_id}-{writer}-{number}."), **claim}
                for number, claim in enumerate(claims)
            ]
            world.write(writer, who, repo, chunks, private=private)
    return world


def with_forged_tenants(store: VectorStore, folder: Path) -> World:
    return forged(store, folder, [{"tenantId": value} for value in FORGED_TENANTS])


def with_forged_stamps(store: VectorStore, folder: Path) -> World:
    return forged(store, folder, FORGED_STAMPS)


@pytest.mark.case("1 forged tenantId")
def test_a_forged_tenant_is_never_honoured(
    store_name: str, shared_worlds: SharedWorlds, reader: Reader, findings: Findings
) -> None:
    """Fails: a row went where its chunk said; see domain/rows.stamped_row."""
    world = shared_worlds(store_name, with_forged_tenants)
    checks.everybody_sees_exactly_their_rows(world, findings, reader)


@pytest.mark.case("1 forged tenantId")
def test_naming_what_another_tenant_has_finds_nothing_of_it(
    shared_world: World, reader: Reader, findings: Findings
) -> None:
    """Fails: a criterion replaces the scope's condition."""
    if "criteria" in reader.takes:
        checks.criteria_only_narrow(shared_world, findings, reader, ADA)
    else:
        checks.sees_exactly_its_rows(shared_world, findings, reader, ADA)


@pytest.mark.case("2 forged visibility, origin, repository, instant, label")
def test_a_forged_stamp_is_never_honoured(
    store_name: str, shared_worlds: SharedWorlds, reader: Reader, findings: Findings
) -> None:
    """Fails: a field of the stamp came from the chunk; see domain/tenancy.STAMP_KEYS."""
    world = shared_worlds(store_name, with_forged_stamps)
    checks.everybody_sees_exactly_their_rows(world, findings, reader)


@pytest.mark.case("3 other tenants' rows, other agents' private rows")
def test_everybody_sees_exactly_their_rows_page_by_page(
    shared_world: World, reader: Reader, findings: Findings
) -> None:
    """Fails: a leak or a hole; the message names the rows."""
    checks.reads_are_isolated(shared_world, findings, reader)


@pytest.mark.case("4 shared team rows")
def test_shared_team_rows_are_visible_to_all(
    shared_world: World, reader: Reader, findings: Findings
) -> None:
    """Fails: the shared tenant is missing in the scope, or its private rows are in it."""
    model = shared_world.model
    shared = [row for row in model.values() if row.tenant == SHARED and row.private_to is None]
    assert model.seen_by(GIL) == sorted(shared, key=lambda row: row.id)
    assert len(shared) == 3
    for who in PEOPLE:
        assert set(model.seen_by(who)) >= set(shared)
        checks.sees_exactly_its_rows(shared_world, findings, reader, who)


@pytest.mark.case("5 same content and path under two tenants")
def test_twins_neither_shadow_nor_follow_each_other(
    world: World, reader: Reader, findings: Findings
) -> None:
    """Fails: ids do not depend on the owner; see domain/rows.row_id."""
    twins = [row for row in world.model.values() if row.chunk == TWIN]
    assert len(twins) == 8
    checks.everybody_sees_exactly_their_rows(world, findings, reader)
    world.sync(EVE, "app", [TWIN], private=True)
    checks.everybody_sees_exactly_their_rows(world, findings, reader)
    world.sync(CORA, CORPUS, [])
    checks.everybody_sees_exactly_their_rows(world, findings, reader)
    assert len([row for row in world.model.values() if row.chunk == TWIN]) == 7


def with_restored_rows(store: VectorStore, folder: Path) -> World:
    """Rows of many owners come in with the stamps that they had elsewhere."""
    world = populated(store, folder)
    for tenant, repo, private_to in (
        ("acme", "restored", None),
        ("acme", "restored", "ada"),
        ("acme", "restored", "zoe"),
        ("beta", "restored", None),
        ("beta", "restored", "ada"),
        ("delta", "app", None),
        (SHARED, CORPUS, None),
        (SHARED, "draft", "cora"),
        (SHARED, "draft", "ada"),
    ):
        restored = chunk(f"secret-restored-{tenant}-{private_to}.")
        world.restore(Planted(tenant, repo, private_to, restored, secret_of(restored)))
    return world


@pytest.mark.case("7 restored foreign rows")
def test_restored_rows_obey_the_read_rule(
    store_name: str, shared_worlds: SharedWorlds, reader: Reader, findings: Findings
) -> None:
    """Fails: what decides is who wrote a row last, not its stamp."""
    world = shared_worlds(store_name, with_restored_rows)
    checks.everybody_sees_exactly_their_rows(world, findings, reader)


NOBODIES: dict[str, Any] = {
    "no identity": None,
    "expired": AgentIdentity("acme", "ada", expires_at=datetime(2020, 1, 1, tzinfo=UTC)),
    "shared tenant without curator": AgentIdentity(SHARED, "ada"),
    "shared tenant as operator": AgentIdentity(SHARED, "ada", frozenset({Role.OPERATOR})),
    "a claim": {"tenant_id": "acme", "agent_id": "ada", "roles": ["curator"]},
    "a name": "acme/ada",
    "a pair": ("acme", "ada"),
    "true": True,
}


@pytest.mark.case("no valid identity")
@pytest.mark.parametrize("nobody", NOBODIES)
def test_without_a_valid_identity_nothing_is_answered(
    shared_world: World, reader: Reader, findings: Findings, nobody: str
) -> None:
    """Fails: an absent identity means no filter; see ReadUseCase._scope."""
    for ids in (shared_world.ids(), ["0" * 64]):
        answer = reader.ask(shared_world.app, NOBODIES[nobody], Request(ids=ids))
        findings.answers[reader.name] += 1
        refusals = answer if isinstance(answer, list) else [answer]
        assert refusals
        codes = {refusal["error"] for refusal in refusals}
        assert codes <= {"KB_UNAUTHENTICATED", "KB_ACCESS_DENIED"}
