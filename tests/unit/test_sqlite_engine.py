"""The store in a SQLite file: what the shared suite of engines does not ask of every store."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from tenantkb.adapters.lexical.labels import LabelCache
from tenantkb.adapters.lexical.postings import code_of
from tenantkb.adapters.state import database
from tenantkb.adapters.state.database import REPLACE_FILE
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.adapters.stores.sqlite.schema import FILE
from tenantkb.adapters.stores.sqlite.vectors import LabelVectors, load
from tenantkb.domain import lexical
from tenantkb.domain.checks import State
from tenantkb.domain.deletion import KnownState
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    Remedy,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreMismatchError,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.ingestion import IngestionState, IngestionStatus
from tenantkb.domain.lexical import field_lengths, terms_of
from tenantkb.domain.selection import Selection
from tenantkb.domain.spoofing import SpoofLimit
from tenantkb.domain.vectors import nearest
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import (
    CountsRows,
    Engine,
    Examinable,
    Ids,
    LabelCount,
    Postings,
    RawRow,
    Reindexable,
    Transactional,
)
from tenantkb.ports.state import State as InstallationState
from tenantkb.ports.state import SyncRecord

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
PROFILE = EmbedderProfile("model", 8)
TEAM, PRIVATE, OTHER = "team:acme", "private:acme:ada", "team:beta"
WORDS = ("parser", "maxSize", "tenant", "row", "HTMLParser", "naïve", "löschen")


def row(row_id: str, label: str = TEAM, **fields: object) -> RawRow:
    base = {"tenantId": label.split(":")[1], "repoSlug": "app", "access": label, "type": "guide"}
    return RawRow(label, ChunkId(row_id), {**base, "name": row_id, "content": "text", **fields})


def vectors(count: int, seed: int = 0) -> Vectors:
    found = np.random.default_rng(seed).standard_normal((count, PROFILE.dimension))
    unit: Vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


@contextmanager
def opened(path: Path, *, wait: float = 10.0, bound: bool = True) -> Iterator[SqliteEngine]:
    with closing(SqliteEngine(path, wait=wait)) as engine:
        if bound:
            engine.bind(PROFILE)
        yield engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "store"


@pytest.fixture
def engine(path: Path) -> Iterator[SqliteEngine]:
    with opened(path) as engine:
        yield engine


def stored(engine: SqliteEngine) -> dict[RowKey, tuple[dict[str, object], bytes]]:
    return {
        found.key: (dict(found.metadata), vector.tobytes()) for found, vector in engine.export()
    }


@contextmanager
def python(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store open as ``engine``."""
    command = [sys.executable, "-c", dedent(PREAMBLE) + dedent(script), *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


PREAMBLE = """
    import os, sys
    from pathlib import Path
    import numpy as np
    from tenantkb.adapters.stores.sqlite import SqliteEngine
    from tenantkb.domain.embedding import EmbedderProfile
    from tenantkb.domain.ids import ChunkId
    from tenantkb.ports.engine import RawRow
    def rows(name, first, count):
        return [RawRow("team:acme", ChunkId(f"{name}{i:06}"), {"tenantId": "acme",
            "repoSlug": name, "content": "text " * 50}) for i in range(first, first + count)]
    engine = SqliteEngine(Path(sys.argv[1]))
    engine.bind(EmbedderProfile("model", 8))
    ones = lambda count: np.ones((count, 8), np.float32)
"""


def damaged(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path / FILE)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def findings(engine: SqliteEngine) -> dict[str, State]:
    return {check.name: check.state for check in engine.examine()}


# What it is


def test_it_has_every_capability(engine: SqliteEngine) -> None:
    plays: tuple[Engine, CountsRows, Transactional, Reindexable, Examinable, InstallationState]
    plays = (engine, engine, engine, engine, engine, engine)
    for port in (CountsRows, Transactional, Reindexable, Examinable):
        assert isinstance(plays[0], port)


def test_it_needs_no_chroma_and_constructing_it_makes_nothing(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from tenantkb.adapters.stores.sqlite import SqliteEngine
        SqliteEngine(Path(sys.argv[1]))
        assert "chromadb" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", dedent(script), tmp_path / "new"], check=True)
    assert list(tmp_path.iterdir()) == []


def test_reading_what_is_not_there_answers_empty_and_makes_no_file(path: Path) -> None:
    with opened(path, bound=False) as engine:
        assert engine.profile() is None
        assert engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 3) == []
        assert list(engine.get([TEAM], [ChunkId("a")])) == []
        assert list(engine.scan(Selection((TEAM,), {}))) == []
        assert list(engine.export()) == []
        assert list(engine.fetch([RowKey(TEAM, ChunkId("a"))])) == []
        assert list(engine.counts([TEAM])) == []
        assert postings_of(engine, Selection((TEAM,), {}), ["text"]).statistics.rows == 0
        assert engine.known("acme", "app") == KnownState()
        assert engine.truncate() == 0
        assert list(engine.reindex(lambda rows: vectors(len(rows)))) == []
        assert [check.state for check in engine.examine()] == [State.OK, State.OK]
    assert not path.parent.exists()


def test_folder_and_files_belong_to_their_user_alone_and_a_close_leaves_one(path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(path) as engine:
            engine.put([row("a")], vectors(1), exact=False)
            assert path.stat().st_mode & 0o777 == 0o700
            files = sorted(path.iterdir())
            assert [file.name for file in files] == [FILE, f"{FILE}-shm", f"{FILE}-wal"]
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    finally:
        os.umask(before)
    assert [file.name for file in path.iterdir()] == [FILE]


# Rows


def test_rows_and_vectors_come_back_exactly(path: Path) -> None:
    values: dict[str, object] = {
        "nul": "a\0b ☕ \U0001f600",
        "low": -(2**63),
        "high": 2**63 - 1,
        "one": 1,
        "float": 1.0,
        "true": True,
        "tiny": 5e-324,
        "third": 1 / 3,
        "tenantId": 7,
    }
    odd = np.array(
        [[1e30] * 8, [0] * 8, [-0.0] + [1e-40] * 7, [0.1] * 8], np.float32
    )  # of any length
    rows = [RawRow(TEAM, ChunkId(f"id\0{index}"), values) for index in range(4)]
    with opened(path) as engine:
        engine.put(rows, odd, exact=True)
    with opened(path) as engine:
        back = list(engine.export())
        assert [found for found, _ in back] == rows
        assert [
            {key: type(value) for key, value in found.metadata.items()} for found, _ in back
        ] == [{key: type(value) for key, value in each.metadata.items()} for each in rows]
        assert np.stack([vector for _, vector in back]).tobytes() == odd.tobytes()
        assert list(engine.get([TEAM, OTHER], [rows[2].id, rows[2].id])) == [rows[2]]


def test_equalities_tell_text_from_everything_else(engine: SqliteEngine) -> None:
    rows = [
        row("a", type="1", kind="x", more="1"),
        row("b", type=1, kind="x", more=1),
        row("c", type=1.0, kind="X", more="1 "),
        row("d", type=True, className="C", more=True),
        row("e", more="1"),
    ]
    engine.put(rows, vectors(5), exact=False)
    for equalities in (
        {"type": "1"},
        {"type": "1.0"},
        {"kind": "x"},
        {"more": "1"},
        {"type": "1", "more": "1"},
        {"className": "C", "type": "1"},
        {"repoSlug": "app", "tenantId": "acme"},
    ):
        selection = Selection((TEAM,), equalities)
        expected = [each.id for each in rows if selection.matches(TEAM, each.metadata)]
        assert [found.id for found in engine.scan(selection)] == expected
        answered = engine.nearest(selection, vectors(1)[0], 9)
        assert sorted(found.id for found, _ in answered) == expected
        assert sorted(key.id for key in postings_of(engine, selection, ["text"]).keys) == expected


@pytest.mark.parametrize("limit", [1, 10, 500])
def test_the_nearest_are_exactly_those_that_the_domain_ranks_first(
    engine: SqliteEngine, limit: int
) -> None:
    labels = (TEAM, PRIVATE, OTHER)
    rows = [row(f"{index % 150:03}", labels[index // 150], even=index % 2) for index in range(450)]
    # Every vector five times, some of other lengths, some of none.
    given = np.repeat(vectors(90), 5, axis=0)
    given[::7] *= 40
    given[::50] = 0
    given[3] *= np.float32(1e25)
    engine.put(rows, given, exact=True)
    query = vectors(1, seed=5)[0]
    for scope in (labels, labels[:2], (OTHER, "team:nobody")):
        mine = [index for index, each in enumerate(rows) if each.label in scope]
        keys = [(str(rows[index].id), rows[index].label) for index in mine]
        with np.errstate(over="ignore"):
            expected = nearest(keys, given[mine], query, len(mine))[:limit]
        found = engine.nearest(Selection(scope, {}), query, limit)
        assert [((str(each.id), each.label), score) for each, score in found] == expected


def test_pages_go_on_after_a_key_by_id_and_label(engine: SqliteEngine) -> None:
    rows = [row(f"{index // 2:05}", (PRIVATE, TEAM)[index % 2]) for index in range(2500)]
    for start in range(0, 2500, 500):
        engine.put(rows[start : start + 500], vectors(500), exact=False)
    selection = Selection((TEAM, PRIVATE), {})
    for after in (None, rows[0].key, rows[1].key, rows[1999].key, rows[-1].key):
        expected = rows if after is None else rows[[each.key for each in rows].index(after) + 1 :]
        assert list(engine.scan(selection, after)) == expected
        assert [found for found, _ in engine.export(after)] == expected


def test_a_write_replaces_rows_whole(engine: SqliteEngine) -> None:
    engine.put([row("a", extra="gone"), row("b")], vectors(2), exact=False)
    engine.put([row("a", content="new", repoSlug="site")], vectors(1, seed=1), exact=False)
    assert stored(engine)[RowKey(TEAM, ChunkId("a"))] == (
        dict(row("a", content="new", repoSlug="site").metadata),
        vectors(1, seed=1)[0].tobytes(),
    )
    assert sorted(engine.counts([TEAM])) == [
        LabelCount(TEAM, "acme", "app", 1),
        LabelCount(TEAM, "acme", "site", 1),
    ]


def test_moved_rows_take_vector_counts_and_postings_with_them(engine: SqliteEngine) -> None:
    engine.put([row("a"), row("b"), row("c")], vectors(3), exact=False)
    moves = [
        (RowKey(TEAM, ChunkId("a")), row("b", content="was a")),
        (RowKey(TEAM, ChunkId("b")), row("a", content="was b")),
        (RowKey(TEAM, ChunkId("c")), row("d", PRIVATE, content="was c")),
        (RowKey(TEAM, ChunkId("missing")), row("e")),
    ]
    engine.move(moves)
    assert {key: vector for key, (_, vector) in stored(engine).items()} == {
        RowKey(TEAM, ChunkId("b")): vectors(3)[0].tobytes(),
        RowKey(TEAM, ChunkId("a")): vectors(3)[1].tobytes(),
        RowKey(PRIVATE, ChunkId("d")): vectors(3)[2].tobytes(),
    }
    assert sorted(engine.counts([TEAM, PRIVATE])) == [
        LabelCount(PRIVATE, "acme", "app", 1),
        LabelCount(TEAM, "acme", "app", 2),
    ]
    assert require_agreement(engine, [TEAM, PRIVATE]) == 3


def test_whatever_is_written_postings_and_counts_follow_from_the_rows(path: Path) -> None:
    chance = random.Random(7)
    labels = (TEAM, PRIVATE, OTHER)

    def made() -> RawRow:
        text = " ".join(chance.choices(WORDS, k=chance.randrange(12)))
        return row(
            str(chance.randrange(400)),
            chance.choice(labels),
            content=text,
            sourcePath=f"src/{chance.choice(WORDS)}.py",
            repoSlug=chance.choice(("app", "site")),
        )

    with opened(path) as engine:
        for _ in range(40):
            rows = list({each.key: each for each in (made() for _ in range(50))}.values())
            keys = [found.key for found, _ in engine.export()]
            action = chance.choice(("put", "put", "move", "delete"))
            if action == "put":
                engine.put(rows, vectors(len(rows)), exact=False)
            elif action == "move" and keys:
                gone = chance.sample(keys, min(len(keys), len(rows)))
                engine.move(list(zip(gone, rows, strict=False)))
            elif action == "delete" and keys:
                gone = chance.sample(keys, len(keys) // 3)
                assert engine.delete([*gone, RowKey(TEAM, ChunkId("missing"))]) == len(gone)
        assert require_agreement(engine, labels) > 100
        assert set(findings(engine).values()) == {State.OK}


def postings_of(engine: SqliteEngine, selection: Selection, terms: Sequence[str]) -> Postings:
    """What it has, of which there is any."""
    found = engine.postings(selection, terms)
    assert found is not None
    return found


def require_agreement(engine: SqliteEngine, labels: Sequence[str]) -> int:
    """Compare counts and postings with the rows; how many there are."""
    rows = [found for found, _ in engine.export() if found.label in labels]
    counted = Counter(
        (each.label, each.metadata["tenantId"], each.metadata["repoSlug"]) for each in rows
    )
    assert {(c.label, c.tenant_id, c.repo_slug): c.rows for c in engine.counts(labels)} == counted
    terms = {each.key: terms_of(each.metadata) for each in rows}
    asked = ["pars", "maxsiz", "tenant", "row", "path", "src", "never"]
    found = postings_of(engine, Selection(tuple(labels), {}), asked)
    assert found.statistics.rows == len(rows)
    lengths = {key: field_lengths(of_row) for key, of_row in terms.items()}
    assert list(found.statistics.lengths) == np.sum(list(lengths.values()), axis=0).tolist()
    assert found.statistics.document_frequencies == {
        term: sum(term in of_row for of_row in terms.values()) for term in asked
    }
    assert dict(zip(found.keys, found.frequencies.tolist(), strict=True)) == {
        key: [list(of_row.get(term, (0, 0, 0))) for term in asked]
        for key, of_row in terms.items()
        if any(term in of_row for term in asked)
    }
    assert [tuple(each) for each in found.lengths.tolist()] == [lengths[key] for key in found.keys]
    return len(rows)


def test_statistics_are_of_the_labels_before_any_filter(engine: SqliteEngine) -> None:
    engine.put(
        [row("a", kind="x", content="tenant row"), row("b", content="tenant"), row("c", OTHER)],
        vectors(3),
        exact=False,
    )
    found = postings_of(engine, Selection((TEAM,), {"kind": "x"}), ["tenant"])
    statistics = found.statistics
    assert (statistics.rows, statistics.document_frequencies) == (2, {"tenant": 2})
    assert list(found.keys) == [RowKey(TEAM, ChunkId("a"))]
    assert found.frequencies.tolist() == [[[0, 0, 1]]]


def test_terms_of_one_record_are_told_apart(engine: SqliteEngine) -> None:
    first, record = "w0", code_of("w0") % 1024
    second = next(w for n in range(1, 99_999) if code_of(w := f"w{n}") % 1024 == record)
    engine.put([row("a", content=f"{first} {second} {second}")], vectors(1), exact=False)
    found = postings_of(engine, Selection((TEAM,), {}), [second, "never", first])
    assert found.frequencies.tolist() == [[[0, 0, 2], [0, 0, 0], [0, 0, 1]]]
    assert found.statistics.document_frequencies == {second: 1, "never": 0, first: 1}
    assert len(postings_of(engine, Selection((TEAM,), {}), []).keys) == 0


def test_the_keys_of_postings_are_a_sequence(engine: SqliteEngine) -> None:
    rows = [row(f"{index}", label) for label in (TEAM, OTHER) for index in range(3)]
    engine.put(rows, vectors(6), exact=False)
    keys = postings_of(engine, Selection((TEAM, OTHER), {}), ["text"]).keys
    assert list(keys) == [each.key for each in rows]
    assert (len(keys), keys[4], keys[-1]) == (6, rows[4].key, rows[5].key)
    assert keys[2:5:2] == [rows[2].key, rows[4].key]
    for outside in (6, -7):
        with pytest.raises(IndexError):
            keys[outside]


def test_nothing_is_written_before_the_store_is_bound(path: Path) -> None:
    with opened(path, bound=False) as engine:
        with pytest.raises(StoreMismatchError):
            engine.put([row("a")], vectors(1), exact=False)
        assert engine.profile() is None
        assert engine.bind(PROFILE) == PROFILE
        assert engine.bind(EmbedderProfile("other", 9)) == PROFILE


# The cache


def test_what_another_connection_writes_is_seen_and_foreign_labels_stay_in_memory(
    engine: SqliteEngine, path: Path
) -> None:
    engine.put([row("a"), row("x", OTHER)], vectors(2), exact=False)
    query, selection = vectors(1)[0], Selection((TEAM,), {})
    assert [found.id for found, _ in engine.nearest(selection, query, 5)] == ["a"]
    kept = engine._cache._entries[TEAM]
    with opened(path) as other:
        other.put([row("y", OTHER)], vectors(1), exact=False)
        engine.nearest(selection, query, 5)
        assert engine._cache._entries[TEAM] is kept
        other.put([row("b")], vectors(1, seed=3), exact=False)
        assert [found.id for found, _ in engine.nearest(selection, query, 5)] == ["a", "b"]
        other.truncate()
        assert engine.nearest(selection, query, 5) == []


def test_rows_are_fetched_alike_from_memory_and_from_the_file(
    engine: SqliteEngine, path: Path
) -> None:
    rows = [row("a"), row("b"), row("x", OTHER)]
    engine.put(rows, vectors(3), exact=False)
    keys = [*(each.key for each in rows), RowKey(TEAM, ChunkId("x")), RowKey("none", rows[0].id)]

    def fetched() -> dict[RowKey, tuple[RawRow, list[float]]]:
        return {found.key: (found, vector.tolist()) for found, vector in engine.fetch(keys)}

    before = fetched()
    assert before.keys() == {each.key for each in rows}
    engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 1)
    assert fetched() == before  # one label is in memory, the other is not
    with opened(path) as other:
        other.put([rows[1]], vectors(1, seed=3), exact=False)
        other.delete([rows[0].key])
    after = fetched()
    assert after.keys() == before.keys() - {rows[0].key}
    assert after[rows[1].key][1] == vectors(1, seed=3)[0].tolist()


def test_the_cache_is_bounded_and_the_largest_tenant_makes_room() -> None:
    def of(rows: int) -> LabelVectors:
        ids = [ChunkId("x")] * rows
        return LabelVectors(np.arange(rows), Ids(ids), vectors(rows), np.ones(rows, np.float32))

    size = of(10).size
    cache = LabelCache[LabelVectors](4 * size)
    cache.put("small", 1, "a", of(10))
    for name in ("big-1", "big-2", "big-3"):
        cache.put(name, 1, "b", of(10))
    assert cache.get("big-1", 1) is not None  # now the last but one
    cache.put("big-4", 1, "b", of(10))
    kept = [name for name in ("small", "big-1", "big-2", "big-3", "big-4") if cache.get(name, 1)]
    assert kept == ["small", "big-1", "big-3", "big-4"]
    cache.put("huge", 1, "c", of(100))
    assert cache.get("huge", 1) is None
    assert cache.get("small", 2) is None
    assert cache.get("small", 1) is not None


def test_a_label_that_does_not_fit_into_memory_is_answered(path: Path) -> None:
    with closing(SqliteEngine(path, cache_bytes=1)) as engine:
        engine.bind(PROFILE)
        engine.put([row("a")], vectors(1), exact=False)
        assert len(engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 1)) == 1


# Transactions


def test_rows_and_state_of_a_unit_of_work_are_one(engine: SqliteEngine, path: Path) -> None:
    record = SyncRecord("acme", "app", TEAM, NOW, True)

    def work(_: int = 0) -> None:
        engine.put([row("a")], vectors(1), exact=False)
        engine.record_sync(record)
        assert engine.replace_known("acme", "app", KnownState(), KnownState("1"))
        assert len(engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 1)) == 1  # its own work

    with opened(path) as other:
        with pytest.raises(ZeroDivisionError), engine.transaction():
            work(1 // len(stored(other)))
        assert (stored(engine), engine.syncs([TEAM])) == ({}, [])
        assert engine.known("acme", "app") == KnownState()
        assert engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 1) == []
        with engine.transaction(), engine.transaction():
            work()
            assert stored(other) == {}
        assert (len(stored(other)), other.syncs([TEAM])) == (1, [record])
        assert other.known("acme", "app") == KnownState("1")


def test_what_fails_within_a_unit_of_work_leaves_nothing_and_the_rest_goes_on(
    engine: SqliteEngine,
) -> None:
    def fail() -> None:
        with engine.transaction():
            raise ZeroDivisionError(engine.delete([RowKey(TEAM, ChunkId("a"))]))

    with engine.transaction():
        engine.put([row("a")], vectors(1), exact=False)
        with pytest.raises(ZeroDivisionError, match="1"):
            fail()
        engine.put([row("b")], vectors(1), exact=False)
    assert [key.id for key in stored(engine)] == ["a", "b"]


def test_another_thread_is_not_within_the_unit_of_work(engine: SqliteEngine) -> None:
    seen: list[int] = []
    with engine.transaction():
        engine.put([row("a")], vectors(1), exact=False)
        reader = threading.Thread(target=lambda: seen.append(len(stored(engine))))
        reader.start()
        reader.join()
    assert seen == [0]


def test_spoofs_are_not_counted_within_a_unit_of_work(engine: SqliteEngine) -> None:
    ada, limit = AgentIdentity("acme", "ada"), SpoofLimit()
    with engine.transaction(), pytest.raises(StoreError, match="at once"):
        engine.add_spoofs(ada, limit, 3, NOW)
    engine.add_spoofs(ada, limit, 3, NOW)
    assert engine.spoofs(ada, limit).total == 3


# Threads and processes


def test_readers_see_the_last_commit_while_another_process_writes(path: Path) -> None:
    script = """
        engine.put(rows("a", 0, 5), ones(5), exact=False)
        with engine.transaction():
            engine.put(rows("a", 5, 5), ones(5), exact=False)
            print("written", flush=True)
            input()
    """
    with opened(path, wait=0.0) as engine, python(script, path) as writer:
        assert line(writer) == "written"
        assert len(stored(engine)) == 5
        assert len(engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 99)) == 5
        with pytest.raises(StoreLockedError):
            engine.put([row("mine")], vectors(1), exact=False)
        writer.communicate("\n")
        assert len(stored(engine)) == 10


def test_two_writers_take_turns(path: Path) -> None:
    script = """
        print("ready", flush=True)
        input()
        for first in range(0, 30 * 64, 64):
            engine.put(rows(sys.argv[2], first, 64), ones(64), exact=False)
    """
    with opened(path) as engine:
        with python(script, path, "a") as first, python(script, path, "b") as second:
            for writer in (first, second):
                assert line(writer) == "ready"
            for writer in (first, second):
                assert writer.stdin is not None
                writer.stdin.write("\n")
                writer.stdin.flush()
        assert (first.returncode, second.returncode) == (0, 0)
        with engine._database.reading() as connection:
            order = [
                repo for (repo,) in connection.execute("SELECT repo_slug FROM row ORDER BY number")
            ]
        turns = sum(left != right for left, right in pairwise(order))
        assert (len(order), Counter(order)["a"]) == (2 * 30 * 64, 30 * 64)
        assert turns > 5
        assert all(len(set(order[at : at + 64])) == 1 for at in range(0, len(order), 64))
        assert require_agreement(engine, [TEAM]) == 2 * 30 * 64


def test_a_killed_writer_leaves_whole_batches(path: Path) -> None:
    script = """
        for first in range(0, 10**6, 50):
            engine.put(rows(sys.argv[2], first, 50), ones(50), exact=False)
            print(first + 50, flush=True)
    """
    for attempt in range(3):
        with python(script, path, f"repo-{attempt}-") as writer:
            told = [line(writer) for _ in range(4 + attempt)]
            writer.send_signal(signal.SIGKILL)
            assert writer.stdout is not None
            acknowledged = int([*told, *writer.stdout.read().split()][-1])
        with opened(path) as engine:
            counts = {count.repo_slug: count.rows for count in engine.counts([TEAM])}
            found = counts[f"repo-{attempt}-"]
            assert found % 50 == 0
            assert found in (acknowledged, acknowledged + 50)
            assert set(findings(engine).values()) == {State.OK}
        assert [file.name for file in path.iterdir()] == [FILE]


def test_threads_read_and_write_at_once(engine: SqliteEngine) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(15):
                engine.put([row(f"{name}{number}")], vectors(1, seed=number), exact=False)
                found = engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 1000)
                assert f"{name}{number}" in {each.id for each, _ in found}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert require_agreement(engine, [TEAM]) == 90


def test_a_forked_child_opens_connections_of_its_own(path: Path) -> None:
    script = """
        engine.put(rows("a", 0, 1), ones(1), exact=False)
        if (child := os.fork()) == 0:
            engine.put(rows("b", 0, 1), ones(1), exact=False)
            engine.close()
            os._exit(sum(1 for _ in engine.export()))
        _, status = os.waitpid(child, 0)
        engine.put(rows("c", 0, 1), ones(1), exact=False)
        print(os.waitstatus_to_exitcode(status), sum(1 for _ in engine.export()))
    """
    with python(script, path) as parent:
        assert line(parent) == "2 3"
    with opened(path) as engine:
        assert set(findings(engine).values()) == {State.OK}


# Files that are not as they should be


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Without the rights of root, which may write everywhere."""
    if os.geteuid():
        yield
        return
    for file in (folder, *folder.iterdir()):
        os.chown(file, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that anybody can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_store_that_cannot_be_written_is_read(public: Path) -> None:
    path = public / "store"
    with opened(path) as engine:
        engine.put([row("a")], vectors(1), exact=False)
    (path / FILE).chmod(0o400)
    path.chmod(0o500)
    with as_nobody(path), opened(path, bound=False) as engine:
        assert [key.id for key in stored(engine)] == ["a"]
        assert len(engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 1)) == 1
        with pytest.raises(StoreError, match="read-only"):
            engine.put([row("b")], vectors(1), exact=False)
        assert [file.name for file in path.iterdir()] == [FILE]
    path.chmod(0o700)


def test_one_that_was_not_closed_needs_somebody_who_may_write(public: Path) -> None:
    path = public / "store"
    with opened(path) as engine:
        engine.put([row("a")], vectors(1), exact=False)
        path.chmod(0o500)
        with (
            as_nobody(path),
            opened(path, bound=False) as other,
            pytest.raises(StoreError, match="who may write there"),
        ):
            other.profile()
        path.chmod(0o700)


def test_a_read_only_store_that_was_written_elsewhere_is_read_anew(public: Path) -> None:
    path = public / "store"
    with opened(path) as engine:
        engine.put([row("a")], vectors(1), exact=False)
    path.chmod(0o500)
    with opened(path, bound=False) as reader:
        with as_nobody(path):
            assert len(stored(reader)) == 1
        path.chmod(0o700)
        with opened(path) as engine:
            engine.put([row("b")], vectors(1), exact=False)
        path.chmod(0o500)
        with as_nobody(path):
            assert len(stored(reader)) == 2
    path.chmod(0o700)


def test_a_file_that_is_replaced_is_noticed(engine: SqliteEngine, path: Path) -> None:
    engine.put([row("a")], vectors(1), exact=False)
    for file in path.iterdir():
        file.unlink()
    assert engine.profile() is None
    engine.bind(EmbedderProfile("other", 2))
    assert engine.profile() == EmbedderProfile("other", 2)


def made_by_another(path: Path) -> None:
    path.mkdir(parents=True)
    damaged(path, "CREATE TABLE theirs (x)")


def of_a_newer_format(path: Path) -> None:
    with opened(path):
        pass
    damaged(path, "PRAGMA user_version = 99")


def junk(path: Path) -> None:
    path.mkdir(parents=True)
    (path / FILE).write_bytes(b"this is no database, " * 1000)


def a_folder(path: Path) -> None:
    (path / FILE).mkdir(parents=True)


def no_folder(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("a file")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (made_by_another, StoreMismatchError, "another program's"),
        (of_a_newer_format, StoreMismatchError, "format 99"),
        (junk, StoreDamagedError, "damaged, or was never ours"),
        (a_folder, StoreError, "is no file"),
        (no_folder, StoreError, "is to be a folder"),
    ],
)
def test_what_is_no_store_is_told_and_left_alone(
    path: Path, spoil: object, error: type[StoreError], message: str
) -> None:
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes() if path.is_file() else sorted(path.iterdir())
    with opened(path, bound=False) as engine:
        for use in (engine.profile, lambda: engine.bind(PROFILE), engine.truncate):
            with pytest.raises(error, match=message):
                use()
        first, *rest = engine.examine()
        assert (first.name, first.state) == ("store.file", State.ERROR)
        assert {check.state for check in rest} == {State.SKIPPED}
    assert before == (path.read_bytes() if path.is_file() else sorted(path.iterdir()))


def test_a_file_whose_making_was_interrupted_is_used(path: Path) -> None:
    path.mkdir(parents=True)
    (path / FILE).touch()
    with opened(path, bound=False) as engine:
        assert engine.profile() is None
        assert engine.bind(PROFILE) == PROFILE


def test_a_cut_file_is_told_with_its_remedy(path: Path) -> None:
    with opened(path) as engine:
        engine.put(
            [row(f"{index}", content="text " * 500) for index in range(200)],
            vectors(200),
            exact=False,
        )
    os.truncate(path / FILE, 3 * 8192)
    with opened(path, bound=False) as engine:
        with pytest.raises(StoreDamagedError) as raised:
            list(engine.export())
        assert raised.value.remedy == REPLACE_FILE
        assert "restore a backup" in (engine.remedy(REPLACE_FILE) or "")
        assert engine.remedy(Remedy.PLAN_AGAIN) is None
        assert State.ERROR in findings(engine).values()


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "overlay / overlay rw 0 0\n"
        f"server:/x {tmp_path}/far nfs4 rw 0 0\n"
        f"disk {tmp_path}/far/near ext4 rw 0 0\n"
        f"server:/y {tmp_path}/with\\040space cifs rw 0 0\n"
    )
    for place in ("far", "far/folder", "with space/folder"):
        with pytest.raises(StoreError, match="network file system"):
            database._require_local(tmp_path / place / FILE, mounts)
    for place in ("near", "far/near", "farther"):
        database._require_local(tmp_path / place / FILE, mounts)
    database._require_local(tmp_path, tmp_path / "no proc here")


def test_a_full_disk_is_told_and_nothing_is_half_written(engine: SqliteEngine) -> None:
    rows = [row(f"{index:03}", content="text " * 400) for index in range(100)]
    engine.put(rows[:10], vectors(10), exact=False)

    def fill() -> None:
        with engine._database.writing() as connection:
            ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
            connection.execute(f"PRAGMA max_page_count = {pages + 5}")
            engine.put([row("first")], vectors(1), exact=False)
            with suppress(StoreFullError):
                engine.put(rows[10:], vectors(90), exact=False)
            engine.put([row("last")], vectors(1), exact=False)

    with pytest.raises(StoreError, match="has failed before"):
        fill()
    assert len(stored(engine)) == 10
    assert set(findings(engine).values()) == {State.OK}


def test_a_limit_of_a_file_s_size_is_a_full_disk(path: Path) -> None:
    script = """
        import resource, signal
        from tenantkb.domain.errors import StoreFullError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        engine.put(rows("a", 0, 10), ones(10), exact=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            engine.put(rows("b", 0, 5000), ones(5000), exact=False)
        except StoreFullError:
            print(sum(1 for _ in engine.export()))
    """
    with python(script, path) as writer:
        assert line(writer) == "10"


# Examining, mending, emptying


DAMAGE: dict[str, Iterable[str]] = {
    "store.counts": ["UPDATE row_count SET rows = rows + 1"],
    "store.postings": [
        f"UPDATE posting SET entries = x'' WHERE place % 1024 = {code_of('text') % 1024}"
    ],
    "store.lengths": ["DELETE FROM vector WHERE number % 7 = 0"],
    "store.rows": ["INSERT INTO vector VALUES (5, x'00'), (6, x'00')"],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_follows_from_the_rows_is_found_wrong_and_made_anew(path: Path, name: str) -> None:
    rows = [row(f"{index:04}") for index in range(700)]
    given = vectors(700)
    with opened(path) as engine:
        engine.put(rows, given, exact=False)
        before = stored(engine)
    damaged(path, *DAMAGE[name])
    embedded: list[ChunkId] = []

    def vectors_of(missing: Sequence[RawRow]) -> Vectors:
        embedded.extend(each.id for each in missing)
        return np.stack([given[int(each.id)] for each in missing])

    with opened(path) as engine:
        found = findings(engine)
        assert found.pop(name) is State.ERROR
        assert set(found.values()) == {State.OK}
        if name == "store.lengths":
            with pytest.raises(StoreDamagedError) as raised:
                engine.nearest(Selection((TEAM,), {}), given[0], 1)
            assert raised.value.remedy == Remedy.REPAIR_STORE
        assert sum(engine.reindex(vectors_of)) == 700
        assert set(findings(engine).values()) == {State.OK}
        assert stored(engine) == before
        assert require_agreement(engine, [TEAM]) == 700
        assert len(engine.nearest(Selection((TEAM,), {}), given[0], 700)) == 700
    assert len(embedded) == (100 if name == "store.lengths" else 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE posting SET entries = x'00'",
        "UPDATE block SET lengths = x'00'",
        f"UPDATE posting SET entries = x'{code_of('text').to_bytes(8, 'little').hex()}"
        "01000000ff030200'",
        f"UPDATE posting SET entries = x'{code_of('text').to_bytes(8, 'little').hex()}"
        "0100000000000300'",
    ],
)
def test_damaged_postings_are_told_with_their_remedy(path: Path, statement: str) -> None:
    with opened(path) as engine:
        engine.put([row("a"), row("b")], vectors(2), exact=False)
    damaged(path, statement)
    with opened(path) as engine:
        with pytest.raises(StoreDamagedError) as raised:
            engine.postings(Selection((TEAM,), {}), ["text"])
        assert raised.value.remedy == Remedy.REPAIR_STORE
        assert findings(engine)["store.postings"] is State.ERROR
        assert sum(engine.reindex(lambda rows: vectors(len(rows)))) == 2
        assert require_agreement(engine, [TEAM]) == 2


def test_lost_pages_of_metadata_are_not_mendable(path: Path) -> None:
    with opened(path) as engine:
        engine.put([row("a")], vectors(1), exact=False)
    damaged(path, "DELETE FROM content")
    with opened(path) as engine:
        checks = {check.name: check for check in engine.examine()}
        assert "restore a backup" in (checks["store.rows"].remedy or "")
        with pytest.raises(StoreDamagedError):
            engine.nearest(Selection((TEAM,), {}), vectors(1)[0], 1)


def test_files_that_others_can_reach_are_a_warning(engine: SqliteEngine, path: Path) -> None:
    path.chmod(0o750)
    assert findings(engine)["store.modes"] is State.WARNING


def test_another_tokeniser_s_postings_are_not_used_until_they_are_made_anew(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = Selection((TEAM,), {})
    engine.put([row(f"{index}") for index in range(600)], vectors(600), exact=False)
    monkeypatch.setattr(lexical, "TOKENISER", "next")
    assert engine.postings(selection, ["text"]) is None
    assert findings(engine)["store.postings"] is State.ERROR
    next(engine.reindex(lambda rows: vectors(len(rows))))  # and no further
    assert engine.postings(selection, ["text"]) is None
    assert sum(engine.reindex(lambda rows: vectors(len(rows)))) == 600
    assert postings_of(engine, selection, ["text"]).statistics.rows == 600


def test_postings_of_two_tokenisers_are_nobody_s(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.put([row("a")], vectors(1), exact=False)
    with monkeypatch.context() as patched:
        patched.setattr(lexical, "TOKENISER", "next")
        engine.put([row("b")], vectors(1), exact=False)
    assert engine.postings(Selection((TEAM,), {}), ["text"]) is None


def test_postings_of_the_earlier_form_are_not_read_and_go_with_the_first_write(path: Path) -> None:
    """Fails: an upgraded program takes old postings for its own, or cannot write beside them."""
    selection = Selection((TEAM,), {})
    with opened(path) as engine:
        engine.put([row(f"{index}") for index in range(3)], vectors(3), exact=False)
    damaged(
        path,
        "UPDATE posting SET entries = x'00'",
        "UPDATE block SET lengths = x'00'",
        f"UPDATE setting SET value = '{lexical.TOKENISER}' WHERE name = 'tokeniser'",
        "DROP TABLE ingestion",
        "DROP TABLE inventory",
        "PRAGMA user_version = 1",
    )
    with opened(path) as engine:
        assert engine.postings(selection, ["text"]) is None
        assert findings(engine)["store.postings"] is State.ERROR
        engine.put([row("0"), row("3")], vectors(2), exact=False)
        assert engine.postings(selection, ["text"]) is None
        assert sum(engine.reindex(lambda rows: vectors(len(rows)))) == 4
        assert require_agreement(engine, [TEAM]) == 4
        assert set(findings(engine).values()) == {State.OK}


def remembered(engine: SqliteEngine) -> None:
    for tenant in ("acme", "beta"):
        engine.record_sync(SyncRecord(tenant, "app", f"team:{tenant}", NOW, True))
        assert engine.replace_known(tenant, "app", KnownState(), KnownState("1"))
        ada = AgentIdentity(tenant, "ada")
        engine.add_spoofs(ada, SpoofLimit(), 2, NOW)
        running = IngestionState.RUNNING
        status = IngestionStatus("i1", f"app of {tenant}", running, "Parsing", 0, None, NOW, NOW)
        engine.record_ingestion(ada, status)


def test_emptying_forgets_all_but_the_spoofs(engine: SqliteEngine, path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(300))
    engine.put([row(f"{i}", content=text) for i in range(300)], vectors(300), exact=False)
    remembered(engine)
    assert engine.truncate() == 300
    assert (engine.profile(), stored(engine), engine.syncs([TEAM])) == (None, {}, [])
    assert engine.known("acme", "app") == KnownState()
    assert engine.ingestion(AgentIdentity("acme", "ada"), "i1") is None
    assert engine.spoofs(AgentIdentity("acme", "ada"), SpoofLimit()).total == 2
    engine.close()
    assert (path / FILE).stat().st_size < 200_000
    assert engine.bind(EmbedderProfile("other", 3)) == EmbedderProfile("other", 3)


def test_a_tenant_is_removed_with_all_that_is_known_of_it(engine: SqliteEngine, path: Path) -> None:
    mine = [row(f"{index}") for index in range(1200)] + [row("p", PRIVATE)]
    engine.put(mine, vectors(1201), exact=False)
    engine.put([row("x", OTHER)], vectors(1), exact=False)
    remembered(engine)
    assert engine.forget_tenant("acme") == 1201
    assert [key.label for key in stored(engine)] == [OTHER]
    assert require_agreement(engine, [TEAM, PRIVATE, OTHER]) == 1
    assert [record.tenant_id for record in engine.syncs([TEAM, OTHER])] == ["beta"]
    assert engine.known("acme", "app") == KnownState()
    assert engine.known("beta", "app") == KnownState("1")
    assert engine.spoofs(AgentIdentity("acme", "ada"), SpoofLimit()).total == 0
    assert engine.spoofs(AgentIdentity("beta", "ada"), SpoofLimit()).total == 2
    assert engine.ingestion(AgentIdentity("acme", "ada"), "i1") is None
    assert engine.ingestion(AgentIdentity("beta", "ada"), "i1") is not None
    engine.close()
    with closing(sqlite3.connect(path / FILE)) as connection:
        for table in ("row", "content", "vector", "row_count", "block"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(1,)]
        dumped = "\n".join(connection.iterdump())
    assert "beta" in dumped
    assert "acme" not in dumped


def test_a_lease_of_a_store_is_one_for_all_its_users(engine: SqliteEngine, path: Path) -> None:
    told: list[str] = []
    with (
        opened(path, wait=0.2) as other,
        engine.lease("acme", "app", told.append),
        pytest.raises(StoreLockedError),
        other.lease("acme", "app", told.append),
    ):
        raise AssertionError("two have it")
    assert len(told) == 1


def test_a_label_is_loaded_by_its_range_alone(engine: SqliteEngine) -> None:
    for label in (TEAM, OTHER):
        engine.put([row(f"{index}", label) for index in range(3)], vectors(3), exact=False)
    with engine._database.reading() as connection:
        numbers = dict(connection.execute("SELECT label, number FROM label"))
        found = load(connection, PROFILE.dimension, OTHER, numbers[OTHER])
    assert list(found.ids) == ["0", "1", "2"]
    assert found.vectors.tobytes() == vectors(3).tobytes()
