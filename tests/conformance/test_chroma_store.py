"""What only the Chroma engine promises, besides the contract of all engines."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from chromadb.api.client import Client
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.stores.chroma import ChromaEngine, open_path, open_server
from tenantkb.adapters.stores.chroma.connection import (
    FilesConnection,
    ServerConnection,
    client_on,
)
from tenantkb.adapters.stores.chroma.encoding import decoded, encoded, key_of, physical_id
from tenantkb.domain.checks import Check, State
from tenantkb.domain.errors import (
    Remedy,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreMismatchError,
)
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.ports.engine import Examinable, RawRow, Reindexable
from tenantkb.testing.samples import PROFILE, unit, vectors, writing
from tests.conformance.raw_rows import in_order, put, readable, row, rows
from tests.servers import Address, chroma_process

COSINE: Any = {"hnsw": {"space": "cosine"}}
OURS = {"tenantkb.format": 2, "tenantkb.embedder": "test-embedder", "tenantkb.dimension": 4}
QUERY = unit(1, 2, 3, 4)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with chroma_process(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def on_server(address: Address) -> Iterator[ChromaEngine]:
    """An engine of a collection of its own."""
    with closing(at(address, f"own-{uuid4().hex}")) as engine:
        yield engine


def at(address: Address, collection: str) -> ChromaEngine:
    return ChromaEngine(ServerConnection(address.host, address.port), collection=collection)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client on the files beside the engine, as another program might have one."""
    opened = client_on(tmp_path)
    yield opened
    opened.close()


