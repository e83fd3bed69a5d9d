"""What must hold for every writing facade, case by case."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.application.writing.sync import SyncRequest
from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import AuthenticationError, EmbeddingNotAllowedError, TenantKbError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import RowKey
from tenantkb.testing.composition import TickingClock
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import WRITERS
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.forgeries import FORGED_STAMPS, FORGED_TENANTS, OBJECTS, TEXTS
from tenantkb.testing.fail_closed.model import ADA, EVE, PEOPLE, Planted, chunk
from tenantkb.testing.fail_closed.suite import Worlds, no_contexts
from tenantkb.testing.fail_closed.world import COLLECTION, TWIN, World, manifest
from tenantkb.testing.fixtures import Stored

STAMP = ("tenantId", "repoSlug", "visibility", "originAgentIdentity", "access")
EACH_WRITER = pytest.mark.parametrize("writer", WRITERS)


def stamps_of(stored: Stored) -> dict[RowKey, tuple[Any, ...]]:
    """What is stamped on each row."""
    return {
        key: tuple(metadata.get(name) for name in STAMP) for key, (metadata, _) in stored.items()
    }


def submit(world: World, context: Any, writer: str, repo: Any, visibility: Any) -> None:
    """Send one chunk to a writing facade with whatever arguments."""
    face, how = world.knowledge_base, {} if visibility is None else {"visibility": visibility}
    chunks = [chunk("secret-new.")]
    if writer == "sync":
        face.sync(context, SyncRequest(world.workspace(chunks), repo, **how))
    else:
        face.embed(context, EmbedRequest(repo, **how), enumerate(chunks, 1))


def forge_all(world: World, writer: str, findings: Findings, claims: list[dict[str, Any]]) -> None:
    """Two writers of beta's claim to be somebody else; what is stored is stamped as theirs."""
    eva = AgentIdentity("beta", "eva")  # so that no single writer spoofs too often
    for who, private, stamp in (
        (EVE, False, ("beta", "forged", "team", None, "team:beta")),
        (eva, True, ("beta", "forged-too", "private", "eva", "private:beta:eva")),
    ):
        before = world.stored()
        chunks = [
            {**chunk(f"secret-forged-{number}."), **claim} for number, claim in enumerate(claims)
        ]
        world.write(writer, who, str(stamp[1]), chunks, private=private)
        after = world.stored()
        assert checks.untouched(before, after)
        written = {key: found for key, found in stamps_of(after).items() if key not in before}
        assert set(written) == set(world.model) - set(before)
        assert set(written.values()) == {stamp}
        instants = {after[key][0]["ingestedAt"] for key in written}
        assert all(instant.startswith("2026-01-31T") for instant in instants)
        findings.answers[writer] += len(chunks)


