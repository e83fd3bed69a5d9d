"""What a caller is answered: questions, single chunks, lists, hierarchies and counts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.application.reading.documents import LIMIT_MAXIMUM, Page
from tenantkb.application.reading.query import Answer, Query
from tenantkb.application.reading.ranking import QUESTION_MAXIMUM, Ranking
from tenantkb.domain import lexical
from tenantkb.domain.errors import (
    AuthenticationError,
    InvalidInputError,
    NotFoundError,
    StoreMismatchError,
)
from tenantkb.domain.fusion import CANDIDATES
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.natures import Nature
from tenantkb.domain.rows import Criteria
from tenantkb.domain.stamps import Visibility
from tenantkb.ports.engine import Engine
from tenantkb.testing.samples import NOW, PROFILE, StoppedClock, fill, keyed, unit, writing
from tenantkb.testing.wrappers import WrappedEngine
from tests.composition import ADA, BOB, CURATOR, EVE, Application, compose


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return compose(tmp_path / "state", MemoryEngine())


def chunk(name: str, **more: Any) -> dict[str, Any]:
    base = {"type": "guide", "kind": "guide", "name": name, "content": f"about {name}"}
    return {**base, "source": f"{name}.md", **more}


@pytest.fixture
def filled(app: Application) -> Application:
    """Rows of every audience that a caller can have, named after it."""
    app.embed(ADA, [chunk("team one"), chunk("team two", type="ticket", kind="ticket")])
    app.embed(ADA, [chunk("ada alone")], visibility=Visibility.PRIVATE)
    app.embed(BOB, [chunk("bob alone")], visibility=Visibility.PRIVATE)
    app.embed(EVE, [chunk("beta")])
    app.embed(CURATOR, [chunk("shared")], "neo")
    app.embed(CURATOR, [chunk("cora alone")], "neo", visibility=Visibility.PRIVATE)
    return app


SEEN = {
    ADA: ["ada alone", "shared", "team one", "team two"],
    BOB: ["bob alone", "shared", "team one", "team two"],
    EVE: ["beta", "shared"],
    CURATOR: ["cora alone", "shared"],
}
callers = pytest.mark.parametrize("caller", SEEN, ids=lambda caller: caller.agent_id)


def list_page(app: Application, caller: AgentIdentity, **how: Any) -> Page:
    return app.knowledge_base.list(app.context(caller), **how)


def pages(app: Application, caller: AgentIdentity, limit: int) -> list[list[str]]:
    """All pages, as ids."""
    found, cursor = [], None
    while True:
        page = list_page(app, caller, limit=limit, cursor=cursor)
        found.append([str(document.id) for document in page.documents])
        if (cursor := page.cursor) is None:
            return found


# All of them


@callers
def test_a_caller_is_answered_what_it_may_see(filled: Application, caller: AgentIdentity) -> None:
    face, context = filled.knowledge_base, filled.context(caller)
    answers = face.query(context, "about", content=True)
    assert sorted(answer.document.name for answer in answers) == SEEN[caller]
    listed = face.list(context).documents
    assert sorted(document.name for document in listed) == SEEN[caller]
    for document in listed:
        found = face.get(context, document.id)
        assert (found.document, found.content) == (document, f"about {document.name}")
    assert face.status(context).rows == len(SEEN[caller])
    assert face.status(context).isolation_faults == 0


READINGS: dict[str, Callable[[Application, Any], object]] = {
    "query": lambda app, context: app.knowledge_base.query(context, "x"),
    "get": lambda app, context: app.knowledge_base.get(context, ChunkId("x")),
    "list": lambda app, context: app.knowledge_base.list(context),
    "hierarchy": lambda app, context: app.knowledge_base.hierarchy(context),
    "status": lambda app, context: app.knowledge_base.status(context),
}


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_without_a_valid_context_nothing_is_read(
    filled: Application, read: Callable[[Application, Any], object]
) -> None:
    for nobody in (None, ADA, filled.context(ADA).reading()):
        with pytest.raises(AuthenticationError):
            read(filled, nobody)


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_a_context_that_has_expired_since_reads_nothing(
    tmp_path: Path, read: Callable[[Application, Any], object]
) -> None:
    clock = StoppedClock()
    app = compose(tmp_path / "state", MemoryEngine(), clock=clock)
    app.engine.bind(app.embedder.profile)
    context = app.context(evolve(ADA, expires_at=NOW + timedelta(seconds=60)))
    clock.instant += timedelta(seconds=59)
    with suppress(NotFoundError):
        read(app, context)
    clock.instant += timedelta(seconds=1)
    with pytest.raises(AuthenticationError, match="expired"):
        read(app, context)


# Questions


def test_the_best_answers_come_first_and_say_why(app: Application) -> None:
    names = ["worker threads", "paint brushes", "threads"]
    app.embed(ADA, [chunk(name, content=f"{name}\n\n  at   work", line_start=3) for name in names])
    answers = app.knowledge_base.query(app.context(ADA), "worker threads", limit=2)
    assert [answer.document.name for answer in answers] == ["worker threads", "threads"]
    assert 1 >= answers[0].score > answers[1].score > 0
    assert answers[0].snippet == "worker threads\n\n  at   work"
    assert answers[0].document.line_start == 3
    assert [answer.content for answer in answers] == [None, None]
    [best] = app.knowledge_base.query(app.context(ADA), "threads", limit=1, content=True)
    assert best.content == "threads\n\n  at   work"


def test_criteria_narrow_what_is_answered(filled: Application) -> None:
    def names(**asked: str) -> list[str]:
        answers = filled.knowledge_base.query(filled.context(ADA), "x", criteria=Criteria(**asked))
        return sorted(answer.document.name for answer in answers)

    assert names(type="ticket") == ["team two"]
    assert names(repo_slug="neo") == ["shared"]
    assert names(repo_slug="app", kind="guide") == ["ada alone", "team one"]
    assert names(source_path="beta.md") == []


@pytest.mark.parametrize("text", ["", " \n\t", "\ud800", None, 7, ["x"]])
def test_a_question_has_some_text(app: Application, text: Any) -> None:
    with pytest.raises(InvalidInputError, match="some text"):
        app.knowledge_base.query(app.context(ADA), text)


@pytest.mark.parametrize("limit", [0, -1, 1_001, True, 1.0, "1", None])
def test_the_number_of_answers_is_bounded(app: Application, limit: Any) -> None:
    with pytest.raises(InvalidInputError, match="1 to 1,000"):
        app.knowledge_base.query(app.context(ADA), "x", limit=limit)


@pytest.mark.parametrize("criteria", [None, {"tenantId": "beta"}, "guide"])
def test_no_raw_filter_is_taken_before_anything_is_embedded(
    filled: Application, criteria: Any
) -> None:
    embedded = filled.embedder.embedded
    for read in (
        lambda: filled.knowledge_base.query(filled.context(ADA), "x", criteria=criteria),
        lambda: filled.knowledge_base.list(filled.context(ADA), criteria=criteria),
        lambda: filled.knowledge_base.hierarchy(filled.context(ADA), criteria=criteria),
    ):
        with pytest.raises(InvalidInputError):
            read()
    assert filled.embedder.embedded == embedded


def test_an_empty_collection_answers_without_embedding(app: Application) -> None:
    assert app.knowledge_base.query(app.context(ADA), "x") == []
    assert app.embedder.embedded == 0


def test_a_collection_of_another_embedder_is_not_asked(app: Application) -> None:
    app.engine.bind(PROFILE)
    with pytest.raises(StoreMismatchError):
        app.knowledge_base.query(app.context(ADA), "x")
    assert app.embedder.embedded == 0


# The two arms


def names_in(answers: Sequence[Answer]) -> list[str]:
    return [answer.document.name for answer in answers]


def test_what_only_words_find_is_found_among_many_nearer_rows(app: Application) -> None:
    app.engine.bind(app.embedder.profile)
    vector = app.embedder.embed(["zebra"])[0]
    crowd = [keyed(writing("acme"), f"{n:03}", content="crowd") for n in range(CANDIDATES + 50)]
    far = keyed(writing("acme"), "far", content="one zebra\n\nat the zoo")
    app.engine.put([*crowd, far], np.stack([vector] * len(crowd) + [-vector]), exact=True)
    for _ in range(2):
        best, *others = app.knowledge_base.query(app.context(ADA), "zebra", limit=1000)
        assert best.document.id == "far"
        assert (best.parts.cosine, others[0].parts.cosine) == (-1, 1)
        assert best.parts.bm25 > 0 == others[0].parts.bm25
        assert len(others) == CANDIDATES
    app.engine.delete([far.key])
    assert "far" not in {
        found.document.id for found in app.knowledge_base.query(app.context(ADA), "zebra")
    }


def test_a_row_that_only_vectors_propose_has_its_lexical_score(app: Application) -> None:
    app.engine.bind(app.embedder.profile)
    vector = app.embedder.embed(["zebra"])[0]
    many = [keyed(writing("acme"), f"{n:03}", content="zebra") for n in range(CANDIDATES + 50)]
    given_vectors = np.stack([-vector] * (len(many) - 1) + [vector])
    app.engine.put(many, given_vectors, exact=True)
    answers = app.knowledge_base.query(app.context(ADA), "zebra", limit=1000)
    assert len({answer.parts.bm25 for answer in answers}) == 1
    assert many[-1].id in {answer.document.id for answer in answers[:1]}


def test_the_number_of_answers_changes_no_score(filled: Application) -> None:
    def scores(limit: int) -> dict[str, object]:
        answers = filled.knowledge_base.query(filled.context(ADA), "about team", limit=limit)
        return {answer.document.name: (answer.score, answer.parts) for answer in answers}

    everything = scores(9)
    assert len(everything) == 4
    for limit in range(1, 5):
        assert len(scores(limit)) == limit
        assert scores(limit).items() <= everything.items()


def test_a_filter_leaves_the_statistics_as_they_are(app: Application) -> None:
    app.embed(ADA, [chunk(f"{n}", content="worker threads") for n in range(4)])
    app.embed(ADA, [chunk("one", content="worker", type="note")])
    [narrowed] = app.knowledge_base.query(
        app.context(ADA), "worker", criteria=Criteria(type="note")
    )
    [same] = [
        answer
        for answer in app.knowledge_base.query(app.context(ADA), "worker")
        if answer.document.name == "one"
    ]
    assert narrowed.parts.bm25 == same.parts.bm25


def test_a_store_without_postings_ranks_the_nearest_by_their_own_words(tmp_path: Path) -> None:
    engines: list[Engine] = [MemoryEngine(), WrappedEngine(MemoryEngine())]
    answers = []
    for engine, told in zip(engines, ("full", "candidates"), strict=True):
        app = compose(tmp_path / told, engine)
        app.embed(ADA, [chunk("worker"), chunk("threads"), chunk("paint")])
        context = app.context(ADA)
        assert app.knowledge_base.status(context).lexical == told
        found = app.knowledge_base.query(context, "worker threads")
        answers.append([(each.document.name, each.score, each.parts) for each in found])
    assert answers[0] == answers[1]
    assert answers[0][0][2].bm25 > 0


def test_vectors_and_words_are_weighted_as_configured(app: Application) -> None:
    app.embed(ADA, [chunk("worker threads"), chunk("threads"), chunk("paint")])
    for weight in (0.0, 0.25, 1.0):
        query = Query(Ranking(app.store, app.embedder, weight))
        best = query(app.context(ADA), "worker threads")[0]
        assert (best.parts.vector, best.parts.lexical) == (weight, 1 - weight)


def test_one_file_takes_no_more_answers_than_it_may(app: Application) -> None:
    app.embed(ADA, [chunk(f"zebra {n}", source="a.md") for n in range(6)] + [chunk("paint")])

    def in_file(**how: Any) -> int:
        answers = app.knowledge_base.query(app.context(ADA), "zebra", limit=5, **how)
        return sum(answer.document.source_path == "a.md" for answer in answers)

    assert (in_file(), in_file(per_file=5), in_file(per_file=1)) == (4, 5, 4)


def test_what_is_preferred_comes_first(app: Application) -> None:
    paths = ("src/a.py", "test/b.py")
    app.embed(ADA, [chunk("zebra", type="src", source=path) for path in paths])
    for nature, path in zip((Nature.SOURCE, Nature.TESTS), paths, strict=True):
        answers = app.knowledge_base.query(app.context(ADA), "zebra", prefer=nature)
        assert answers[0].document.source_path == path
        assert [answer.parts.demotion > 0 for answer in answers] == [False, True]


def test_answers_tell_the_lines_that_match(app: Application) -> None:
    text = "first\na zebra\nzebras\n\nand a zebra"
    app.embed(ADA, [chunk("known", content=text, line_start=10, line_end=14)])
    app.embed(ADA, [chunk("unknown", content=text, line_start=10, line_end=12)])
    app.embed(ADA, [chunk("nowhere", content=text)])
    answers = app.knowledge_base.query(app.context(ADA), "zebra")
    lines = {answer.document.name: list(answer.lines) for answer in answers}
    assert lines == {"known": [(11, 12), (14, 14)], "unknown": [], "nowhere": []}


def test_a_question_is_bounded(app: Application) -> None:
    app.embed(ADA, [chunk("zebra")])
    longest = "zebra " * (QUESTION_MAXIMUM // 6)
    assert names_in(app.knowledge_base.query(app.context(ADA), longest)) == ["zebra"]
    with pytest.raises(InvalidInputError, match="2,000 characters"):
        app.knowledge_base.query(app.context(ADA), "x" * (QUESTION_MAXIMUM + 1))


def test_postings_of_another_tokeniser_are_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails: after an upgrade nothing is answered until somebody has repaired the store."""
    with closing(SqliteEngine(tmp_path / "store")) as engine:
        app = compose(tmp_path / "state", engine)
        app.embed(ADA, [chunk("zebra"), chunk("paint")])
        face, context = app.knowledge_base, app.context(ADA)
        assert face.status(context).lexical == "full"
        monkeypatch.setattr(lexical, "TOKENISER", "next")
        best, _ = face.query(context, "about zebra")
        assert best.document.name == "zebra"
        assert best.parts.bm25 > 0
        assert face.status(context).lexical == "candidates"


