"""``tenantkb migrate``, from the shell's side: version 0.1.0, other kinds, and kill -9."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve, frozen

from tenantkb.adapters.configuration.settings import StoreSettings, state_path
from tenantkb.adapters.state.sqlite import SqliteState
from tenantkb.adapters.stores.chroma.connection import client_on
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.domain import fields
from tenantkb.domain.deletion import KnownState, ManifestSnapshot
from tenantkb.domain.derivation import derived_id
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.stamps import SharedNamespace, TenantStamp, Visibility, unlabelled_stamp_of
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.ports.state import State, SyncRecord
from tests.end_to_end.conftest import Installation, stored_rows

NOTES = 300
HEAD = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
MADE_AT = datetime(2025, 11, 3, 10, tzinfo=UTC)
KNOWN = KnownState(HEAD, ManifestSnapshot("app", frozenset({"learn/tree.json"}), MADE_AT))
SYNCS = [
    SyncRecord("acme", "app", "team:acme", datetime(2025, 11, 3, 10, 1, tzinfo=UTC), True),
    SyncRecord("acme", "notes", "private:acme:ada", datetime(2025, 11, 4, tzinfo=UTC), False),
]

Rows = dict[RowKey, tuple[RawRow, bytes]]


@frozen
class Earlier:
    """A store of version 0.1.0 where this version's would be, and what it has to become.

    Attributes:
        tenantkb: The installation.
        place: Its address, for ``--from``.
        rows: As this version stores them.
        renamed: How many of them have another id there.
        workspaces: Arguments of the syncs that have made the rows.
    """

    tenantkb: Installation
    place: str
    rows: Rows
    renamed: int
    workspaces: tuple[tuple[str | Path, ...], ...]

    @property
    def folder(self) -> Path:
        return folder_of(self.tenantkb)


def folder_of(tenantkb: Installation) -> Path:
    return Path(tenantkb.environment["TENANTKB_STORE_PATH"])


def stored(settings: StoreSettings) -> Rows:
    with closing(open_engine(settings)) as engine:
        return {raw.key: (raw, vector.tobytes()) for raw, vector in engine.export()}


def remembered(state: State) -> tuple[list[SyncRecord], KnownState]:
    with closing(state):
        return state.syncs([record.access_label for record in SYNCS]), state.known("acme", "app")


def id_of_format_1(raw: RawRow) -> ChunkId:
    """Version 0.1.0 gave private rows the ids of the team's."""
    stamp, metadata = unlabelled_stamp_of(raw.metadata), raw.metadata
    if stamp.visibility is Visibility.TEAM:
        return raw.id
    team = TenantStamp(stamp.tenant_id, stamp.repo_slug, Visibility.TEAM)
    content_hash, path = str(metadata[fields.HASH]), str(metadata[fields.SOURCE_PATH])
    return derived_id(metadata, content_hash, path, team, SharedNamespace())


def write_version_0_1(
    folder: Path, profile: EmbedderProfile, rows: list[tuple[RawRow, Vector]]
) -> None:
    """A collection and a state file as version 0.1.0 made them; the first row is an exact one."""
    client = client_on(folder)
    collection = client.create_collection(
        "knowledge-base",
        configuration={"hnsw": {"space": "cosine", "ef_search": 400}},
        metadata={
            "tenantkb.format": 1,
            "tenantkb.embedder": profile.name,
            "tenantkb.dimension": profile.dimension,
        },
        embedding_function=None,
    )
    kept = base64.b64encode(rows[0][1].astype("<f4").tobytes()).decode()
    for some, exact in ((rows[:1], {"tenantkb.vector": kept}), (rows[1:], {})):
        collection.upsert(
            ids=[str(raw.id) for raw, _ in some],
            embeddings=np.stack([vector for _, vector in some]),
            metadatas=[{**raw.metadata, **exact} for raw, _ in some],
        )
    client.close()
    with closing(sqlite3.connect(folder / "tenantkb.sqlite3")) as database, database:
        database.execute(
            "CREATE TABLE sync (tenant_id TEXT, repo_slug TEXT, access_label TEXT,"
            " finished_at TEXT, complete INTEGER)"
        )
        database.execute(
            "CREATE TABLE revision (tenant_id TEXT, repo_slug TEXT, head TEXT, manifest_at TEXT,"
            " manifest_paths TEXT)"
        )
        database.executemany(
            "INSERT INTO sync VALUES (?, ?, ?, ?, ?)",
            [
                (each.tenant_id, each.repo_slug, each.access_label, instant, each.complete)
                for each in SYNCS
                for instant in [each.finished_at.isoformat().replace("+00:00", "Z")]
            ],
        )
        database.execute(
            "INSERT INTO revision VALUES ('acme', 'app', ?, '2025-11-03T10:00:00Z', ?)",
            (HEAD, '["learn/tree.json"]'),
        )


