"""Backups: only an operator reaches all rows, and what comes back obeys the read rule."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tenantkb.application.operating.backup import RestoreMode
from tenantkb.domain.backup import Adoption
from tenantkb.domain.errors import InvalidSubmissionError, TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import fingerprint
from tests.fail_closed import checks, raw
from tests.fail_closed.facades import OPERATED, READERS
from tests.fail_closed.findings import Findings
from tests.fail_closed.model import ADA, CORA, EVE, GIL, PEOPLE, Planted, chunk, secret_of
from tests.fail_closed.test_cases import NOBODIES
from tests.fail_closed.test_tampered_rows import REMOVED, TAMPERINGS
from tests.fail_closed.world import World, metadata_of

Operate = Callable[[World, AgentIdentity | None, Path], object]

OPERATE: dict[str, Operate] = {
    "ExportBackup": lambda world, who, path: world.export(who, path),
    "ImportBackup": lambda world, who, path: world.import_(who, path, RestoreMode.REPLACE),
    "RepairIndex": lambda world, who, path: world.repair(who),
    "TruncateCollection": lambda world, who, path: world.truncate(who),
}


@pytest.mark.case("no valid identity")
@pytest.mark.parametrize("writer", OPERATED)
def test_nobody_but_an_operator_reaches_all_rows(
    shared_world: World, findings: Findings, tmp_path: Path, writer: str
) -> None:
    """Fails: a use case for operators takes an identity without the role."""
    shared_world.export(GIL, tmp_path / "backup")
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    before = raw.stored(shared_world.store)
    for who in (*NOBODIES.values(), *(person for person in PEOPLE if person is not GIL)):
        with pytest.raises(TenantKbError, match=r"identity|curator|operator"):
            OPERATE[writer](shared_world, who, tmp_path / "backup")
        findings.answers[writer] += 1
    assert raw.stored(shared_world.store) == before
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.case("7 restored foreign rows", facade="ImportBackup")
def test_what_a_backup_brings_back_is_what_was_there(
    world: World, findings: Findings, tmp_path: Path
) -> None:
    """Fails: a restore changes an owner, an id or a vector."""
    before = raw.stored(world.store)
    assert world.export(GIL, tmp_path / "backup") == len(before)
    world.embed(EVE, "later", [chunk("secret-later.")])
    world.sync(ADA, "app", [])
    world.import_(GIL, tmp_path / "backup", RestoreMode.REPLACE)
    assert metadata_and_ids(world) == {key: metadata for key, (metadata, _) in before.items()}
    assert world.truncate(GIL) == len(before)
    world.import_(GIL, tmp_path / "backup")
    assert metadata_and_ids(world) == {key: metadata for key, (metadata, _) in before.items()}
    findings.answers["ImportBackup"] += 2 * len(before)


def metadata_and_ids(world: World) -> dict[str, dict[str, Any]]:
    """What is stored, without the store's own notes on vectors."""
    return {
        key: {name: value for name, value in metadata.items() if not name.startswith("tenantkb.")}
        for key, (metadata, _) in raw.stored(world.store).items()
    }


@pytest.mark.case("7 restored foreign rows", facade="ImportBackup")
def test_a_tampered_backup_gives_nobody_more_than_its_stamps_say(
    world: World, findings: Findings, tmp_path: Path
) -> None:
    """Fails: an unsound stamp is restored, or a label is believed that the stamp does not give."""
    for number, tampering in enumerate(TAMPERINGS):
        planted = chunk(f"secret-tampered-{number}.")
        metadata, record = tampered_record(world, planted, tampering)
        path = backup_of(tmp_path, record)
        before = raw.stored(world.store)
        if is_sound(metadata):
            world.import_(GIL, path)
            row = Planted(
                metadata["tenantId"],
                metadata["repoSlug"],
                None if metadata["visibility"] == "team" else origin_of(metadata),
                planted,
                secret_of(planted),
            )
            world.model[record["id"]] = row
        else:
            with pytest.raises(InvalidSubmissionError):
                world.import_(GIL, path)
            assert raw.stored(world.store) == before
        findings.answers["ImportBackup"] += 1
    for reader in READERS.values():
        for who in PEOPLE:
            checks.sees_exactly_its_rows(world, findings, reader, who)


@pytest.mark.case("7 restored foreign rows", facade="ImportBackup")
def test_adopted_rows_belong_to_whom_the_operator_names(
    world: World, findings: Findings, tmp_path: Path
) -> None:
    """Fails: a row without a sound stamp goes where its fields say."""
    for number, tampering in enumerate(TAMPERINGS):
        planted = chunk(f"secret-adopted-{number}.")
        metadata, record = tampered_record(world, planted, tampering)
        if not is_sound(metadata):
            world.import_(GIL, backup_of(tmp_path, record), adoption=Adoption("acme", "adopted"))
            row = Planted("acme", "adopted", None, planted, secret_of(planted))
            world.model[record["id"]] = row
            findings.answers["ImportBackup"] += 1
    assert {row.repo for row in world.model.seen_by(ADA)} >= {"adopted"}
    for reader in READERS.values():
        for who in PEOPLE:
            checks.sees_exactly_its_rows(world, findings, reader, who)
    assert not [row for row in world.model.seen_by(CORA) if row.repo == "adopted"]


def tampered_record(
    world: World, planted: dict[str, Any], tampering: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record of a backup, and its metadata."""
    row = Planted("acme", "app", None, planted)
    altered = {**metadata_of(row), "hash": fingerprint(planted), **tampering}
    metadata = {key: value for key, value in altered.items() if value is not REMOVED}
    return metadata, {
        "id": owned_id(metadata, planted, row),
        "embedding": world.vector(metadata_of(row)).tolist(),
        "metadata": metadata,
        "document": None,
    }


def owned_id(metadata: Mapping[str, Any], planted: dict[str, Any], row: Planted) -> str:
    """The id by which the model looks for the row."""
    if is_sound(metadata):
        return Planted(metadata["tenantId"], metadata["repoSlug"], None, planted).id
    return Planted("acme", "adopted", None, planted).id


def backup_of(folder: Path, record: dict[str, Any]) -> Path:
    """A backup of one record, without a manifest."""
    path = folder / "forged"
    path.write_text(json.dumps(record) + "\n")
    return path


def is_sound(metadata: Mapping[str, Any]) -> bool:
    """Whether a stamp is one, apart from its label: written out once more, as the model is."""
    texts = {
        "tenantId": r"acme|beta|neo-shared",
        "visibility": r"team|private",
        "repoSlug": r"\S+",
        "originAgentIdentity": r"\S+",
        "ingestedAt": r"2026-\d\d-\d\dT.*Z",
    }
    needed = {"tenantId", "visibility", "repoSlug"}
    return needed <= metadata.keys() and all(
        isinstance(metadata[key], str) and re.fullmatch(pattern, metadata[key])
        for key, pattern in texts.items()
        if key in metadata
    )


def origin_of(metadata: Mapping[str, Any]) -> str:
    """Whose private row it is; without an origin, it is nobody's."""
    return str(metadata.get("originAgentIdentity", "nobody's"))
