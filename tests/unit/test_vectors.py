"""The published test vectors, against the domain and, for ids, against JavaScript."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from tenantkb import schemas
from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.state.spool import SqliteSpool
from tenantkb.adapters.state.sqlite import MemoryState
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.guard import GuardedStore
from tenantkb.application.writing.deletions import (
    ApplyDeletions,
    DeletionRequest,
    PlanDeletions,
    parse_signals,
)
from tenantkb.domain.canonical import digest
from tenantkb.domain.context import TenantContext, WriteScope
from tenantkb.domain.deletion import KnownState, ManifestSnapshot
from tenantkb.domain.derivation import derived_id, fingerprint
from tenantkb.domain.errors import TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import (
    SharedNamespace,
    TenantStamp,
    Visibility,
    format_instant,
    parse_instant,
)
from tenantkb.testing.samples import StoppedClock, fill, raw, row

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "schemas" / "vectors"
Vector = dict[str, Any]


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


ROW_IDS: list[Vector] = load("row-ids")["vectors"]
PATH_IDENTITIES = load("path-identities")
DELETION_PLANS = load("deletion-plans")


def stamp_of(vector: Vector) -> TenantStamp:
    return TenantStamp(
        tenant_id=vector["tenantId"],
        repo_slug=vector["repoSlug"],
        visibility=Visibility(vector["visibility"]),
        origin_agent_identity=vector.get("originAgentIdentity"),
    )


@pytest.mark.parametrize("vector", ROW_IDS, ids=lambda vector: vector["name"])
def test_the_domain_gives_the_fingerprint_and_id_of_every_vector(vector: Vector) -> None:
    chunk = vector["chunk"]
    source = chunk.get("source", chunk.get("sourcePath"))
    content_hash = fingerprint(chunk)
    made = derived_id(chunk, content_hash, source, stamp_of(vector), SharedNamespace())
    assert (content_hash, made) == (vector["fingerprint"], vector["id"])


@pytest.mark.parametrize("vector", ROW_IDS, ids=lambda vector: vector["name"])
def test_the_texts_of_a_vector_are_those_that_were_hashed(vector: Vector) -> None:
    for text, hashed in (("fingerprintText", "fingerprint"), ("idText", "id")):
        if text in vector:
            fields = json.loads(vector[text])
            assert digest(fields, list(fields)) == vector[hashed]
    corpus = (vector["tenantId"], vector["repoSlug"]) == ("neo-shared", "neo")
    private = vector["visibility"] == "private"
    assert ("idText" in vector) is (private or not corpus)
    if "idText" in vector:
        agent = {"originAgentIdentity": vector["originAgentIdentity"]} if private else {}
        last = dict(list(json.loads(vector["idText"]).items())[6:])
        assert last == agent, "the agent takes part where the row is private, and comes last"


@pytest.mark.parametrize("repo", [("acme", "client-org/main-app"), ("neo-shared", "neo")])
def test_one_chunk_of_the_team_and_of_two_agents_is_three_rows(repo: tuple[str, str]) -> None:
    ids: dict[str, dict[str | None, str]] = {}
    for vector in ROW_IDS:
        if (vector["tenantId"], vector["repoSlug"]) == repo:
            agents = ids.setdefault(json.dumps(vector["chunk"]), {})
            agents[vector.get("originAgentIdentity")] = vector["id"]
    assert any(
        agents.keys() == {None, "ada", "bob"} and len(set(agents.values())) == 3
        for agents in ids.values()
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
    with pytest.raises(ValueError, match=r"\S"):
        identity(vector["identity"])


@frozen
class Told:
    """A history that knows what a vector tells of it."""

    deleted: frozenset[str]

    def between(self, base: str, head: str) -> frozenset[str]:
        return self.deleted


def outcome(vector: Vector) -> Vector:
    """What becomes of a vector's signals: they are planned over its rows, and applied."""
    repo, received = DELETION_PLANS["repoSlug"], parse_instant(DELETION_PLANS["receivedAt"])
    context = TenantContext.admit(AgentIdentity("acme", "ada"), SharedNamespace(), received)
    engine = MemoryEngine()
    store = GuardedStore(engine, StoppedClock(received), LoggedIsolationFaults())
    fill(engine, [raw(row) for row in stored_rows(context.writing(repo), vector["stored"])])
    with closing(MemoryState()) as state:
        known = vector.get("known", {})
        manifest_at = known.get("manifestAt")
        earlier = manifest_at and ManifestSnapshot(repo, frozenset(), parse_instant(manifest_at))
        before = KnownState(known.get("headRevision"), earlier)
        state.replace_known("acme", repo, KnownState(), before)
        plan_deletions = PlanDeletions(store=store, state=state)
        apply_deletions = ApplyDeletions(store=store, state=state, spool=SqliteSpool)
        try:
            request = DeletionRequest(
                repo, parse_signals(vector["signals"], context), frozenset(vector.get("pushed", ()))
            )
            plan = plan_deletions(
                context, request, Told(frozenset(vector.get("deletedBetween", ())))
            )
        except TenantKbError as error:
            assert len(list(engine.export())) == len(vector["stored"])
            assert state.known("acme", repo) == before
            return {"error": error.code}
        assert apply_deletions(context, plan, confirmed=True) == plan.deleted
        assert len(list(engine.export())) == len(vector["stored"]) - plan.deleted
        after = state.known("acme", repo)
    assert plan.known_digest_after == after.digest
    instant = after.manifest and format_instant(after.manifest.made_at)
    told = {"headRevision": after.head, "manifestAt": instant}
    return {
        "plan": [
            {"sourcePath": path.source_path, "reason": path.verdict.value, "rows": path.rows}
            for path in plan.paths
        ],
        "unaffected": plan.unaffected,
        "knownAfter": {key: value for key, value in told.items() if value is not None},
    }


def stored_rows(scope: WriteScope, told: list[Vector]) -> list[StampedRow]:
    """Rows of these files, each with another name."""
    return [
        evolve(made, stamp=evolve(made.stamp, ingested_at=instant and parse_instant(instant)))
        for number, (path, instant) in enumerate(
            (row["sourcePath"], row["ingestedAt"]) for row in told
        )
        for made in [row(scope, f"n{number}", source=path)]
    ]


@pytest.mark.parametrize("vector", DELETION_PLANS["vectors"], ids=lambda vector: vector["name"])
def test_every_vector_of_deletion_signals_has_its_plan_or_its_refusal(vector: Vector) -> None:
    expected = {
        key: vector[key] for key in ("plan", "unaffected", "knownAfter", "error") if key in vector
    }
    assert outcome(vector) == expected
