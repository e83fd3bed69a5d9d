"""The spool and the log of synchronisations."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tenantkb.adapters.state.spool import SqliteSpool
from tenantkb.adapters.state.synclog import SqliteSyncLog
from tenantkb.domain.errors import StoreError
from tenantkb.domain.rows import Metadata, Row
from tenantkb.domain.sync import Change
from tenantkb.ports.synclog import SyncRecord
from tests.strategies import NOW

METADATA: Metadata = {"content": "text ☕\0", "line_start": 3, "flag": True, "ratio": 0.5}


def test_a_spool_gives_rows_back_in_order_by_what_has_to_happen() -> None:
    with closing(SqliteSpool()) as spool:
        for row_id in ("c", "a", "b"):
            assert spool.add(Row(row_id, METADATA))
        spool.mark("a", Change.UNCHANGED)
        assert [row.id for row in spool.rows(Change.ADDED)] == ["c", "b"]
        assert list(spool.rows(Change.UNCHANGED)) == [Row("a", METADATA)]
        assert spool.count(Change.ADDED) == 2
        assert spool.get("b") == Row("b", METADATA)
        assert spool.get("d") is None


def test_the_first_row_with_an_id_wins() -> None:
    with closing(SqliteSpool()) as spool:
        assert spool.add(Row("a", {"n": 1}))
        assert not spool.add(Row("a", {"n": 2}))
        assert list(spool.rows(Change.ADDED)) == [Row("a", {"n": 1})]


def test_a_spool_keeps_stale_ids_apart() -> None:
    with closing(SqliteSpool()) as spool:
        spool.add_stale("x")
        spool.add_stale("a")
        assert (spool.stale_count(), list(spool.stale())) == (2, ["x", "a"])


def record(label: str, minutes: int = 0, *, complete: bool = True) -> SyncRecord:
    return SyncRecord("acme", "app", label, NOW + timedelta(minutes=minutes), complete)


def test_the_log_keeps_the_last_record_of_each_audience(tmp_path: Path) -> None:
    log = SqliteSyncLog(tmp_path / "new" / "log.sqlite3")
    assert log.last(["team:acme"]) == []
    log.record(record("team:acme"))
    log.record(record("private:acme:ada"))
    log.record(record("team:acme", 5, complete=False))
    reopened = SqliteSyncLog(tmp_path / "new" / "log.sqlite3")
    assert reopened.last(["team:acme"]) == [record("team:acme", 5, complete=False)]
    assert len(reopened.last(["team:acme", "private:acme:ada"])) == 2


def test_reading_the_log_makes_no_file(tmp_path: Path) -> None:
    assert SqliteSyncLog(tmp_path / "log.sqlite3").last(["team:acme"]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite3").write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match=r"log\.sqlite3 cannot be used"):
        SqliteSyncLog(tmp_path / "log.sqlite3").record(record("team:acme"))


def test_a_log_whose_making_was_interrupted_is_used(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "log.sqlite3").close()
    (tmp_path / "log.sqlite3").touch()
    assert SqliteSyncLog(tmp_path / "log.sqlite3").last(["team:acme"]) == []
