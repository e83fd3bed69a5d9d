"""Ids, stamping, what of a chunk becomes a row, and what a store's metadata say of one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.context import TenantContext, WriteScope
from tenantkb.domain.derivation import derived_id, fingerprint
from tenantkb.domain.errors import InvalidInputError, MalformedRowError
from tenantkb.domain.fields import PATH, STAMP
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.rows import (
    ANY,
    Criteria,
    StampedRow,
    chunk_problems,
    read_row,
    require_criteria,
    require_field,
    same_fields,
    stamped_row,
    twin_id,
)
from tenantkb.domain.stamps import SharedNamespace, TenantStamp, Visibility
from tenantkb.testing.samples import NOW
from tests.strategies import AGENTS, TENANTS, repo_slugs, stamps, visibilities

NAMESPACE = SharedNamespace()
CHUNK: dict[str, Any] = {
    "type": "guide",
    "kind": "guide",
    "name": "First steps",
    "content": "# Hello",
    "source": "learn/FirstSteps.md",
}

texts = st.text(st.characters(codec="utf-8"), max_size=8)
names = texts.filter(bool).filter(lambda name: name not in STAMP | PATH)
values = (
    texts
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
flat_fields = st.dictionaries(names, values, max_size=4)


@st.composite
def stamped_rows(draw: st.DrawFn) -> StampedRow:
    stamp = draw(stamps)
    path = PathIdentity(
        stamp.tenant_id, stamp.repo_slug, draw(st.sampled_from(RootKind)), draw(st.just("a/b.md"))
    )
    return StampedRow(ChunkId(draw(texts.filter(bool))), path, stamp, draw(flat_fields))


def scope(
    tenant: str = "acme",
    repo: str = "main-app",
    agent: str = "ada",
    visibility: Visibility = Visibility.TEAM,
) -> WriteScope:
    roles = frozenset({Role.CURATOR}) if tenant == "neo-shared" else frozenset({Role.AGENT})
    context = TenantContext.admit(AgentIdentity(tenant, agent, roles), NAMESPACE, NOW)
    return context.writing(repo, visibility)


def row(chunk: dict[str, Any], where: WriteScope | None = None) -> StampedRow:
    return stamped_row(chunk, where or scope(), RootKind.BARE_REPO)


def sha256(members: dict[str, Any]) -> str:
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# Stamping


def test_a_row_holds_the_chunk_with_its_path_its_fingerprint_and_its_stamp() -> None:
    assert row({**CHUNK, "tier": 1}).metadata() == {
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


@given(
    st.dictionaries(
        st.sampled_from(sorted({*STAMP, "id", "hash", "embedding", "rootKind"})),
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
    for odd in (["name", 7], "name", None):
        assert fingerprint({**CHUNK, "hashInputs": odd}) == content_fingerprint(CHUNK)


def test_fields_are_what_every_store_can_hold() -> None:
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
    fields = row(chunk).fields
    assert fields["tier"] == 2
    assert fields["ratio"] == 0.5
    assert fields["flag"] is True
    assert fields["tags"] == '["a","b"]'
    assert "none" not in fields
    assert fields["huge"] == "9223372036854776000"
    assert fields["least"] == -(2**63)
    assert str(fields["zero"]) == "0.0"
    assert fields["name"] == "lone \ufffd surrogate"


@pytest.mark.parametrize("key", ["", "\ud800", "a\udfff"])
def test_a_name_that_no_store_can_write_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError):
        row({**CHUNK, key: "x"})


@pytest.mark.parametrize("key", ["X", "$where", "#document", "chroma:document", "tenantkb.v", "ü"])
def test_a_name_that_some_store_keeps_for_itself_is_that_stores_business(key: str) -> None:
    assert row({**CHUNK, key: "x"}).fields[key] == "x"


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
    assert row({**CHUNK, "name": f"ü{chr(code)}"}).fields["name"] == "ü\ufffd"


@pytest.mark.parametrize("source", ["a", ".a/..b/c.", "a b/ü", "\ud7ff\ue000\U0001f600"])
def test_a_relative_path_is_taken_as_it_is(source: str) -> None:
    assert row({**CHUNK, "source": source}).path.source_path == source


@pytest.mark.parametrize(
    "missing", [{"name": None}, {"content": None}, {"content": 7}, {"type": 7}, {"type": None}]
)
def test_a_chunk_without_type_name_or_content_is_refused(missing: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        row({**CHUNK, **missing})


@pytest.mark.parametrize("path", ["source", "sourcePath"])
@pytest.mark.parametrize("type_", ["type", "kind"])
def test_every_field_that_keeps_a_chunk_from_becoming_a_row_is_named(path: str, type_: str) -> None:
    faulty = {"content": 7, type_: None, path: "../a", "\ud800": "x", "": "y", "tier": 1}
    named = [field for field, _ in chunk_problems(faulty)]
    assert named == ["content", type_, "name", path, "\ud800", ""]
    assert list(chunk_problems(CHUNK)) == []


# Ids


def test_a_team_row_of_the_shared_corpus_has_its_fingerprint_as_id() -> None:
    assert row(CHUNK, scope("neo-shared", "neo")).id == content_fingerprint(CHUNK)
    own = SharedNamespace("acme", "main-app")
    stamp = TenantStamp("acme", "main-app", Visibility.TEAM)
    assert derived_id(CHUNK, "h", "a.md", stamp, own) == "h"


def owned(tenant: str, repo: str) -> dict[str, Any]:
    return {
        "tenantId": tenant,
        "repoSlug": repo,
        "hash": content_fingerprint(CHUNK),
        "type": "guide",
        "name": "First steps",
        "source": "learn/FirstSteps.md",
    }


@pytest.mark.parametrize(
    ("tenant", "repo"), [("acme", "main-app"), ("acme", "neo"), ("neo-shared", "other")]
)
def test_elsewhere_the_owner_and_the_path_take_part(tenant: str, repo: str) -> None:
    assert row(CHUNK, scope(tenant, repo)).id == sha256(owned(tenant, repo))
    assert row(CHUNK, scope(tenant, repo, "bob")).id == sha256(owned(tenant, repo))


@pytest.mark.parametrize("agent", ["ada", "bob"])
@pytest.mark.parametrize(
    ("tenant", "repo"), [("acme", "main-app"), ("neo-shared", "other"), ("neo-shared", "neo")]
)
def test_everywhere_the_agent_takes_part_in_the_id_of_its_private_row(
    tenant: str, repo: str, agent: str
) -> None:
    private = row(CHUNK, scope(tenant, repo, agent, Visibility.PRIVATE))
    assert private.id == sha256({**owned(tenant, repo), "originAgentIdentity": agent})


@pytest.mark.parametrize("repo", ["neo", "other"])
def test_who_wrote_a_team_row_takes_no_part_in_its_id(repo: str) -> None:
    stamp = TenantStamp("neo-shared", repo, Visibility.TEAM)
    signed = attrs.evolve(stamp, origin_agent_identity="ada")
    made = [derived_id(CHUNK, "h", "a.md", each, NAMESPACE) for each in (stamp, signed)]
    assert made[0] == made[1]


writers = st.tuples(st.sampled_from(TENANTS), repo_slugs, st.sampled_from(AGENTS), visibilities)


@given(writers, writers, st.sampled_from(["a.md", "b.md"]))
def test_rows_of_two_owners_audiences_or_paths_never_meet(
    left: tuple[str, str, str, Visibility], right: tuple[str, str, str, Visibility], path: str
) -> None:
    """Fails: somebody shadows or replaces another's row by knowing its content."""

    def audience(tenant: str, repo: str, agent: str, visibility: Visibility) -> tuple[Any, ...]:
        private = visibility is Visibility.PRIVATE
        return tenant, repo, agent if private else None

    one = row({**CHUNK, "source": "a.md"}, scope(*left))
    other = row({**CHUNK, "source": path}, scope(*right))
    corpus = ("neo-shared", "neo", None)
    same_path = path == "a.md" or audience(*left) == corpus
    assert (one.id == other.id) is (audience(*left) == audience(*right) and same_path)


