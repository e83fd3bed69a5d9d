"""The published test vectors, against the domain and, for ids, against JavaScript."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tenantkb import schemas
from tenantkb.application.writing.deletions import signals_of
from tenantkb.domain.canonical import digest
from tenantkb.domain.deletion import KnownState, ManifestSnapshot, StoredFile, plan_deletions
from tenantkb.domain.errors import InvalidInputError, TenantKbError
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.rows import fingerprint, row_id
from tenantkb.domain.tenancy import Tenancy, format_instant, parse_instant

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "schemas" / "vectors"
Vector = dict[str, Any]


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


ROW_IDS: list[Vector] = load("row-ids")["vectors"]
PATH_IDENTITIES = load("path-identities")
DELETION_PLANS = load("deletion-plans")


@pytest.mark.parametrize("vector", ROW_IDS, ids=lambda vector: vector["name"])
def test_the_domain_gives_the_fingerprint_and_id_of_every_vector(vector: Vector) -> None:
    chunk, source = (
        vector["chunk"],
        vector["chunk"].get("source", vector["chunk"].get("sourcePath")),
    )
    made = row_id(Tenancy(), vector["tenantId"], vector["repoSlug"], chunk, source)
    assert (fingerprint(chunk), made) == (vector["fingerprint"], vector["id"])


@pytest.mark.parametrize("vector", ROW_IDS, ids=lambda vector: vector["name"])
def test_the_texts_of_a_vector_are_those_that_were_hashed(vector: Vector) -> None:
    for text, hashed in (("fingerprintText", "fingerprint"), ("idText", "id")):
        if text in vector:
            fields = json.loads(vector[text])
            assert digest(fields, list(fields)) == vector[hashed]
    assert ("idText" in vector) is (
        (vector["tenantId"], vector["repoSlug"]) != ("neo-shared", "neo")
    )


def test_a_parsed_chunk_among_the_vectors_fulfils_its_contract() -> None:
    parsed = [vector["chunk"] for vector in ROW_IDS if "schemaVersion" in vector["chunk"]]
    assert len(parsed) > 10
    for chunk in parsed:
        assert schemas.problems("parsed-chunk-v1", 1, chunk) == []


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_gives_the_same_vectors() -> None:
    script = ROOT / "docs" / "contracts" / "row-ids.mjs"
    done = subprocess.run(["node", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def identity(fields: Vector) -> PathIdentity:
    return PathIdentity(
        tenant_id=fields["tenantId"],
        repo_slug=fields["repoSlug"],
        root_kind=RootKind(fields["rootKind"]),
        source_path=fields["sourcePath"],
    )


@pytest.mark.parametrize("fields", PATH_IDENTITIES["valid"])
def test_a_valid_path_identity_is_accepted(fields: Vector) -> None:
    assert schemas.problems("path-identity-v1", 1, fields) == []
    assert identity(fields).source_path == fields["sourcePath"]


@pytest.mark.parametrize("vector", PATH_IDENTITIES["invalid"])
def test_an_invalid_path_identity_is_refused_at_the_field_at_fault(vector: Vector) -> None:
    problems = schemas.problems("path-identity-v1", 1, vector["identity"])
    assert [problem.pointer for problem in problems] == [vector["pointer"]]
    refused = ValueError if vector["pointer"] == "/rootKind" else InvalidInputError
    with pytest.raises(refused):
        identity(vector["identity"])


def outcome(vector: Vector) -> Vector:
    known = vector.get("known", {})
    manifest_at = known.get("manifestAt")
    earlier = manifest_at and ManifestSnapshot("app", frozenset(), parse_instant(manifest_at))
    try:
        plan = plan_deletions(
            "acme",
            DELETION_PLANS["repoSlug"],
            signals_of(vector["signals"], parse_instant(DELETION_PLANS["receivedAt"])),
            [
                StoredFile(
                    row["sourcePath"], row["ingestedAt"] and parse_instant(row["ingestedAt"])
                )
                for row in vector["stored"]
            ],
            known=KnownState(known.get("headRevision"), earlier),
            deleted_between=frozenset(vector.get("deletedBetween", ())),
            pushed=frozenset(vector.get("pushed", ())),
        )
    except TenantKbError as error:
        return {"error": error.code}
    after = plan.known_after
    return {
        "plan": [
            {"sourcePath": path.source_path, "reason": path.verdict.value, "rows": path.rows}
            for path in plan.paths
        ],
        "unaffected": plan.unaffected,
        "knownAfter": {
            **({} if after.head is None else {"headRevision": after.head}),
            **(
                {}
                if after.manifest is None
                else {"manifestAt": format_instant(after.manifest.made_at)}
            ),
        },
    }


@pytest.mark.parametrize("vector", DELETION_PLANS["vectors"], ids=lambda vector: vector["name"])
def test_every_vector_of_deletion_signals_has_its_plan_or_its_refusal(vector: Vector) -> None:
    expected = {
        key: vector[key] for key in ("plan", "unaffected", "knownAfter", "error") if key in vector
    }
    assert outcome(vector) == expected
