"""What is asked of every store: the labels of a scope, narrowed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.context import TenantContext
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Criteria
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import SharedNamespace, TenantStamp
from tenantkb.testing.samples import NOW
from tests.strategies import REPOS, identities, repo_slugs, stamps

NAMESPACE = SharedNamespace()
ADA = TenantContext.admit(AgentIdentity("acme", "ada"), NAMESPACE, NOW)

wanted = st.none() | st.sampled_from(["a", "b"])
criteria = st.builds(
    Criteria,
    type=wanted,
    kind=wanted,
    class_name=wanted,
    repo_slug=st.none() | repo_slugs,
    path=st.none() | st.sampled_from(["a", "[ab]", "*b"]),
)
chunk_fields = st.fixed_dictionaries(
    {},
    optional={
        key: st.sampled_from(["a", "b"]) for key in ("type", "kind", "className", "sourcePath")
    },
)


def fulfils(metadata: dict[str, Any], asked: Criteria) -> bool:
    keys = {
        "type": asked.type,
        "kind": asked.kind,
        "repoSlug": asked.repo_slug,
        "className": asked.class_name,
    }
    paths: dict[str | None, list[Any]] = {
        None: ["a", "b", None],
        "a": ["a"],
        "[ab]": ["a", "b"],
        "*b": ["b"],
    }
    fits = metadata.get("sourcePath") in paths[asked.path]
    return fits and all(value is None or metadata.get(key) == value for key, value in keys.items())


@given(identities(), stamps, chunk_fields, criteria)
def test_a_reader_is_answered_what_it_may_see_and_asked_for(
    reader: AgentIdentity, stamp: TenantStamp, fields: dict[str, str], asked: Criteria
) -> None:
    scope = TenantContext.admit(reader, NAMESPACE, NOW).reading()
    metadata = {**fields, **stamp.metadata()}
    selected = Selection.of(scope, asked).matches(stamp.label, metadata)
    assert selected is (scope.admits(stamp) and fulfils(metadata, asked))
    assert not selected or Selection.of(scope).matches(stamp.label, metadata), "only narrowed"


@given(identities(), repo_slugs, stamps, chunk_fields, criteria)
def test_a_writer_is_answered_what_of_that_is_its_repositorys(
    writer: AgentIdentity, repo: str, stamp: TenantStamp, fields: dict[str, str], asked: Criteria
) -> None:
    scope = TenantContext.admit(writer, NAMESPACE, NOW).writing(repo)
    metadata = {**fields, **stamp.metadata()}
    selected = Selection.of(scope, asked).matches(stamp.label, metadata)
    assert selected is (scope.admits(stamp) and fulfils(metadata, asked))


def test_another_repository_than_the_scopes_is_an_empty_selection() -> None:
    one, other = REPOS
    elsewhere = Selection.of(ADA.writing(one), Criteria(repo_slug=other))
    assert elsewhere == Selection((), {})
    assert Selection.of(ADA.writing(one), Criteria(repo_slug=one)) == Selection.of(ADA.writing(one))


@pytest.mark.parametrize("value", ["A", " a", "a ", "a\0", ["a"], {"$eq": "a"}, True, 1, None])
def test_a_value_that_is_not_the_same_text_is_not_equal(value: object) -> None:
    selection = Selection.of(ADA.reading(), Criteria(type="a"))
    assert selection.matches("team:acme", {"type": "a"})
    assert not selection.matches("team:acme", {"type": value})
    assert not selection.matches("team:acme", {})


@pytest.mark.parametrize("path", [None, 5, ["a"], b"a", True])
def test_a_path_that_is_no_text_fits_no_pattern(path: object) -> None:
    for scope in (ADA.reading(), ADA.writing("app")):
        selection = Selection.of(scope, Criteria(path="*"))
        own = {"tenantId": "acme", "repoSlug": "app"}
        assert selection.matches("team:acme", {**own, "sourcePath": "a/b"})
        assert not selection.matches("team:acme", {**own, "sourcePath": path})
        assert not selection.matches("team:acme", own)


@pytest.mark.parametrize("label", ["team:beta", "Team:acme", "", "team:acme ", "private:acme:bob"])
def test_a_label_outside_the_scope_selects_nothing(label: str) -> None:
    assert not Selection.of(ADA.reading()).matches(label, {"access": "team:acme"})
