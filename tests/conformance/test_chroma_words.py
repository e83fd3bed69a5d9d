"""The postings of rows in Chroma: when they are those of the rows, and when there are none."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tenantkb.adapters.state.sqlite import STATE_FILE
from tenantkb.adapters.stores.chroma import ChromaEngine, words
from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection
from tenantkb.adapters.stores.chroma.examination import examine_postings
from tenantkb.adapters.stores.chroma.words import WordIndex
from tenantkb.domain import lexical
from tenantkb.domain.checks import Check, State
from tenantkb.domain.errors import StoreDamagedError
from tenantkb.domain.lexical import terms_of
from tenantkb.domain.selection import Selection
from tenantkb.ports.engine import RawRow
from tenantkb.testing.primitives import lexical_facts, lexical_rule
from tenantkb.testing.samples import PROFILE, vectors, writing
from tests.conformance.raw_rows import put, row, rows
from tests.servers import Address

MINE, FOREIGN = writing("alpha"), writing("beta")
LABELS = (MINE.label, FOREIGN.label)
STATE = "state.sqlite3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def on_files(folder: Path, state: Path | None = None) -> ChromaEngine:
    """The store of an installation, by default that whose state lies beside the rows."""
    return ChromaEngine(FilesConnection(folder, 5), words=WordIndex(state or folder / STATE, 5))


@pytest.fixture
def engine(folder: Path) -> Iterator[ChromaEngine]:
    with closing(on_files(folder)) as opened:
        yield opened


@pytest.fixture
def joining(chroma_server: Address, tmp_path: Path) -> Callable[[], ChromaEngine]:
    """Joins an installation on a server, as one more process would."""
    collection = f"words-{uuid4().hex}"

    def join() -> ChromaEngine:
        server = ServerConnection(chroma_server.host, chroma_server.port)
        return ChromaEngine(server, collection, words=WordIndex(tmp_path / STATE, 5))

    return join


def has_postings(engine: ChromaEngine) -> bool:
    return engine.postings(Selection(LABELS, {}), ["text"]) is not None


def require_words(engine: ChromaEngine) -> None:
    """The postings are there, and follow from the rows."""
    stored = [found for found, _ in engine.export()]
    terms = sorted({term for found in stored for term in terms_of(found.metadata)})
    selection = Selection(LABELS, {})
    found = engine.postings(selection, terms)
    assert found is not None
    assert lexical_facts(found) == lexical_rule(stored, selection, terms)


def some(count: int = 20) -> list[RawRow]:
    return [*rows(MINE, count), *rows(FOREIGN, count)]


def checked(engine: ChromaEngine) -> Check:
    return examine_postings("store.postings", engine._words, engine._reading, "repair")


def test_reading_makes_no_file(engine: ChromaEngine, folder: Path) -> None:
    assert has_postings(engine)  # of no rows
    assert not (folder / STATE).exists()
    put(engine, some())
    engine.close()
    with closing(on_files(folder, folder / "other.sqlite3")) as reader:
        assert not has_postings(reader)
    assert not (folder / "other.sqlite3").exists()


def test_rows_without_an_index_get_one_when_a_job_begins(folder: Path) -> None:
    """Fails: a store of an earlier version, or a lost state file, never has postings."""
    with closing(ChromaEngine(FilesConnection(folder))) as without:
        put(without, some())
    with closing(on_files(folder)) as engine:
        assert not has_postings(engine)
        assert checked(engine).state is State.WARNING
        engine.put([row(MINE, "more")], vectors(1), exact=False)
        assert not has_postings(engine)
        engine.bind(PROFILE)
        require_words(engine)
        assert checked(engine).state is State.OK


@pytest.mark.parametrize("change", ["added", "deleted", "replaced"])
def test_what_another_installation_writes_is_noticed_and_made_good(
    folder: Path, change: str
) -> None:
    """Fails: scores are of rows that are gone, or others are found by no word."""
    with closing(on_files(folder)) as engine:
        put(engine, some())
    with closing(on_files(folder, folder / "other.sqlite3")) as other:
        if change == "added":
            put(other, [row(MINE, "theirs")])
        elif change == "deleted":
            other.delete([each.key for each in some()[::3]])
        else:
            other.truncate()
            put(other, some()[::-1], seed=3)
    with closing(on_files(folder)) as engine:
        assert not has_postings(engine)
        assert checked(engine).state is State.WARNING
        engine.bind(PROFILE)
        require_words(engine)


def test_postings_of_another_tokeniser_are_made_anew(
    engine: ChromaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(engine, some())
    monkeypatch.setattr(lexical, "TOKENISER", "another")
    assert not has_postings(engine)
    engine.put([row(MINE, "more")], vectors(1), exact=False)  # now they are of two
    assert not has_postings(engine)
    monkeypatch.undo()
    assert not has_postings(engine)
    engine.bind(PROFILE)
    require_words(engine)


def test_a_catching_up_that_breaks_off_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: half an index is taken for all of it, or what was done is done again."""
    with closing(ChromaEngine(FilesConnection(folder))) as without:
        put(without, some())
    looked_up: list[int] = []
    apply = words._apply

    def breaking(connection: sqlite3.Connection, keys: list[object], made: list[object]) -> None:
        looked_up.append(len(made))
        if len(looked_up) == 3:
            raise KeyError
        apply(connection, keys, made)  # type: ignore[arg-type]

    monkeypatch.setattr(words, "_PAGE", 10)
    monkeypatch.setattr(words, "_apply", breaking)
    with closing(on_files(folder)) as engine:
        with pytest.raises(Exception, match="KeyError"):
            engine.bind(PROFILE)
        assert not has_postings(engine)
    with closing(on_files(folder)) as engine:
        engine.bind(PROFILE)
        assert looked_up == [10, 10, 10, 10, 10]
        require_words(engine)


