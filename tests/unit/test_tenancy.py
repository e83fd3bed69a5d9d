"""The read rule, its translation to labels, and the scopes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.errors import AccessDeniedError, AuthenticationError, InvalidInputError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.tenancy import (
    ACCESS_KEY,
    OperatorScope,
    ReadScope,
    Tenancy,
    TenantStamp,
    Visibility,
    WriteScope,
    format_instant,
    may_read,
    parse_instant,
    stamp_of,
    unlabelled_stamp_of,
)
from tests.strategies import NOW, identities, repo_slugs, stamps, visibilities

TENANCY = Tenancy()
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
        (ADA, stamp("acme", Visibility.PRIVATE, "ada"), True),
        (ADA, stamp("acme", Visibility.PRIVATE, "bob"), False),
        (ADA, stamp("acme", Visibility.PRIVATE), False),
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
    assert may_read(reader, row, TENANCY) is allowed


@given(identities(), stamps)
def test_the_labels_of_a_scope_say_what_the_predicate_says(
    reader: AgentIdentity, row: TenantStamp
) -> None:
    scope = ReadScope.of(reader, TENANCY, NOW)
    allowed = may_read(reader, row, TENANCY)
    assert (row.access_label() in scope.labels) is allowed
    assert scope.admits(row.metadata()) is allowed


def test_a_stamp_is_flat_metadata_with_its_label() -> None:
    assert stamp("acme", Visibility.PRIVATE, "ada").metadata() == {
        "tenantId": "acme",
        "repoSlug": "neo",
        "visibility": "private",
        "originAgentIdentity": "ada",
        "ingestedAt": "2026-01-31T09:30:00.000Z",
        "access": "private:acme:ada",
    }
    assert TenantStamp("acme", "neo", Visibility.PRIVATE).metadata() == {
        "tenantId": "acme",
        "repoSlug": "neo",
        "visibility": "private",
    }


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
        {"originAgentIdentity": 7},
        {"originAgentIdentity": ""},
        {"ingestedAt": "yesterday"},
        {"ingestedAt": "2026-13-01T00:00:00Z"},
        {"ingestedAt": 1},
        {ACCESS_KEY: None},
        {ACCESS_KEY: "team:beta"},
        {ACCESS_KEY: ["team:acme"]},
    ],
)
def test_a_row_with_a_malformed_stamp_is_denied(tampering: dict[str, object]) -> None:
    row = {**stamp("acme", Visibility.TEAM).metadata(), **tampering}
    intact = {key: value for key, value in row.items() if value is not None}
    assert not ReadScope.of(ADA, TENANCY, NOW).admits(intact)
    assert not WriteScope.of(ADA, TENANCY, NOW, repo_slug="neo").covers(intact)
    assert not WriteScope.of(ADA, TENANCY, NOW, repo_slug="neo").owns(intact)
    with pytest.raises(InvalidInputError):
        stamp_of(intact)


@given(stamps, st.none() | st.sampled_from(["team:beta", ["team:acme"], 7]))
def test_a_stamp_that_is_to_be_labelled_anew_is_read_whatever_label_it_bears(
    row: TenantStamp, label: object
) -> None:
    assert unlabelled_stamp_of({**row.metadata(), ACCESS_KEY: label}) == row


def test_without_an_identity_there_is_no_scope() -> None:
    with pytest.raises(AuthenticationError):
        ReadScope.of(None, TENANCY, NOW)
    with pytest.raises(AuthenticationError):
        WriteScope.of(None, TENANCY, NOW, repo_slug="neo")
    with pytest.raises(AuthenticationError):
        OperatorScope.of(None, TENANCY, NOW)


def test_an_identity_is_void_from_the_instant_it_expires() -> None:
    expiring = attrs.evolve(ADA, expires_at=NOW)
    just_before = NOW - timedelta(microseconds=1)
    assert ReadScope.of(expiring, TENANCY, just_before).reader == expiring
    with pytest.raises(AuthenticationError):
        ReadScope.of(expiring, TENANCY, NOW)
    with pytest.raises(AuthenticationError):
        WriteScope.of(expiring, TENANCY, NOW, repo_slug="neo")


@pytest.mark.parametrize("roles", [set(), {Role.AGENT}, {Role.AGENT, Role.CURATOR}])
def test_only_an_operator_acts_on_the_rows_of_all(roles: set[Role]) -> None:
    with pytest.raises(AccessDeniedError):
        OperatorScope.of(attrs.evolve(ADA, roles=frozenset(roles)), TENANCY, NOW)


def test_an_operators_scope_is_void_with_its_identity_and_covers_what_nobody_can_read() -> None:
    operator = attrs.evolve(ADA, roles=frozenset({Role.OPERATOR}), expires_at=NOW)
    scope = OperatorScope.of(operator, TENANCY, NOW - timedelta(microseconds=1))
    assert scope.operator == operator
    assert scope.covers(stamp("beta", Visibility.PRIVATE, "eve").metadata())
    assert scope.covers({})
    with pytest.raises(AuthenticationError):
        OperatorScope.of(operator, TENANCY, NOW)


def test_an_operator_bears_the_shared_tenant_only_as_its_curator() -> None:
    forged = AgentIdentity("neo-shared", "eve", frozenset({Role.OPERATOR}))
    with pytest.raises(AccessDeniedError):
        OperatorScope.of(forged, TENANCY, NOW)
    both = attrs.evolve(CURATOR, roles=frozenset({Role.OPERATOR, Role.CURATOR}))
    assert OperatorScope.of(both, TENANCY, NOW).operator == both


def test_an_operator_gives_rows_to_the_shared_tenant_only_as_its_curator() -> None:
    operator = attrs.evolve(ADA, roles=frozenset({Role.OPERATOR}))
    scope = OperatorScope.of(operator, TENANCY, NOW)
    scope.require_may_stamp("beta", TENANCY)
    with pytest.raises(AccessDeniedError):
        scope.require_may_stamp("neo-shared", TENANCY)
    with pytest.raises(AccessDeniedError):
        scope.require_may_stamp("commons", Tenancy(shared_tenant="commons"))
    both = attrs.evolve(ADA, roles=frozenset({Role.OPERATOR, Role.CURATOR}))
    OperatorScope.of(both, TENANCY, NOW).require_may_stamp("neo-shared", TENANCY)


def test_an_ordinary_identity_cannot_bear_the_shared_tenant() -> None:
    forged = AgentIdentity("neo-shared", "eve")
    with pytest.raises(AccessDeniedError):
        ReadScope.of(forged, TENANCY, NOW)
    with pytest.raises(AccessDeniedError):
        WriteScope.of(forged, TENANCY, NOW, repo_slug="neo")


def test_only_a_curator_writes_to_the_shared_tenant() -> None:
    with pytest.raises(AccessDeniedError):
        WriteScope.of(ADA, TENANCY, NOW, repo_slug="neo", tenant_id="neo-shared")
    curating = attrs.evolve(ADA, roles=frozenset({Role.CURATOR}))
    scope = WriteScope.of(curating, TENANCY, NOW, repo_slug="neo", tenant_id="neo-shared")
    assert scope.stamp(NOW).tenant_id == "neo-shared"


@pytest.mark.parametrize("roles", [set(), {Role.CURATOR}, {Role.OPERATOR}, set(Role)])
def test_nobody_writes_to_another_tenant(roles: set[Role]) -> None:
    with pytest.raises(AccessDeniedError):
        WriteScope.of(
            attrs.evolve(ADA, roles=frozenset(roles)),
            TENANCY,
            NOW,
            repo_slug="neo",
            tenant_id="beta",
        )


def test_a_scope_is_made_from_an_identity_only() -> None:
    scope = ReadScope.of(ADA, TENANCY, NOW)
    with pytest.raises(AccessDeniedError):
        ReadScope(reader=ADA, tenancy=TENANCY, labels=("team:beta",), seal=object())
    with pytest.raises(AccessDeniedError):
        attrs.evolve(scope, labels=("team:beta",))
    with pytest.raises(AccessDeniedError):
        attrs.evolve(scope, reader=EVE)
    with pytest.raises(AccessDeniedError):
        OperatorScope(operator=ADA, seal=object())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        scope.labels = ("team:beta",)  # type: ignore[misc] # what the test is about


@given(identities(), stamps, repo_slugs, visibilities)
def test_a_write_scope_covers_its_repository_as_far_as_its_writer_reads_it(
    writer: AgentIdentity, row: TenantStamp, repo: str, visibility: Visibility
) -> None:
    scope = WriteScope.of(writer, TENANCY, NOW, repo_slug=repo, visibility=visibility)
    expected = (
        row.tenant_id == writer.tenant_id
        and row.repo_slug == repo
        and may_read(writer, row, TENANCY)
    )
    assert scope.covers(row.metadata()) is expected
    assert scope.covers(scope.stamp(NOW).metadata())


@given(identities(), repo_slugs, visibilities)
def test_a_stamp_says_who_writes_what_where_and_when(
    writer: AgentIdentity, repo: str, visibility: Visibility
) -> None:
    scope = WriteScope.of(writer, TENANCY, NOW, repo_slug=repo, visibility=visibility)
    origin = writer.agent_id if visibility is Visibility.PRIVATE else None
    written = scope.stamp(NOW)
    assert written == TenantStamp(writer.tenant_id, repo, visibility, origin, NOW)
    assert written.access_label() == scope.label


@given(identities(), stamps, repo_slugs)
def test_a_write_scope_owns_its_repository_whoever_may_read_it(
    writer: AgentIdentity, row: TenantStamp, repo: str
) -> None:
    scope = WriteScope.of(writer, TENANCY, NOW, repo_slug=repo)
    expected = row.tenant_id == writer.tenant_id and row.repo_slug == repo
    assert scope.owns(row.metadata()) is expected


@given(identities(), repo_slugs)
def test_a_private_row_is_for_its_writer_alone(writer: AgentIdentity, repo: str) -> None:
    scope = WriteScope.of(writer, TENANCY, NOW, repo_slug=repo, visibility=Visibility.PRIVATE)
    row = scope.stamp(NOW)
    assert may_read(writer, row, TENANCY)
    assert not may_read(attrs.evolve(writer, agent_id="mallory"), row, TENANCY)


@given(st.sampled_from(["team", "", None, 1, "private "]))
def test_an_unknown_visibility_is_not_written(visibility: object) -> None:
    with pytest.raises(InvalidInputError):
        WriteScope.of(ADA, TENANCY, NOW, repo_slug="neo", visibility=visibility)  # type: ignore[arg-type] # what the test is about
