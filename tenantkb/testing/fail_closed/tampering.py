"""Rows that no write scope lets in: whoever planted them, nobody sees them."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tenantkb.domain.ids import ChunkId
from tenantkb.ports.engine import CountsRows, RawRow
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import READERS, WRITERS, Request
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import ADA, BOB, EVE, PEOPLE, Planted, chunk, secret_of
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.world import World, metadata_of

REMOVED: Any = object()

TAMPERINGS: Final[tuple[Mapping[str, Any], ...]] = (
    {"tenantId": REMOVED},
    {"tenantId": "beta"},
    {"tenantId": "neo-shared"},
    {"tenantId": "ACME"},
    {"tenantId": " acme"},
    {"tenantId": "аcme"},  # a Cyrillic letter
    {"tenantId": ""},
    {"tenantId": 5},
    {"tenantId": True},
    {"tenantId": ["acme"]},
    {"tenantId": ["acme", "beta"]},
    {"visibility": REMOVED},
    {"visibility": ""},
    {"visibility": "public"},
    {"visibility": "Team"},
    {"visibility": "team "},
    {"visibility": True},
    {"visibility": ["team"]},
    {"visibility": "private"},
    {"visibility": "private", "originAgentIdentity": "ada"},
    {"visibility": "private", "access": REMOVED},
    {"visibility": "private", "access": "private:acme:"},
    {"visibility": "private", "access": "private:acme:ada"},
    {"visibility": "private", "access": "private:acme:None"},
    {"visibility": "private", "originAgentIdentity": "", "access": "private:acme:"},
    {"visibility": "private", "originAgentIdentity": 5, "access": "private:acme:5"},
    {"visibility": "private", "originAgentIdentity": ["ada"], "access": "private:acme:ada"},
    {"visibility": "private", "originAgentIdentity": " ada", "access": "private:acme: ada"},
    {"visibility": "private", "originAgentIdentity": "bob", "access": "private:acme:ada"},
    {"originAgentIdentity": 5},
    {"access": REMOVED},
    {"access": ""},
    {"access": "team:beta"},
    {"access": "team:neo-shared"},
    {"access": "TEAM:acme"},
    {"access": ["team:acme"]},
    {"access": ["team:acme", "team:beta"]},
    {"access": 5},
    {"access": True},
    {"repoSlug": REMOVED},
    {"repoSlug": ""},
    {"repoSlug": "two words"},
    {"repoSlug": 5},
    {"repoSlug": ["app"]},
    {"rootKind": "elsewhere"},
    {"sourcePath": "../../etc/passwd"},
    {"sourcePath": "/etc/passwd"},
    {"sourcePath": ["docs"]},
    {"ingestedAt": "yesterday"},
    {"ingestedAt": 5},
    {
        "tenantId": REMOVED,
        "visibility": REMOVED,
        "access": REMOVED,
        "repoSlug": REMOVED,
        "ingestedAt": REMOVED,
    },
)
"""What is changed on a sound team row of acme's."""

NESTED: Final[tuple[Mapping[str, Any], ...]] = (
    {"tenantId": None},
    {"tenantId": {"$ne": ""}},
    {"visibility": None},
    {"visibility": {"$ne": "private"}},
    {"visibility": []},
    {"access": None},
    {"access": {"$ne": ""}},
    {"repoSlug": None},
    {"sourcePath": {}},
    {"name": None},
    {"content": {"text": "password"}},
)
"""Further changes, which only some stores can hold."""

MISPLACED: Final = ("team:beta", "team:neo-shared", "private:acme:ada", "private:beta:ada", "")
"""Labels that a row lies under although its stamp, which is sound, gives another one."""

ODD_FIELDS: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": 5},
    {"name": REMOVED},
    {"type": REMOVED},
    {"kind": True},
    {"content": REMOVED},
    {"content": 1.5},
    {"className": 5},
    {"extends": True},
    {"hash": REMOVED},
    {"line_start": "first"},
)
"""What is changed on a row that stays one: its stamp and its path are sound."""