@given(writers)
def test_the_twin_is_the_row_under_the_other_visibility(
    writer: tuple[str, str, str, Visibility],
) -> None:
    tenant, repo, agent, visibility = writer
    where = scope(tenant, repo, agent, visibility)
    [other] = set(Visibility) - {visibility}
    there = scope(tenant, repo, agent, other)
    for chunk in (CHUNK, {**CHUNK, "name": 42, "hashInputs": ["content"]}):
        assert twin_id(row(chunk, where), chunk, where) == row(chunk, there).id
        assert twin_id(row(chunk, there), chunk, there) == row(chunk, where).id


def test_the_type_of_an_id_falls_back_to_the_kind() -> None:
    untyped = {key: value for key, value in CHUNK.items() if key != "type"}
    typed = {**untyped, "type": "guide", "hashInputs": ["name"]}
    untyped["hashInputs"] = ["name"]
    assert row(untyped).id == row(typed).id
    assert row(untyped).fields["type"] == "guide"


def test_the_type_takes_part_in_an_id_and_the_kind_beside_it_does_not() -> None:
    chunk = {**CHUNK, "hashInputs": ["name"]}
    assert row({**chunk, "type": "ticket"}).id != row(chunk).id
    assert row({**chunk, "kind": "other"}).id == row(chunk).id


