"""Backups: only an operator reaches all rows, and what comes back obeys the read rule."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

from tenantkb.application.operating.backup import RestoreMode
from tenantkb.domain.backup import Adoption
from tenantkb.domain.deletion import KnownState
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    InvalidSubmissionError,
    NotSupportedError,
)
from tenantkb.domain.ids import IdScheme
from tenantkb.ports.engine import RawRow, Reindexable, Vector
from tenantkb.ports.state import SyncRecord
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import OPERATED
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import (
    ADA,
    CORA,
    EVE,
    GIL,
    OPA,
    PEOPLE,
    SHARED,
    Planted,
    chunk,
    secret_of,
)
from tenantkb.testing.fail_closed.suite import Worlds, no_contexts
from tenantkb.testing.fail_closed.tampering import TAMPERINGS, altered
from tenantkb.testing.fail_closed.world import COLLECTION, World, metadata_of, raw_of

Operate = Callable[[World, Any, Path], object]


@frozen
class OtherStore:
    """Another store's rows, to be moved into this one."""

    found: tuple[tuple[RawRow, Vector | None], ...]
    embedder: EmbedderProfile
    place: str = "elsewhere"

    def ids(self) -> IdScheme | None:
        return IdScheme.CONTENT

    def profile(self) -> EmbedderProfile | None:
        return self.embedder

    def rows(self) -> Iterator[tuple[RawRow, Vector | None]]:
        yield from self.found

    def syncs(self, labels: Collection[str]) -> list[SyncRecord]:
        return []

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        return KnownState()

    def close(self) -> None:
        """Nothing to release."""


def moved(world: World, context: Any, rows: Collection[RawRow]) -> Any:
    """Move rows from another store."""
    found = tuple((row, world.vector(row.metadata)) for row in rows)
    other = OtherStore(found, world.app.embedder.profile)
    return world.knowledge_base.migrate(context, other)


def _migrate(world: World, context: Any, path: Path) -> object:
    return moved(world, context, [raw_of(Planted("acme", "moved", None, chunk("secret-moved.")))])


OPERATE: Final[dict[str, Operate]] = {
    "export": lambda world, context, path: world.export(context, path),
    "restore": lambda world, context, path: world.import_(context, path, RestoreMode.REPLACE),
    "truncate": lambda world, context, path: world.knowledge_base.truncate(context, COLLECTION),
    "migrate": _migrate,
    "repair": lambda world, context, path: world.knowledge_base.repair(context),
}


