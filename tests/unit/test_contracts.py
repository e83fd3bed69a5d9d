"""Which contract a record is held to, and that what is judged valid can be stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb import schemas
from tenantkb.application.contracts import (
    NESTING,
    Contract,
    contract_of,
    ingest_contract_of,
    problems_of,
)
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import Unreadable
from tenantkb.domain.rows import stamped_row
from tenantkb.testing.samples import writing

GOLDEN = Path(__file__).parents[1] / "golden" / "mini-neo-workspace.jsonl"
SCOPE = writing("acme")
EXTRACTED = {"type": "guide", "name": "a", "content": "text", "source": "a.md"}


def examples(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(schemas.text(name))["examples"]
    return found


GOOD = {
    Contract.PARSED_CHUNK: examples("parsed-chunk-v1")[0],
    Contract.EXTRACTED_CHUNK: EXTRACTED,
    Contract.BACKUP_RECORD: examples("backup-record-v1")[0],
}


@pytest.mark.parametrize("contract", [Contract.PARSED_CHUNK, Contract.BACKUP_RECORD])
def test_the_examples_of_a_contract_are_known_for_what_they_are(contract: Contract) -> None:
    for record in examples(contract.value):
        assert contract_of(record) is contract
        assert problems_of(contract, 1, record) == []


def test_every_line_that_create_wrote_is_known_for_what_it_is() -> None:
    for line in GOLDEN.read_bytes().split(b"\n")[:-1]:
        record = json.loads(line)
        assert contract_of(record) is ingest_contract_of(record) is Contract.EXTRACTED_CHUNK
        assert problems_of(Contract.EXTRACTED_CHUNK, 1, record) == []


@pytest.mark.parametrize("field", sorted(examples("parsed-chunk-v1")[0]))
def test_a_parsed_chunk_that_lacks_a_field_is_still_one(field: str) -> None:
    record = {key: value for key, value in examples("parsed-chunk-v1")[0].items() if key != field}
    assert contract_of(record) is Contract.PARSED_CHUNK


@pytest.mark.parametrize("field", ["id", "embedding", "metadata", "document"])
def test_a_backup_record_that_lacks_a_field_is_still_one(field: str) -> None:
    record = {key: value for key, value in examples("backup-record-v1")[0].items() if key != field}
    assert contract_of(record) is Contract.BACKUP_RECORD
    problems = problems_of(Contract.BACKUP_RECORD, 1, record)
    assert [problem.pointer for problem in problems] == [f"/{field}"]


@pytest.mark.parametrize("record", [EXTRACTED, examples("parsed-chunk-v1")[0]])
def test_a_chunk_with_an_embedding_is_a_bad_chunk_and_no_backup_record(
    record: dict[str, Any],
) -> None:
    bad = {**record, "embedding": [0.1]}
    assert contract_of(bad) is contract_of(record)
    [problem] = problems_of(contract_of(bad), 3, bad)
    assert str(problem) == "line 3 /embedding: expected no embedding"


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"content": None}, ["line 1 /content: expected text, not None"]),
        ({"content": 3, "type": []}, ["/content: expected text, not 3", "/type: expected text"]),
        ({"name": None}, ["line 1 /name: expected, and missing"]),
        ({"source": "../a"}, ["line 1 /source: expected a relative path: source path '../a'"]),
        ({"x~/\ud800": 1}, ["line 1 /x~0~1\\ud800: expected no field of this name"]),
        ({"": 1}, ["line 1 /: expected no field of this name"]),
    ],
)
def test_everything_that_is_wrong_with_an_extracted_chunk_is_told(
    changes: dict[str, Any], lines: list[str]
) -> None:
    problems = problems_of(Contract.EXTRACTED_CHUNK, 1, {**EXTRACTED, **changes})
    assert len(problems) == len(lines)
    for problem, line in zip(problems, lines, strict=True):
        assert line in str(problem)


def test_of_what_is_missing_the_pointer_is_told() -> None:
    problems = problems_of(Contract.EXTRACTED_CHUNK, 1, {})
    assert [p.pointer for p in problems] == ["/content", "/kind", "/name", "/sourcePath"]
    assert {p.reason.split(":")[0] for p in problems} == {
        "expected, and missing",
        "expected a relative path",
    }


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**309, -(10**4000)])
@pytest.mark.parametrize(
    ("contract", "field"),
    [
        (Contract.PARSED_CHUNK, "customMeta"),
        (Contract.EXTRACTED_CHUNK, "params"),
        (Contract.BACKUP_RECORD, "metadata"),
    ],
)
def test_a_number_beyond_double_precision_is_told_at_any_depth(
    contract: Contract, field: str, number: float
) -> None:
    [problem] = problems_of(contract, 1, {**GOOD[contract], field: {"a": [0.5, number]}})
    assert problem.pointer == f"/{field}/a/1"
    assert problem.reason.startswith("expected a number of double precision, not ")


@pytest.mark.parametrize(("depth", "problems"), [(NESTING, 0), (NESTING + 1, 1), (5_000, 1)])
@pytest.mark.parametrize("contract", [Contract.PARSED_CHUNK, Contract.EXTRACTED_CHUNK])
def test_values_are_nested_as_deeply_as_can_be_stored(
    contract: Contract, depth: int, problems: int
) -> None:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    chunk = {**GOOD[contract], "customMeta": value}
    found = problems_of(contract, 1, chunk)
    assert [problem.pointer for problem in found] == ["/customMeta"] * problems
    if not found:
        assert stamped_row(chunk, SCOPE, RootKind.BARE_REPO).id


@pytest.mark.parametrize("contract", Contract)
def test_what_is_no_object_is_a_problem_under_every_contract(contract: Contract) -> None:
    for record in (None, 3, "x", [EXTRACTED]):
        [problem] = problems_of(contract, 1, record)
        assert problem.reason.startswith("expected an object, not ")
    [problem] = problems_of(contract, 7, Unreadable("expected UTF-8"))
    assert str(problem) == "line 7: expected UTF-8"


finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=3
)
keys = st.sampled_from(
    ["type", "kind", "name", "content", "source", "sourcePath", "$x", "id", "tier", "className"]
) | st.text(max_size=3)


@given(st.dictionaries(keys, values))
def test_an_extracted_chunk_is_judged_valid_if_and_only_if_it_can_be_stored(
    changes: dict[str, Any],
) -> None:
    chunk = {**EXTRACTED, **changes}
    try:
        stamped_row(chunk, SCOPE, RootKind.BARE_REPO)
    except InvalidInputError:
        assert problems_of(Contract.EXTRACTED_CHUNK, 1, chunk)
    else:
        assert problems_of(Contract.EXTRACTED_CHUNK, 1, chunk) == []


@given(st.dictionaries(st.sampled_from(sorted(examples("parsed-chunk-v1")[0])), values))
def test_a_parsed_chunk_that_is_judged_valid_can_be_stored(changes: dict[str, Any]) -> None:
    chunk = {**examples("parsed-chunk-v1")[0], **changes}
    if not problems_of(Contract.PARSED_CHUNK, 1, chunk):
        assert stamped_row(chunk, SCOPE, RootKind.BARE_REPO).id
