"""What every store decides alike: which rows exist for a scope, and which may be written."""

from __future__ import annotations

from functools import partial

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.stores.contract import (
    in_scope,
    require_covered,
    require_owned,
    restorable,
    writable,
)
from tenantkb.domain.errors import InvalidInputError, ScopeViolationError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria, Row
from tenantkb.domain.tenancy import (
    ReadScope,
    Tenancy,
    TenantStamp,
    Visibility,
    WriteScope,
    may_read,
)
from tests.conformance.samples import row, writing
from tests.strategies import NOW, identities, repo_slugs, stamps

TENANCY = Tenancy()
criteria = st.sampled_from([ANY, Criteria(type="guide"), Criteria(type="src")])
MINE, FOREIGN = writing("acme"), writing("beta")
OTHERS = writing("acme", "bob", visibility=Visibility.PRIVATE)


@given(identities(), stamps, criteria)
def test_for_a_reader_a_row_exists_if_it_may_be_read_and_is_asked_for(
    reader: AgentIdentity, stamp: TenantStamp, asked: Criteria
) -> None:
    metadata = {**stamp.metadata(), "type": "guide"}
    expected = may_read(reader, stamp, TENANCY) and asked.type != "src"
    assert in_scope(ReadScope.of(reader, TENANCY, NOW), asked, metadata) is expected


@given(identities(), repo_slugs, stamps, criteria)
def test_for_a_writer_a_row_exists_if_it_is_covered_and_asked_for(
    writer: AgentIdentity, repo: str, stamp: TenantStamp, asked: Criteria
) -> None:
    scope = WriteScope.of(writer, TENANCY, NOW, repo_slug=repo)
    metadata = {**stamp.metadata(), "type": "guide"}
    expected = scope.covers(metadata) and asked.type != "src"
    assert in_scope(scope, asked, metadata) is expected


@pytest.mark.parametrize("label", [None, "", "TEAM:acme", ["team:acme"]])
def test_for_a_reader_a_row_without_a_proper_label_does_not_exist(label: object) -> None:
    scope = ReadScope.of(AgentIdentity("acme", "ada"), TENANCY, NOW)
    metadata = {**row(MINE, "a").metadata, "access": label}
    assert not in_scope(scope, ANY, metadata)  # type: ignore[arg-type]  # what the test is about


def test_rows_in_scope_are_written_as_they_are() -> None:
    written = [row(MINE, "a", zero=-0.0, count=3), row(MINE, "b")]
    assert writable(MINE, written) == [dict(each.metadata) for each in written]
    assert writable(MINE, []) == []


def test_one_row_out_of_scope_refuses_them_all() -> None:
    for uncovered in (row(FOREIGN, "b"), row(OTHERS, "b")):
        with pytest.raises(ScopeViolationError, match=uncovered.id):
            writable(MINE, [row(MINE, "a"), uncovered])


def test_rows_of_every_owner_are_restored_as_they_are() -> None:
    restored = [row(MINE, "a"), row(FOREIGN, "b"), row(OTHERS, "c")]
    assert restorable(restored) == [dict(each.metadata) for each in restored]


def test_one_row_with_a_malformed_stamp_refuses_the_restore_of_all() -> None:
    mislabelled = {**row(FOREIGN, "b").metadata, "access": "team:acme"}
    for metadata in (mislabelled, {"content": "nobody's"}):
        with pytest.raises(InvalidInputError):
            restorable([row(MINE, "a"), Row("x", metadata)])


def test_an_id_is_given_once() -> None:
    twice = [row(MINE, "a"), row(MINE, "b"), row(MINE, "a")]
    for write in (partial(writable, MINE), restorable):
        with pytest.raises(InvalidInputError, match="twice"):
            write(twice)


@pytest.mark.parametrize("row_id", ["", "\ud800"])
def test_an_id_is_text_that_a_store_can_hold(row_id: str) -> None:
    with pytest.raises(InvalidInputError):
        writable(MINE, [evolve(row(MINE, "a"), id=row_id)])


def test_a_refusal_tells_nothing_of_what_is_stored() -> None:
    """A row that is not covered, and one that is stored for somebody else, read alike."""
    attempt = Row("x", row(FOREIGN, "b").metadata)
    with pytest.raises(ScopeViolationError) as uncovered:
        require_covered(MINE, attempt.id, attempt.metadata)
    with pytest.raises(ScopeViolationError) as foreign:
        require_owned(MINE, attempt.id, attempt.metadata)
    assert str(uncovered.value) == str(foreign.value)
    assert "row x is outside" in str(foreign.value)
    assert "beta" not in str(foreign.value)


def test_a_stored_row_of_the_repository_may_be_replaced_whoever_may_read_it() -> None:
    require_owned(MINE, "x", row(OTHERS, "a").metadata)
    require_covered(MINE, "x", row(MINE, "a").metadata)