class Operators(Worlds):
    """Who may reach all rows, and what restored ones become."""

    @pytest.mark.case("no valid identity")
    @pytest.mark.parametrize("writer", OPERATED)
    def test_nobody_but_an_operator_reaches_all_rows(
        self, world: World, findings: Findings, tmp_path: Path, writer: str
    ) -> None:
        """Fails: a facade for operators takes a context of somebody without the role."""
        folder = tmp_path / "backups"
        folder.mkdir()
        world.export(world.context(GIL), folder / "backup")
        files = {path: path.read_bytes() for path in folder.iterdir()}
        before = world.stored()
        for who in (person for person in PEOPLE if person is not GIL):
            with pytest.raises(AccessDeniedError, match="operator"):
                OPERATE[writer](world, world.context(who), folder / "backup")
            findings.answers[writer] += 1
        for nobody in no_contexts(world, GIL).values():
            with pytest.raises(AuthenticationError):
                OPERATE[writer](world, nobody, folder / "backup")
            findings.answers[writer] += 1
        assert world.stored() == before
        assert {path: path.read_bytes() for path in folder.iterdir()} == files

    @pytest.mark.case("7 restored foreign rows", facade="restore")
    def test_what_a_backup_brings_back_is_what_was_there(
        self, world: World, findings: Findings, tmp_path: Path
    ) -> None:
        """Fails: a restore changes an owner, an id or a value."""
        operator = world.context(OPA)
        before = rows_of(world)
        assert world.export(operator, tmp_path / "backup") == len(before)
        world.embed(EVE, "later", [chunk("secret-later.")])
        world.sync(ADA, "app", [])
        world.import_(operator, tmp_path / "backup", RestoreMode.REPLACE)
        assert rows_of(world) == before
        assert world.knowledge_base.truncate(operator, COLLECTION) == len(before)
        world.import_(operator, tmp_path / "backup")
        assert rows_of(world) == before
        findings.answers["restore"] += 2 * len(before)

    @pytest.mark.case("7 restored foreign rows", facade="restore")
    def test_only_a_curator_gives_rows_to_the_shared_tenant(
        self, world: World, findings: Findings, tmp_path: Path
    ) -> None:
        """Fails: an operator of any tenant writes what everybody reads."""
        row = Planted(SHARED, "neo", None, chunk("secret-shared."))
        before = world.stored()
        with pytest.raises(InvalidSubmissionError, match="curator"):
            world.import_(world.context(GIL), backup_of(tmp_path, record_of(world, row)))
        adoption = Adoption(SHARED, "neo")
        with pytest.raises(AccessDeniedError, match="curator"):
            world.import_(world.context(GIL), tmp_path / "forged", adoption=adoption)
        with pytest.raises(AccessDeniedError, match="curator"):
            moved(world, world.context(GIL), [raw_of(row)])
        assert world.stored() == before
        findings.answers["restore"] += 3

    @pytest.mark.case("7 restored foreign rows", facade="restore")
    def test_no_row_is_restored_under_the_id_of_another(
        self, world: World, findings: Findings, tmp_path: Path
    ) -> None:
        """Fails: a row squats where another tenant's chunk will lie; ids are derived anew."""
        target = Planted("acme", "future", None, chunk("secret-future."))
        squatter = Planted("beta", "app", None, chunk("secret-squatter."))
        before = world.stored()
        record = {**record_of(world, squatter), "id": target.id}
        with pytest.raises(InvalidSubmissionError, match="id"):
            world.import_(world.context(GIL), backup_of(tmp_path, record))
        assert world.stored() == before
        findings.answers["restore"] += 1

    @pytest.mark.case("7 restored foreign rows", facade="restore")
    def test_a_tampered_backup_gives_nobody_more_than_its_stamps_say(
        self, world: World, findings: Findings, tmp_path: Path
    ) -> None:
        """Fails: an unsound stamp is restored, or a label is believed that it does not give."""
        for number, tampering in enumerate(TAMPERINGS):
            planted = chunk(f"secret-tampered-{number}.")
            metadata, record = tampered_record(world, planted, tampering)
            path = backup_of(tmp_path, record)
            before = world.stored()
            if is_sound(metadata):
                world.import_(world.context(OPA), path)
                world.model.add(owned(metadata, planted))
            else:
                with pytest.raises(InvalidSubmissionError):
                    world.import_(world.context(OPA), path)
                assert world.stored() == before
            findings.answers["restore"] += 1
        checks.everybody_sees_exactly_their_rows(world, findings)

    @pytest.mark.case("7 restored foreign rows", facade="restore")
    def test_adopted_rows_belong_to_whom_the_operator_names(
        self, world: World, findings: Findings, tmp_path: Path
    ) -> None:
        """Fails: a row without a sound stamp goes where its fields say."""
        for number, tampering in enumerate(TAMPERINGS):
            planted = chunk(f"secret-adopted-{number}.")
            metadata, record = tampered_record(world, planted, tampering)
            if not is_sound(metadata) and not {"sourcePath", "rootKind"} & tampering.keys():
                path, adoption = backup_of(tmp_path, record), Adoption("acme", "adopted")
                world.import_(world.context(GIL), path, adoption=adoption)
                world.model.add(Planted("acme", "adopted", None, planted, secret_of(planted)))
                findings.answers["restore"] += 1
        assert {row.repo for row in world.model.seen_by(ADA)} >= {"adopted"}
        checks.everybody_sees_exactly_their_rows(world, findings)
        assert not [row for row in world.model.seen_by(CORA) if row.repo == "adopted"]

    @pytest.mark.case("7 restored foreign rows", facade="migrate")
    def test_moved_rows_obey_the_read_rule(self, world: World, findings: Findings) -> None:
        """Fails: what comes from another store is believed to be sound."""
        sound = []
        for tenant, private_to in (
            ("acme", None),
            ("acme", "bob"),
            ("beta", "ada"),
            (SHARED, None),
        ):
            moving = chunk(f"secret-moved-{tenant}-{private_to}.")
            sound.append(Planted(tenant, "moved", private_to, moving, secret_of(moving)))
        unsound = [
            RawRow("team:beta", raw_of(row)[1], altered(metadata_of(row), {"visibility": "public"}))
            for row in sound
        ]
        report = moved(world, world.context(OPA), [*map(raw_of, sound), *unsound])
        assert (report.moved, report.malformed) == (len(sound), len(unsound))
        for row in sound:
            world.model.add(row)
        checks.everybody_sees_exactly_their_rows(world, findings)
        findings.answers["migrate"] += report.rows

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="repair")
    def test_a_repair_leaves_every_row_with_its_owner(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: an index that is made anew loses rows, or gives them away."""
        before = rows_of(world)
        if isinstance(world.app.engine, Reindexable):
            assert world.knowledge_base.repair(world.context(GIL)).rows == len(before)
        else:
            with pytest.raises(NotSupportedError):
                world.knowledge_base.repair(world.context(GIL))
        assert rows_of(world) == before
        checks.everybody_sees_exactly_their_rows(world, findings)


def rows_of(world: World) -> dict[tuple[str, str], dict[str, Any]]:
    """What is stored, without the vectors."""
    return {key: dict(metadata) for key, (metadata, _) in world.stored().items()}


def record_of(world: World, row: Planted) -> dict[str, Any]:
    """A row's record in a backup."""
    metadata = metadata_of(row)
    return {
        "id": row.id,
        "embedding": world.vector(metadata).tolist(),
        "metadata": metadata,
        "document": None,
    }


def tampered_record(
    world: World, planted: dict[str, Any], tampering: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata and the record of a row that somebody has changed."""
    row = Planted("acme", "app", None, planted)
    metadata = altered(metadata_of(row), tampering)
    row_id = owned(metadata, planted).id if is_sound(metadata) else row.id
    return metadata, {**record_of(world, row), "id": row_id, "metadata": metadata}


def owned(metadata: Mapping[str, Any], planted: dict[str, Any]) -> Planted:
    """Whose row it is by its stamp."""
    private_to = None if metadata["visibility"] == "team" else metadata["originAgentIdentity"]
    return Planted(
        metadata["tenantId"], metadata["repoSlug"], private_to, planted, secret_of(planted)
    )


def backup_of(folder: Path, record: dict[str, Any]) -> Path:
    """A backup of one record, without a manifest."""
    path = folder / "forged"
    path.write_text(json.dumps(record) + "\n")
    return path


def is_sound(metadata: Mapping[str, Any]) -> bool:
    """Whether a row is one, apart from its label: written out once more, as the model is."""
    texts = {
        "tenantId": r"acme|beta|neo-shared",
        "visibility": r"team|private",
        "repoSlug": r"\S+",
        "originAgentIdentity": r"ada|bob",
        "ingestedAt": r"2026-\d\d-\d\dT.*Z",
        "sourcePath": r"docs/.*",
        "rootKind": r"neo-workspace",
    }
    needed = {"tenantId", "visibility", "repoSlug", "sourcePath", "rootKind"}
    if metadata.get("visibility") == "private":
        needed.add("originAgentIdentity")
    return needed <= metadata.keys() and all(
        isinstance(metadata[key], str) and re.fullmatch(pattern, metadata[key])
        for key, pattern in texts.items()
        if key in metadata
    )
