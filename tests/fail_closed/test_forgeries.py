"""Forged arguments through every facade: never a wider answer, never an unclean error."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from tenantkb.domain.errors import InvalidInputError, TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Criteria
from tests.fail_closed import checks
from tests.fail_closed.facades import READERS, Reader, Request
from tests.fail_closed.findings import Findings
from tests.fail_closed.forgeries import NUMBERS, OBJECTS, TEXTS
from tests.fail_closed.model import ADA, SHARED
from tests.fail_closed.world import World

FIELDS = [field.name for field in attrs.fields(Criteria)]


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_criteria_of_another_type_are_refused(value: Any) -> None:
    """Fails: an operator or a list reaches a store; see Criteria."""
    for name in FIELDS:
        with pytest.raises(InvalidInputError):
            Criteria(**{name: value})


def taking(*arguments: str) -> pytest.MarkDecorator:
    """Only those of the readers that take one of these arguments."""
    names = [reader.name for reader in READERS.values() if reader.takes & set(arguments)]
    return pytest.mark.parametrize("reader", names, indirect=True)


@pytest.mark.case("forged arguments")
@taking("criteria")
def test_forged_criteria_never_widen(
    shared_world: World, reader: Reader, findings: Findings
) -> None:
    """Fails: a value is more to a store than a text to compare with."""
    for text in TEXTS:
        fields = FIELDS if text == TEXTS[0] else ["repo_slug"]
        for name in fields:
            try:
                criteria = Criteria(**{name: text})
            except InvalidInputError:
                continue
            checks.nothing_wider(shared_world, findings, reader, Request(criteria=criteria))


@pytest.mark.case("forged arguments")
@taking("criteria", "limit", "offset", "text")
def test_forged_arguments_are_refused_or_change_nothing(
    shared_world: World, reader: Reader, findings: Findings
) -> None:
    """Fails: an argument is used before its type is known."""
    for name, values in {
        "criteria": (*OBJECTS, None, {"tenantId": "beta"}, {"$or": [{"tenantId": "beta"}]}),
        "limit": (*NUMBERS, *OBJECTS, *TEXTS),
        "offset": (*NUMBERS, *OBJECTS, *TEXTS),
        "text": (*TEXTS, *OBJECTS, None),
    }.items():
        for value in values if name in reader.takes else ():
            request = attrs.evolve(Request(), **{name: value})
            checks.nothing_wider(shared_world, findings, reader, request)


@pytest.mark.case("forged arguments")
@taking("ids")
def test_a_forged_id_finds_nothing(shared_world: World, reader: Reader, findings: Findings) -> None:
    """Fails: something else than one exact id finds a row."""
    foreign = next(row for row in shared_world.model.hidden_from(ADA))
    own = next(row for row in shared_world.model.seen_by(ADA))
    altered = (own.id.upper(), f" {own.id}", f"{own.id}\n", f"{own.id}\0", own.id[:-1])
    ids = (*TEXTS, *OBJECTS, None, foreign.id, foreign.id.upper(), f"{foreign.id}\0", *altered)
    request = Request(ids=[*ids, [own.id], {"$in": [own.id]}, {"$ne": ""}])
    answers = shared_world.ask(findings, reader, ADA, request)
    assert len(answers) == len(request.ids)
    assert {answer["error"] for answer in answers} == {"KB_NOT_FOUND"}
    assert {answer["message"] for answer in answers} == {"there is no document <id>"}


IDENTITY_PARTS: dict[str, tuple[Any, ...]] = {
    "tenant_id": (*(text for text in TEXTS if text not in ("beta", SHARED, "null", "true")), None),
    "agent_id": (None,),
    "roles": ("curator", ["curator"], [None], None, frozenset({"curator"}), *OBJECTS),
    "expires_at": ("tomorrow", 2**40, True, datetime(2999, 1, 1)),  # naive: the point
}


@pytest.mark.parametrize("part", IDENTITY_PARTS)
def test_a_forged_part_of_an_identity_is_refused(part: str) -> None:
    """Fails: an identity is made of what no provider can have authenticated."""
    objects = () if part in ("roles", "expires_at") else OBJECTS
    for value in (*IDENTITY_PARTS[part], *objects):
        fields: dict[str, Any] = {"tenant_id": "acme", "agent_id": "ada", part: value}
        with pytest.raises(InvalidInputError):
            AgentIdentity(**fields)


@pytest.mark.case("forged identity")
def test_a_look_alike_agent_is_another_agent(
    shared_world: World, reader: Reader, findings: Findings
) -> None:
    """Fails: agents are compared by something weaker than equality."""
    for name in (*TEXTS, "Ada", "аda", "ada\u200b", "bob:ada", "acme:ada", "*"):  # one is Cyrillic
        try:
            who = AgentIdentity("acme", name)
        except TenantKbError:
            continue
        checks.sees_exactly_its_rows(shared_world, findings, reader, who)


def test_the_present_is_before_the_expiry_of_the_forged_identities() -> None:
    """Fails: the forged expiries above would be refused for having passed."""
    assert datetime.now(UTC).year < 2999
