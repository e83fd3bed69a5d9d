"""What a caller is answered: questions, single chunks, lists, hierarchies and counts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.reading.documents import LIMIT_MAXIMUM, Page
from tenantkb.application.reading.query import snippet_of
from tenantkb.domain.errors import (
    AuthenticationError,
    InvalidInputError,
    NotFoundError,
    StoreMismatchError,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.rows import Criteria
from tenantkb.domain.stamps import Visibility
from tenantkb.testing.samples import NOW, PROFILE, StoppedClock, fill, keyed, unit, writing
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
    assert answers[0].snippet == "worker threads at work"
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


@given(st.text(st.sampled_from("ab \n\t"), max_size=1500))
def test_a_snippet_is_the_beginning_of_a_text_on_one_line(text: str) -> None:
    snippet, folded = snippet_of(text), " ".join(text.split())
    assert len(snippet) <= 240
    assert snippet == " ".join(snippet.split())
    if snippet != folded:
        assert snippet.endswith("…")
        assert folded.startswith(snippet[:-1].rstrip())
        assert len(text) > 240


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
