"""What is known of a repository outlives processes, and never goes back unnoticed."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tenantkb.adapters.state.revisions import SqliteRevisionLog
from tenantkb.adapters.state.synclog import SqliteSyncLog
from tenantkb.domain.deletion import KnownState, ManifestSnapshot
from tenantkb.domain.errors import StoreError
from tenantkb.ports.synclog import SyncRecord
from tests.strategies import NOW

NOTHING = KnownState()
MANIFEST = ManifestSnapshot("app", frozenset({"a.md", "é/\n.md"}), NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "log.sqlite3"


@pytest.mark.parametrize(
    "known",
    [
        KnownState("1"),
        KnownState(manifest=MANIFEST),
        KnownState("1", MANIFEST),
        KnownState("1", ManifestSnapshot("app", frozenset(), NOW)),
    ],
)
def test_what_was_recorded_is_known_to_the_next_process(path: Path, known: KnownState) -> None:
    assert SqliteRevisionLog(path).replace("acme", "app", [NOTHING], known)
    assert SqliteRevisionLog(path).known("acme", "app") == known


def test_of_what_was_never_recorded_nothing_is_known_and_asking_makes_no_file(path: Path) -> None:
    assert SqliteRevisionLog(path).known("acme", "app") == NOTHING
    assert not path.parent.exists()


def test_every_tenant_and_repository_is_by_itself(path: Path) -> None:
    log = SqliteRevisionLog(path)
    for tenant, repo, head in (("acme", "app", "1"), ("acme", "site", "2"), ("beta", "app", "3")):
        assert log.replace(tenant, repo, [NOTHING], KnownState(head))
    assert [log.known(tenant, "app").head for tenant in ("acme", "beta", "neo")] == ["1", "3", None]


def test_a_replacement_needs_one_of_the_expected_states(path: Path) -> None:
    log = SqliteRevisionLog(path)
    assert log.replace("acme", "app", [NOTHING, KnownState("1")], KnownState("1"))
    assert log.replace("acme", "app", [NOTHING, KnownState("1")], KnownState("1", MANIFEST))
    assert not log.replace("acme", "app", [NOTHING, KnownState("1")], KnownState("2"))
    assert log.known("acme", "app") == KnownState("1", MANIFEST)


def test_of_many_that_expect_the_same_state_one_replaces_it(path: Path) -> None:
    log = SqliteRevisionLog(path)
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(
            lambda head: log.replace("acme", "app", [NOTHING], KnownState(head)), "abcdefgh"
        )
    assert sorted(done) == [False] * 7 + [True]


def test_it_shares_its_file_with_the_record_of_synchronisations(path: Path) -> None:
    record = SyncRecord("acme", "app", "team:acme", NOW, True)
    SqliteSyncLog(path).record(record)
    assert SqliteRevisionLog(path).replace("acme", "app", [NOTHING], KnownState("1"))
    assert SqliteSyncLog(path).last(["team:acme"]) == [record]


def test_while_another_writes_what_is_known_can_be_read(path: Path) -> None:
    log = SqliteRevisionLog(path)
    log.replace("acme", "app", [NOTHING], KnownState("1"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert log.known("acme", "app") == KnownState("1")


def test_a_file_that_is_no_database_is_told(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is no database, and long enough to be seen as none" * 20)
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteRevisionLog(path).known("acme", "app")
