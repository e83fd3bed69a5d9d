"""One request's standing, and what the scopes that it hands out admit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.context import (
    OperatorScope,
    ReadScope,
    Scope,
    TenantContext,
    WriteScope,
    require_context,
)
from tenantkb.domain.errors import AccessDeniedError, AuthenticationError, InvalidInputError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.stamps import SharedNamespace, TenantStamp, Visibility, may_read
from tenantkb.testing.samples import NOW
from tests.strategies import AGENTS, identities, repo_slugs, stamps, visibilities

NAMESPACE = SharedNamespace()
SECOND = timedelta(seconds=1)
ADA = AgentIdentity("acme", "ada")
EVE = AgentIdentity("beta", "ada")
CURATOR = AgentIdentity("neo-shared", "ada", frozenset({Role.CURATOR}))
OPERATOR = AgentIdentity("acme", "olga", frozenset({Role.OPERATOR}))


def admitted(identity: AgentIdentity | None) -> TenantContext:
    return TenantContext.admit(identity, NAMESPACE, NOW)


def scopes(context: TenantContext) -> list[Scope]:
    """One of each kind that the caller may have."""
    found: list[Scope] = [context.reading(), context.writing("app")]
    with suppress(AccessDeniedError):
        found.append(context.operating())
    return found


# Admission


@pytest.mark.parametrize("nobody", [None, "ada", {"tenantId": "acme", "agentId": "ada"}])
def test_without_an_identity_there_is_no_context(nobody: Any) -> None:
    with pytest.raises(AuthenticationError):
        admitted(nobody)


def test_an_identity_is_void_from_the_instant_it_expires() -> None:
    expiring = attrs.evolve(ADA, expires_at=NOW)
    just_before = NOW - timedelta(microseconds=1)
    context = TenantContext.admit(expiring, NAMESPACE, just_before)
    assert (context.identity, context.admitted_at, context.expires_at) == (
        expiring,
        just_before,
        NOW,
    )
    with pytest.raises(AuthenticationError):
        admitted(expiring)


@pytest.mark.parametrize("instant", [NOW.replace(tzinfo=None), "2026-01-31", None])
def test_an_admission_has_an_aware_instant(instant: Any) -> None:
    with pytest.raises(InvalidInputError):
        TenantContext.admit(ADA, NAMESPACE, instant)


@pytest.mark.parametrize("roles", [set(), {Role.AGENT}, {Role.OPERATOR}])
def test_only_a_curator_bears_the_shared_tenant(roles: set[Role]) -> None:
    with pytest.raises(AccessDeniedError):
        admitted(AgentIdentity("neo-shared", "eve", frozenset(roles)))
    assert admitted(CURATOR).identity == CURATOR


def test_the_shared_tenant_is_the_one_of_the_installation() -> None:
    elsewhere = SharedNamespace("commons", "corpus")
    with pytest.raises(AccessDeniedError):
        TenantContext.admit(AgentIdentity("commons", "eve"), elsewhere, NOW)
    assert "team:commons" in TenantContext.admit(ADA, elsewhere, NOW).reading().labels
    ordinary = AgentIdentity("neo-shared", "eve")
    assert TenantContext.admit(ordinary, elsewhere, NOW).identity == ordinary


class _Pretender:
    """Everything that a context has, and none."""

    identity = ADA
    namespace = NAMESPACE
    admitted_at = NOW
    expires_at = None

    def reading(self) -> ReadScope:
        return admitted(ADA).reading()


@pytest.mark.parametrize("context", [None, ADA, _Pretender(), admitted(ADA).reading()])
def test_what_only_looks_like_a_context_is_none(context: object) -> None:
    with pytest.raises(AuthenticationError):
        require_context(context)


def test_a_context_is_taken_as_it_is() -> None:
    context = admitted(ADA)
    assert require_context(context) is context


# The seal

CONTEXT = TenantContext.admit(
    AgentIdentity("acme", "olga", frozenset(Role), NOW + SECOND), NAMESPACE, NOW
)
SEALED: list[Scope | TenantContext] = [CONTEXT, *scopes(CONTEXT)]
kinds = pytest.mark.parametrize("value", SEALED, ids=lambda value: type(value).__name__)


@kinds
def test_contexts_and_scopes_are_made_nowhere_else(value: Any) -> None:
    values = {
        attribute.name: getattr(value, attribute.name)
        for attribute in attrs.fields(type(value))
        if attribute.init and attribute.name != "_seal"
    }
    for seal in (object(), None, True):
        with pytest.raises(AccessDeniedError):
            type(value)(**values, seal=seal)
    with pytest.raises(TypeError):
        type(value)(**values)


@kinds
def test_contexts_and_scopes_are_not_copied_with_changes(value: Any) -> None:
    for changes in ({}, {"identity": EVE}, {"admitted_at": NOW - SECOND}):
        with pytest.raises(AccessDeniedError):
            attrs.evolve(value, **changes)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.identity = EVE
    with pytest.raises(AttributeError):
        value.more = 1


@kinds
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
)
def test_a_copy_says_what_the_original_says_or_is_none(
    value: Any, copied: Callable[[Any], Any]
) -> None:
    try:
        again = copied(value)
    except (TypeError, AttributeError):
        return
    assert again == value


def test_a_subclass_is_no_context() -> None:
    @attrs.frozen(kw_only=True)
    class Wider(TenantContext):
        pass

    wider = object.__new__(Wider)
    for attribute in ("identity", "namespace", "admitted_at"):
        object.__setattr__(wider, attribute, getattr(CONTEXT, attribute))
    with pytest.raises(AuthenticationError):
        require_context(wider)


# Expiry


@given(st.integers(-5, 5))
def test_a_scope_is_void_with_its_callers_standing(seconds: int) -> None:
    context = admitted(attrs.evolve(ADA, roles=frozenset(Role), expires_at=NOW + 2 * SECOND))
    now = NOW + seconds * SECOND
    for scope in scopes(context):
        assert scope.expires_at == context.expires_at
        if seconds < 2:
            scope.require_valid(now)
        else:
            with pytest.raises(AuthenticationError, match="expired"):
                scope.require_valid(now)


def test_a_standing_that_never_expires_stays() -> None:
    for scope in scopes(admitted(ADA)):
        scope.require_valid(NOW + timedelta(days=36500))
        assert scope.lasting(0) is scope
        assert scope.lasting(3600) is scope


@given(expires=st.integers(1, 20), seconds=st.integers(0, 20))
def test_a_job_that_was_admitted_in_time_may_finish_within_its_time(
    expires: int, seconds: int
) -> None:
    context = admitted(attrs.evolve(ADA, roles=frozenset(Role), expires_at=NOW + expires * SECOND))
    for scope in scopes(context):
        job = scope.lasting(seconds)
        assert type(job) is type(scope)
        until = NOW + max(expires, seconds) * SECOND
        assert job.expires_at == until
        job.require_valid(until - timedelta(microseconds=1))
        with pytest.raises(AuthenticationError):
            job.require_valid(until)
        assert job.lasting(seconds) == job, "what lasts is not prolonged again and again"
        others = set(attrs.fields_dict(type(scope))) - {"expires_at", "_seal"}
        assert all(getattr(job, name) == getattr(scope, name) for name in others)
        with pytest.raises(AccessDeniedError):
            attrs.evolve(job)


# Reading and writing


@given(identities(), stamps)
def test_a_read_scope_is_its_callers_team_its_own_rows_and_the_shared_ones(
    reader: AgentIdentity, row: TenantStamp
) -> None:
    scope = admitted(reader).reading()
    assert scope.admits(row) is may_read(reader, row, NAMESPACE)
    assert scope.labels == tuple(sorted(set(scope.labels)))


def test_only_a_curator_writes_to_the_shared_tenant() -> None:
    with pytest.raises(AccessDeniedError):
        admitted(ADA).writing("neo", tenant_id="neo-shared")
    curating = attrs.evolve(ADA, roles=frozenset({Role.CURATOR}))
    scope = admitted(curating).writing("neo", tenant_id="neo-shared")
    assert scope.stamp().tenant_id == "neo-shared"
    with pytest.raises(AccessDeniedError):
        admitted(curating).writing("neo", Visibility.PRIVATE, "neo-shared")
    assert admitted(CURATOR).writing("neo", Visibility.PRIVATE).label == "private:neo-shared:ada"


@pytest.mark.parametrize("roles", [set(), {Role.CURATOR}, {Role.OPERATOR}, set(Role)])
def test_nobody_writes_to_another_tenant(roles: set[Role]) -> None:
    with pytest.raises(AccessDeniedError):
        admitted(attrs.evolve(ADA, roles=frozenset(roles))).writing("neo", tenant_id="beta")


@given(identities(), stamps, repo_slugs, visibilities)
def test_a_write_scope_covers_its_repository_as_far_as_its_writer_reads_it(
    writer: AgentIdentity, row: TenantStamp, repo: str, visibility: Visibility
) -> None:
    scope = admitted(writer).writing(repo, visibility)
    expected = (
        row.tenant_id == writer.tenant_id
        and row.repo_slug == repo
        and may_read(writer, row, NAMESPACE)
    )
    assert scope.admits(row) is expected
    assert scope.admits(scope.stamp())


@given(st.sampled_from(AGENTS), stamps, repo_slugs)
def test_a_curator_from_elsewhere_covers_no_private_row_of_the_shared_tenant(
    agent: str, row: TenantStamp, repo: str
) -> None:
    """Fails: an agent of another tenant is taken for its namesake in the shared one."""
    curating = AgentIdentity("acme", agent, frozenset({Role.CURATOR}))
    scope = admitted(curating).writing(repo, tenant_id="neo-shared")
    team = row.tenant_id == "neo-shared" and row.visibility is Visibility.TEAM
    assert scope.admits(row) is (team and row.repo_slug == repo)


@given(identities(), repo_slugs, visibilities)
def test_a_stamp_says_who_writes_what_where_and_when(
    writer: AgentIdentity, repo: str, visibility: Visibility
) -> None:
    scope = admitted(writer).writing(repo, visibility)
    origin = writer.agent_id if visibility is Visibility.PRIVATE else None
    assert scope.stamp() == TenantStamp(writer.tenant_id, repo, visibility, origin, NOW)
    assert scope.stamp().label == scope.label
    assert {scope.stamp_as(each).label for each in Visibility} == set(scope.labels)


@given(identities(), repo_slugs)
def test_a_private_row_is_for_its_writer_alone(writer: AgentIdentity, repo: str) -> None:
    row = admitted(writer).writing(repo, Visibility.PRIVATE).stamp()
    assert may_read(writer, row, NAMESPACE)
    assert not may_read(attrs.evolve(writer, agent_id="mallory"), row, NAMESPACE)


@pytest.mark.parametrize("visibility", ["team", "", None, 1, "private "])
def test_an_unknown_visibility_is_not_written(visibility: Any) -> None:
    with pytest.raises(InvalidInputError):
        admitted(ADA).writing("neo", visibility)


@pytest.mark.parametrize("repo", ["", "a b", None, 7, "a\n"])
def test_a_repository_that_is_none_is_not_written(repo: Any) -> None:
    with pytest.raises(InvalidInputError):
        admitted(ADA).writing(repo)


# Operating


@pytest.mark.parametrize("roles", [set(), {Role.AGENT}, {Role.AGENT, Role.CURATOR}])
def test_only_an_operator_reaches_the_rows_of_all(roles: set[Role]) -> None:
    with pytest.raises(AccessDeniedError):
        admitted(attrs.evolve(ADA, roles=frozenset(roles))).operating()


def test_an_operator_reads_and_writes_no_more_than_an_agent_does() -> None:
    agent = admitted(attrs.evolve(OPERATOR, roles=frozenset({Role.AGENT})))
    operator = admitted(OPERATOR)
    assert type(operator.operating()) is OperatorScope
    assert operator.reading().labels == agent.reading().labels
    assert operator.writing("app").labels == agent.writing("app").labels


def test_an_operator_gives_rows_to_the_shared_tenant_only_as_its_curator() -> None:
    scope = admitted(OPERATOR).operating()
    scope.require_may_stamp("beta")
    with pytest.raises(AccessDeniedError):
        scope.require_may_stamp("neo-shared")
    elsewhere = TenantContext.admit(OPERATOR, SharedNamespace("commons"), NOW).operating()
    with pytest.raises(AccessDeniedError):
        elsewhere.require_may_stamp("commons")
    elsewhere.require_may_stamp("neo-shared")
    both = attrs.evolve(OPERATOR, roles=frozenset({Role.OPERATOR, Role.CURATOR}))
    admitted(both).operating().require_may_stamp("neo-shared")


def test_the_three_kinds_of_scopes_are_apart() -> None:
    context = admitted(attrs.evolve(OPERATOR, roles=frozenset(Role)))
    made = [type(scope) for scope in scopes(context)]
    assert made == [ReadScope, WriteScope, OperatorScope]
    assert not any(issubclass(one, other) for one in made for other in made if one is not other)