def test_chroma_is_imported_when_it_is_needed_and_not_before() -> None:
    """Fails: every command that opens no Chroma pays for it."""
    program = (
        "import sys; from pathlib import Path;"
        "from tenantkb.adapters.stores.chroma import ChromaEngine;"
        "from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection;"
        "ChromaEngine(FilesConnection(Path('/nowhere'))).close();"
        "ChromaEngine(ServerConnection('nobody', 1)).close();"
        "sys.exit('chromadb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_it_has_its_capabilities(tmp_path: Path) -> None:
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        assert isinstance(engine, Reindexable)
        assert isinstance(engine, Examinable)


@pytest.mark.parametrize(
    ("configuration", "metadata", "said", "remedy"),
    [
        (COSINE, None, "another program", None),
        (COSINE, {**OURS, "tenantkb.dimension": "4"}, "another program", None),
        (COSINE, {**OURS, "tenantkb.format": 3}, "has format 3", None),
        (COSINE, {**OURS, "tenantkb.format": 1}, "has format 1", Remedy.MIGRATE_STORE),
        ({"hnsw": {"space": "l2"}}, OURS, "compares by l2", None),
    ],
)
def test_a_foreign_collection_of_the_name_is_refused(
    client: Client,
    tmp_path: Path,
    configuration: Any,
    metadata: Any,
    said: str,
    remedy: str | None,
) -> None:
    """Fails: vectors or rows of another making would be mixed with ours; see profile_of."""
    client.create_collection(
        "knowledge-base", configuration=configuration, metadata=metadata, embedding_function=None
    )
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        for call in (engine.profile, lambda: engine.bind(PROFILE), engine.truncate):
            with pytest.raises(StoreMismatchError, match=said) as refused:
                call()
            assert refused.value.remedy == remedy
        if remedy:
            assert "tenantkb migrate" in (engine.remedy(remedy) or "")


def test_other_collections_stay_as_they_are(client: Client, tmp_path: Path) -> None:
    """Fails: the engine touches a collection that is not its own."""
    other = client.create_collection("other", metadata={"a": 1}, embedding_function=None)
    label = writing().label
    other.add(
        ids=[physical_id(RowKey(label, ChunkId("x")))],
        embeddings=np.eye(1, 3, dtype=np.float32),
        metadatas=[{"access": label}],
    )
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        put(engine, rows(writing(), 3))
        assert engine.get([label], [ChunkId("x")]) == []
        assert engine.delete([RowKey(label, ChunkId("x"))]) == 0
        assert engine.truncate() == 3
        put(engine, rows(writing(), 3))
        assert sum(engine.reindex(lambda lost: vectors(len(lost)))) == 3
    assert sorted(each.name for each in client.list_collections()) == ["knowledge-base", "other"]
    found = client.get_collection("other", embedding_function=None)
    assert found.metadata == {"a": 1}
    assert found.get(include=["metadatas", "embeddings"])["metadatas"] == [{"access": label}]


def test_the_settings_of_a_store_make_its_engine(address: Address, tmp_path: Path) -> None:
    """Fails: an operator's setting is not passed on, or an unknown one is passed over."""
    state = tmp_path / "state.sqlite3"
    files = StoreSettings("chroma", path=tmp_path, options={"sync_threshold": 5000})
    with closing(open_path(files, state=state)) as engine:
        assert (engine.place, engine._sync_threshold) == (str(tmp_path), 5000)
    name = f"own-{uuid4().hex}"
    server = StoreSettings(
        "chroma-http", host=address.host, port=address.port, collection=name, token="t0ken",
        options={"timeout": 5.0},
    )  # fmt: skip
    with closing(open_server(server, state=state)) as engine:
        assert engine.bind(PROFILE) == PROFILE
        assert engine._connection._timeout == 5.0  # type: ignore[union-attr]  # of a server
    for kind, make in (("chroma", open_path), ("chroma-http", open_server)):
        with pytest.raises(TypeError):
            make(StoreSettings(kind, options={"nonsense": 1}), state=state)


# How rows lie.

NAMES = ("$x", "#x", "chroma:document", "chroma:x", "tenantkb.vector", "tenantkb.id",
         "tenantkb.field:x", "tenantkb.field:tenantkb.field:x", "a.b", " ", "\0", "é")  # fmt: skip


def test_every_field_name_that_a_row_can_have_comes_back(
    tmp_path: Path, on_server: ChromaEngine
) -> None:
    """Fails: Chroma refuses or drops names of its own, and takes ours for the adapter's."""
    named = row(writing(), "a", **{name: f"the value of {name}" for name in NAMES})
    for engine in (ChromaEngine(FilesConnection(tmp_path)), on_server):
        with closing(engine):
            engine.bind(PROFILE)
            for exact in (False, True):
                engine.put([named], vectors(1), exact=exact)
                assert list(engine.scan(readable())) == [named]
                assert [found for found, _ in engine.export()] == [named]
                assert [found for found, _ in engine.nearest(readable(), QUERY, 1)] == [named]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
floats = st.floats(allow_nan=False, allow_infinity=False)
labels = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(labels, texts, st.dictionaries(texts | st.sampled_from(NAMES), st.integers() | floats))
def test_what_is_encoded_is_decoded(label: str, row_id: str, metadata: Mapping[str, Any]) -> None:
    written = RawRow(label, ChunkId(row_id), metadata)
    assert decoded(physical_id(written.key), encoded(written, unit(1, 2))) == written


def test_floats_come_back_to_the_last_digit(tmp_path: Path, on_server: ChromaEngine) -> None:
    """Fails: Chroma's own way through JSON changes them."""
    drawn = np.random.default_rng(0).normal(size=100) * 10.0 ** np.arange(-150, 150, 3)
    numbers = [0.1, 2.0, 5.05941074803172e-145, 123456789.12345679, 5e-324, 1e22, *drawn.tolist()]
    measured = row(writing(), "a", **{f"n{n}": number for n, number in enumerate(numbers)})
    for engine in (ChromaEngine(FilesConnection(tmp_path)), on_server):
        with closing(engine):
            put(engine, [measured])
            [found] = engine.scan(readable())
            assert found == measured
            assert {type(found.metadata[f"n{n}"]) for n in range(len(numbers))} == {float}


@given(st.tuples(labels, texts), st.tuples(labels, texts))
def test_two_rows_never_meet_under_one_physical_id(
    left: tuple[str, str], right: tuple[str, str]
) -> None:
    keys = [RowKey(label, ChunkId(row_id)) for label, row_id in (left, right)]
    assert (keys[0] == keys[1]) == (physical_id(keys[0]) == physical_id(keys[1]))


def test_somebody_elses_row_in_our_collection_can_be_exported_and_discarded(
    client: Client, tmp_path: Path
) -> None:
    """Fails: an operator cannot get rid of rows that another program has put there."""
    collection = client.create_collection(
        "knowledge-base", configuration=COSINE, metadata=OURS, embedding_function=None
    )
    collection.add(ids=["alien", "\x1f"], embeddings=vectors(2), metadatas=[{"a": 1}, {"b": [1]}])
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        found = [alien for alien, _ in engine.export()]
        assert found == [RawRow("", ChunkId("\x1f"), {"b": [1]}), RawRow("", "alien", {"a": 1})]  # type: ignore[arg-type]  # compares as its text
        assert engine.delete([alien.key for alien in found]) == 2


@given(st.lists(st.sampled_from(["a", "\x1f"]), min_size=1).map("".join))
def test_every_physical_id_has_an_address_of_its_own(physical: str) -> None:
    """Fails: a row that another program has written cannot be deleted."""
    assert physical_id(key_of(physical)) == physical


# Searching.


def test_the_index_finds_what_an_exact_search_finds_with_the_same_scores(tmp_path: Path) -> None:
    """Fails: recall of the filtered index has dropped, or its own rounding is in the scores."""
    with closing(ChromaEngine(FilesConnection(tmp_path))) as exact:
        for seed, tenant in enumerate(("acme", "beta")):
            put(exact, rows(writing(tenant), 900), seed)
        queries = vectors(50, seed=9)
        expected = [exact.nearest(readable(), query, 10) for query in queries]
    with closing(ChromaEngine(FilesConnection(tmp_path, 5), exact_rows=0)) as indexed:
        found = [indexed.nearest(readable(), query, 10) for query in queries]
    assert all(hit.label == "team:acme" for answer in found for hit, _ in answer)
    hits = 0
    for left, right in zip(expected, found, strict=True):
        scores = {hit.key: score for hit, score in left}
        common = [(scores[hit.key], score) for hit, score in right if hit.key in scores]
        assert all(ours == theirs for ours, theirs in common)
        hits += len(common)
    assert hits >= 0.98 * 500


# Servers.


def test_binding_at_one_moment_makes_one_collection(address: Address) -> None:
    """Fails: the loser of the race to create gets an error, or its embedder wins too."""
    name = f"race-{uuid4().hex}"
    with ExitStack() as stack:
        engines = [stack.enter_context(closing(at(address, name))) for _ in range(6)]
        with ThreadPoolExecutor(6) as threads:
            bound = list(threads.map(lambda engine: engine.bind(PROFILE), engines))
        assert bound == [PROFILE] * 6
        assert [engine.profile() for engine in engines] == [PROFILE] * 6


def test_no_request_exceeds_a_servers_payload_limit(on_server: ChromaEngine) -> None:
    """Fails: batches are cut by count alone; a server takes 40 MiB at most."""
    put(on_server, [row(writing(), str(n), content="x" * 1_000_000) for n in range(42)])
    assert sum(1 for _ in on_server.scan(readable())) == 42


def test_a_server_that_is_not_there_is_a_store_error_that_names_it() -> None:
    """Fails: the client's own error reaches the caller; see ChromaEngine._explained."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        closing(ChromaEngine(ServerConnection("127.0.0.1", port))) as engine,
        pytest.raises(StoreError, match=f"http://127.0.0.1:{port} does not answer"),
    ):
        engine.nearest(readable(), QUERY, 1)


def test_a_server_that_hangs_is_given_up() -> None:
    """Fails: Chroma's client waits for ever; see ServerConnection's time limit."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        with (
            closing(ChromaEngine(ServerConnection("127.0.0.1", port, timeout=0.2))) as engine,
            pytest.raises(StoreError, match="does not answer"),
        ):
            engine.bind(PROFILE)


