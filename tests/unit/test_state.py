"""What an installation remembers: in a file of its own, in a store's file, in memory."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from textwrap import dedent
from typing import Protocol

import pytest
from attrs import evolve

from tenantkb.adapters.runtime.process import name_of_this_process
from tenantkb.adapters.state.database import Format
from tenantkb.adapters.state.sqlite import STATE_FILE, MemoryState, SqliteState
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.adapters.stores.sqlite.schema import STORE_FILE
from tenantkb.domain.deletion import KnownState, ManifestSnapshot
from tenantkb.domain.errors import StoreDamagedError, StoreLockedError, StoreMismatchError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.ingestion import HISTORY, IngestionState, IngestionStatus
from tenantkb.domain.inventory import Inventory, StoredBlock
from tenantkb.domain.spoofing import SpoofLimit
from tenantkb.ports.state import State, SyncRecord

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
ADA = AgentIdentity("acme", "ada")
NOTHING = KnownState()
MANIFEST = ManifestSnapshot("app", frozenset({"a.md", "é/\n.md"}), NOW)

Making = Callable[[Path], State]


class Patient(Protocol):
    """Makes a state that waits for others."""

    def __call__(self, path: Path, /, wait: float) -> State: ...


def in_a_file(path: Path, wait: float = 0.3) -> State:
    return SqliteState(path / "state.sqlite3", wait=wait)


def in_a_store(path: Path, wait: float = 0.3) -> State:
    return SqliteEngine(path, wait=wait)


def in_memory(_: Path, wait: float = 0.3) -> State:
    return MemoryState(wait=wait)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made"


@pytest.fixture(params=[in_a_file, in_a_store, in_memory])
def state(request: pytest.FixtureRequest, path: Path) -> Iterator[State]:
    with closing(request.param(path)) as state:
        yield state


@pytest.fixture(params=[in_a_file, in_a_store])
def kept(request: pytest.FixtureRequest) -> Making:
    made: Making = request.param
    return made


def record(label: str, minutes: int = 0, *, complete: bool = True) -> SyncRecord:
    return SyncRecord("acme", "app", label, NOW + timedelta(minutes=minutes), complete)


def test_the_last_record_of_each_audience_is_kept(state: State) -> None:
    assert state.syncs(["team:acme"]) == []
    for each in (
        record("team:acme"),
        record("private:acme:ada"),
        record("team:acme", 5, complete=False),
    ):
        state.record_sync(each)
    assert state.syncs(["team:acme"]) == [record("team:acme", 5, complete=False)]
    assert state.syncs({"team:acme", "private:acme:ada"}) == [
        record("private:acme:ada"),
        record("team:acme", 5, complete=False),
    ]
    assert state.syncs([]) == []


@pytest.mark.parametrize(
    "known",
    [
        KnownState("1"),
        KnownState(manifest=MANIFEST),
        KnownState("1", MANIFEST),
        KnownState("1", ManifestSnapshot("app", frozenset(), NOW)),
    ],
)
def test_what_is_known_is_replaced_only_where_it_is_as_expected(
    state: State, known: KnownState
) -> None:
    assert state.known("acme", "app") == NOTHING
    assert state.replace_known("acme", "app", NOTHING, known)
    assert state.known("acme", "app") == known
    assert not state.replace_known("acme", "app", NOTHING, KnownState("2"))
    assert not state.replace_known("acme", "app", KnownState("2"), KnownState("3"))
    assert state.known("acme", "app") == known
    assert state.replace_known("acme", "app", known, KnownState("2"))
    assert state.known("acme", "app") == KnownState("2")
    for other in (("acme", "site"), ("beta", "app")):
        assert state.known(*other) == NOTHING


@pytest.mark.parametrize("kind", [in_a_file, in_a_store, in_memory])
def test_of_many_that_expect_the_same_one_replaces_it(path: Path, kind: Patient) -> None:
    with closing(kind(path, wait=20)) as state, ThreadPoolExecutor(8) as pool:
        done = pool.map(
            lambda head: state.replace_known("acme", "app", NOTHING, KnownState(head)), "abcdefgh"
        )
        assert sorted(done) == [False] * 7 + [True]


def test_whoever_comes_first_makes_the_file_and_nobody_is_refused(tmp_path: Path) -> None:
    """Fails: a file that is half made is told from outside."""
    for attempt in range(30):
        with closing(SqliteState(tmp_path / f"{attempt}" / "state.sqlite3", wait=20)) as state:
            start = threading.Barrier(8)

            def write(
                head: str, state: SqliteState = state, start: threading.Barrier = start
            ) -> bool:
                start.wait()
                return state.replace_known("acme", head, NOTHING, KnownState(head))

            with ThreadPoolExecutor(8) as pool:
                assert all(pool.map(write, "abcdefgh"))


def test_spoofs_are_counted_by_identity_whatever_its_roles(state: State) -> None:
    limit = SpoofLimit(threshold=10, window=timedelta(minutes=1))
    curator = AgentIdentity("acme", "ada", frozenset({Role.CURATOR}))
    before, after = state.add_spoofs(ADA, limit, 8, NOW)
    assert (before.total, after.total) == (0, 8)
    precise = NOW + timedelta(microseconds=1)
    before, after = state.add_spoofs(
        curator, limit, 3, precise.astimezone(timezone(timedelta(hours=3)))
    )
    assert (before.total, after.total) == (8, 11)
    assert not before.window.is_escalated(NOW)
    assert after.window.is_escalated(NOW)
    assert state.spoofs(ADA, limit) == after
    assert state.spoofs(ADA, limit).window.is_escalated(NOW + limit.window)
    assert not state.spoofs(ADA, limit).window.is_escalated(precise + limit.window)
    for other in (AgentIdentity("acme", "bob"), AgentIdentity("beta", "ada")):
        assert state.spoofs(other, limit).total == 0


def test_no_spoof_is_lost_among_threads(state: State) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: state.add_spoofs(ADA, SpoofLimit(), 1, NOW), range(24)))
    assert state.spoofs(ADA, SpoofLimit()).total == 24


RUNNING = IngestionStatus("i1", "app", IngestionState.RUNNING, "Parsing", 3, None, NOW, NOW)
ENDED = evolve(
    RUNNING,
    state=IngestionState.FAILED,
    total=7,
    updated_at=NOW + timedelta(milliseconds=1),
    counts={"added": 3},
    error="KB_EMBEDDER",
)


def test_an_ingestion_is_what_was_recorded_last_and_its_identitys_alone(state: State) -> None:
    assert state.ingestion(ADA, "i1") is None
    for status in (RUNNING, ENDED):
        state.record_ingestion(ADA, status)
        assert state.ingestion(evolve(ADA, roles=frozenset({Role.CURATOR})), "i1") == status
    for other in (AgentIdentity("acme", "bob"), AgentIdentity("beta", "ada")):
        assert state.ingestion(other, "i1") is None
        state.record_ingestion(other, RUNNING)
    assert state.ingestion(ADA, "i1") == ENDED
    assert state.ingestion(ADA, "i2") is None


def test_of_each_identity_the_last_ingestions_are_remembered(state: State) -> None:
    bob = AgentIdentity("acme", "bob")
    state.record_ingestion(bob, RUNNING)
    names = [f"i{number}" for number in range(HISTORY + 3)]
    for name in names[:-3]:
        state.record_ingestion(ADA, evolve(RUNNING, ingestion_id=name))
    state.record_ingestion(ADA, evolve(ENDED, ingestion_id="i0"))
    assert state.ingestion(ADA, "i0") is not None
    for name in names[-3:]:
        state.record_ingestion(ADA, evolve(RUNNING, ingestion_id=name))
    assert [name for name in names if state.ingestion(ADA, name) is None] == names[:3]
    assert state.ingestion(bob, "i1") == RUNNING


@pytest.mark.parametrize("kind", [in_a_file, in_a_store])
def test_a_file_of_the_format_before_ingestions_is_upgraded_by_the_next_one(
    path: Path, kind: Making
) -> None:
    """Fails: an installation of the earlier format cannot be read, or loses what it knew."""
    with closing(kind(path)) as state:
        state.record_sync(record("team:acme"))
    [file] = path.glob("*.sqlite3")
    with closing(sqlite3.connect(file)) as database, database:
        [(version,)] = database.execute("PRAGMA user_version").fetchall()
        for table in ("ingestion", "inventory"):
            database.execute(f"DROP TABLE {table}")
        database.execute(f"PRAGMA user_version = {version - 1}")
    with closing(kind(path)) as state:
        assert state.ingestion(ADA, "i1") is None
        assert state.syncs(["team:acme"]) == [record("team:acme")]
        state.record_ingestion(ADA, RUNNING)
    with closing(kind(path)) as state:
        assert state.ingestion(ADA, "i1") == RUNNING
        assert state.syncs(["team:acme"]) == [record("team:acme")]


def test_all_of_it_outlives_the_process(kept: Making, path: Path) -> None:
    with closing(kept(path)) as state:
        state.record_sync(record("team:acme"))
        state.replace_known("acme", "app", NOTHING, KnownState("1", MANIFEST))
        _, counted = state.add_spoofs(ADA, SpoofLimit(), 8, NOW)
        state.record_ingestion(ADA, ENDED)
    with closing(kept(path)) as state:
        assert state.ingestion(ADA, "i1") == ENDED
        assert state.syncs(["team:acme"]) == [record("team:acme")]
        assert state.known("acme", "app") == KnownState("1", MANIFEST)
        assert state.spoofs(ADA, SpoofLimit()) == counted


def test_asking_makes_no_file(kept: Making, path: Path) -> None:
    with closing(kept(path)) as state:
        assert state.syncs(["team:acme"]) == []
        assert state.known("acme", "app") == NOTHING
        assert state.spoofs(ADA, SpoofLimit()).total == 0
        assert state.ingestion(ADA, "i1") is None
    assert not path.exists()


def test_while_another_writes_one_reads_what_was_before(path: Path) -> None:
    with closing(in_a_file(path)) as state:
        state.record_sync(record("team:acme"))
        with closing(sqlite3.connect(path / "state.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM sync")
            assert state.syncs(["team:acme"]) == [record("team:acme")]
            with pytest.raises(StoreLockedError):
                state.record_sync(record("team:acme", 1))


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    with closing(SqliteEngine(path)) as engine:
        engine.record_sync(record("team:acme"))
    with (
        closing(SqliteState(path / "store.sqlite3")) as state,
        pytest.raises(StoreMismatchError, match="another program's"),
    ):
        state.syncs(["team:acme"])


def test_a_file_that_is_no_database_is_told(path: Path) -> None:
    path.mkdir()
    (path / "state.sqlite3").write_bytes(b"this is no database, " * 100)
    with closing(in_a_file(path)) as state, pytest.raises(StoreDamagedError):
        state.record_sync(record("team:acme"))


# Leases


def test_two_threads_never_have_the_same_lease(state: State) -> None:
    told: list[str] = []
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with state.lease("acme", "app", told.append):
            holding.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(10)
    with state.lease("acme", "site", told.append), state.lease("beta", "app", told.append):
        assert told == []
    with (
        pytest.raises(StoreLockedError, match=r"app of acme is being synchronised by .*, pid \d+"),
        state.lease("acme", "app", told.append),
    ):
        raise AssertionError("two have it")
    assert len(told) == 1
    done.set()
    thread.join()
    with state.lease("acme", "app", told.append):
        pass
    assert len(told) == 1


def test_a_lease_that_becomes_free_is_had(state: State) -> None:
    holding = threading.Event()

    def hold() -> None:
        with state.lease("acme", "app", lambda _: None):
            holding.set()
            told.wait(10)

    told = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(10)
    with state.lease("acme", "app", lambda _: told.set()):
        assert told.is_set()
    thread.join()


def test_a_lease_ends_with_its_process(kept: Making, path: Path) -> None:
    script = f"""
        import sys
        from pathlib import Path
        from tests.unit.test_state import {kept.__name__}
        with {kept.__name__}(Path(sys.argv[1])).lease("acme", "app", print):
            print("held", flush=True)
            input()
    """
    told: list[str] = []
    command = [sys.executable, "-c", dedent(script), str(path)]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder,
        closing(kept(path)) as state,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreLockedError), state.lease("acme", "app", told.append):
            raise AssertionError("two have it")
        assert f"pid {holder.pid} (-c" in told[0]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with state.lease("acme", "app", told.append):
            pass
        assert len(told) == 1
    assert {file.stat().st_mode & 0o077 for file in path.rglob("*")} == {0}


def test_a_process_names_its_command_and_none_of_its_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tenantkb", "sync", "--token", "secret"])
    assert "(tenantkb sync)" in name_of_this_process()
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tenantkb", "--token=secret", "sync"])
    assert "(tenantkb)" in name_of_this_process()


ADAS = ("acme", "app", "team:acme")
INVENTORY = Inventory("conditions", (StoredBlock("digest", (ChunkId("a"), ChunkId("b"))),))


def remembered(state: State, job: str = "one", of: tuple[str, str, str] = ADAS) -> None:
    state.open_inventory(*of, job)
    state.keep_inventory(*of, job, INVENTORY)
    assert state.inventory(*of) == INVENTORY


def test_an_inventory_is_kept_by_the_job_that_has_opened_it(state: State) -> None:
    assert state.inventory(*ADAS) is None
    state.keep_inventory(*ADAS, "one", INVENTORY)
    assert state.open_inventory(*ADAS, "one") is None
    state.keep_inventory(*ADAS, "another", INVENTORY)
    assert state.inventory(*ADAS) is None
    remembered(state)
    assert state.open_inventory(*ADAS, "two") == INVENTORY
    state.keep_inventory(*ADAS, "one", Inventory("later", ()))
    assert state.inventory(*ADAS) == INVENTORY
    assert state.inventory("acme", "app", "private:acme:ada") is None


def test_a_void_inventory_is_kept_anew_by_its_own_job_alone(state: State) -> None:
    remembered(state)
    state.void_inventories({ADAS[:2]}, {ADAS[2]}, "one")
    assert state.inventory(*ADAS) is None
    state.keep_inventory(*ADAS, "one", INVENTORY)
    assert state.inventory(*ADAS) == INVENTORY
    state.void_inventories({ADAS[:2]}, {ADAS[2]}, "two")
    state.keep_inventory(*ADAS, "one", INVENTORY)
    assert state.inventory(*ADAS) is None


def test_who_has_kept_nothing_yet_is_kept_from_it_as_well(state: State) -> None:
    state.open_inventory(*ADAS, "one")
    state.void_inventories(None)
    state.keep_inventory(*ADAS, "one", INVENTORY)
    assert state.inventory(*ADAS) is None


def test_inventories_of_others_stay(state: State) -> None:
    others = [("acme", "other", "team:acme"), ("beta", "app", "team:beta")]
    others.append(("acme", "app", "private:acme:ada"))
    for of in (ADAS, *others):
        remembered(state, of=of)
    state.void_inventories({ADAS[:2]}, {ADAS[2]})
    assert [state.inventory(*of) for of in (ADAS, *others)] == [None, *[INVENTORY] * 3]
    state.void_inventories({("acme", "other"), ("beta", "app")})
    assert [state.inventory(*of) for of in others] == [None, None, INVENTORY]
    state.void_inventories(None)
    assert state.inventory(*others[2]) is None


@pytest.mark.parametrize(
    ("kind", "file", "upgrades"),
    [(SqliteState, "state.sqlite3", STATE_FILE), (SqliteEngine, "store.sqlite3", STORE_FILE)],
)
def test_a_file_of_the_format_before_inventories_is_upgraded_by_the_next_write(
    path: Path, kind: type, file: str, upgrades: Format
) -> None:
    place = path / file if kind is SqliteState else path
    with closing(kind(place)) as state:
        state.record_sync(record("team:acme"))
    with closing(sqlite3.connect(path / file)) as database:
        for table in ("ingestion", "inventory"):
            database.execute(f"DROP TABLE {table}")
        database.execute(f"PRAGMA user_version = {upgrades.version - 1}")
        database.commit()
    with closing(kind(place)) as state:
        assert state.inventory(*ADAS) is None
        state.void_inventories(None)
        assert state.syncs(["team:acme"]) == [record("team:acme")]
        remembered(state)