@pytest.mark.parametrize(
    ("name", "stored"), [(42, "42"), (True, "true"), (["a", 1.5], '["a",1.5]'), (0.1, "0.1")]
)
def test_a_name_that_is_no_text_is_stored_as_its_json(name: object, stored: str) -> None:
    assert row({**CHUNK, "name": name}).fields["name"] == stored
    assert row({**CHUNK, "name": name}).id != row({**CHUNK, "name": stored}).id


# Values


@pytest.mark.parametrize("value", ["", "ü", True, 0, -(2**63), 2**63 - 1, 0.5, -1e308])
def test_a_value_that_every_store_holds_is_taken_as_it_is(value: object) -> None:
    taken = require_field("key", value)
    assert (taken, type(taken)) == (value, type(value))


def test_a_negative_zero_loses_its_sign() -> None:
    assert str(require_field("key", -0.0)) == "0.0"


@pytest.mark.parametrize(
    "value",
    [None, 2**63, -(2**63) - 1, float("nan"), float("inf"), "\ud800", b"a", ["a"], {"a": "b"}],
)
def test_a_value_that_some_store_changes_or_drops_is_refused_under_its_name(value: object) -> None:
    with pytest.raises(InvalidInputError, match="key"):
        require_field("key", value)


@pytest.mark.parametrize("value", [None, 2**63, -(2**63) - 1, float("inf"), "\ud800", ["a"]])
def test_a_stored_row_with_a_value_that_no_store_can_hold_is_none(value: object) -> None:
    """Fails: a row that is plain otherwise is not looked at to its end."""
    made = row({"type": "guide", "name": "n", "content": "c", "source": "a.md"})
    assert read_row(made.id, {**made.metadata(), "last": -(2**63)}).fields["last"] == -(2**63)
    for metadata in ({**made.metadata(), "last": value}, {"first": value, **made.metadata()}):
        with pytest.raises(MalformedRowError):
            read_row(made.id, metadata)


