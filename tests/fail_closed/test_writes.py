"""What must hold for every writing facade on every store, case by case."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from tenantkb.domain.errors import EmbeddingNotAllowedError, TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.ports.store import VectorStore
from tests.fail_closed import raw
from tests.fail_closed.facades import WRITERS
from tests.fail_closed.findings import Findings
from tests.fail_closed.forgeries import OBJECTS, TEXTS
from tests.fail_closed.model import EVE, PEOPLE, chunk
from tests.fail_closed.test_cases import FORGED_STAMPS, FORGED_TENANTS, NOBODIES
from tests.fail_closed.world import TWIN, World

STAMP = ("tenantId", "repoSlug", "visibility", "originAgentIdentity", "access")


def stamps(store: VectorStore) -> dict[str, tuple[Any, ...]]:
    return {
        key: tuple(metadata.get(name) for name in STAMP)
        for key, (metadata, _) in raw.stored(store).items()
    }


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest) -> str:
    """Each writing facade in turn."""
    return str(request.param)


@pytest.mark.case("1 forged tenantId")
def test_a_forged_tenant_is_overwritten_or_refused(
    world: World, writer: str, findings: Findings
) -> None:
    """Fails: a stored row bears another stamp than its writer's."""
    forge_all(world, writer, findings, [{"tenantId": value} for value in FORGED_TENANTS])


@pytest.mark.case("2 forged visibility, origin, repository, instant, label")
def test_a_forged_stamp_is_overwritten_or_refused(
    world: World, writer: str, findings: Findings
) -> None:
    """Fails: a stored row bears another stamp than its writer's."""
    forge_all(world, writer, findings, FORGED_STAMPS)


def forge_all(world: World, writer: str, findings: Findings, claims: list[dict[str, Any]]) -> None:
    eva = AgentIdentity("beta", "eva")  # so that no single writer spoofs too often
    for who, private, stamp in (
        (EVE, False, ("beta", "forged", "team", None, "team:beta")),
        (eva, True, ("beta", "forged-too", "private", "eva", "private:beta:eva")),
    ):
        before = raw.stored(world.store)
        chunks = [
            {**chunk(f"secret-forged-{number}."), **claim} for number, claim in enumerate(claims)
        ]
        world.write(writer, who, str(stamp[1]), chunks, private=private)
        after = raw.stored(world.store)
        assert {key: after[key] for key in before} == before
        written = {key: found for key, found in stamps(world.store).items() if key not in before}
        assert set(written) == set(world.model) - set(before)
        assert set(written.values()) == {stamp}
        instants = {after[key][0]["ingestedAt"] for key in written}
        assert all(instant.startswith("2026-01-31T") for instant in instants)
        findings.answers[writer] += len(chunks)


@pytest.mark.case("5 same content and path under two tenants")
def test_every_owner_and_repository_has_a_row_of_its_own(
    world: World, writer: str, findings: Findings
) -> None:
    """Fails: ids do not depend on the owner; see domain/rows.row_id."""
    for who in PEOPLE:
        world.write(writer, who, "twins", [TWIN])
    twins = {
        (metadata["tenantId"], metadata["repoSlug"]): key
        for key, (metadata, _) in raw.stored(world.store).items()
        if metadata["name"] == TWIN["name"]
    }
    assert len(twins) == len(set(twins.values())) == 12
    assert set(raw.stored(world.store)) == set(world.model)
    findings.answers[writer] += len(twins)


@pytest.mark.case("6 records with an embedding")
def test_an_embedding_in_a_record_is_refused_or_never_used(
    world: World, writer: str, findings: Findings
) -> None:
    """Fails: a client chose where its row lies among the answers of others."""
    before = raw.stored(world.store)
    forged = chunk("secret-forged.")
    forged["embedding"] = [1.0] + [0.0] * (world.app.embedder.profile.dimension - 1)
    if writer == "EmbedChunks":
        with pytest.raises(EmbeddingNotAllowedError):
            world.write(writer, EVE, "forged", [chunk("secret-honest."), forged])
        assert raw.stored(world.store) == before
    else:
        world.write(writer, EVE, "forged", [chunk("secret-honest."), forged])
        assert len(raw.stored(world.store)) == len(before) + 2
    for metadata, vector in raw.stored(world.store).values():
        assert "embedding" not in metadata
        made = np.frombuffer(vector, np.float32)
        assert np.allclose(made, world.vector(metadata), atol=1e-6)
        findings.answers[writer] += 1


@pytest.mark.case("8 sync and deletion leave others as they were", facade="EmbedChunks")
@pytest.mark.parametrize("private", [False, True], ids=["team", "private"])
def test_a_submission_adds_rows_and_leaves_all_others(
    world: World, findings: Findings, private: bool
) -> None:
    """Fails: a submission deletes or replaces what it does not hold."""
    before = raw.stored(world.store)
    for who in PEOPLE:
        world.embed(who, "new", [TWIN], private=private)
    after = raw.stored(world.store)
    assert {key: after[key] for key in before} == before
    findings.answers["EmbedChunks"] += len(before)


@pytest.mark.case("no valid identity")
@pytest.mark.parametrize("nobody", NOBODIES)
def test_without_a_valid_identity_nothing_is_written(
    shared_world: World, writer: str, findings: Findings, nobody: str
) -> None:
    """Fails: a write has no scope; see WriteScope.of."""
    before = raw.stored(shared_world.store)
    with pytest.raises(TenantKbError, match=r"identity|curator"):
        shared_world.write(writer, NOBODIES[nobody], "app", [chunk("secret-new.")])
    assert raw.stored(shared_world.store) == before
    findings.answers[writer] += 1


@pytest.mark.case("forged arguments")
@pytest.mark.parametrize("argument", ["repo", "visibility"])
def test_a_forged_repository_or_visibility_writes_nothing_elsewhere(
    world: World, writer: str, findings: Findings, argument: str
) -> None:
    """Fails: an argument of another type or form reaches the store."""
    before = raw.stored(world.store)
    chunks = [chunk("secret-new.")]
    submitted: Any = world.workspace(chunks) if writer == "Sync" else chunks
    write: Any = world.app.sync if writer == "Sync" else world.app.embed
    for value in (*TEXTS, *OBJECTS, None):
        with suppress(TenantKbError):
            write(EVE, submitted, **{"repo": "new", argument: value})
        findings.answers[writer] += 1
    after = raw.stored(world.store)
    assert {key: after[key] for key in before} == before
    new = [stamp for key, stamp in stamps(world.store).items() if key not in before]
    assert all(stamp[0] == "beta" and stamp[4] == "team:beta" for stamp in new)
    assert argument == "repo" or not new
