"""Several processes on one Chroma path: locks, what readers see, what a crash leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.domain.errors import StoreError, StoreLockedError
from tests.conformance.samples import PROFILE, put, reading, row, rows, unit, vectors, writing

PREAMBLE = """
import os, sys
from tests.conformance.samples import *
from tenantkb.adapters.stores.chroma import ChromaStore
store = ChromaStore.at_path(sys.argv[1], patience=30)
scope = writing("acme")
def told():
    sys.stdin.readline()
def say(*words):
    print(*words, flush=True)
"""


class Processes:
    """Python programs beside the test, with a pipe in each direction."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(program), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def processes(folder: Path) -> Iterator[Processes]:
    started = Processes(folder)
    yield started
    started.end()


WRITER = """
store.bind(PROFILE)
store.upsert(scope, rows(scope, 3), vectors(3))
say("written")
told()
store.close()
say("closed")
told()
"""


def test_reading_makes_no_files(folder: Path) -> None:
    """Fails: a look at a path that does not exist leaves a folder behind."""
    with closing(ChromaStore.at_path(folder)) as store:
        assert store.profile() is None
        assert store.query(reading("acme"), unit(1, 0, 0, 0), 1) == []
        assert list(store.scan(reading("acme"))) == []
        assert store.delete(writing("acme"), ["x"]) == 0
    assert not folder.exists()


def test_the_second_writer_fails_at_once_and_learns_the_first_ones_name(
    folder: Path, processes: Processes
) -> None:
    """Fails: two writers at a time damage the index; see PathConnection's locks."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    with closing(ChromaStore.at_path(folder)) as store:
        started = time.monotonic()
        with pytest.raises(StoreLockedError, match=rf"pid {writer.pid} \(-c.*, since 20"):
            store.bind(PROFILE)
        assert time.monotonic() - started < 1
        tell(writer)
        assert heard(writer) == "closed"
        store.bind(PROFILE)
        store.upsert(writing("acme"), rows(writing("acme"), 5), vectors(5))


@pytest.mark.parametrize(
    "write",
    [
        lambda store, scope: store.bind(PROFILE),
        lambda store, scope: store.upsert(scope, rows(scope, 1), vectors(1)),
        lambda store, scope: store.restamp(scope, rows(scope, 1)),
        lambda store, scope: store.delete(scope, ["x"]),
    ],
    ids=["bind", "upsert", "restamp", "delete"],
)
def test_every_write_takes_the_lock_and_no_read_does(folder: Path, write) -> None:
    """Fails: a kind of write is not under the lock, or a read keeps it."""
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as first:
        put(first, scope, rows(scope, 1))
    with (
        closing(ChromaStore.at_path(folder, patience=0.1)) as first,
        closing(ChromaStore.at_path(folder, patience=0.1)) as second,
    ):
        assert len(list(first.scan(scope))) == len(list(second.scan(scope))) == 1
        write(first, scope)
        with pytest.raises(StoreLockedError, match=f"pid {os.getpid()}"):
            write(second, scope)


def test_a_killed_writers_lock_is_free(folder: Path, processes: Processes) -> None:
    """Fails: the lock is a file that someone has to remove, not one of the operating system."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as store:
        store.bind(PROFILE)
        store.upsert(scope, rows(scope, 5), vectors(5))
        assert len(list(store.scan(scope))) == 5


def test_a_reader_waits_for_a_writer_and_then_names_it(folder: Path, processes: Processes) -> None:
    """Fails: a read touches the files while another process writes, which destroys the index."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    with closing(ChromaStore.at_path(folder, patience=0.2)) as impatient:
        with pytest.raises(StoreLockedError, match=f"pid {writer.pid}"):
            impatient.profile()
        with pytest.raises(StoreLockedError, match=f"pid {writer.pid}"):
            impatient.query(reading("acme"), unit(1, 0, 0, 0), 1)
    with closing(ChromaStore.at_path(folder, patience=30)) as patient:
        threading.Timer(0.3, tell, [writer]).start()
        assert len(patient.query(reading("acme"), unit(1, 0, 0, 0), 5)) == 3


def test_an_open_reader_sees_what_another_process_writes_later(
    folder: Path, processes: Processes
) -> None:
    """Fails: the reader's index is the one it once loaded; it has to be opened anew."""
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as store:
        put(store, scope, rows(scope, 1))
    with closing(ChromaStore.at_path(folder, patience=30)) as reader:
        assert len(reader.query(reading("acme"), unit(1, 0, 0, 0), 9)) == 1
        writer = processes.start(WRITER)
        assert heard(writer) == "written"
        tell(writer)
        assert heard(writer) == "closed"
        assert len(reader.query(reading("acme"), unit(1, 0, 0, 0), 9)) == 3
        assert len(list(reader.scan(reading("acme")))) == 3