OPERATIONS: dict[str, Callable[[ChromaEngine], object]] = {
    "put": lambda engine: engine.put(some(22), vectors(44), exact=False),
    "move": lambda engine: engine.move([(each.key, row(MINE, each.id)) for each in some()[::4]]),
    "delete": lambda engine: engine.delete([each.key for each in some()[::3]]),
}


@pytest.mark.parametrize("next_job", ["same", "another"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_write_that_breaks_off_is_made_good_by_the_next(
    engine: ChromaEngine,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    next_job: str,
) -> None:
    """Fails: what Chroma has acknowledged is found by no word, or what is gone still counts."""
    put(engine, some())

    def broken(*_: object) -> None:
        raise KeyError

    with monkeypatch.context() as patch:
        patch.setattr(words, "_apply", broken)
        with pytest.raises(Exception, match="KeyError"):
            OPERATIONS[operation](engine)
    if next_job == "same":
        engine.delete([row(MINE, "missing").key])
        require_words(engine)
        return
    engine.close()
    with closing(on_files(folder)) as again:
        again.bind(PROFILE)
        require_words(again)


def test_a_write_that_goes_on_is_no_reason_to_do_without(
    joining: Callable[[], ChromaEngine],
) -> None:
    """Fails: while anybody synchronises, questions are ranked by the nearest rows alone."""
    with closing(joining()) as writer, closing(joining()) as other:
        put(writer, some())
        late = [row(MINE, f"late {number}") for number in range(5)]
        with writer._reading() as bound:
            assert bound is not None
            with writer._words.changing(bound, late):
                with closing(ChromaEngine(other._connection, other._name)) as behind:
                    behind.bind(PROFILE)
                    behind.put(late, vectors(5), exact=False)  # Chroma has it, the index not yet
                assert other.bind(PROFILE) == PROFILE
                assert has_postings(other)
                other.put([row(FOREIGN, "meanwhile")], vectors(1), exact=False)
                assert has_postings(other)
                assert checked(other).state is State.OK
        require_words(other)


def test_what_a_living_writer_writes_is_left_to_it(joining: Callable[[], ChromaEngine]) -> None:
    """Fails: who begins a job takes the rows of another's present write for what was left."""
    with closing(joining()) as writer, closing(joining()) as other:
        put(writer, some())
        with writer._reading() as bound:
            assert bound is not None
            with writer._words.changing(bound, [row(MINE, "late")]):
                other.bind(PROFILE)
                assert writer._words._writers() == {0}
                writer._words.close()  # as its process ends
                other.bind(PROFILE)
                assert other._words._writers() == set()


@pytest.mark.parametrize(
    ("damage", "state", "said"),
    [
        ("DELETE FROM row WHERE id IN (SELECT id FROM row LIMIT 3)", State.WARNING, "3 rows have"),
        ("INSERT INTO row (number, label, id) VALUES (7, 'x', 'y')", State.WARNING, "1 are of"),
        ("DELETE FROM posting WHERE place % 2", State.ERROR, "other postings than text"),
        ("DELETE FROM setting WHERE name = 'complete'", State.WARNING, "there are none"),
    ],
)
def test_the_doctor_finds_what_is_not_of_the_rows_and_a_repair_mends_it(
    engine: ChromaEngine, folder: Path, damage: str, state: State, said: str
) -> None:
    put(engine, some())
    assert checked(engine).state is State.OK
    with closing(sqlite3.connect(folder / STATE)) as database, database:
        database.execute(damage)
    found = checked(engine)
    assert (found.state, bool(found.remedy)) == (state, True)
    assert said in found.finding
    for _ in engine.reindex(lambda lost: vectors(len(lost))):
        pass
    assert checked(engine).state is State.OK
    require_words(engine)


def test_a_state_file_that_is_damaged_is_told_with_its_remedy(folder: Path) -> None:
    """Fails: a question is answered as if all were well, or a repair is proposed that is none."""
    with closing(on_files(folder)) as engine:
        put(engine, some())
    (folder / STATE).write_bytes(b"this is no database, " * 100)
    with closing(on_files(folder)) as engine:
        with pytest.raises(StoreDamagedError) as caught:
            has_postings(engine)
        found = checked(engine)
        assert (found.state, found.remedy) == (
            State.ERROR,
            engine.remedy(caught.value.remedy or ""),
        )
        assert "Move the state file away" in (found.remedy or "")


def test_a_server_s_new_index_is_of_the_collection_that_took_the_name(
    joining: Callable[[], ChromaEngine],
) -> None:
    with closing(joining()) as engine:
        put(engine, some())
        for _ in engine.reindex(lambda lost: vectors(len(lost))):
            pass
        require_words(engine)
        engine.truncate()
        put(engine, some(3))
        require_words(engine)


def test_a_state_file_of_the_earlier_format_is_upgraded(folder: Path) -> None:
    """Fails: an installation of the earlier format cannot read, or loses what it knew."""
    with closing(ChromaEngine(FilesConnection(folder))) as without:
        put(without, some())
    with closing(sqlite3.connect(folder / STATE)) as database, database:
        for statement in STATE_FILE.tables[:3]:
            database.execute(statement)
        database.execute("INSERT INTO known (tenant_id, repo_slug, head) VALUES ('a', 'b', 'c')")
        database.execute(f"PRAGMA application_id = {STATE_FILE.application_id}")
        database.execute("PRAGMA user_version = 1")
        database.execute("PRAGMA journal_mode = WAL")
    with closing(on_files(folder)) as engine:
        assert not has_postings(engine)
        engine.bind(PROFILE)
        require_words(engine)
    with closing(sqlite3.connect(folder / STATE)) as database:
        assert database.execute("PRAGMA user_version").fetchall() == [(STATE_FILE.version,)]
        assert database.execute("SELECT head FROM known").fetchall() == [("c",)]
