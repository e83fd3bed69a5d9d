"""What turns a stored row into a wanted one, and how much may be deleted unasked."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.context import TenantContext
from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.errors import DeletionGuardError, Remedy
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import StampedRow, stamped_row
from tenantkb.domain.stamps import SharedNamespace, Visibility
from tenantkb.domain.sync import Change, SyncPlan, change_of, require_deletable
from tenantkb.testing.samples import NOW

CONTEXT = TenantContext.admit(AgentIdentity("acme", "ada"), SharedNamespace(), NOW)
CHUNK = {"type": "guide", "name": "N", "content": "text", "source": "a.md", "hashInputs": ["name"]}


def row(visibility: Visibility = Visibility.TEAM, **changes: Any) -> StampedRow:
    scope = CONTEXT.writing("app", visibility)
    return stamped_row({**CHUNK, **changes}, scope, RootKind.BARE_REPO)


def test_an_equal_row_is_unchanged_whenever_it_was_written() -> None:
    stored = attrs.evolve(row(), stamp=attrs.evolve(row().stamp, ingested_at=None))
    assert change_of(row(), stored) is Change.UNCHANGED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"line_start": 1}, {"line_start": 2}),
        ({"line_start": 1}, {}),
        ({"draft": 1}, {"draft": True}),
        ({"draft": True}, {"draft": 1}),
        ({"ratio": 1}, {"ratio": 1.0}),
        ({"tags": ["a"]}, {"tags": ["b"]}),
    ],
)
def test_other_metadata_are_stamped_anew_and_keep_the_vector(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert change_of(row(**after), row(**before)) is Change.RESTAMPED


@pytest.mark.parametrize("changed", ["content", "description", "className", "type"])
def test_a_text_that_is_embedded_otherwise_is_embedded_again(changed: str) -> None:
    changes: dict[str, Any] = {changed: "other"}
    assert change_of(row(**changes), row()) is Change.REEMBEDDED


@pytest.mark.parametrize("visibility", Visibility)
def test_the_same_chunk_under_another_visibility_keeps_its_vector(visibility: Visibility) -> None:
    for stored in (row(each) for each in Visibility if each is not visibility):
        assert stored.id != row(visibility).id
        assert change_of(row(visibility), stored) is Change.RESTAMPED
        assert change_of(row(visibility, content="other"), stored) is Change.REEMBEDDED


def test_what_is_embedded_is_the_description_or_else_the_content() -> None:
    assert embedding_text(row(className="C").fields) == "guide: N in C\ntext"
    assert embedding_text(row(description="short").fields) == "guide: N in \nshort"
    assert embedding_text({}) == ":  in \n"


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_more_than_the_allowed_share_is_not_deleted_unasked(
    deleted: int, more: int, share: float
) -> None:
    stored = deleted + more
    if deleted > share * stored:
        with pytest.raises(DeletionGuardError, match=f"{deleted:,} of {stored:,} rows") as refused:
            require_deletable(deleted, stored, share)
        assert refused.value.remedy == Remedy.CONFIRM_DELETION
    else:
        require_deletable(deleted, stored, share)


@given(st.integers(1, 50), st.integers(0, 50), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_list_without_a_file_deletes_nothing_unasked(
    deleted: int, more: int, share: float
) -> None:
    with pytest.raises(DeletionGuardError, match=f"{deleted} of {deleted + more} rows") as refused:
        require_deletable(deleted, deleted + more, share, lists_nothing=True)
    assert refused.value.remedy == Remedy.CONFIRM_DELETION
    require_deletable(0, more, share, lists_nothing=True)


def test_a_plan_counts_what_is_stored_without_what_is_new() -> None:
    plan = SyncPlan(added=9, reembedded=1, restamped=2, unchanged=3, stale=7, kept=1, duplicates=5)
    assert plan.stored == 14
