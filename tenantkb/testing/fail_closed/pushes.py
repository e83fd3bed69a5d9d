"""Pushes around any store: whose rows they write and replace, and who is told of them."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import pytest

from tenantkb.application.writing.deletions import parse_signals
from tenantkb.application.writing.ingest import IngestRequest
from tenantkb.domain.errors import (
    AuthenticationError,
    EmbeddingNotAllowedError,
    NotFoundError,
    TenantKbError,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.stamps import Visibility
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import plain
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.forgeries import FORGED_STAMPS, FORGED_TENANTS, OBJECTS, TEXTS
from tenantkb.testing.fail_closed.model import ADA, BOB, EVE, PEOPLE, chunk
from tenantkb.testing.fail_closed.suite import Worlds, no_contexts
from tenantkb.testing.fail_closed.world import TWIN, World, manifest, tombstones, visibility_of

File = dict[str, Any]

PATH: Final = str(TWIN["source"])
"""A file that everybody has rows of."""


def file_of(text: str, path: str = PATH, **claims: Any) -> File:
    """A file with one parsed chunk, which makes some claims besides those that it has to make."""
    parsed = {
        "schemaVersion": "1.0.0",
        "tenantId": "beta",
        "repoSlug": "app",
        "rootKind": "bare-repo",
        "sourcePath": path,
        "parserId": "parser",
        "parserVersion": "1.0.0",
        "kind": "section",
        "name": f"name {text}",
        "content": f"text {text}",
        "hashInputs": ["name", "content"],
        **claims,
    }
    return {"path": path, "parsedChunks": [parsed]}


def claims_of_chunks() -> Iterator[File]:
    """Files whose chunk claims something."""
    for number, value in enumerate(FORGED_TENANTS):
        yield file_of(f"secret-tenant-{number}.", tenantId=value)
    for number, value in enumerate(("app", "app-2", "neo", *TEXTS[:5])):
        yield file_of(f"secret-repo-{number}.", repoSlug=value)
    for number, claims in enumerate(FORGED_STAMPS):
        yield file_of(f"secret-stamp-{number}.", **claims)


def claims_of_files() -> Iterator[File]:
    """Files that claim something themselves."""
    for number, claims in enumerate([{"tenantId": "acme"}, *FORGED_STAMPS]):
        yield {**file_of(f"secret-file-{number}."), **claims}
        yield {"path": PATH, "content": f"secret-content-{number}.", **claims}


class Pushes(Worlds):
    """Cases 1, 2, 5, 6 and 8 of the specification, where files are pushed."""

    @pytest.mark.case("1 forged tenantId", facade="ingest")
    @pytest.mark.parametrize("private", [False, True], ids=["team", "private"])
    @pytest.mark.parametrize("forged", [claims_of_chunks, claims_of_files])
    def test_what_is_pushed_is_stamped_as_its_senders_or_refused(
        self,
        world: World,
        findings: Findings,
        forged: Callable[[], Iterator[File]],
        private: bool,
    ) -> None:
        """Fails: a claim of a file or a chunk decides whose a row is, or who may read it."""
        wanted = ("beta", "forged", "private:beta:ada" if private else "team:beta")
        before, taken = world.stored(), 0
        for number, file in enumerate(forged()):
            # Nobody may spoof so often; an agent of its own for each claim.
            who = EVE if private else AgentIdentity("beta", f"agent-{number}")
            with suppress(TenantKbError):
                taken += world.push(
                    world.context(who), "forged", [file], visibility=visibility_of(private=private)
                ).added
            findings.answers["ingest"] += 1
        after = world.stored()
        assert checks.untouched(before, after)
        written = [found for key, (found, _) in after.items() if key not in before]
        assert {(row["tenantId"], row["repoSlug"], row["access"]) for row in written} <= {wanted}
        assert (taken > 0) is bool(written) is (forged is claims_of_chunks)
        instants = {row["ingestedAt"] for row in written}
        assert all(instant.startswith("2026-01-31T") for instant in instants)

    @pytest.mark.case("5 same content and path under two tenants", facade="ingest")
    def test_every_owner_and_repository_has_a_file_of_its_own(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a push replaces rows of others that say the same at the same path."""
        before = world.stored()
        for who in PEOPLE:
            for _ in range(2):
                world.push(world.context(who), "pushed", [file_of("twin")])
        after = world.stored()
        assert checks.untouched(before, after)
        owners = [found["tenantId"] for key, (found, _) in after.items() if key not in before]
        assert sorted(owners) == sorted({who.tenant_id for who in PEOPLE})
        findings.answers["ingest"] += len(after)

    @pytest.mark.case("6 records with an embedding", facade="ingest")
    def test_an_embedding_in_a_push_is_refused(self, world: World, findings: Findings) -> None:
        """Fails: a client chose where its row lies among the answers of others."""
        before = world.stored()
        dimension = world.app.embedder.profile.dimension
        forged = file_of("secret-forged.", embedding=[1.0] + [0.0] * (dimension - 1))
        with pytest.raises(EmbeddingNotAllowedError):
            world.push(world.context(EVE), "app", [file_of("honest", "other.md"), forged])
        assert world.stored() == before
        findings.answers["ingest"] += 1

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="ingest")
    def test_a_pushed_file_replaces_its_senders_rows_of_it_alone(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: what a push deletes is found by the path alone."""
        for who, repo in ((EVE, "app"), (BOB, "notes-of-bob"), (ADA, "app")):
            before, mine = world.stored(), checks.covered(world, who, repo)
            replaced = {key for key in mine if before[key][0]["sourcePath"] == PATH}
            assert replaced
            world.push(world.context(who), repo, [file_of(f"new of {who.tenant_id}")])
            after = world.stored()
            kept = {key: found for key, found in before.items() if key not in replaced}
            assert checks.untouched(kept, after)
            assert replaced.isdisjoint(after)
            assert len(after) == len(kept) + 1
            findings.answers["ingest"] += len(before)

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="ingest")
    def test_a_private_push_leaves_the_private_rows_of_others(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: an agent's private push reaches another agent's private rows of the file."""
        world.embed(BOB, "app", [{**TWIN, "content": "bob's own words"}], private=True)
        bobs = {
            key: found for key, found in world.stored().items() if key.label == "private:acme:bob"
        }
        for private in (True, False):
            how = {"visibility": visibility_of(private=private)}
            world.push(world.context(ADA), "app", [file_of("ada's")], tombstones("app", []), **how)
            assert checks.untouched(bobs, world.stored())
        world.push(world.context(ADA), "app", [], manifest("app", []))
        assert checks.untouched(bobs, world.stored())
        findings.answers["ingest"] += 3

    @pytest.mark.case("non-interference: others change nothing by a byte", facade="ingest")
    def test_a_report_and_a_refusal_tell_nothing_of_others(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a number of a report, or of the guard, comes from what its reader may not see."""
        mine = [str(world.model[key].chunk["source"]) for key in checks.covered(world, EVE, "app")]

        def told() -> list[object]:
            answers: list[object] = []
            for files, signals in (
                ([file_of("same")], {}),
                ([], tombstones("app", mine)),
                ([], manifest("app", [])),
                ([], {"baseRevision": "1", "headRevision": "2"}),
            ):
                context = world.context(EVE)
                parsed = parse_signals(signals, context) if signals else ()
                request = IngestRequest("app", signals=parsed)
                try:
                    report = world.knowledge_base.ingest(context, request, enumerate(files, 1))
                    answers.append({**plain(report), "ingestion_id": ""})
                except TenantKbError as error:
                    answers.append((error.code, str(error), vars(error)))
            return answers

        told()
        before = told()
        codes = [answer[0] for answer in before if isinstance(answer, tuple)]
        assert codes == ["KB_DELETION_GUARD", "KB_DELETION_GUARD", "KB_MANIFEST_REQUIRED"]
        for who in (ADA, BOB, AgentIdentity("beta", "bea")):
            more = [chunk(f"secret-of-{who.agent_id}."), {**TWIN, "content": "other words"}]
            world.embed(who, "app", more, private=who is not ADA)
        first = {"headRevision": "1", **manifest("app", [str(TWIN["source"])])}
        world.push(world.context(ADA), "app", [], first)
        assert told() == before
        findings.answers["ingest"] += len(before)

    @pytest.mark.case("no valid identity", facade="ingest")
    def test_without_a_context_nothing_is_pushed_or_told(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a push, or the question after one, does not begin with require_context."""
        name = world.push(world.context(ADA), "app", []).ingestion_id
        before = world.stored()
        for nobody in no_contexts(world, ADA).values():
            with pytest.raises(AuthenticationError):
                world.push(nobody, "app", [file_of("secret-new.")])
            with pytest.raises(AuthenticationError):
                world.knowledge_base.ingestion(nobody, name)
            findings.answers["ingest"] += 1
            findings.answers["ingestion"] += 1
        assert world.stored() == before

    @pytest.mark.case("forged arguments", facade="ingest")
    @pytest.mark.parametrize("argument", ["repo", "visibility", "path", "file", "signals"])
    def test_forged_arguments_write_and_delete_nothing_of_others(
        self, world: World, findings: Findings, argument: str
    ) -> None:
        """Fails: an argument of another type or form reaches the store."""
        before = world.stored()
        mine = checks.covered(world, EVE, "app")
        others = {key: found for key, found in before.items() if key not in mine}
        for value in (*TEXTS, *OBJECTS, None):
            how: dict[str, Mapping[str, Any]] = {
                "repo": {"repo": value, "files": [file_of("x")]},
                "visibility": {"files": [file_of("x")], "visibility": value},
                "path": {"files": [file_of("x", value), {"path": value, "parsedChunks": []}]},
                "file": {"files": [value]},
                "signals": {"files": [], "signals": value},
            }
            with suppress(TenantKbError):
                world.push(world.context(EVE), **{"repo": "app", **how[argument]})
            findings.answers["ingest"] += 1
        after = world.stored()
        assert checks.untouched(others, after)
        new = {key.label for key in after if key not in before}
        assert new <= {"team:beta"}

    @pytest.mark.case("forged arguments", facade="ingestion")
    def test_an_ingestion_of_somebody_else_is_a_missing_one(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: an id is enough to be told of a push, or tells that there was one."""
        face = world.knowledge_base
        bea = AgentIdentity("beta", "bea")
        people = [who for who in PEOPLE if who is not EVE] + [bea]
        with pytest.raises(NotFoundError) as missing:
            face.ingestion(world.context(EVE), "x" * 32)
        name = world.push(
            world.context(EVE), "app", [file_of("secret-new.")], visibility=Visibility.PRIVATE
        ).ingestion_id
        for who in people:
            for asked in (name, *TEXTS, *OBJECTS, None):
                with pytest.raises(NotFoundError) as caught:
                    face.ingestion(world.context(who), asked)
                assert str(caught.value) == str(missing.value)
                findings.answers["ingestion"] += 1
        status = face.ingestion(world.context(EVE), name)
        assert (status.ingestion_id, status.counts["added"]) == (name, 1)