@pytest.fixture
def earlier(
    tenantkb: Installation, tmp_path: Path, golden: Path, notes: Callable[..., Path]
) -> Earlier:
    tenantkb.environment.update(
        TENANTKB_TENANT="acme",
        TENANTKB_AGENT="ada",
        TENANTKB_ROLES="operator",
        TENANTKB_EMBEDDER_KIND="hashing",
        TENANTKB_SYNC_BATCH_SIZE="8",
    )
    made = tmp_path / "made"
    maker = evolve(tenantkb, environment={**tenantkb.environment, "TENANTKB_STORE_PATH": str(made)})
    workspaces: tuple[tuple[str | Path, ...], ...] = (
        (golden, "--repo", "app"),
        (notes(NOTES, "note"), "--repo", "notes", "--visibility", "private"),
    )
    for arguments in workspaces:
        assert maker("sync", *arguments).code == 0
    with closing(SqliteEngine(made)) as engine:
        rows = list(engine.export())
        profile = engine.profile()
    assert profile is not None
    former = [(raw._replace(id=id_of_format_1(raw)), vector) for raw, vector in rows]
    renamed = sum(old.id != raw.id for (old, _), (raw, _) in zip(former, rows, strict=True))
    assert renamed == NOTES < len(rows)
    folder = folder_of(tenantkb)
    write_version_0_1(folder, profile, former)
    wanted = {raw.key: (raw, vector.tobytes()) for raw, vector in rows}
    return Earlier(tenantkb, f"chroma:{folder}", wanted, renamed, workspaces)


def require_moved(earlier: Earlier) -> None:
    """Rows, their vectors but for the last bits, and what was remembered."""
    found = stored(StoreSettings(path=earlier.folder))
    assert {key: raw for key, (raw, _) in found.items()} == {
        key: raw for key, (raw, _) in earlier.rows.items()
    }
    for key, (_, data) in earlier.rows.items():
        here, there = (np.frombuffer(each, np.float32) for each in (found[key][1], data))
        assert here == pytest.approx(there, abs=1e-6)
    assert remembered(SqliteEngine(earlier.folder)) == (SYNCS, KNOWN)