@pytest.mark.parametrize("key", ["", "\ud800", None, 7, ["a"]])
def test_a_field_has_a_name_that_is_text(key: object) -> None:
    with pytest.raises(InvalidInputError):
        require_field(key, "x")


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, True), (1, 1.0), (0, False), (True, 1.0), ("1", 1), ("a", "A"), (0.0, 0)],
)
def test_a_value_of_another_type_is_another_value(left: object, right: object) -> None:
    assert same_fields({"draft": left}, {"draft": left})
    assert not same_fields({"draft": left}, {"draft": right})
    assert not same_fields({"draft": left}, {})
    assert not same_fields({}, {"draft": right})


@given(flat_fields, flat_fields)
def test_fields_are_the_same_if_their_json_is(left: dict[str, Any], right: dict[str, Any]) -> None:
    """-0.0 aside, which no row has."""
    left, right = (
        {key: require_field(key, value) for key, value in each.items()} for each in (left, right)
    )
    as_json = [json.dumps(each, sort_keys=True) for each in (left, right)]
    assert same_fields(left, right) is (as_json[0] == as_json[1])
    assert same_fields(left, dict(reversed(left.items())))


# Rows as values

STAMP_OF_ACME = TenantStamp("acme", "app", Visibility.TEAM, ingested_at=NOW)
PATH_OF_ACME = PathIdentity("acme", "app", RootKind.BARE_REPO, "a.md")


@pytest.mark.parametrize("row_id", ["x", "", None, 7])
def test_a_row_has_an_id_that_is_one(row_id: Any) -> None:
    with pytest.raises(InvalidInputError):
        StampedRow(row_id, PATH_OF_ACME, STAMP_OF_ACME, {})


@pytest.mark.parametrize("changes", [{"tenant_id": "beta"}, {"repo_slug": "other"}])
def test_path_and_stamp_are_of_one_repository(changes: dict[str, Any]) -> None:
    for path, stamp in (
        (attrs.evolve(PATH_OF_ACME, **changes), STAMP_OF_ACME),
        (PATH_OF_ACME, attrs.evolve(STAMP_OF_ACME, **changes)),
    ):
        with pytest.raises(InvalidInputError):
            StampedRow(ChunkId("x"), path, stamp, {})


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": ["a"]},
        {"deep": {"a": 1}},
        {"none": None},
        {"nan": float("nan")},
        {"text": "\ud800"},
        {"": "x"},
        {7: "x"},
        *({key: "x"} for key in sorted(STAMP | PATH)),
    ],
)
def test_a_row_holds_flat_fields_and_none_of_its_stamp_or_path(fields: Any) -> None:
    with pytest.raises(InvalidInputError):
        StampedRow(ChunkId("x"), PATH_OF_ACME, STAMP_OF_ACME, fields)


def test_nothing_that_a_row_holds_changes_afterwards() -> None:
    given_fields = {"content": "a"}
    made = StampedRow(ChunkId("x"), PATH_OF_ACME, STAMP_OF_ACME, given_fields)
    given_fields["content"] = "b"
    made.metadata()["content"] = "c"
    assert made.fields["content"] == "a"
    with pytest.raises(TypeError):
        made.fields["content"] = "d"  # type: ignore[index] # what the test is about
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.id = ChunkId("y")  # type: ignore[misc] # what the test is about


def test_a_row_lies_under_the_label_of_its_audience() -> None:
    private = row(CHUNK, scope(visibility=Visibility.PRIVATE))
    assert private.key == RowKey("private:acme:ada", private.id)
    assert row(CHUNK).key == RowKey("team:acme", row(CHUNK).id)


def test_a_field_is_read_as_text() -> None:
    made = StampedRow(ChunkId("x"), PATH_OF_ACME, STAMP_OF_ACME, {"a": "text", "b": 7})
    for found in (made, read_row(made.id, made.metadata())):
        assert [found.text(key) for key in ("a", "b", "c", "tenantId")] == ["text", "7", "", ""]


