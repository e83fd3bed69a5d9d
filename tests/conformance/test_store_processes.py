"""Several processes on one Chroma path: locks, what readers see, what a crash leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tenantkb.adapters.stores.chroma import ChromaEngine
from tenantkb.adapters.stores.chroma.connection import FilesConnection
from tenantkb.domain.checks import State
from tenantkb.domain.errors import Remedy, StoreDamagedError, StoreLockedError
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import RawRow
from tenantkb.testing.samples import PROFILE, unit, vectors, writing
from tests.conformance.raw_rows import in_order, put, readable, row, rows
from tests.conformance.stores import words

PREAMBLE = """
import os, sys
from pathlib import Path
from tenantkb.testing.samples import *
from tests.conformance.raw_rows import *
from tenantkb.adapters.stores.chroma import ChromaEngine
from tenantkb.adapters.stores.chroma.connection import FilesConnection
from tests.conformance.stores import words
folder = Path(sys.argv[1])
store = ChromaEngine(FilesConnection(folder, wait=30), words=words(folder))
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
store.put(rows(scope, 3), vectors(3), exact=False)
say("written")
told()
store.close()
say("closed")
told()
"""

SCOPE = writing("acme")
QUERY = unit(1, 0, 0, 0)


def embedded(some: Sequence[RawRow]) -> Vectors:
    """Stands for an embedder: a vector that follows from the row."""
    return np.concatenate([vectors(1, seed=int(each.id[:8], 16)) for each in some])


def test_reading_makes_no_files(folder: Path) -> None:
    """Fails: a look at a path that does not exist leaves a folder behind."""
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert store.profile() is None
        assert store.nearest(readable(), QUERY, 1) == []
        assert list(store.scan(readable())) == []
        assert store.delete([RowKey(SCOPE.label, ChunkId("x"))]) == 0
        assert not store.needs_reindex()
    assert not folder.exists()


def test_a_second_writer_waits_for_the_first_one(folder: Path, processes: Processes) -> None:
    """Fails: two writers at a time damage the index, or the second one is turned away at once."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    with closing(ChromaEngine(FilesConnection(folder, wait=30))) as store:
        threading.Timer(0.5, tell, [writer]).start()
        started = time.monotonic()
        store.put(rows(SCOPE, 5), vectors(5), exact=False)
        assert time.monotonic() - started >= 0.4
    assert heard(writer) == "closed"


def test_a_writer_that_has_waited_long_enough_learns_who_is_writing(
    folder: Path, processes: Processes
) -> None:
    """Fails: nobody knows which program to end; see name_of_this_process."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    with (
        closing(ChromaEngine(FilesConnection(folder, wait=0.2))) as store,
        pytest.raises(StoreLockedError, match=rf"pid {writer.pid} \(-c.*, since 20"),
    ):
        store.bind(PROFILE)


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.bind(PROFILE),
        lambda store: store.put(rows(SCOPE, 1), vectors(1), exact=False),
        lambda store: store.move([(each.key, each) for each in rows(SCOPE, 1)]),
        lambda store: store.delete([RowKey(SCOPE.label, ChunkId("x"))]),
        lambda store: list(store.reindex(embedded)),
        lambda store: store.truncate(),
    ],
    ids=["bind", "put", "move", "delete", "reindex", "truncate"],
)
def test_every_write_takes_the_lock_and_no_read_does(
    folder: Path, write: Callable[[ChromaEngine], object]
) -> None:
    """Fails: a kind of write is not under the lock, or a read keeps it."""
    with closing(ChromaEngine(FilesConnection(folder))) as first:
        put(first, rows(SCOPE, 1))
    with (
        closing(ChromaEngine(FilesConnection(folder, wait=0.1))) as first,
        closing(ChromaEngine(FilesConnection(folder, wait=0.1))) as second,
    ):
        assert len(list(first.scan(readable()))) == len(list(second.scan(readable()))) == 1
        write(first)
        with pytest.raises(StoreLockedError, match=f"pid {os.getpid()}"):
            write(second)


def test_a_reader_waits_for_a_writer_and_then_names_it(folder: Path, processes: Processes) -> None:
    """Fails: a read touches the files while another process writes, which destroys the index."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    with closing(ChromaEngine(FilesConnection(folder, wait=0.2))) as impatient:
        for read in (impatient.profile, lambda: impatient.nearest(readable(), QUERY, 1)):
            with pytest.raises(StoreLockedError, match=f"pid {writer.pid}"):
                read()
    with closing(ChromaEngine(FilesConnection(folder, wait=30))) as patient:
        threading.Timer(0.3, tell, [writer]).start()
        assert len(patient.nearest(readable(), QUERY, 5)) == 3


