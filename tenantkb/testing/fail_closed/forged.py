"""Forged arguments through every reading facade: never a wider answer, never an unclean error."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import pytest

from tenantkb.domain.context import ReadScope, TenantContext
from tenantkb.domain.errors import AccessDeniedError, InvalidInputError, TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Criteria
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import READERS, Request, cursor_to
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.forgeries import NUMBERS, OBJECTS, TEXTS
from tenantkb.testing.fail_closed.model import ADA, EVE, SHARED
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.world import World

FIELDS: Final = [field.name for field in attrs.fields(Criteria)]

IDENTITY_PARTS: Final[dict[str, tuple[Any, ...]]] = {
    "tenant_id": (*(text for text in TEXTS if text not in ("beta", SHARED, "null", "true")), None),
    "agent_id": (None,),
    "roles": ("curator", ["curator"], [None], None, frozenset({"curator"}), *OBJECTS),
    "expires_at": ("tomorrow", 2**40, True, datetime(2999, 1, 1)),  # the point
}


class Forged(Worlds):
    """Arguments, identities, contexts and scopes that somebody has made up."""

    def test_criteria_of_another_type_are_refused(self) -> None:
        """Fails: an operator or a list reaches a store; see Criteria."""
        for value in OBJECTS:
            for name in FIELDS:
                with pytest.raises(InvalidInputError):
                    Criteria(**{name: value})

    @pytest.mark.case("forged arguments")
    def test_forged_criteria_never_widen(self, world: World, findings: Findings) -> None:
        """Fails: a value is more to a store than a text to compare with."""
        for text in TEXTS:
            for name in FIELDS if text == TEXTS[0] else ["repo_slug"]:
                try:
                    criteria = Criteria(**{name: text})
                except InvalidInputError:
                    continue
                for reader in READERS.values():
                    if "criteria" in reader.takes:
                        checks.nothing_wider(world, findings, reader, Request(criteria=criteria))

    @pytest.mark.case("forged arguments")
    def test_forged_arguments_are_refused_or_change_nothing(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: an argument is used before its type and form are known."""
        foreign = next(iter(world.model.hidden_from(ADA)))
        cursors = [
            cursor_to(row_id, label)
            for row_id in (*TEXTS, foreign.id, 5, None, [foreign.id])
            for label in (foreign.label, "", "\ud800", "team:acme\0", 5, None, [foreign.label])
        ]
        for name, values in {
            "criteria": (*OBJECTS, None, {"tenantId": "beta"}, {"$or": [{"tenantId": "beta"}]}),
            "limit": (*NUMBERS, *OBJECTS, *TEXTS),
            "offset": (*NUMBERS, *OBJECTS, *TEXTS),
            "cursor": (*TEXTS, *OBJECTS, *cursors),
            "text": (*TEXTS, *OBJECTS, None),
        }.items():
            for value in values:
                request = attrs.evolve(Request(), **{name: value})
                for reader in READERS.values():
                    if name in reader.takes:
                        checks.nothing_wider(world, findings, reader, request)

    @pytest.mark.case("forged arguments", facade="get")
    def test_a_forged_id_finds_nothing(self, world: World, findings: Findings) -> None:
        """Fails: something else than one exact id finds a row."""
        foreign = next(row for row in world.model.hidden_from(ADA))
        own = next(row for row in world.model.seen_by(ADA))
        altered = (own.id.upper(), f" {own.id}", f"{own.id}\n", f"{own.id}\0", own.id[:-1])
        ids = (*TEXTS, *OBJECTS, None, foreign.id, foreign.id.upper(), f"{foreign.id}\0", *altered)
        addresses = (f"{own.label}\x1f{own.id}", f"{foreign.label}\x1f{foreign.id}")
        request = Request(ids=[*ids, *addresses, [own.id], {"$in": [own.id]}, {"$ne": ""}])
        answers = world.ask(findings, READERS["get"], ADA, request)
        assert len(answers) == len(request.ids)
        assert {answer["error"] for answer in answers} == {"KB_NOT_FOUND", "KB_INVALID_INPUT"}
        missing = {each["message"] for each in answers if each["error"] == "KB_NOT_FOUND"}
        assert missing == {"there is no document <id>"}
        for unparsed in (own.id, foreign.id, None, {"$ne": ""}):
            with pytest.raises(InvalidInputError) as caught:
                world.knowledge_base.get(world.context(ADA), unparsed)  # type: ignore[arg-type]
            assert not world.leaked(ADA, str(caught.value))

    @pytest.mark.parametrize("part", IDENTITY_PARTS)
    def test_a_forged_part_of_an_identity_is_refused(self, part: str) -> None:
        """Fails: an identity is made of what no provider can have authenticated."""
        assert datetime.now(UTC).year < 2999
        objects = () if part in ("roles", "expires_at") else OBJECTS
        for value in (*IDENTITY_PARTS[part], *objects):
            fields: dict[str, Any] = {"tenant_id": "acme", "agent_id": "ada", part: value}
            with pytest.raises(InvalidInputError):
                AgentIdentity(**fields)

    @pytest.mark.case("forged identity")
    def test_a_look_alike_agent_is_another_agent(self, world: World, findings: Findings) -> None:
        """Fails: agents are compared by something weaker than equality."""
        for name in (*TEXTS, "Ada", "аda", "ada\u200b", "bob:ada", "acme:ada", "*"):  # a Cyrillic
            try:
                who = AgentIdentity("acme", name)
            except TenantKbError:
                continue
            for reader in READERS.values():
                checks.sees_exactly_its_rows(world, findings, reader, who)

    @pytest.mark.case("forged identity", facade="authenticate")
    def test_contexts_and_scopes_are_not_made_or_changed(
        self, empty_world: World, findings: Findings
    ) -> None:
        """Fails: a scope is made past a context, or a copy of one is wider than it was."""
        context = empty_world.context(ADA)
        reading, writing = context.reading(), context.writing("app")
        forgeries = (
            lambda: TenantContext(
                identity=EVE,
                namespace=context.namespace,
                admitted_at=context.admitted_at,
                seal=None,
            ),
            lambda: attrs.evolve(context, identity=EVE),
            lambda: attrs.evolve(reading, labels=("team:beta",)),
            lambda: attrs.evolve(writing, tenant_id="beta", labels=("team:beta",)),
            lambda: ReadScope(
                identity=ADA,
                namespace=context.namespace,
                admitted_at=context.admitted_at,
                expires_at=None,
                labels=("team:beta",),
                seal=object(),
            ),
            lambda: context.writing("app", tenant_id="beta"),
            lambda: context.writing("app", tenant_id=SHARED),
            context.operating,
        )
        for forge in forgeries:
            with pytest.raises(AccessDeniedError):
                forge()
            findings.answers["authenticate"] += 1
        for name, changed in (("labels", ("team:beta",)), ("identity", EVE), ("expires_at", None)):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(reading, name, changed)
        for kept in (context, reading, writing):
            with pytest.raises((AttributeError, TypeError)):  # bytes can be altered on the way
                pickle.loads(pickle.dumps(kept))  # noqa: S301
            with pytest.raises((AttributeError, TypeError)):
                copy.copy(kept)

    @pytest.mark.case("forged identity")
    def test_the_context_of_another_installation_is_refused(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: whoever shares another namespace elsewhere reads an ordinary tenant's rows here.

        A context, or a scope, must be of the installation's own shared namespace.
        """
        for tenant in ("beta", "gamma"):
            elsewhere = SharedNamespace(tenant, "app")
            context = TenantContext.admit(ADA, elsewhere, world.app.clock.now())
            for reader in READERS.values():
                request = Request(ids=world.ids())
                answer = reader.ask(world.knowledge_base, context, request)
                findings.answers[reader.name] += 1
                leaked = world.leaked(ADA, answer)
                findings.leaks += len(leaked)
                assert not leaked, f"{reader.name} of the shared tenant {tenant}"
