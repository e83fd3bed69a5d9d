"""The pages in docs/contracts say what the schemas, the vectors and the code say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tenantkb import schemas
from tenantkb.domain import errors
from tenantkb.domain.backup import FORMAT_VERSION, restorable
from tenantkb.domain.deletion import Verdict
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.ingestion import IngestionState
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.testing.samples import NOW

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "contracts"
BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, Any]]:
    """The labelled blocks of a page, in order: label, and text or JSON value."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return [
        (label, json.loads(body) if language == "json" else body.rstrip("\n"))
        for language, label, body in BLOCK.findall(text)
    ]


def vectors(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "schemas" / "vectors" / f"{name}.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["vectors"]
    return found


def codes() -> set[str]:
    """The codes of all errors."""
    return {error.code for error in vars(errors).values() if hasattr(error, "code")}


@pytest.mark.parametrize(
    "name",
    [
        "parsed-chunk-v1",
        "deletion-signals-v1",
        "ingest-push-v1",
        "path-identity-v1",
        "backup-record-v1",
    ],
)
def test_the_example_of_a_page_fulfils_its_contract(name: str) -> None:
    examples = [value for label, value in blocks(name) if label == name]
    assert examples
    for example in examples:
        assert schemas.problems(name, 1, example) == []


def test_the_worked_fingerprint_and_id_are_those_of_a_vector() -> None:
    page = dict(blocks("parsed-chunk-v1"))
    vector, private, *_ = vectors("row-ids")
    assert page.pop("parsed-chunk-v1") == vector["chunk"]
    assert private["chunk"] == vector["chunk"]
    assert private["visibility"] == "private"
    assert page == {
        **{key: vector[key] for key in ("fingerprintText", "fingerprint", "idText", "id")},
        **{f"private.{key}": private[key] for key in ("idText", "id")},
    }


def test_the_record_and_the_manifest_of_the_page_are_restored_as_they_are() -> None:
    page = dict(blocks("backup-record-v1"))
    record, manifest = page["backup-record-v1"], page["backup-manifest-v1"]
    assert schemas.problems("backup-manifest-v1", 1, manifest) == []
    assert manifest["formatVersion"] == FORMAT_VERSION
    restored = restorable(
        ChunkId(record["id"]), record["metadata"], record["document"], None, NOW, SharedNamespace()
    )
    assert restored.row.id == record["id"]
    assert restored.row.metadata() == record["metadata"]


def test_the_fields_of_a_parsed_chunk_are_those_of_the_schema() -> None:
    table = (PAGES / "parsed-chunk-v1.md").read_text(encoding="utf-8").split("## What")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(json.loads(schemas.text("parsed-chunk-v1"))["properties"])


def test_the_worked_deletion_is_that_of_a_vector() -> None:
    page = dict(blocks("deletion-signals-v1"))
    [vector] = [vector for vector in vectors("deletion-plans") if "all three" in vector["name"]]
    assert (page["signals"], page["plan"]) == (vector["signals"], vector["plan"])


def test_the_page_on_deletions_has_every_reason_and_no_code_that_there_is_not() -> None:
    text = (PAGES / "deletion-signals-v1.md").read_text(encoding="utf-8")
    for verdict in set(Verdict) - {Verdict.UNAFFECTED}:
        assert f"`{verdict.value}`" in text
    told = set(re.findall(r"KB_[A-Z_]+", text))
    assert told <= codes()
    assert {vector["error"] for vector in vectors("deletion-plans") if "error" in vector} <= told


def test_the_paths_that_a_page_calls_refused_are_refused_and_the_others_are_not() -> None:
    text = (PAGES / "path-identity-v1.md").read_text(encoding="utf-8")
    [example] = [value for _, value in blocks("path-identity-v1")]
    table = re.findall(r"^\| (`.*) \| .* \| (.*) \|$", text.split("| refused")[1], re.MULTILINE)
    assert len(table) == 4
    for refused, sent in table:
        for path in re.findall(r"`(.*?)`", refused):
            [problem] = schemas.problems("path-identity-v1", 1, {**example, "sourcePath": path})
            assert problem.pointer == "/sourcePath"
        for path in re.findall(r"`(.*?)`", sent):
            assert schemas.problems("path-identity-v1", 1, {**example, "sourcePath": path}) == []


def test_the_page_on_pushes_has_every_field_and_state_and_no_code_that_there_is_not() -> None:
    text = (PAGES / "ingest-push-v1.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", text))
    for name in ("ingest-push-v1", "ingest-file-v1"):
        assert told >= set(json.loads(schemas.text(name))["properties"])
    assert told >= {state.value for state in IngestionState}
    assert set(re.findall(r"KB_[A-Z_]+", text)) <= codes()


def test_the_index_names_every_schema_and_its_links_lead_somewhere() -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    for name in schemas.names():
        assert f"../../schemas/{name}.schema.json" in links
    assert [link for link in links if not (PAGES / link).exists()] == []