def test_a_question_without_words_is_answered_by_vectors(app: Application) -> None:
    app.embed(ADA, [chunk("zebra"), chunk("paint")])
    answers = app.knowledge_base.query(app.context(ADA), "?!")
    assert sorted(names_in(answers)) == ["paint", "zebra"]
    assert {answer.parts.bm25 for answer in answers} == {0}


@pytest.mark.parametrize(
    "how", [{"per_file": 0}, {"per_file": True}, {"per_file": "3"}, {"prefer": "docs"}]
)
def test_how_answers_are_chosen_has_a_form(app: Application, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        app.knowledge_base.query(app.context(ADA), "x", **how)


# Single chunks


def test_what_may_not_be_seen_is_answered_like_what_does_not_exist(filled: Application) -> None:
    foreign = list_page(filled, EVE, criteria=Criteria(repo_slug="app")).documents[0].id
    for missing in (foreign, ChunkId("0" * 64)):
        with pytest.raises(NotFoundError) as refused:
            filled.knowledge_base.get(filled.context(ADA), missing)
        assert str(refused.value).replace(missing, "ID") == "there is no document 'ID'"


@pytest.mark.parametrize("named", ["0" * 64, "", None, 7, ["x"]])
def test_a_chunk_is_named_by_an_id_and_no_other_text(filled: Application, named: Any) -> None:
    with pytest.raises(InvalidInputError):
        filled.knowledge_base.get(filled.context(ADA), named)


@pytest.mark.parametrize("tenant", ["acme", "zeta"])
def test_of_several_rows_under_one_id_the_callers_own_comes_first(
    app: Application, tenant: str
) -> None:
    scopes = (writing("neo-shared", repo="neo"), writing(tenant))
    fill(app.engine, [keyed(scope, "x", content=scope.tenant_id) for scope in scopes])
    get = app.knowledge_base.get
    assert get(app.context(AgentIdentity(tenant, "ada")), ChunkId("x")).content == tenant
    assert get(app.context(AgentIdentity("other", "ada")), ChunkId("x")).content == "neo-shared"


# Lists


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_the_pages_hold_everything_once_by_ascending_id(app: Application, limit: int) -> None:
    app.embed(ADA, [chunk(f"n{number}") for number in range(7)])
    app.embed(BOB, [chunk(f"b{number}") for number in range(9)], visibility=Visibility.PRIVATE)
    app.embed(EVE, [chunk(f"n{number}") for number in range(9)])
    found = pages(app, ADA, limit)
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= limit, "no page is empty but that of an empty list"
    flat = [row_id for page in found for row_id in page]
    assert flat == sorted(set(flat))
    assert len(flat) == 7


def test_rows_of_one_id_are_apart_in_the_order_of_their_labels(app: Application) -> None:
    scopes = [
        writing("acme"),
        writing("acme", visibility=Visibility.PRIVATE),
        writing("neo-shared"),
    ]
    fill(app.engine, [keyed(scope, row_id) for scope in scopes for row_id in "ba"])
    assert pages(app, ADA, 2) == [["a", "a"], ["a", "b"], ["b", "b"]]
    labels = {"private": 0, "team": 1}
    documents = list_page(app, ADA).documents
    ranks = [labels[document.visibility.value] for document in documents]
    assert ranks == [0, 1, 1, 0, 1, 1]


def test_a_cursor_goes_on_where_it_was_whatever_was_written_meanwhile(app: Application) -> None:
    fill(app.engine, [keyed(writing("acme"), row_id) for row_id in "bdf"])
    page = list_page(app, ADA, limit=2)
    assert [str(document.id) for document in page.documents] == ["b", "d"]
    app.engine.put(
        [keyed(writing("acme"), row_id) for row_id in "ace"],
        unit(1, 0, 0, 0).reshape(1, 4).repeat(3, 0),
        exact=False,
    )
    app.engine.delete([keyed(writing("acme"), "d").key])
    rest = list_page(app, ADA, cursor=page.cursor)
    assert [str(document.id) for document in rest.documents] == ["e", "f"]
    assert rest.cursor is None


def test_an_offset_leaves_rows_out_from_where_the_page_begins(app: Application) -> None:
    fill(app.engine, [keyed(writing("acme"), row_id) for row_id in "abcdef"])
    first = list_page(app, ADA, limit=2, offset=1)
    assert [str(document.id) for document in first.documents] == ["b", "c"]
    second = list_page(app, ADA, limit=2, offset=1, cursor=first.cursor)
    assert [str(document.id) for document in second.documents] == ["e", "f"]
    assert list_page(app, ADA, offset=6) == Page([], None)


@pytest.mark.parametrize("value", [-1, LIMIT_MAXIMUM + 1, True, 1.0, "1", None])
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_pages_and_offsets_are_bounded_whole_numbers(
    app: Application, name: str, value: Any
) -> None:
    assert list_page(app, ADA, **{name: LIMIT_MAXIMUM}) == Page([], None)
    with pytest.raises(InvalidInputError, match=f"the {name} is a whole number"):
        list_page(app, ADA, **{name: value})
    with pytest.raises(InvalidInputError, match="from 1 to"):
        list_page(app, ADA, limit=0)


def forged(*value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "****",
        7,
        b"W10=",
        forged(),
        forged("x"),
        forged("x", "team:acme", "more"),
        forged(["x"], "team:acme"),
        forged("x", None),
        forged("x", 7),
        forged("", "team:acme"),
        forged("\ud800", "team:acme"),
        forged("x" * 513, "team:acme"),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
    ids=lambda cursor: str(cursor)[:12],
)
def test_what_is_no_cursor_is_refused(filled: Application, cursor: Any) -> None:
    with pytest.raises(InvalidInputError, match="no cursor"):
        list_page(filled, ADA, cursor=cursor)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=70),
    st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(["team:beta", "private:acme:bob", "team:neo-shared"]),
)
def test_a_forged_cursor_points_to_another_place_in_what_the_caller_may_see(
    filled: Application, row_id: str, label: str
) -> None:
    """Fails: a cursor that names another's label gives its rows, or tells whether there are any."""
    everything = list_page(filled, ADA).documents
    page = list_page(filled, ADA, cursor=forged(row_id, label))
    assert page.documents == [
        document
        for document in everything
        if document.id > row_id or (document.id == row_id and f"team:{document.tenant_id}" > label)
    ]


