"""Where a row comes from: slugs, paths, and their identity as a store keeps it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.errors import InvalidInputError, MalformedRowError
from tenantkb.domain.paths import (
    PathIdentity,
    RootKind,
    path_of,
    require_repo_slug,
    require_source_path,
)
from tests.strategies import REPOS, TENANTS

segments = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=5
).filter(lambda segment: segment not in (".", ".."))
paths = st.lists(segments, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize("good", ["a", "a" * 256, "client-org/main-app", "ä"])
def test_repository_slugs(good: str) -> None:
    assert require_repo_slug(good) == good


@pytest.mark.parametrize(
    "bad", ["", " a", "a b", "a\u00a0b", "a\n", "a\0", "a" * 257, "\ud800", None, 7, ["a"]]
)
def test_what_is_no_repository_slug(bad: object) -> None:
    with pytest.raises(InvalidInputError):
        require_repo_slug(bad)


@given(paths)
def test_a_relative_path_is_taken_as_it_is(path: str) -> None:
    assert require_source_path(path) == path


@given(paths, st.sampled_from(["", ".", "..", "\\", "\0", "\ud800"]), st.data())
def test_one_segment_that_is_none_spoils_a_path(
    path: str, spoiling: str, data: st.DataObject
) -> None:
    parts = path.split("/")
    parts.insert(data.draw(st.integers(0, len(parts))), spoiling)
    with pytest.raises(InvalidInputError):
        require_source_path("/".join(parts))


@given(st.sampled_from(TENANTS), st.sampled_from(REPOS), st.sampled_from(RootKind), paths)
def test_a_path_identity_is_read_back_from_metadata(
    tenant: str, repo: str, root_kind: RootKind, path: str
) -> None:
    made = PathIdentity(tenant, repo, root_kind, path)
    assert made.metadata() == {"rootKind": root_kind.value, "sourcePath": path}
    assert path_of({"tenantId": tenant, "repoSlug": repo, **made.metadata()}) == made


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant_id": "ACME"},
        {"repo_slug": "a b"},
        {"source_path": "../a"},
        {"source_path": None},
        {"root_kind": "bare-repo"},
        {"root_kind": None},
    ],
)
def test_a_path_identity_holds_nothing_malformed(changes: dict[str, Any]) -> None:
    good = {
        "tenant_id": "acme",
        "repo_slug": "app",
        "root_kind": RootKind.BARE_REPO,
        "source_path": "a.md",
    }
    PathIdentity(**good)  # type: ignore[arg-type] # of the right types
    with pytest.raises(InvalidInputError):
        PathIdentity(**{**good, **changes})


STORED = {"tenantId": "acme", "repoSlug": "app", "rootKind": "bare-repo", "sourcePath": "a.md"}


@pytest.mark.parametrize("key", STORED)
@pytest.mark.parametrize("value", [..., None, 7, True, "", "a\0", ["a.md"], {"a": "b"}])
def test_a_stored_path_is_read_strictly(key: str, value: object) -> None:
    assert path_of(STORED).source_path == "a.md"
    stored = {name: value if name == key else STORED[name] for name in STORED}
    with pytest.raises(MalformedRowError):
        path_of({name: stored[name] for name in stored if stored[name] is not ...})


@pytest.mark.parametrize("root_kind", ["BARE-REPO", "bare-repo ", "BARE_REPO", "repo"])
def test_a_kind_of_root_that_nobody_knows_is_malformed(root_kind: str) -> None:
    with pytest.raises(MalformedRowError):
        path_of({**STORED, "rootKind": root_kind})