def test_a_store_of_version_0_1_is_named_by_every_command_and_moved_by_one(
    earlier: Earlier, tmp_path: Path
) -> None:
    """Fails: an empty store is made beside the rows, or something is lost on the way."""
    tenantkb = earlier.tenantkb
    backup, manifest = tmp_path / "rows.jsonl", tmp_path / "manifest.json"
    listed = {"repoSlug": "app", "pathsAfterPush": ["learn/tree.json"]}
    manifest.write_text(json.dumps({"manifestSnapshot": listed}))
    commands: list[tuple[str | Path, ...]] = [
        ("query", "why workers?"),
        ("list",),
        ("get", next(iter(earlier.rows)).id),
        ("hierarchy",),
        ("status",),
        *(("sync", *arguments) for arguments in earlier.workspaces),
        ("delete", "--repo", "app", "--manifest", manifest),
        ("repair",),
        ("backup", "export", backup),
        ("backup", "truncate", "--confirm", "knowledge-base"),
    ]
    for command in commands:
        refused = tenantkb(*command, "--json")
        assert refused.code == 6, command
        error = refused.json["error"]
        assert (error["code"], error["remedy"]["key"]) == ("KB_STORE_MISMATCH", "migrate-store")
        assert earlier.place in error["message"]
        assert "tenantkb migrate --from" in error["remedy"]["words"]
    examined = tenantkb("doctor")
    assert examined.code == 1
    assert f"migration from {earlier.place}" in examined.output
    assert not (earlier.folder / "store.sqlite3").exists()
    total = len(earlier.rows)
    moved = tenantkb("migrate", "--from", earlier.place, "--json")
    assert moved.code == 0, moved.errors
    counts = {"moved": total, "renamed": earlier.renamed, "present": 0, "embedded": 0}
    assert moved.json.items() >= {**counts, "malformed": 0}.items()
    require_moved(earlier)
    again = tenantkb("migrate", "--from", earlier.place, "--json")
    assert (again.code, again.json["moved"], again.json["present"]) == (0, 0, total)
    said = tenantkb("migrate", "--from", earlier.place)
    assert said.output.startswith("Nothing to do: ")
    require_moved(earlier)
    for arguments in earlier.workspaces:
        synced = tenantkb("sync", *arguments, "--json").json
        assert synced["added"] == synced["deleted"] == synced["updated"] == 0
        assert synced["unchanged"] > 0
    assert tenantkb("doctor").code == 0
    for command in commands:
        assert "migrate" not in tenantkb(*command).errors, command


def test_after_kill_9_the_same_command_finishes_the_migration(earlier: Earlier) -> None:
    """Fails: rows are lost or moved twice, or heads are not carried over any more."""
    tenantkb, total = earlier.tenantkb, len(earlier.rows)
    for least in (1, total // 2):
        with tenantkb.started("migrate", "--from", earlier.place) as process:
            deadline = time.monotonic() + 60
            while stored_rows(tenantkb) < least and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.kill()
        assert least <= stored_rows(tenantkb) < total
    here = stored_rows(tenantkb)
    done = tenantkb("migrate", "--from", earlier.place, "--json")
    assert done.code == 0, done.errors
    assert done.json["moved"] == total - here
    assert (done.json["present"], done.json["embedded"]) == (here, 0)
    require_moved(earlier)


def test_this_versions_stores_become_one_another(earlier: Earlier, tmp_path: Path) -> None:
    """Fails: a vector changes, or the sync log stays behind."""
    tenantkb = earlier.tenantkb
    assert tenantkb("migrate", "--from", earlier.place).code == 0
    here = StoreSettings(path=earlier.folder)
    rows = stored(here)
    chroma, back = tmp_path / "chroma", tmp_path / "back"
    for origin, target in (
        (f"sqlite:{earlier.folder}", f"chroma:{chroma}"),
        (f"chroma:{chroma}", f"sqlite:{back}"),
    ):
        report = tenantkb("migrate", "--from", origin, "--to", target, "--json")
        assert report.code == 0, report.errors
        assert (report.json["moved"], report.json["renamed"]) == (len(rows), 0)
        assert report.json["embedded"] == 0
    between = StoreSettings(kind="chroma", path=chroma)
    for settings in (between, StoreSettings(path=back)):
        assert stored(settings) == rows
    for state in (SqliteState(state_path(between)), SqliteEngine(back)):
        assert remembered(state) == (SYNCS, KNOWN)


def test_the_store_itself_is_no_place_to_move_from(tenantkb: Installation) -> None:
    folder: Any = folder_of(tenantkb)
    refused = tenantkb("migrate", "--from", f"sqlite:{folder}", TENANTKB_ROLES="operator")
    assert refused.code == 2
    assert "is the store that everything would be moved to" in refused.errors
