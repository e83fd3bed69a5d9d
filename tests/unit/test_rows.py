"""Ids, stamping, and what of a chunk becomes metadata."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import (
    Criteria,
    Row,
    chunk_problems,
    fingerprint,
    require_field_value,
    stamped_row,
)
from tenantkb.domain.tenancy import STAMP_KEYS, Tenancy, Visibility, WriteScope
from tests.strategies import NOW

TENANCY = Tenancy()
CHUNK: dict[str, Any] = {
    "type": "guide",
    "kind": "guide",
    "name": "First steps",
    "content": "# Hello",
    "source": "learn/FirstSteps.md",
}


def scope(tenant: str = "acme", repo: str = "main-app", agent: str = "ada") -> WriteScope:
    roles = frozenset({Role.CURATOR}) if tenant == "neo-shared" else frozenset({Role.AGENT})
    return WriteScope.of(AgentIdentity(tenant, agent, roles), TENANCY, NOW, repo_slug=repo)


def row(chunk: dict[str, Any], where: WriteScope | None = None) -> Row:
    return stamped_row(chunk, where or scope(), RootKind.BARE_REPO, NOW)


def test_a_row_holds_the_chunk_with_its_path_its_fingerprint_and_its_stamp() -> None:
    assert row({**CHUNK, "tier": 1}).metadata == {
        "type": "guide",
        "kind": "guide",
        "name": "First steps",
        "content": "# Hello",
        "tier": 1,
        "hash": content_fingerprint(CHUNK),
        "rootKind": "bare-repo",
        "sourcePath": "learn/FirstSteps.md",
        "tenantId": "acme",
        "repoSlug": "main-app",
        "visibility": "team",
        "ingestedAt": "2026-01-31T09:30:00.000Z",
        "access": "team:acme",
    }


def test_the_path_may_come_under_either_name() -> None:
    renamed = {"sourcePath" if key == "source" else key: CHUNK[key] for key in CHUNK}
    assert row(renamed) == row(CHUNK)
    assert row({**CHUNK, "sourcePath": "other.md"}) == row(CHUNK)


def test_in_the_shared_corpus_the_id_is_the_fingerprint() -> None:
    assert row(CHUNK, scope("neo-shared", "neo")).id == content_fingerprint(CHUNK)


def test_elsewhere_the_owner_and_the_path_take_part() -> None:
    serialised = json.dumps(
        {
            "tenantId": "acme",
            "repoSlug": "main-app",
            "hash": content_fingerprint(CHUNK),
            "type": "guide",
            "name": "First steps",
            "source": "learn/FirstSteps.md",
        },
        separators=(",", ":"),
    )
    assert row(CHUNK).id == hashlib.sha256(serialised.encode()).hexdigest()


def test_the_type_of_an_id_falls_back_to_the_kind() -> None:
    untyped = {key: value for key, value in CHUNK.items() if key != "type"}
    typed = {**untyped, "type": "guide", "hashInputs": ["name"]}
    untyped["hashInputs"] = ["name"]
    assert row(untyped).id == row(typed).id
    assert row(untyped).metadata["type"] == "guide"


def test_the_type_takes_part_in_an_id_and_the_kind_beside_it_does_not() -> None:
    chunk = {**CHUNK, "hashInputs": ["name"]}
    assert row({**chunk, "type": "ticket"}).id != row(chunk).id
    assert row({**chunk, "kind": "other"}).id == row(chunk).id


def test_the_same_content_under_another_owner_or_path_is_another_row() -> None:
    ids = {
        row(CHUNK, where).id
        for where in (
            scope("acme", "main-app"),
            scope("acme", "neo"),
            scope("beta", "main-app"),
            scope("neo-shared", "neo"),
            scope("neo-shared", "other"),
        )
    } | {row({**CHUNK, "source": "learn/Other.md"}).id}
    assert len(ids) == 6


def test_the_id_does_not_depend_on_who_writes_or_reads() -> None:
    private = WriteScope.of(
        AgentIdentity("acme", "bob"),
        TENANCY,
        NOW,
        repo_slug="main-app",
        visibility=Visibility.PRIVATE,
    )
    assert row(CHUNK).id == row(CHUNK, private).id


@given(
    st.dictionaries(
        st.sampled_from(sorted({*STAMP_KEYS, "id", "hash", "embedding", "rootKind"})),
        st.text() | st.integers(),
    )
)
def test_what_a_chunk_claims_of_its_stamp_means_nothing(claims: dict[str, Any]) -> None:
    assert row({**CHUNK, **claims}) == row(CHUNK)


def test_the_hash_inputs_decide_the_fingerprint_where_they_are_given() -> None:
    chunk = {**CHUNK, "hashInputs": ["name", "content"]}
    expected = hashlib.sha256(b'{"name":"First steps","content":"# Hello"}').hexdigest()
    assert fingerprint(chunk) == expected
    assert fingerprint({**chunk, "hash": "0" * 64}) == expected


def test_metadata_is_what_every_store_can_hold() -> None:
    chunk = {
        **CHUNK,
        "tier": 2,
        "ratio": 0.5,
        "flag": True,
        "tags": ["a", "b"],
        "none": None,
        "huge": 2**63,
        "least": -(2**63),
        "zero": -0.0,
        "name": "lone \ud800 surrogate",
    }
    metadata = row(chunk).metadata
    assert metadata["tier"] == 2
    assert metadata["ratio"] == 0.5
    assert metadata["flag"] is True
    assert metadata["tags"] == '["a","b"]'
    assert "none" not in metadata
    assert metadata["huge"] == "9223372036854776000"
    assert metadata["least"] == -(2**63)
    assert str(metadata["zero"]) == "0.0"
    assert metadata["name"] == "lone \ufffd surrogate"


@pytest.mark.parametrize(
    "key", ["", "$where", "#document", "chroma:document", "tenantkb.vector", "\ud800"]
)
def test_names_that_stores_keep_for_themselves_are_refused(key: str) -> None:
    with pytest.raises(InvalidInputError):
        row({**CHUNK, key: "x"})


@pytest.mark.parametrize("key", ["X", "a$", "a#", "chroma", "Chroma:x", "tenantkb", "ü"])
def test_other_names_are_kept(key: str) -> None:
    assert row({**CHUNK, key: "x"}).metadata[key] == "x"


@pytest.mark.parametrize("value", ["", "ü", True, 0, -(2**63), 2**63 - 1, 0.5, -1e308])
def test_a_value_that_every_store_holds_is_taken_as_it_is(value: object) -> None:
    taken = require_field_value("key", value)
    assert (taken, type(taken)) == (value, type(value))


def test_a_negative_zero_loses_its_sign() -> None:
    assert str(require_field_value("key", -0.0)) == "0.0"


@pytest.mark.parametrize(
    "value",
    [None, 2**63, -(2**63) - 1, float("nan"), float("inf"), "\ud800", b"a", ["a"], {"a": "b"}],
)
def test_a_value_that_some_store_changes_or_drops_is_refused_under_its_name(value: object) -> None:
    with pytest.raises(InvalidInputError, match="key"):
        require_field_value("key", value)


@pytest.mark.parametrize(
    "source",
    [
        None, 7, "", "/etc/passwd", "a/../b", "..", ".", "a//b", "a/", "./a", "a\\b", "a\0b",
        "a/\ud800", ["a"],
    ],
)  # fmt: skip
def test_a_path_of_another_form_is_refused(source: object) -> None:
    with pytest.raises(InvalidInputError):
        row({**CHUNK, "source": source})


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_a_lone_surrogate_is_refused_in_a_path_and_replaced_in_a_text(code: int) -> None:
    with pytest.raises(InvalidInputError):
        row({**CHUNK, "source": f"ü{chr(code)}"})
    assert row({**CHUNK, "name": f"ü{chr(code)}"}).metadata["name"] == "ü\ufffd"


@pytest.mark.parametrize("source", ["a", ".a/..b/c.", "a b/ü", "\ud7ff\ue000\U0001f600"])
def test_a_relative_path_is_taken_as_it_is(source: str) -> None:
    assert row({**CHUNK, "source": source}).metadata["sourcePath"] == source


@pytest.mark.parametrize(
    "missing", [{"name": None}, {"content": None}, {"content": 7}, {"type": 7}, {"type": None}]
)
def test_a_chunk_without_type_name_or_content_is_refused(missing: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        row({**CHUNK, **missing})


@pytest.mark.parametrize("path", ["source", "sourcePath"])
@pytest.mark.parametrize("type_", ["type", "kind"])
def test_every_field_that_keeps_a_chunk_from_becoming_a_row_is_named(path: str, type_: str) -> None:
    faulty = {"content": 7, type_: None, path: "../a", "$where": "x", "": "y", "tier": 1}
    named = [field for field, _ in chunk_problems(faulty)]
    assert named == ["content", type_, "name", path, "$where", ""]
    assert list(chunk_problems(CHUNK)) == []


@pytest.mark.parametrize(
    ("name", "stored"), [(42, "42"), (True, "true"), (["a", 1.5], '["a",1.5]'), (0.1, "0.1")]
)
def test_a_name_that_is_no_text_is_stored_as_its_json(name: object, stored: str) -> None:
    assert row({**CHUNK, "name": name}).metadata["name"] == stored
    assert row({**CHUNK, "name": name}).id != row({**CHUNK, "name": stored}).id


@pytest.mark.parametrize("value", [7, True, ["guide"], {"$ne": "guide"}, "\ud800"])
def test_a_filter_takes_text_and_nothing_else(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        Criteria(type=value)


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("type", "type"),
        ("kind", "kind"),
        ("repo_slug", "repoSlug"),
        ("source_path", "sourcePath"),
        ("class_name", "className"),
    ],
)
def test_each_filter_asks_for_its_own_key(field: str, key: str) -> None:
    criteria = Criteria(**{field: "wanted"})
    assert criteria.equalities() == {key: "wanted"}
    assert criteria.matches({key: "wanted", "other": "x"})
    assert not criteria.matches({key: "Wanted"})
    assert not criteria.matches({"other": "wanted"})


def test_criteria_are_met_by_equality() -> None:
    metadata = row(CHUNK).metadata
    assert Criteria().matches(metadata)
    assert Criteria(type="guide", repo_slug="main-app").matches(metadata)
    assert not Criteria(type="guide", repo_slug="other").matches(metadata)
    assert not Criteria(class_name="").matches(metadata)