def test_an_open_reader_sees_what_another_process_writes_later(
    folder: Path, processes: Processes
) -> None:
    """Fails: the reader's index is the one it once loaded; it has to be opened anew."""
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        put(store, rows(SCOPE, 1))
    with closing(ChromaEngine(FilesConnection(folder, wait=30))) as reader:
        assert len(reader.nearest(readable(), QUERY, 9)) == 1
        writer = processes.start(WRITER)
        assert heard(writer) == "written"
        tell(writer)
        assert heard(writer) == "closed"
        assert len(reader.nearest(readable(), QUERY, 9)) == 3
        assert len(list(reader.scan(readable()))) == 3


def test_readers_and_writers_in_turn_leave_a_sound_index(
    folder: Path, processes: Processes
) -> None:
    """Fails: two processes touch the files at one time. Without the locks it fails."""
    with closing(ChromaEngine(FilesConnection(folder), words=words(folder))) as store:
        store.bind(PROFILE)
    readers = [
        processes.start(
            """
            answered = 0
            while not (answered and os.path.exists(sys.argv[1] + ".stop")):
                before = list(store.scan(readable()))
                found = len(store.nearest(readable(), unit(1, 0, 0, 0), 1000))
                if before == list(store.scan(readable())):  # nobody wrote in between
                    assert found == len(before), (found, len(before))
                    answered += 1
            say(answered)
            """
        )
        for _ in range(2)
    ]
    writers = [
        processes.start(
            f"""
            for seed in range({first}, 4, 2):
                written = rows(scope, 700)[seed * 10:]
                store.put(written, vectors(len(written), seed), exact=False)
                store.delete([each.key for each in written[::7]])
                store.close()
            say("done")
            """
        )
        for first in range(2)
    ]
    assert [heard(writer) for writer in writers] == ["done", "done"]
    folder.with_name(folder.name + ".stop").touch()
    for reader in readers:
        answered = heard(reader)
        assert answered, "a reader failed, see its traceback above"
        assert int(answered) > 0
    with closing(ChromaEngine(FilesConnection(folder), words=words(folder))) as store:
        count = sum(1 for _ in store.scan(readable()))
        assert len(store.nearest(readable(), QUERY, 1000)) == count
        assert all(check.state is State.OK for check in store.examine())


# Kills.