def test_token_and_headers_are_sent_and_no_server_is_named_in_vain(
    on_server: ChromaEngine, address: Address
) -> None:
    """Fails: a proxy or Chroma Cloud lets nobody in; or another database is taken for ours."""
    engine = ChromaEngine(
        ServerConnection(
            address.host, address.port, token="t0ken", headers={"x-chroma-token": "cloud"}
        )
    )
    with closing(engine):
        assert isinstance(engine._connection, ServerConnection)
        sent = engine._connection.asked("heartbeat").request.headers
        assert (sent["Authorization"], sent["x-chroma-token"]) == ("Bearer t0ken", "cloud")
        with engine._connection.writing() as client:
            client._admin_client.create_database("elsewhere")
    put(on_server, rows(writing(), 1))
    elsewhere = ChromaEngine(
        ServerConnection(address.host, address.port, database="elsewhere"),
        collection=on_server._name,
    )
    with closing(elsewhere):
        assert elsewhere.profile() is None
    with (
        closing(
            ChromaEngine(ServerConnection(address.host, address.port, tenant="nobody"))
        ) as unknown,
        pytest.raises(StoreError, match=r"HTTP 404.*check host, port, tenant"),
    ):
        unknown.profile()


def test_what_a_server_does_not_give_back_is_not_acknowledged(
    on_server: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: a server that has lost a vector, or keeps another one, goes unnoticed."""
    on_server.bind(PROFILE)
    written = rows(writing(), 40)
    with on_server._reading() as bound:
        assert bound is not None
        upsert = type(bound.collection).upsert
    for wrong in (vectors(40, seed=7), None):
        with monkeypatch.context() as context:

            def losing(self: Any, wrong: Any = wrong, **request: Any) -> None:
                if wrong is not None:
                    upsert(self, **{**request, "embeddings": wrong})

            context.setattr(type(bound.collection), "upsert", losing)
            with pytest.raises(StoreDamagedError, match="does not give back") as told:
                on_server.put(written, vectors(40), exact=False)
        assert told.value.remedy == Remedy.REPAIR_STORE
        assert "while nobody writes" in (on_server.remedy(Remedy.REPAIR_STORE) or "")
        on_server.delete([each.key for each in written])
    on_server.put(written, 3 * vectors(40), exact=True)


@pytest.mark.parametrize("stopped_at", ["first-page", "completed", "renamed", "swapped", "never"])
def test_a_servers_index_is_made_anew_beside_the_old_one_and_nothing_is_given_up(
    on_server: ChromaEngine, address: Address, monkeypatch: pytest.MonkeyPatch, stopped_at: str
) -> None:
    """Fails: an interruption between two steps leaves no collection, or half of one."""
    monkeypatch.setattr("tenantkb.adapters.stores.chroma.collection.PAGE", 20)
    monkeypatch.setattr("tenantkb.adapters.stores.chroma.collection.PAGE", 20)
    written = rows(writing(), 30)
    put(on_server, written)
    exact = row(writing("beta"), "exact")
    on_server.put([exact], 3 * vectors(1), exact=True)
    made: list[int] = []

    def vectors_of(lost: Any) -> Any:
        made.append(len(lost))
        return np.tile(QUERY, (len(lost), 1))

    with monkeypatch.context() as context, on_server._reading() as bound:
        assert bound is not None
        modify = type(bound.collection).modify
        calls = iter(["completed", "renamed", "swapped"])

        def stopping(self: Any, **change: Any) -> None:
            modify(self, **change)
            if next(calls) == stopped_at:
                raise ConnectionResetError

        context.setattr(type(bound.collection), "modify", stopping)
        reindexing = on_server.reindex(vectors_of)
        if stopped_at == "first-page":
            assert next(reindexing) == 20
            reindexing.close()  # type: ignore[attr-defined]  # a generator
        elif stopped_at == "never":
            assert sum(reindexing) == 31
        else:
            with pytest.raises(StoreError):
                list(reindexing)
    with closing(at(address, on_server._name)) as other:
        assert other.profile() == PROFILE
        assert list(other.scan(readable())) == in_order(written)
        assert sum(other.reindex(vectors_of)) == 31
        assert list(other.scan(readable())) == in_order(written)
        scores = [score for _, score in other.nearest(readable(), QUERY, 30)]
        assert scores == [1.0] * 30
        [(_, vector)] = other.fetch([exact.key])
        assert vector.tobytes() == (3 * vectors(1))[0].tobytes()
        with other._reading() as bound:
            assert bound is not None
            names = [each.name for each in bound.client.list_collections()]
        assert [name for name in names if name.startswith(on_server._name)] == [on_server._name]


def test_a_reindex_that_goes_on_copies_no_row_twice(
    on_server: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: an interrupted job starts from the beginning, or keeps what has changed since."""
    monkeypatch.setattr("tenantkb.adapters.stores.chroma.collection.PAGE", 20)
    written = in_order(rows(writing(), 30))
    put(on_server, written)
    made: list[str] = []

    def vectors_of(lost: Any) -> Any:
        made.extend(each.id for each in lost)
        return vectors(len(lost))

    first = on_server.reindex(vectors_of)
    next(first)
    first.close()  # type: ignore[attr-defined]  # a generator
    changed = row(writing(), written[0].metadata["name"], tier=2)
    on_server.delete([written[1].key])
    on_server.move([(written[0].key, changed)])
    assert made == [each.id for each in written[:20]]
    assert sum(on_server.reindex(vectors_of)) == 29
    assert made[20:] == [changed.id, *(each.id for each in written[20:])]
    assert list(on_server.scan(readable())) == [changed, *written[2:]]


# Files.


def test_folders_and_files_are_closed_to_others(tmp_path: Path) -> None:
    """Fails: whoever has an account on the machine reads all tenants' rows."""
    folder = tmp_path / "store"
    with closing(ChromaEngine(FilesConnection(folder))) as engine:
        put(engine, rows(writing(), 1100))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert len(modes) > 6
    assert {path for path, mode in modes.items() if mode & 0o077} == set()


def test_a_folder_that_others_use_too_is_left_as_it_is(tmp_path: Path) -> None:
    """Fails: somebody's home becomes unreadable for what serves files from it."""
    tmp_path.chmod(0o755)
    (tmp_path / "page.html").touch(0o644)
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        put(engine, rows(writing(), 1))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "chroma.sqlite3").stat().st_mode) == 0o600


