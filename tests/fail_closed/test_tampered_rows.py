"""Rows that no write scope lets in: whoever planted them, nobody sees them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.ports.store import VectorStore
from tests.fail_closed import checks, raw
from tests.fail_closed.conftest import SharedWorlds
from tests.fail_closed.facades import READERS, WRITERS, Reader
from tests.fail_closed.findings import Findings
from tests.fail_closed.model import ADA, PEOPLE, Planted, chunk, secret_of
from tests.fail_closed.world import World, metadata_of, populated

REMOVED: Any = object()

TAMPERINGS: tuple[Mapping[str, Any], ...] = (
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

NOT_STORABLE_IN_CHROMA: tuple[Mapping[str, Any], ...] = (
    {"tenantId": None},
    {"tenantId": {"$ne": ""}},
    {"visibility": None},
    {"visibility": {"$ne": "private"}},
    {"visibility": []},
    {"access": None},
    {"access": {"$ne": ""}},
    {"access": b"team:acme"},
    {"access": ("team:acme",)},
    {"repoSlug": None},
)
"""Chroma refuses such values or drops them, so only the store in memory can hold them."""


def tampered(store: VectorStore, folder: Path) -> World:
    """A world with rows that somebody wrote past the application."""
    world = populated(store, folder)
    more = NOT_STORABLE_IN_CHROMA if isinstance(store, MemoryStore) else ()
    for number, tampering in enumerate((*TAMPERINGS, *more)):
        planted = chunk(f"secret-tampered-{number}.")
        row = Planted("nobody", "app", "nobody", planted, secret_of(planted))
        world.model[row.id] = row
        plant_altered(world, evolve(row, tenant="acme", private_to=None), tampering, row.id)
    return world


def plant_altered(
    world: World, row: Planted, changes: Mapping[str, Any], row_id: str | None = None
) -> None:
    """Write a row with other metadata than it should have."""
    sound = metadata_of(row)
    altered = {**sound, **changes}
    metadata = {key: value for key, value in altered.items() if value is not REMOVED}
    raw.plant(world.store, row_id or row.id, metadata, world.vector(sound))


@pytest.mark.case("malformed and tampered rows")
def test_a_row_with_a_malformed_stamp_is_visible_to_nobody(
    store_name: str, shared_worlds: SharedWorlds, reader: Reader, findings: Findings
) -> None:
    """Fails: a stamp is read leniently; see domain/tenancy.stamp_of."""
    world = shared_worlds(store_name, tampered)
    for who in PEOPLE:
        checks.sees_its_rows(world, findings, reader, who)


ODD_FIELDS: tuple[Mapping[str, Any], ...] = (
    {"name": 5},
    {"name": REMOVED},
    {"type": REMOVED},
    {"kind": True},
    {"sourcePath": REMOVED},
    {"sourcePath": 5},
    {"content": REMOVED},
    {"content": 1.5},
    {"className": 5},
    {"extends": True},
    {"hash": REMOVED},
    {"rootKind": REMOVED},
    {"line_start": "first"},
)
"""What is changed on a row whose stamp stays sound."""


def with_odd_rows(store: VectorStore, folder: Path) -> World:
    """A world with rows of acme's that no version of the application has written."""
    world = populated(store, folder)
    for number, fields in enumerate(ODD_FIELDS):
        planted = chunk(f"secret-odd-{number}.")
        row = Planted("acme", "app", None, planted, secret_of(planted))
        world.model[row.id] = row
        plant_altered(world, row, fields)
    return world


@pytest.mark.case("malformed and tampered rows")
def test_an_odd_row_with_a_sound_stamp_breaks_nothing_and_stays_with_its_tenant(
    store_name: str, shared_worlds: SharedWorlds, reader: Reader, findings: Findings
) -> None:
    """Fails: a facade relies on a field that only the stamp's check guarantees."""
    world = shared_worlds(store_name, with_odd_rows)
    for who in PEOPLE:
        answer = world.ask(findings, reader, who)
        assert not checks.is_refusal(answer)
        if who.tenant_id != "acme":
            checks.sees_exactly_its_rows(world, findings, reader, who)


@pytest.mark.case("malformed and tampered rows")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_mends_odd_rows(
    store: VectorStore, tmp_path: Path, findings: Findings, writer: str
) -> None:
    """Fails: what is compared with a stored row relies on fields that it need not have."""
    world = with_odd_rows(store, tmp_path / "world")
    place = "acme", "app"
    chunks = [row.chunk for row in world.model.values() if (row.tenant, row.repo) == place]
    world.write(writer, ADA, "app", chunks)
    findings.answers[writer] += len(chunks)
    for reader in READERS.values():
        checks.everybody_sees_exactly_their_rows(world, findings, reader)
