"""What must hold for every reading facade, case by case."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from typing import Any

import pytest

from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.domain.errors import TenantKbError
from tenantkb.domain.stamps import Visibility
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import READERS, WRITERS, Request
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.forgeries import FORGED_STAMPS, FORGED_TENANTS
from tenantkb.testing.fail_closed.model import (
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
from tenantkb.testing.fail_closed.suite import NOBODIES, Worlds, no_contexts
from tenantkb.testing.fail_closed.world import TWIN, World

PARSED = {
    "schemaVersion": "1.0.0",
    "tenantId": "acme",
    "repoSlug": "hashed",
    "rootKind": "bare-repo",
    "sourcePath": "docs/deployment.md",
    "parserId": "parser",
    "parserVersion": "1.0.0",
    "kind": "doc-section",
    "name": "Deployment",
    "hashInputs": ["kind", "name"],
}
"""A parsed chunk, but for its content, which takes no part in its fingerprint."""


def forge(world: World, claims: list[dict[str, Any]]) -> None:
    """Eve and Bob claim in every row to be somebody else, in small submissions."""
    for who, private in ((EVE, False), (BOB, True)):
        for writer in WRITERS:
            repo = f"forged-{writer}"
            chunks = [
                {**chunk(f"secret-{who.tenant_id}-{writer}-{number}."), **claim}
                for number, claim in enumerate(claims)
            ]
            world.write(writer, who, repo, chunks, private=private)


class Cases(Worlds):
    """Cases 1 to 5 and 7 of the specification."""

    @pytest.mark.case("1 forged tenantId")
    def test_a_forged_tenant_is_never_honoured(self, world: World, findings: Findings) -> None:
        """Fails: a row went where its chunk said; see domain/rows.stamped_row."""
        forge(world, [{"tenantId": value} for value in FORGED_TENANTS])
        checks.everybody_sees_exactly_their_rows(world, findings)

    @pytest.mark.case("1 forged tenantId")
    def test_naming_what_another_tenant_has_finds_nothing_of_it(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a criterion replaces the scope's condition."""
        for reader in READERS.values():
            if "criteria" in reader.takes:
                checks.criteria_only_narrow(world, findings, reader, ADA)

    @pytest.mark.case("2 forged visibility, origin, repository, instant, label")
    def test_a_forged_stamp_is_never_honoured(self, world: World, findings: Findings) -> None:
        """Fails: a field of the stamp came from the chunk; see domain/fields.STAMP."""
        forge(world, FORGED_STAMPS)
        checks.everybody_sees_exactly_their_rows(world, findings)

    @pytest.mark.case("3 other tenants' rows, other agents' private rows")
    def test_everybody_sees_exactly_their_rows_page_by_page(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a leak or a hole; the message names the rows."""
        checks.reads_are_isolated(world, findings, exact=self.is_exact(len(world.model)))

    @pytest.mark.case("4 shared team rows")
    def test_shared_team_rows_are_visible_to_all(self, world: World, findings: Findings) -> None:
        """Fails: the shared tenant is missing in the scope, or its private rows are in it."""
        model = world.model
        shared = [row for row in model.values() if row.tenant == SHARED and row.private_to is None]
        assert model.seen_by(GIL) == sorted(shared, key=lambda row: row.id)
        assert len(shared) == 3
        for who in PEOPLE:
            assert set(model.seen_by(who)) >= set(shared)
        checks.everybody_sees_exactly_their_rows(world, findings)

    @pytest.mark.case("5 same content and path under two tenants")
    def test_twins_neither_shadow_nor_follow_each_other(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: ids do not depend on the owner and the audience; see domain/rows.derived_id."""
        twins = [row for row in world.model.values() if row.chunk == TWIN]
        assert len(twins) == len({row.id for row in twins}) == 8
        checks.everybody_sees_exactly_their_rows(world, findings)
        world.sync(EVE, "app", [TWIN], private=True)
        checks.everybody_sees_exactly_their_rows(world, findings)
        world.sync(CORA, CORPUS, [])
        checks.everybody_sees_exactly_their_rows(world, findings)
        assert len([row for row in world.model.values() if row.chunk == TWIN]) == 7

    @pytest.mark.case("5 same content and path under two tenants")
    def test_two_agents_private_rows_of_one_chunk_are_two_rows(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: the agent takes no part in a private row's id, or in its address."""
        request = EmbedRequest("hashed", visibility=Visibility.PRIVATE)
        for who in (ADA, BOB):
            world.embed(who, "both", [TWIN], private=True)
            record = {**PARSED, "content": f"written by {who.agent_id}"}
            world.knowledge_base.embed(world.context(who), request, [(1, record)])
        stored = [metadata for metadata, _ in world.stored().values()]
        hashed = [each for each in stored if each["repoSlug"] == "hashed"]
        assert {each["originAgentIdentity"] for each in hashed} == {"ada", "bob"}
        for each in hashed:
            assert each["content"] == f"written by {each['originAgentIdentity']}"
        both = [row for row in world.model.values() if row.repo == "both"]
        assert len(both) == len({row.id for row in both}) == 2
        findings.answers["embed"] += len(hashed) + len(both)

    @pytest.mark.case("5 same content and path under two tenants")
    @pytest.mark.parametrize("writer", WRITERS)
    def test_a_change_of_visibility_moves_the_writers_row_and_no_other(
        self, world: World, findings: Findings, writer: str
    ) -> None:
        """Fails: a row is doubled by a change of visibility, or another agent's goes with it."""
        for who, private in (
            (ADA, True),
            (BOB, True),
            (ADA, False),
            (BOB, False),
            (ADA, True),
            (BOB, True),
            (ADA, False),
        ):
            world.write(writer, who, "moving", [TWIN, chunk("moving")], private=private)
            assert set(world.stored()) == set(world.model)
            checks.everybody_sees_exactly_their_rows(world, findings)

    @pytest.mark.case("7 restored foreign rows")
    def test_restored_rows_obey_the_read_rule(self, world: World, findings: Findings) -> None:
        """Fails: what decides is who wrote a row last, not its stamp."""
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
        checks.everybody_sees_exactly_their_rows(world, findings)


class NoStanding(Worlds):
    """Without a valid identity, or a context of it, nothing is answered."""

    @pytest.mark.case("no valid identity", facade="authenticate")
    def test_nobody_gets_a_context_without_a_valid_identity(
        self, empty_world: World, findings: Findings
    ) -> None:
        """Fails: an absent or expired identity is let in; see TenantContext.admit."""
        for nobody in NOBODIES.values():
            with pytest.raises(TenantKbError) as caught:
                empty_world.context(nobody)
            assert caught.value.code in ("KB_UNAUTHENTICATED", "KB_ACCESS_DENIED")
            findings.answers["authenticate"] += 1

    @pytest.mark.case("no valid identity")
    def test_what_is_no_context_is_answered_nothing(self, world: World, findings: Findings) -> None:
        """Fails: a facade does not begin with require_context."""
        for name, context in no_contexts(world, ADA).items():
            for reader in READERS.values():
                request = Request(ids=world.ids())
                answer = reader.ask(world.knowledge_base, context, request)
                findings.answers[reader.name] += 1
                refusals = answer if isinstance(answer, list) else [answer]
                codes = {refusal["error"] for refusal in refusals}
                assert codes == {"KB_UNAUTHENTICATED"}, (reader.name, name)
