"""The published contracts, and how records are held to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tenantkb import schemas
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import require_tenant_id
from tenantkb.domain.paths import require_source_path

PARSED_CHUNK: dict[str, Any] = json.loads(schemas.text("parsed-chunk-v1"))
BACKUP_RECORD: dict[str, Any] = json.loads(schemas.text("backup-record-v1"))
CHUNK: dict[str, Any] = PARSED_CHUNK["examples"][0]
OPTIONAL = {"line_start", "line_end", "className", "extends", "customMeta"}


def pointers(record: object) -> list[str]:
    return [problem.pointer for problem in schemas.problems("parsed-chunk-v1", 1, record)]


def accepts(check: Any, value: str) -> bool:
    try:
        check(value)
    except InvalidInputError:
        return False
    return True


@pytest.mark.parametrize("name", schemas.names())
def test_every_schema_is_valid_and_says_what_it_is(name: str) -> None:
    schema = json.loads(schemas.text(name))
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:tenantkb:schema:{name}"
    assert schema["title"]
    assert schema["examples"]
    assert all("description" in part for part in (schema, *schema["properties"].values()))


@pytest.mark.parametrize("name", schemas.names())
def test_the_examples_of_every_schema_are_valid(name: str) -> None:
    for instance in json.loads(schemas.text(name))["examples"]:
        assert schemas.problems(name, 1, instance) == []
        Draft202012Validator(json.loads(schemas.text(name))).validate(instance)


@pytest.mark.parametrize("name", ["nothing", "../schemas/parsed-chunk-v1", ""])
def test_a_schema_that_does_not_exist_is_told_with_those_that_do(name: str) -> None:
    with pytest.raises(InvalidInputError, match="parsed-chunk-v1"):
        schemas.text(name)


@pytest.mark.parametrize("field", sorted(CHUNK))
def test_only_the_optional_fields_of_a_parsed_chunk_may_be_left_out(field: str) -> None:
    record = {key: value for key, value in CHUNK.items() if key != field}
    record["hashInputs"] = ["content"] if field != "content" else ["name"]
    if field == "hashInputs":
        del record["hashInputs"]
    assert pointers(record) == ([] if field in OPTIONAL else [f"/{field}"])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("schemaVersion", "1.0.1", "expected \"1.0.0\", not '1.0.1'"),
        ("schemaVersion", 1, 'expected "1.0.0", not 1'),
        ("tenantId", ["acme"], "expected text, not ['acme']"),
        ("tenantId", "Acme", "expected text that matches ^[a-z0-9]"),
        ("tenantId", "acme\n", "expected text that matches ^[a-z0-9]"),
        ("repoSlug", "", "expected text that is not empty, not ''"),
        ("rootKind", "repo", 'expected one of "neo-workspace", "bare-repo", "external-source"'),
        ("sourcePath", "/etc/passwd", "expected text that matches"),
        ("sourcePath", "a/../b", "expected text that matches"),
        ("sourcePath", "\ud800", "expected a relative path, not '\\ud800'"),
        ("parserId", None, "expected text, not None"),
        ("parserVersion", "1.2", "expected text that matches"),
        ("parserVersion", "1.2.3\n", "expected text that matches"),
        ("parserVersion", "١.٢.٣", "expected text that matches"),
        ("kind", 3, "expected text, not 3"),
        ("name", "", "expected text that is not empty"),
        ("content", None, "expected text, not None"),
        ("hashInputs", [], "expected a list that is not empty"),
        ("hashInputs", "content", "expected a list, not 'content'"),
        ("hashInputs", ["content", "content"], "expected distinct items"),
        ("line_start", 0, "expected a number from 1, not 0"),
        ("line_start", 1.5, "expected a whole number, not 1.5"),
        ("line_start", True, "expected a whole number, not True"),
        ("className", 3, "expected text, not 3"),
        ("extends", None, "expected text, not None"),
        ("customMeta", [], "expected an object, not []"),
        ("visibility", "team", "expected no field of this name"),
        ("embedding", [0.1], "expected no field of this name"),
    ],
)
def test_a_wrong_field_is_told_with_pointer_and_expectation(
    field: str, value: object, reason: str
) -> None:
    [problem] = schemas.problems("parsed-chunk-v1", 7, {**CHUNK, field: value})
    assert (problem.line, problem.pointer) == (7, f"/{field}")
    assert problem.reason.startswith(reason)
    assert str(problem).startswith(f"line 7 /{field}: ")


@pytest.mark.parametrize(
    ("changes", "pointer", "reason"),
    [
        (
            {"hashInputs": ["name", "none"]},
            "/hashInputs/1",
            "expected the name of a present field, not 'none'",
        ),
        ({"hashInputs": ["name", 3]}, "/hashInputs/1", "expected text, not 3"),
        ({"line_start": 43}, "/line_end", "expected a line from 43, not 42"),
        ({"a/b~c\n": 1}, "/a~1b~0c\\n", "expected no field of this name"),
    ],
)
def test_rules_across_fields_and_odd_names_are_told_at_their_place(
    changes: dict[str, object], pointer: str, reason: str
) -> None:
    [problem] = schemas.problems("parsed-chunk-v1", 1, {**CHUNK, **changes})
    assert (problem.pointer, problem.reason) == (pointer, reason)


def test_all_problems_of_a_record_are_told() -> None:
    assert pointers({**CHUNK, "kind": 3, "x": 1, "line_end": 1, "hashInputs": ["y"]}) == [
        "/hashInputs/0",
        "/kind",
        "/line_end",
        "/x",
    ]


@pytest.mark.parametrize("record", [None, 3, "text", [CHUNK], True])
def test_what_is_no_object_is_no_record(record: object) -> None:
    assert pointers(record) == [""]


def test_a_line_may_be_its_own_end_and_a_whole_number_may_be_written_as_a_fraction() -> None:
    assert pointers({**CHUNK, "line_start": 42.0}) == []


segments = st.sampled_from(["", ".", "..", "...", "..a", ".a", "a", "é", "\n", "a\n", "\\", "\0"])


@given(st.lists(segments, max_size=4).map("/".join) | st.text(st.characters(codec="utf-8")))
@example("..\n")
def test_the_schema_and_the_domain_agree_on_source_paths(path: str) -> None:
    assert (pointers({**CHUNK, "sourcePath": path}) == []) is accepts(require_source_path, path)


@given(st.from_regex(r"[aA0é-]{0,3}", fullmatch=True) | st.integers(0, 70).map(lambda n: "a" * n))
@example("a\n")
def test_the_schema_and_the_domain_agree_on_tenant_ids(tenant: str) -> None:
    assert (pointers({**CHUNK, "tenantId": tenant}) == []) is accepts(require_tenant_id, tenant)


JSON_NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([3.4028234663852886e38, 3.402823466385289e38, -1e39, 10**400, -0.0, 5e-324]),
)
JSON_VALUES = st.one_of(st.none(), st.booleans(), JSON_NUMBERS, st.text(), st.just([]), st.just({}))


@st.composite
def backup_records(draw: st.DrawFn) -> Any:
    """Records that are valid, nearly valid, or nothing of the kind."""
    record: dict[str, Any] = {
        "id": draw(st.text(min_size=1)),
        "embedding": draw(st.lists(JSON_NUMBERS, min_size=1)),
        "metadata": draw(st.dictionaries(st.text(), JSON_VALUES)),
        "document": draw(st.none() | st.text()),
    }
    for key in draw(st.lists(st.sampled_from([*record, "x"]), max_size=2)):
        record[key] = draw(JSON_VALUES | st.lists(JSON_VALUES))
    for key in draw(st.lists(st.sampled_from(sorted(record)), max_size=1)):
        del record[key]
    return draw(st.just(record) | JSON_VALUES)


@given(backup_records())
@example({"id": "a", "embedding": [1, float("nan")], "metadata": {}, "document": None})
@example({"id": "a", "embedding": [float("nan"), 1], "metadata": {}, "document": None})
@example({"id": "a", "embedding": [1, True], "metadata": {}, "document": None})
@example({"id": "", "embedding": [1], "metadata": {}, "document": None})
def test_the_fast_judgement_of_backup_records_is_that_of_the_reference_validator(
    record: Any,
) -> None:
    fast = schemas._is_backup_record(record)
    assert fast is (not list(schemas._validator("backup-record-v1").iter_errors(record)))
    assert fast is (schemas.problems("backup-record-v1", 1, record) == [])


@given(backup_records())
def test_for_what_json_can_hold_the_published_schema_gives_the_same_judgement(record: Any) -> None:
    try:
        record = json.loads(json.dumps(record, allow_nan=False))
    except ValueError:
        return
    published = Draft202012Validator(BACKUP_RECORD)
    assert published.is_valid(record) is (schemas.problems("backup-record-v1", 1, record) == [])


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 3.5e38, True, "1"])
def test_what_is_no_finite_number_of_single_precision_is_told_at_its_place(number: object) -> None:
    record = {**BACKUP_RECORD["examples"][0], "embedding": [0.5, number]}
    [problem] = schemas.problems("backup-record-v1", 1, record)
    assert problem.pointer == "/embedding/1"


SIGNALS: dict[str, Any] = json.loads(schemas.text("deletion-signals-v1"))["examples"][1]


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({}, [""]),
        ({"deleted": [{"sourcePath": "a", "repoSlug": "app"}, {}]}, ["/deleted/1/repoSlug"]),
        ({"deleted": [{"sourcePath": "a/", "repoSlug": "a b"}]}, ["/deleted/0/repoSlug"]),
        ({"manifestSnapshot": {"repoSlug": "app"}}, ["/manifestSnapshot/pathsAfterPush"]),
        ({"baseRevision": "1"}, ["/headRevision"]),
        ({"headRevision": "1"}, ["/manifestSnapshot"]),
        ({"baseRevision": "-1", "headRevision": ""}, ["/baseRevision", "/headRevision"]),
        ({**SIGNALS, "tenantId": "acme"}, ["/tenantId"]),
    ],
)
def test_deletion_signals_are_told_where_they_are_wrong(
    document: dict[str, Any], places: list[str]
) -> None:
    found = [problem.pointer for problem in schemas.problems("deletion-signals-v1", 1, document)]
    assert set(places) <= set(found)
    assert all(found.count(place) == 1 for place in found)


@pytest.mark.parametrize(
    "instant", ["2026-02-30T00:00:00Z", "2026-01-31T09:30:00+01:00", "2026-01-31", "now", 0]
)
def test_the_instant_of_a_manifest_is_one_that_there_is(instant: object) -> None:
    snapshot = {**SIGNALS["manifestSnapshot"], "createdAt": instant}
    [problem] = schemas.problems("deletion-signals-v1", 1, {"manifestSnapshot": snapshot})
    assert problem.pointer == "/manifestSnapshot/createdAt"