def test_readers_and_writers_in_turn_leave_a_sound_index(
    folder: Path, processes: Processes
) -> None:
    """Fails: two processes touch the files at one time. Without the locks it fails."""
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as store:
        store.bind(PROFILE)
    readers = [
        processes.start(
            """
            answered = 0
            while not (answered and os.path.exists(sys.argv[1] + ".stop")):
                before = list(store.scan(reading("acme")))
                found = len(store.query(reading("acme"), unit(1, 0, 0, 0), 1000))
                if before == list(store.scan(reading("acme"))):  # nobody wrote in between
                    assert found == len(before), (found, len(before))
                    answered += 1
            say(answered)
            """
        )
        for _ in range(2)
    ]
    for seed in range(4):
        written = rows(scope, 700)[seed * 10 :]
        with closing(ChromaStore.at_path(folder, patience=30)) as store:
            store.bind(PROFILE)
            store.upsert(scope, written, vectors(len(written), seed))
            store.delete(scope, [each.id for each in written[::7]])
        time.sleep(0.2)
    folder.with_name(folder.name + ".stop").touch()
    for reader in readers:
        answered = heard(reader)
        assert answered, "a reader failed, see its traceback above"
        assert int(answered) > 0
    with closing(ChromaStore.at_path(folder)) as store:
        count = sum(1 for _ in store.scan(scope))
        assert len(store.query(reading("acme"), unit(1, 0, 0, 0), 1000)) == count


@pytest.mark.parametrize("batches", [2, 12])
def test_kill_9_during_upserts_leaves_whole_batches(
    folder: Path, processes: Processes, batches: int
) -> None:
    """Fails: an acknowledged batch is lost, or a part of one is there."""
    writer = processes.start(
        """
        store.bind(PROFILE)
        for number in range(1000):
            batch = [row(scope, f"{number} {each}", batch=str(number)) for each in range(100)]
            store.upsert(scope, batch, vectors(100, number))
            say(number)
        """
    )
    acknowledged = [heard(writer) for _ in range(batches)]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert writer.stdout is not None
    acknowledged += writer.stdout.read().split()
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as store:
        found: dict[object, int] = {}
        for each in store.scan(scope):
            found[each.metadata["batch"]] = found.get(each.metadata["batch"], 0) + 1
        assert set(found.values()) == {100}
        assert found.keys() >= set(acknowledged)
        assert len(found) <= len(acknowledged) + 1
        limit = min(1000, 100 * len(found))
        assert len(store.query(reading("acme"), unit(1, 0, 0, 0), limit)) == limit
        store.bind(PROFILE)
        store.upsert(scope, [row(scope, "after")], vectors(1))


def test_kill_9_while_rows_are_replaced_never_loses_one(folder: Path, processes: Processes) -> None:
    """Fails: a row is deleted before it is added anew; replace it in one request."""
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as store:
        put(store, scope, rows(scope, 100, version="-1"))
    writer = processes.start(
        """
        store.bind(PROFILE)
        for version in range(1000):
            store.upsert(scope, rows(scope, 100, version=str(version)), vectors(100, version))
            say(version)
        """
    )
    for _ in range(3):
        heard(writer)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with closing(ChromaStore.at_path(folder)) as store:
        found = list(store.scan(scope))
        assert len(found) == 100
        assert len({each.metadata["version"] for each in found}) == 1


def test_damage_is_an_error_that_says_how_to_repair(folder: Path) -> None:
    """Fails: Chroma's message has changed; see ChromaStore's signs of damage."""
    scope = writing("acme")
    with closing(ChromaStore.at_path(folder)) as store:
        put(store, scope, [row(scope, str(number)) for number in range(1100)])
    [index] = folder.glob("*/index_metadata.pickle")
    index.unlink()
    with (
        closing(ChromaStore.at_path(folder)) as store,
        pytest.raises(StoreError, match=r"damaged.*tenantkb repair.* and sync again"),
    ):
        store.query(reading("acme"), unit(1, 0, 0, 0), 1)