def test_nothing_reads_what_a_killed_writer_left_before_the_index_is_made_anew(
    folder: Path, processes: Processes
) -> None:
    """Fails: a torn index is opened, and answers, fails or ends the process: see the marker."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    written = rows(SCOPE, 3)
    keys = [each.key for each in written]
    calls: list[Callable[[ChromaEngine], object]] = [
        lambda store: store.nearest(readable(), QUERY, 1),
        lambda store: store.get(SCOPE.labels, [written[0].id]),
        lambda store: list(store.scan(readable())),
        lambda store: list(store.export()),
        lambda store: store.fetch(keys),
        lambda store: store.bind(PROFILE),
        lambda store: store.put(written, vectors(3), exact=False),
        lambda store: store.move([(each.key, each) for each in written]),
        lambda store: store.delete(keys),
    ]
    for _ in range(2):  # the first engine's refusals do not make the second one trust the files
        with closing(ChromaEngine(FilesConnection(folder, wait=5))) as store:
            assert store.profile() == PROFILE
            assert store.needs_reindex()
            for call in calls:
                with pytest.raises(StoreDamagedError, match=f"killed .*pid {writer.pid}") as told:
                    call(store)
                assert told.value.remedy == Remedy.REPAIR_STORE
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert sum(store.reindex(embedded)) == 3
        assert not store.needs_reindex()
        assert list(store.scan(readable())) == in_order(written)
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert not store.needs_reindex()
        assert len(store.nearest(readable(), QUERY, 3)) == 3


def test_a_store_whose_writer_was_killed_can_be_emptied(folder: Path, processes: Processes) -> None:
    """Fails: emptying it opens the torn index, or leaves the marker."""
    writer = processes.start(WRITER)
    assert heard(writer) == "written"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert store.truncate() == 3
        put(store, rows(SCOPE, 1))
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert len(store.nearest(readable(), QUERY, 3)) == 1


def test_a_writer_that_was_killed_before_it_wrote_leaves_nothing_to_mend(folder: Path) -> None:
    """Fails: a marker beside no rows shuts everybody out."""
    folder.mkdir()
    (folder / "tenantkb.writing").touch()
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert store.profile() is None
        put(store, rows(SCOPE, 1))
        assert len(list(store.scan(readable()))) == 1
        store._connection._drop_client()  # type: ignore[union-attr]  # of files
    assert not (folder / "tenantkb.writing").exists()


def test_a_writer_that_was_killed_while_its_tables_were_made_leaves_nothing_to_mend(
    folder: Path,
) -> None:
    """Fails: nothing can be done with the folder any more; see Tables.find."""
    folder.mkdir()
    (folder / "tenantkb.writing").touch()
    (folder / "chroma.sqlite3").touch()  # the first thing that Chroma does
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert store.profile() is None
        assert store.needs_reindex()
        assert sum(store.reindex(embedded)) == 0
        put(store, rows(SCOPE, 1))
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert not store.needs_reindex()
        assert len(store.nearest(readable(), QUERY, 3)) == 1


def test_an_interrupted_rebuild_is_no_sound_index(folder: Path, processes: Processes) -> None:
    """Fails: half of the rows have vectors, and the rest is found by no query."""
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        put(store, rows(SCOPE, 2500))
    rebuilder = processes.start(
        """
        for done in store.reindex(lambda lost: vectors(len(lost))):
            say(done)
            told()
        """
    )
    assert heard(rebuilder) == "1000"
    rebuilder.send_signal(signal.SIGKILL)
    rebuilder.wait()
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert store.needs_reindex()
        rebuilding = store.reindex(embedded)
        next(rebuilding)
        assert store.needs_reindex()
        with pytest.raises(StoreDamagedError):
            store.nearest(readable(), QUERY, 1)
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert store.needs_reindex()
        assert sum(store.reindex(embedded)) == 2500
        found = {each.key: vector for each, vector in store.export()}
        assert len(found) == 2500
        assert all(check.state is State.OK for check in store.examine())


def test_a_rebuild_embeds_what_is_lost_and_nothing_else(folder: Path, processes: Processes) -> None:
    """Fails: vectors that the log or a row itself still has are made anew, or never come back."""
    exact, asked = 3 * vectors(2), list[str]()

    def vectors_of(lost: Sequence[RawRow]) -> Vectors:
        asked.extend(each.metadata["name"] for each in lost)
        return embedded(lost)

    with closing(ChromaEngine(FilesConnection(folder))) as store:
        store.bind(PROFILE)
        store.put([row(SCOPE, "exact 0"), row(SCOPE, "exact 1")], exact, exact=True)
        put(store, rows(SCOPE, 1200))
    writer = processes.start(
        """
        store.put([row(scope, "late")], vectors(1, 77), exact=False)
        say("written")
        told()
        """
    )
    assert heard(writer) == "written"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        before = 1203
        assert sum(store.reindex(vectors_of)) == before
        found = {each.metadata["name"]: vector for each, vector in store.export()}
        assert found["late"] == pytest.approx(vectors(1, 77)[0])
        assert found["exact 1"].tobytes() == exact[1].tobytes()
        scores = {each.metadata["name"]: score for each, score in
                  store.nearest(readable(), exact[0] / 3, 3)}  # fmt: skip
        assert scores["exact 0"] == pytest.approx(1)
    assert len(asked) < 1201
    assert {"late", "exact 0", "exact 1"}.isdisjoint(asked)
    assert len(found) == before


@pytest.mark.parametrize("batches", [2, 12, 31])
def test_kill_9_during_writes_leaves_whole_batches(
    folder: Path, processes: Processes, batches: int
) -> None:
    """Fails: an acknowledged batch is lost, or a part of one is there."""
    writer = processes.start(
        """
        store.bind(PROFILE)
        for number in range(1000):
            batch = [row(scope, f"{number} {each}", batch=str(number)) for each in range(100)]
            store.put(batch, vectors(100, number), exact=False)
            say(number)
        """
    )
    acknowledged = [heard(writer) for _ in range(batches)]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert writer.stdout is not None
    acknowledged += writer.stdout.read().split()
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        total = sum(store.reindex(embedded))
        found = Counter(each.metadata["batch"] for each in store.scan(readable()))
        assert set(found.values()) == {100}
        assert found.keys() >= set(acknowledged)
        assert len(found) <= len(acknowledged) + 1
        assert total == 100 * len(found)
        limit = min(1000, total)
        assert len(store.nearest(readable(), QUERY, limit)) == limit
        put(store, [row(SCOPE, "after")])


def test_kill_9_while_rows_are_replaced_never_loses_one(folder: Path, processes: Processes) -> None:
    """Fails: a row is deleted before it is added anew; replace it in one request."""
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        put(store, rows(SCOPE, 100, version="-1"))
    writer = processes.start(
        """
        for version in range(1000):
            store.put(rows(scope, 100, version=str(version)), vectors(100, version), exact=False)
            say(version)
        """
    )
    for _ in range(3):
        heard(writer)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        assert sum(store.reindex(embedded)) == 100
        found = list(store.scan(readable()))
        assert len(found) == 100
        assert len({each.metadata["version"] for each in found}) == 1


def test_an_index_that_was_torn_by_other_means_is_an_error_and_can_be_made_anew(
    folder: Path,
) -> None:
    """Fails: Chroma's message has changed; see ChromaEngine's signs of damage."""
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        put(store, rows(SCOPE, 1100))
    [index] = folder.glob("*/index_metadata.pickle")
    index.unlink()
    with closing(ChromaEngine(FilesConnection(folder))) as store:
        with pytest.raises(StoreDamagedError, match="damaged") as told:
            store.nearest(readable(), QUERY, 1)
        assert "tenantkb repair" in (store.remedy(told.value.remedy or "") or "")
        assert sum(store.reindex(embedded)) == 1100
        assert len(store.nearest(readable(), QUERY, 1000)) == 1000