def altered(sound: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with changes, some of which remove a field."""
    return {key: value for key, value in {**sound, **changes}.items() if value is not REMOVED}


def plant(world: World, row: Planted, metadata: Mapping[str, Any], label: Any) -> None:
    """Write a row past the application; nobody may see it."""
    key = label if isinstance(label, str) else "", ChunkId(row.id)
    secret = secret_of(row.chunk)
    world.model.add(Planted("nobody", row.repo, "nobody", row.chunk, secret, place=key))
    world.behind.plant(RawRow(*key, metadata), world.vector(metadata_of(row)))


class Tampering(Worlds):
    """Rows with malformed stamps, paths and labels."""

    @pytest.fixture
    def tampered(self, world: World) -> World:
        """A world with rows that somebody wrote past the application."""
        changes = (*TAMPERINGS, *(NESTED if self.holds_any_metadata else ()))
        for number, change in enumerate(changes):
            row = Planted("acme", "app", None, chunk(f"secret-tampered-{number}."))
            metadata = altered(metadata_of(row), change)
            plant(world, row, metadata, metadata.get("access"))
        for number, label in enumerate(MISPLACED):
            row = Planted("acme", "app", None, chunk(f"secret-misplaced-{number}."))
            plant(world, row, metadata_of(row), label)
            private = Planted("acme", "app", "bob", chunk(f"secret-misplaced-too-{number}."))
            plant(world, private, {**metadata_of(private), "access": label}, label)
        return world

    @pytest.mark.case("malformed and tampered rows")
    def test_a_row_with_a_malformed_stamp_is_visible_to_nobody(
        self, tampered: World, findings: Findings
    ) -> None:
        """Fails: a row is read leniently, or its label is believed; see domain/rows.read_row."""
        for who in PEOPLE:
            for reader in READERS.values():
                if reader.name == "status" and isinstance(tampered.app.engine, CountsRows):
                    continue  # counts are kept by label and owner, of sound rows and others
                checks.sees_its_rows(tampered, findings, reader, who)

    @pytest.mark.case("malformed and tampered rows", facade="query")
    def test_tampered_rows_leave_no_hole_in_an_answer(
        self, tampered: World, findings: Findings
    ) -> None:
        """Fails: what is withheld takes a place among the nearest."""
        query = READERS["query"]
        for who in PEOPLE:
            visible = len(tampered.model.seen_by(who))
            for limit in range(1, visible + 2):
                request = Request(limit=limit)
                answer = tampered.ask(findings, query, who, request)
                assert len(answer) == min(limit, visible)

    @pytest.mark.case("malformed and tampered rows")
    @pytest.mark.parametrize("writer", WRITERS)
    def test_a_writer_leaves_the_rows_of_others_among_tampered_ones(
        self, tampered: World, findings: Findings, writer: str
    ) -> None:
        """Fails: a malformed row ends a writer's job, or is deleted for its label."""
        before = tampered.stored()
        for who, repo in ((ADA, "app"), (EVE, "app"), (BOB, "app-2")):
            tampered.write(writer, who, repo, [chunk("secret-new.")])
        after = tampered.stored()
        nobodys = {key for key, row in tampered.model.items() if row.tenant == "nobody"}
        assert checks.untouched({key: before[key] for key in before if key in nobodys}, after)
        assert set(after) == set(tampered.model)
        findings.answers[writer] += len(nobodys)

    @pytest.mark.case("malformed and tampered rows")
    def test_an_odd_row_breaks_nothing_and_stays_with_its_tenant(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a facade relies on a field that a row need not have."""
        for odd in odd_rows(world):
            world.model.add(odd)
        for reader in READERS.values():
            for who in PEOPLE:
                answer = world.ask(findings, reader, who)
                assert not checks.is_refusal(answer)
                if who.tenant_id != "acme":
                    checks.sees_exactly_its_rows(world, findings, reader, who)

    @pytest.mark.case("malformed and tampered rows")
    @pytest.mark.parametrize("writer", WRITERS)
    def test_a_writer_mends_odd_rows(self, world: World, findings: Findings, writer: str) -> None:
        """Fails: what is compared with a stored row relies on fields that it need not have."""
        for odd in odd_rows(world):
            world.model.add(odd)
        place = "acme", "app"
        chunks = [row.chunk for row in world.model.values() if checks.at(row) == place]
        world.write(writer, ADA, "app", chunks)
        findings.answers[writer] += len(chunks)
        checks.everybody_sees_exactly_their_rows(world, findings)

    @pytest.mark.case("malformed and tampered rows")
    @pytest.mark.parametrize("writer", WRITERS)
    def test_an_owner_replaces_its_own_damaged_rows(
        self, world: World, findings: Findings, writer: str
    ) -> None:
        """Fails: a damaged row keeps its owner from writing the batch that it is part of."""
        chunks = []
        for number, change in enumerate(TAMPERINGS):
            row = Planted("acme", "damaged", None, chunk(f"secret-damaged-{number}."))
            metadata = altered(metadata_of(row), change)
            world.behind.plant(
                RawRow(row.label, ChunkId(row.id), metadata), world.vector(metadata_of(row))
            )
            chunks.append(row.chunk)
        world.write(writer, ADA, "damaged", chunks)
        findings.answers[writer] += len(chunks)
        checks.everybody_sees_exactly_their_rows(world, findings)


def odd_rows(world: World) -> Iterator[Planted]:
    """Plant rows of acme's that no version of the application has written."""
    for number, fields in enumerate(ODD_FIELDS):
        row = Planted("acme", "app", None, chunk(f"secret-odd-{number}."))
        sound = metadata_of(row)
        world.behind.plant(
            RawRow(row.label, ChunkId(row.id), altered(sound, fields)), world.vector(sound)
        )
        yield Planted(row.tenant, row.repo, None, row.chunk, secret_of(row.chunk))
