"""Stamps: what they hold, the read rule, and its translation to labels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import InvalidInputError, MalformedRowError
from tenantkb.domain.fields import ACCESS
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.stamps import (
    SharedNamespace,
    TenantStamp,
    Visibility,
    format_instant,
    may_read,
    parse_instant,
    private_label,
    stamp_of,
    team_label,
    unlabelled_stamp_of,
)
from tenantkb.testing.samples import NOW
from tests.strategies import identities, stamps

NAMESPACE = SharedNamespace()
ADA = AgentIdentity("acme", "ada")
BOB = AgentIdentity("acme", "bob")
EVE = AgentIdentity("beta", "ada")
CURATOR = AgentIdentity("neo-shared", "ada", frozenset({Role.CURATOR}))


def stamp(tenant: str, visibility: Visibility, origin: str | None = None) -> TenantStamp:
    return TenantStamp(tenant, "neo", visibility, origin, NOW)


@pytest.mark.parametrize(
    ("reader", "row", "allowed"),
    [
        (ADA, stamp("acme", Visibility.TEAM), True),
        (ADA, stamp("acme", Visibility.TEAM, "bob"), True),
        (ADA, stamp("acme", Visibility.PRIVATE, "ada"), True),
        (ADA, stamp("acme", Visibility.PRIVATE, "bob"), False),
        (BOB, stamp("acme", Visibility.PRIVATE, "ada"), False),
        (EVE, stamp("acme", Visibility.TEAM), False),
        (EVE, stamp("acme", Visibility.PRIVATE, "ada"), False),
        (EVE, stamp("neo-shared", Visibility.TEAM), True),
        (EVE, stamp("neo-shared", Visibility.PRIVATE, "ada"), False),
        (CURATOR, stamp("neo-shared", Visibility.PRIVATE, "ada"), True),
        (CURATOR, stamp("acme", Visibility.TEAM), False),
    ],
)
def test_the_read_rule(reader: AgentIdentity, row: TenantStamp, allowed: bool) -> None:
    assert may_read(reader, row, NAMESPACE) is allowed


@given(identities(), stamps)
def test_the_labels_of_a_scope_say_what_the_predicate_says(
    reader: AgentIdentity, row: TenantStamp
) -> None:
    scope = TenantContext.admit(reader, NAMESPACE, NOW).reading()
    allowed = may_read(reader, row, NAMESPACE)
    assert (row.label in scope.labels) is allowed
    assert scope.admits(row) is allowed


@given(stamps, stamps)
def test_two_rows_have_one_label_if_and_only_if_they_have_one_audience(
    left: TenantStamp, right: TenantStamp
) -> None:
    def audience(row: TenantStamp) -> tuple[str, str | None]:
        private = row.visibility is Visibility.PRIVATE
        return row.tenant_id, row.origin_agent_identity if private else None

    assert (left.label == right.label) is (audience(left) == audience(right))


def test_a_label_names_its_audience() -> None:
    assert team_label("acme") == stamp("acme", Visibility.TEAM, "ada").label == "team:acme"
    assert private_label("acme", "a:b") == stamp("acme", Visibility.PRIVATE, "a:b").label
    assert private_label("acme", "a:b") == "private:acme:a:b"


def test_a_stamp_is_flat_metadata_with_its_label() -> None:
    assert stamp("acme", Visibility.PRIVATE, "ada").metadata() == {
        "tenantId": "acme",
        "repoSlug": "neo",
        "visibility": "private",
        "originAgentIdentity": "ada",
        "ingestedAt": "2026-01-31T09:30:00.000Z",
        "access": "private:acme:ada",
    }
    assert TenantStamp("acme", "neo", Visibility.TEAM).metadata() == {
        "tenantId": "acme",
        "repoSlug": "neo",
        "visibility": "team",
        "access": "team:acme",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant_id": "ACME"},
        {"tenant_id": None},
        {"repo_slug": ""},
        {"repo_slug": "a b"},
        {"visibility": "team"},
        {"visibility": None},
        {"visibility": Visibility.PRIVATE},
        {"origin_agent_identity": ""},
        {"origin_agent_identity": 7},
        {"ingested_at": NOW.replace(tzinfo=None)},
        {"ingested_at": "2026-01-31T09:30:00.000Z"},
    ],
)
def test_a_stamp_holds_nothing_malformed_and_a_private_one_names_its_agent(
    wrong: dict[str, Any],
) -> None:
    good: dict[str, Any] = {
        "tenant_id": "acme",
        "repo_slug": "app",
        "visibility": Visibility.TEAM,
        "ingested_at": NOW,
    }
    TenantStamp(**good)
    with pytest.raises(InvalidInputError):
        TenantStamp(**{**good, **wrong})


@pytest.mark.parametrize("wrong", [{"tenant_id": "NEO"}, {"repo_slug": ""}, {"repo_slug": 7}])
def test_a_shared_namespace_holds_nothing_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        SharedNamespace(**wrong)


@pytest.fixture
def _zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone_of_the_machine")
def test_an_instant_is_written_in_utc_wherever_the_machine_is() -> None:
    elsewhere = datetime(2026, 1, 31, 1, 30, 0, 1999, tzinfo=timezone(timedelta(hours=-8)))
    assert format_instant(elsewhere) == "2026-01-31T09:30:00.001Z"
    assert parse_instant("2026-01-31T09:30:00.001Z") == elsewhere - timedelta(microseconds=999)


@given(stamps)
def test_a_stamp_survives_its_metadata(row: TenantStamp) -> None:
    assert stamp_of(row.metadata()) == row


@pytest.mark.parametrize(
    "tampering",
    [
        {"tenantId": None},
        {"tenantId": "ACME"},
        {"tenantId": " acme"},
        {"tenantId": ["acme"]},
        {"tenantId": "аcme"},  # a Cyrillic letter
        {"repoSlug": None},
        {"repoSlug": ""},
        {"repoSlug": 7},
        {"visibility": None},
        {"visibility": "public"},
        {"visibility": "Team"},
        {"visibility": True},
        {"visibility": ["team"]},
        {"visibility": "private", "access": "team:acme"},
        {"originAgentIdentity": 7},
        {"originAgentIdentity": ""},
        {"ingestedAt": "yesterday"},
        {"ingestedAt": "2026-13-01T00:00:00Z"},
        {"ingestedAt": "2026-01-31T09:30:00+00:00"},
        {"ingestedAt": 1},
        {ACCESS: None},
        {ACCESS: "team:beta"},
        {ACCESS: "Team:acme"},
        {ACCESS: ["team:acme"]},
    ],
)
def test_a_malformed_stamp_is_none(tampering: dict[str, object]) -> None:
    row = {**stamp("acme", Visibility.TEAM).metadata(), **tampering}
    with pytest.raises(MalformedRowError):
        stamp_of({key: value for key, value in row.items() if value is not None})


@given(stamps, st.none() | st.sampled_from(["team:beta", ["team:acme"], 7]))
def test_a_stamp_that_is_to_be_labelled_anew_is_read_whatever_label_it_bears(
    row: TenantStamp, label: object
) -> None:
    assert unlabelled_stamp_of({**row.metadata(), ACCESS: label}) == row


@pytest.mark.parametrize("private", [{}, {"originAgentIdentity": None}])
def test_a_private_row_without_its_agent_has_no_stamp_whatever_its_label(
    private: dict[str, Any],
) -> None:
    for label in ("team:acme", "private:acme:", "private:acme:ada", None):
        row = {"tenantId": "acme", "repoSlug": "app", "visibility": "private", "access": label}
        with pytest.raises(MalformedRowError, match="agent"):
            stamp_of({**row, **private})