class Writes(Worlds):
    """Cases 1, 2, 5, 6 and 8 of the specification, where rows are written."""

    @pytest.mark.case("1 forged tenantId")
    @EACH_WRITER
    def test_a_forged_tenant_is_overwritten_or_refused(
        self, world: World, writer: str, findings: Findings
    ) -> None:
        """Fails: a stored row bears another stamp than its writer's."""
        forge_all(world, writer, findings, [{"tenantId": value} for value in FORGED_TENANTS])

    @pytest.mark.case("2 forged visibility, origin, repository, instant, label")
    @EACH_WRITER
    def test_a_forged_stamp_is_overwritten_or_refused(
        self, world: World, writer: str, findings: Findings
    ) -> None:
        """Fails: a stored row bears another stamp than its writer's."""
        forge_all(world, writer, findings, FORGED_STAMPS)

    @pytest.mark.case("5 same content and path under two tenants")
    @EACH_WRITER
    def test_every_owner_and_repository_has_a_row_of_its_own(
        self, world: World, writer: str, findings: Findings
    ) -> None:
        """Fails: ids do not depend on the owner; see domain/rows.derived_id."""
        for who in PEOPLE:
            world.write(writer, who, "twins", [TWIN])
        twins = {
            (metadata["tenantId"], metadata["repoSlug"]): key
            for key, (metadata, _) in world.stored().items()
            if metadata["name"] == TWIN["name"]
        }
        assert len(twins) == len({key.id for key in twins.values()}) == 12
        assert set(world.stored()) == set(world.model)
        findings.answers[writer] += len(twins)

    @pytest.mark.case("6 records with an embedding")
    @EACH_WRITER
    def test_an_embedding_in_a_record_is_refused_or_never_used(
        self, world: World, writer: str, findings: Findings
    ) -> None:
        """Fails: a client chose where its row lies among the answers of others."""
        before = world.stored()
        forged = chunk("secret-forged.")
        forged["embedding"] = [1.0] + [0.0] * (world.app.embedder.profile.dimension - 1)
        if writer == "embed":
            with pytest.raises(EmbeddingNotAllowedError):
                world.write(writer, EVE, "forged", [chunk("secret-honest."), forged])
            assert world.stored() == before
        else:
            world.write(writer, EVE, "forged", [chunk("secret-honest."), forged])
            assert len(world.stored()) == len(before) + 2
        for metadata, vector in world.stored().values():
            assert "embedding" not in metadata
            made = np.frombuffer(vector, np.float32)
            assert np.allclose(made, world.vector(metadata), atol=1e-6)
            findings.answers[writer] += 1

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="embed")
    @pytest.mark.parametrize("private", [False, True], ids=["team", "private"])
    def test_a_submission_adds_rows_and_leaves_all_others(
        self, world: World, findings: Findings, private: bool
    ) -> None:
        """Fails: a submission deletes or replaces what it does not hold."""
        before = world.stored()
        for who in PEOPLE:
            world.embed(who, "new", [TWIN], private=private)
        assert checks.untouched(before, world.stored())
        findings.answers["embed"] += len(before)

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="embed")
    def test_a_submission_keeps_another_chunk_that_bears_the_same_id(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: an id alone, without its label, is taken for the same chunk.

        A restore may bring ids of other systems, such as this one.
        """
        wanted = Planted("acme", "app", None, chunk("wanted"))
        other = Planted("acme", "app", "ada", chunk("other"), place=("private:acme:ada", wanted.id))
        world.restore(other)
        world.embed(ADA, "app", [wanted.chunk])
        assert set(world.stored()) == set(world.model)
        findings.answers["embed"] += 1

    @pytest.mark.case("no valid identity")
    @EACH_WRITER
    def test_without_a_context_nothing_is_written(
        self, world: World, writer: str, findings: Findings
    ) -> None:
        """Fails: a write does not begin with require_context."""
        before = world.stored()
        for context in no_contexts(world, ADA).values():
            with pytest.raises(AuthenticationError):
                submit(world, context, writer, "app", None)
            findings.answers[writer] += 1
        assert world.stored() == before

    @pytest.mark.case("forged arguments")
    @EACH_WRITER
    @pytest.mark.parametrize("argument", ["repo", "visibility"])
    def test_a_forged_repository_or_visibility_writes_nothing_elsewhere(
        self, world: World, writer: str, findings: Findings, argument: str
    ) -> None:
        """Fails: an argument of another type or form reaches the store."""
        before = world.stored()
        for value in (*TEXTS, *OBJECTS, None):
            repo, visibility = (value, None) if argument == "repo" else ("new", value)
            if argument == "repo" or value is not None:
                with suppress(TenantKbError):
                    submit(world, world.context(EVE), writer, repo, visibility)
            findings.answers[writer] += 1
        after = world.stored()
        assert checks.untouched(before, after)
        new = [stamp for key, stamp in stamps_of(after).items() if key not in before]
        assert all(stamp[0] == "beta" and stamp[4] == "team:beta" for stamp in new)
        assert argument == "repo" or not new


class Expiry(Worlds):
    """A context ends with its identity, for every facade."""

    @pytest.mark.case("no valid identity")
    def test_nothing_begins_under_a_context_that_has_expired(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a facade makes a job's scope of a context before its expiry is looked at."""
        clock = world.app.clock
        assert isinstance(clock, TickingClock)
        ends = clock.instant + timedelta(minutes=5)
        roles = frozenset({Role.OPERATOR})
        caller = AgentIdentity("acme", "ada", roles, expires_at=ends)
        context = world.context(caller)
        plan = world.plan_deletions(context, "app", manifest("app", []))
        backup = world.folder / "backup"
        world.export(context, backup)
        pushed = world.push(context, "app", [])
        before = world.stored()
        face = world.knowledge_base
        calls: dict[str, Callable[[], object]] = {
            "query": lambda: face.query(context, "password"),
            "search": lambda: face.search(context, "password"),
            "context": lambda: face.context(context, "password"),
            "get": lambda: face.get(context, next(iter(before)).id),
            "list": lambda: face.list(context),
            "hierarchy": lambda: face.hierarchy(context),
            "status": lambda: face.status(context),
            "sync": lambda: submit(world, context, "sync", "app", None),
            "embed": lambda: submit(world, context, "embed", "app", None),
            "ingest": lambda: world.push(context, "app", []),
            "ingestion": lambda: face.ingestion(context, pushed.ingestion_id),
            "plan_deletions": lambda: world.plan_deletions(context, "app", manifest("app", [])),
            "apply_deletions": lambda: face.apply_deletions(context, plan, confirmed=True),
            "export": lambda: world.export(context, backup),
            "restore": lambda: world.import_(context, backup),
            "repair": lambda: face.repair(context),
            "truncate": lambda: face.truncate(context, COLLECTION),
        }
        clock.instant = ends
        begun = []
        for name, call in calls.items():
            try:
                call()
            except AuthenticationError:
                findings.answers[name] += 1
            except TenantKbError as error:
                begun.append((name, str(error)))
            else:
                begun.append((name, "was carried out"))
        assert begun == []
        assert world.stored() == before

    @pytest.mark.case("no valid identity", facade="sync")
    def test_a_job_that_was_admitted_in_time_finishes(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a token that ends during a long synchronisation leaves half of it."""
        clock = world.app.clock
        assert isinstance(clock, TickingClock)
        caller = AgentIdentity("acme", "ada", expires_at=clock.instant + timedelta(seconds=3))
        context = TenantContext.admit(caller, world.context(ADA).namespace, clock.instant)
        chunks = [chunk(f"secret-long-{number}.") for number in range(40)]
        request = SyncRequest(world.workspace(chunks), "long", confirmed=True)
        world.knowledge_base.sync(context, request)
        assert clock.instant > caller.expires_at  # type: ignore[operator]  # it has one
        world.model.sync(ADA, "long", False, chunks)
        checks.everybody_sees_exactly_their_rows(world, findings)