def test_truncating_removes_the_files_of_the_index(tmp_path: Path) -> None:
    """Fails: Chroma leaves the folder of a deleted collection behind, for ever."""
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        put(engine, rows(writing(), 1100))
        assert [entry for entry in tmp_path.iterdir() if entry.is_dir()]
        assert engine.truncate() == 1100
        assert engine.profile() is None
        assert [entry for entry in tmp_path.iterdir() if entry.is_dir()] == []
        put(engine, rows(writing(), 2))
        assert len(engine.nearest(readable(), QUERY, 5)) == 2


def test_nothing_is_written_to_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails: Chroma passes over a failed write to its index, and vectors are gone."""
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        put(engine, rows(writing(), 2))
        total, used, _ = shutil.disk_usage(tmp_path)
        usage = type(shutil.disk_usage(tmp_path))(total, used, 2**20)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(StoreFullError):
            engine.put(rows(writing(), 3), vectors(3), exact=False)
        assert engine.delete([each.key for each in rows(writing(), 3)]) == 2


def test_the_threshold_of_index_writes_can_be_set(tmp_path: Path) -> None:
    """Fails: the option is not passed on, and every thousandth row is a write in place."""
    with closing(ChromaEngine(FilesConnection(tmp_path), sync_threshold=5000)) as engine:
        put(engine, rows(writing(), 1500))
        assert list(tmp_path.glob("*/index_metadata.pickle")) == []
    with closing(ChromaEngine(FilesConnection(tmp_path))) as engine:
        assert len(engine.nearest(readable(), QUERY, 1000)) == 1000


# Examination.


def checks(engine: ChromaEngine) -> dict[str, Check]:
    return {check.name: check for check in engine.examine()}


def test_a_sound_store_is_found_sound_and_one_that_is_not_there_is_not_made(
    tmp_path: Path, on_server: ChromaEngine
) -> None:
    folder = tmp_path / "store"
    with closing(ChromaEngine(FilesConnection(folder))) as engine:
        assert {check.state for check in engine.examine()} == {State.OK}
        assert not folder.exists()
        put(engine, rows(writing(), 1100))
        found = checks(engine)
        assert {check.state for check in found.values()} == {State.OK}
        assert "each of 1,100 rows" in found["store.vectors"].finding
        put(engine, rows(writing(), 3))  # the engine goes on after it has let a process in
    server, words = on_server.examine()
    assert (server.state, words.state) == (State.OK, State.OK)
    assert f"the client is {version('chromadb')}" in server.finding


def damaged(folder: Path, damage: Callable[[Path], object]) -> dict[str, Check]:
    with closing(ChromaEngine(FilesConnection(folder))) as engine:
        put(engine, rows(writing(), 1100))
    [index] = [entry for entry in folder.iterdir() if entry.is_dir()]
    damage(index)
    with closing(ChromaEngine(FilesConnection(folder))) as engine:
        return checks(engine)


def inflate(index: Path) -> None:
    os.truncate(index / "link_lists.bin", 50 * 2**30)


@pytest.mark.parametrize(
    ("damage", "name", "said"),
    [
        (inflate, "store.files", "53,687,091,200 bytes, for 1,100 rows"),
        (lambda index: (index / "index_metadata.pickle").unlink(), "store.vectors", "1,100 rows"),
        (lambda index: shutil.rmtree(index), "store.vectors", "lost the vectors of 1,"),
        (lambda index: (index.parent / "chroma.sqlite3").unlink(), "store.files", "rows are gone"),
        (lambda index: (index.parent / "tenantkb.writing").touch(), "store.session", "killed"),
    ],
    ids=["inflated", "torn", "removed", "without-rows", "marker"],
)
def test_damage_is_found_without_dying_of_it(
    tmp_path: Path, damage: Callable[[Path], object], name: str, said: str
) -> None:
    """Fails: the doctor says that all is well, or ends by a signal."""
    found = damaged(tmp_path, damage)
    assert found[name].state is State.ERROR
    assert found[name].remedy
    assert said in found[name].finding
    if name != "store.vectors":
        assert found["store.vectors"].state is State.SKIPPED


def test_a_signal_that_ends_the_process_that_looks_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: the process that opens the files dies, and nobody looks at how."""
    from tenantkb.adapters.stores.chroma import index_reader

    dying = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(index_reader, "_PROGRAM", dying)
    found = damaged(tmp_path, lambda _: None)
    assert "SIGSEGV" in found["store.vectors"].finding


def test_a_store_that_another_process_writes_is_not_looked_into(tmp_path: Path) -> None:
    with closing(ChromaEngine(FilesConnection(tmp_path))) as writer:
        put(writer, rows(writing(), 1))
        with closing(ChromaEngine(FilesConnection(tmp_path, wait=0.1))) as engine:
            found = checks(engine)
    assert found["store.session"].state is State.SKIPPED
    assert f"pid {os.getpid()}" in found["store.session"].finding


def test_errors_carry_what_json_and_people_need() -> None:
    """Fails: a message or a remedy is no text."""
    engine = ChromaEngine(FilesConnection(Path("/nowhere")))
    assert json.dumps([engine.remedy(Remedy.REPAIR_STORE), engine.place])
    assert engine.remedy(Remedy.CONFIRM_DELETION) is None