def test_the_instant_of_the_write_is_no_difference_and_everything_else_is_one() -> None:
    made = StampedRow(ChunkId("x"), PATH_OF_ACME, STAMP_OF_ACME, {"draft": 1})
    assert made.is_same(attrs.evolve(made, stamp=attrs.evolve(STAMP_OF_ACME, ingested_at=None)))
    private: dict[str, Any] = {
        "visibility": Visibility.PRIVATE,
        "origin_agent_identity": "ada",
    }
    differing: list[dict[str, Any]] = [
        {"id": ChunkId("y")},
        {"fields": {"draft": True}},
        {"fields": {"draft": 1.0}},
        {"fields": {}},
        {"path": attrs.evolve(PATH_OF_ACME, source_path="b.md")},
        {"path": attrs.evolve(PATH_OF_ACME, root_kind=RootKind.NEO_WORKSPACE)},
        {"stamp": attrs.evolve(STAMP_OF_ACME, origin_agent_identity="ada")},
        {"stamp": attrs.evolve(STAMP_OF_ACME, **private)},
    ]
    for changes in differing:
        assert not made.is_same(attrs.evolve(made, **changes))
        assert not attrs.evolve(made, **changes).is_same(made)


# Reading back


@given(stamped_rows())
def test_a_row_is_read_back_from_its_metadata_as_it_was(made: StampedRow) -> None:
    again = read_row(made.id, made.metadata())
    assert again == made
    assert same_fields(again.metadata(), made.metadata())
    assert again.key == made.key
    assert again.metadata()["access"] == again.key.label


json_values = st.recursive(
    st.none() | values | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
)


@given(
    stamped_rows(),
    st.dictionaries(st.sampled_from(sorted(STAMP | PATH | {"x", ""})), json_values, min_size=1),
)
@example(row(CHUNK), {"access": "team:beta"})
@example(row(CHUNK), {"visibility": "private"})
def test_whatever_a_store_answers_is_a_row_or_malformed(
    made: StampedRow, tampering: dict[str, Any]
) -> None:
    """Fails: another error gets out, or a row is read that does not say what is stored."""
    metadata = {**made.metadata(), **tampering}
    try:
        again = read_row(made.id, metadata)
    except MalformedRowError:
        return
    written = again.metadata()
    for key in {*written, *metadata} - {"ingestedAt"}:
        assert written.get(key) == metadata.get(key)


@pytest.mark.parametrize("key", sorted(PATH | STAMP - {"originAgentIdentity", "ingestedAt"}))
def test_a_row_that_lacks_what_the_server_writes_is_malformed(key: str) -> None:
    metadata = row(CHUNK).metadata()
    del metadata[key]
    with pytest.raises(MalformedRowError):
        read_row(ChunkId("x"), metadata)


# Criteria


@pytest.mark.parametrize("value", [7, True, ["guide"], {"$ne": "guide"}, "\ud800", b"a"])
@pytest.mark.parametrize("name", ["type", "kind", "repo_slug", "source_path", "class_name"])
def test_a_filter_takes_text_and_nothing_else(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError):
        Criteria(**{name: value})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("type", "type"),
        ("kind", "kind"),
        ("repo_slug", "repoSlug"),
        ("source_path", "sourcePath"),
        ("class_name", "className"),
    ],
)
def test_each_filter_asks_for_its_own_key(name: str, key: str) -> None:
    assert Criteria(**{name: "wanted"}).equalities() == {key: "wanted"}
    assert Criteria(**{name: ""}).equalities() == {key: ""}
    assert ANY.equalities() == {}


@pytest.mark.parametrize("criteria", [None, {}, {"tenantId": "beta"}, "guide", object()])
def test_no_raw_filter_stands_in_the_place_of_criteria(criteria: object) -> None:
    with pytest.raises(InvalidInputError):
        require_criteria(criteria)


def test_criteria_are_of_the_very_class() -> None:
    class Wider(Criteria):
        def equalities(self) -> dict[str, str]:
            return {"tenantId": "beta"}

    with pytest.raises(InvalidInputError):
        require_criteria(Wider())
    assert require_criteria(ANY) is ANY