def test_a_cursor_of_one_caller_gives_another_nothing_that_is_not_its_own(
    filled: Application,
) -> None:
    cursor = list_page(filled, ADA, limit=1).cursor
    assert cursor is not None
    names = {document.name for document in list_page(filled, EVE, cursor=cursor).documents}
    assert names <= set(SEEN[EVE])


# Hierarchies


def test_the_classes_of_every_readable_repository_are_told_apart(app: Application) -> None:
    def classes(*pairs: tuple[str, str | None]) -> list[dict[str, Any]]:
        return [
            chunk(f"{name}.m{number}", className=name, **({"extends": parent} if parent else {}))
            for number, (name, parent) in enumerate(pairs)
        ]

    app.embed(ADA, classes(("B", "A"), ("A", None), ("B", None), ("", "A")))
    app.embed(ADA, [*classes(("C", "B")), chunk("no class")], "two")
    app.embed(ADA, classes(("Mine", "A")), visibility=Visibility.PRIVATE)
    app.embed(EVE, classes(("E", "A")))
    app.embed(CURATOR, classes(("Base", None)), "neo")

    def told(caller: AgentIdentity, **asked: str) -> list[tuple[str, str, dict[str, Any]]]:
        found = app.knowledge_base.hierarchy(app.context(caller), criteria=Criteria(**asked))
        return [(each.tenant_id, each.repo_slug, each.parents) for each in found]

    shared = ("neo-shared", "neo", {"Base": None})
    two = ("acme", "two", {"C": "B"})
    assert told(ADA) == [("acme", "app", {"A": None, "B": "A", "Mine": "A"}), two, shared]
    assert told(BOB) == [("acme", "app", {"A": None, "B": "A"}), two, shared]
    assert told(EVE) == [("beta", "app", {"E": "A"}), shared]
    assert told(BOB, repo_slug="two") == [two]
    assert told(BOB, class_name="E") == []


# Counts


def test_the_embedder_that_is_told_is_the_one_in_force_and_not_the_collections(
    app: Application,
) -> None:
    """Fails: a caller without rows tells from the status whether other tenants have any."""
    before = app.knowledge_base.status(app.context(ADA))
    app.engine.bind(PROFILE)
    assert app.knowledge_base.status(app.context(ADA)) == before
    assert before.embedder == app.embedder.profile
    assert (before.rows, before.repositories, before.spoofs) == (0, [], 0)


def test_a_row_that_a_store_should_not_have_answered_is_counted_for_all(
    filled: Application,
) -> None:
    faults = filled.container.faults()
    faults.record("x")
    for caller in SEEN:
        assert filled.knowledge_base.status(filled.context(caller)).isolation_faults == 1


def test_an_id_can_not_forge_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    LoggedIsolationFaults().record("x withheld\nERROR all rows are lost\x1b[2J\u2028")
    [message] = caplog.messages
    assert message.isascii()
    assert message.isprintable()
