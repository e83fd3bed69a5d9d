"""Chunks from clients: what is taken, what is refused, and that a refusal leaves no trace."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.configuration.settings import IngestSettings
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.files.jsonl import read_records
from tenantkb.adapters.state.sqlite import SqliteState
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.contracts import PROBLEMS_KEPT
from tenantkb.application.reading.status import StatusReport
from tenantkb.application.writing.embed import EmbedReport, EmbedRequest
from tenantkb.domain.canonical import digest
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    EmbedderError,
    EmbeddingNotAllowedError,
    InvalidInputError,
    InvalidSubmissionError,
    SpoofRejectedError,
    StoreMismatchError,
    SubmissionRefusedError,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.records import Unreadable
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.spoofing import SpoofLimit, SpoofMode
from tenantkb.domain.stamps import Visibility
from tenantkb.ports.engine import RawRow
from tenantkb.ports.state import State
from tenantkb.testing.samples import NOW, Passing, StoppedClock
from tests.composition import ADA, BOB, CURATOR, EVE, Application, compose

GOLDEN = Path(__file__).parents[1] / "golden" / "mini-neo-workspace.jsonl"
Record = dict[str, Any]


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return compose(tmp_path / "state", MemoryEngine())


def parsed(number: int = 0, **changes: Any) -> Record:
    """A parsed chunk of acme's repository ``app``; a field that changes to ``...`` is left out."""
    record: Record = {
        "schemaVersion": "1.0.0",
        "tenantId": "acme",
        "repoSlug": "app",
        "rootKind": "bare-repo",
        "sourcePath": f"src/m{number}.py",
        "parserId": "py",
        "parserVersion": "1.2.3",
        "kind": "method",
        "name": f"m{number}",
        "content": f"the text of method number {number}",
        "hashInputs": ["name", "content"],
        "line_start": 7,
        "line_end": 9,
        "className": "C",
        "extends": "B",
        "customMeta": {"tenantId": "beta", "visibility": "private", "deep": {"x": [1]}},
        **changes,
    }
    return {key: value for key, value in record.items() if value is not ...}


def extracted(number: int = 0, **changes: Any) -> Record:
    """A line as ``tenantkb create`` writes it."""
    return {
        "type": "guide",
        "kind": "guide",
        "name": f"Guide {number}",
        "content": f"the text of guide number {number}",
        "source": f"learn/g{number}.md",
        "hash": "0" * 64,
        **changes,
    }


def rows(app: Application, caller: AgentIdentity = ADA) -> list[StampedRow]:
    """What the store holds in the caller's sight."""
    return list(app.store.scan(app.context(caller).reading()))


def status(app: Application, caller: AgentIdentity) -> StatusReport:
    return app.knowledge_base.status(app.context(caller))


def counts(report: EmbedReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.duplicates


def test_a_parsed_chunk_is_stored_with_what_it_says_and_a_stamp_of_the_server(
    app: Application,
) -> None:
    assert app.embed(ADA, [parsed()]) == EmbedReport(1, 0, 0, 0, 0)
    [row] = rows(app)
    fingerprint = digest(parsed(), ["name", "content"])
    assert row.id == digest(
        {
            "tenantId": "acme",
            "repoSlug": "app",
            "hash": fingerprint,
            "type": "method",
            "name": "m0",
            "source": "src/m0.py",
        },
        ("tenantId", "repoSlug", "hash", "type", "name", "source"),
    )
    assert row.metadata() == {
        "schemaVersion": "1.0.0",
        "parserId": "py",
        "parserVersion": "1.2.3",
        "hashInputs": '["name","content"]',
        "type": "method",
        "kind": "method",
        "name": "m0",
        "content": "the text of method number 0",
        "line_start": 7,
        "line_end": 9,
        "className": "C",
        "extends": "B",
        "customMeta": '{"tenantId":"beta","visibility":"private","deep":{"x":[1]}}',
        "hash": fingerprint,
        "rootKind": "bare-repo",
        "sourcePath": "src/m0.py",
        "tenantId": "acme",
        "repoSlug": "app",
        "visibility": "team",
        "access": "team:acme",
        "ingestedAt": "2026-01-31T09:30:01.000Z",
    }


def test_lines_of_create_are_taken_and_give_the_rows_of_a_sync(
    app: Application, tmp_path: Path
) -> None:
    with GOLDEN.open("rb") as stream:
        records = [record for _, record in read_records(stream)]
    report = app.embed(CURATOR, records, "neo")
    assert counts(report) == (200, 0, 0, 1)
    other = compose(tmp_path / "other", MemoryEngine())
    other.sync(CURATOR, GOLDEN.parent / "mini-neo-workspace", "neo")

    def comparable(application: Application) -> list[tuple[str, Record]]:
        return [
            (row.id, {**row.metadata(), "ingestedAt": None}) for row in rows(application, CURATOR)
        ]

    assert comparable(app) == comparable(other)


def test_repeating_a_submission_changes_and_embeds_nothing(app: Application) -> None:
    records = [*map(parsed, range(10)), *map(extracted, range(10))]
    assert counts(app.embed(ADA, records)) == (20, 0, 0, 0)
    before = rows(app)
    assert counts(app.embed(ADA, records)) == (0, 0, 20, 0)
    assert app.embedder.embedded == 20
    assert rows(app) == before


def test_a_submission_deletes_nothing(app: Application) -> None:
    app.embed(ADA, map(parsed, range(5)))
    assert counts(app.embed(ADA, [parsed(9)])) == (1, 0, 0, 0)
    assert counts(app.embed(ADA, [])) == (0, 0, 0, 0)
    assert len(rows(app)) == 6


def test_a_chunk_that_only_moved_is_not_embedded_again(app: Application) -> None:
    app.embed(ADA, [parsed(0), parsed(1)])
    assert counts(app.embed(ADA, [parsed(0, line_start=8), parsed(1)])) == (0, 1, 1, 0)
    assert app.embedder.embedded == 2
    assert [row.fields["line_start"] for row in rows(app)].count(8) == 1
    assert counts(app.embed(ADA, [parsed(0, line_start=..., line_end=...)])) == (0, 1, 0, 0)
    assert "line_start" not in next(row for row in rows(app) if row.fields["name"] == "m0").fields


def test_a_text_that_changes_under_the_same_id_is_embedded_again(app: Application) -> None:
    app.embed(ADA, [parsed(hashInputs=["name"])])
    assert counts(app.embed(ADA, [parsed(hashInputs=["name"], content="new")])) == (0, 1, 0, 0)
    assert app.embedder.embedded == 2
    [row] = rows(app)
    assert row.fields["content"] == "new"


def test_the_first_of_equal_chunks_wins(app: Application) -> None:
    records = [parsed(line_start=1), parsed(line_start=2), parsed(1)]
    assert counts(app.embed(ADA, records)) == (2, 0, 0, 1)
    assert sorted(row.fields["line_start"] for row in rows(app)) == [1, 7]


def test_a_line_number_written_as_a_fraction_is_a_whole_number(app: Application) -> None:
    app.embed(ADA, [parsed(line_start=7.0)])
    [document] = app.knowledge_base.list(app.context(ADA)).documents
    assert document.line_start == 7


def test_the_same_chunk_of_two_tenants_two_repositories_and_two_paths_is_four_rows(
    app: Application,
) -> None:
    app.embed(ADA, [parsed(), parsed(sourcePath="src/other.py")])
    app.embed(ADA, [parsed()], "two")
    app.embed(EVE, [parsed()])
    assert (len(rows(app, ADA)), len(rows(app, EVE))) == (3, 1)
    assert len({row.id for row in rows(app, ADA) + rows(app, EVE)}) == 4


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (True, 1), (1, 1.0), ("1", 1), (["a"], '["b"]')]
)
def test_a_value_of_another_type_is_a_change_that_embeds_nothing(
    app: Application, before: object, after: object
) -> None:
    app.embed(ADA, [extracted(draft=before)])
    assert counts(app.embed(ADA, [extracted(draft=after)])) == (0, 1, 0, 0)
    assert counts(app.embed(ADA, [extracted(draft=after)])) == (0, 0, 1, 0)
    [row] = rows(app)
    assert (row.fields["draft"], type(row.fields["draft"])) == (after, type(after))
    assert app.embedder.embedded == 1


def vectors(app: Application) -> dict[str, bytes]:
    """Vectors by the name of their rows, of which each has one row here."""
    found = [(str(raw.metadata["name"]), vector) for raw, vector in app.engine.export()]
    assert len(dict(found)) == len(found)
    return {name: vector.tobytes() for name, vector in found}


@pytest.mark.parametrize("visibility", list(Visibility))
def test_a_change_of_visibility_moves_the_rows_with_their_vectors(
    app: Application, visibility: Visibility
) -> None:
    app.embed(ADA, [extracted(visibility="private"), parsed(1)], visibility=visibility)
    before, ids = vectors(app), {row.id for row in rows(app)}
    assert len(rows(app, BOB)) == (2 if visibility is Visibility.TEAM else 0)
    [other] = set(Visibility) - {visibility}
    assert counts(app.embed(ADA, [extracted(), parsed(1)], visibility=other)) == (0, 2, 0, 0)
    assert app.embedder.embedded == 2
    assert vectors(app) == before
    assert len(rows(app)) == 2
    assert ids.isdisjoint(row.id for row in rows(app))
    assert len(rows(app, BOB)) == (2 if other is Visibility.TEAM else 0)
    assert counts(app.embed(ADA, [extracted(), parsed(1)], visibility=other)) == (0, 0, 2, 0)


def test_private_copies_of_two_agents_lie_side_by_side(app: Application) -> None:
    """Fails: who knows a chunk, or what is hashed of it, replaces another agent's row."""
    mine, its = parsed(hashInputs=["name"]), parsed(hashInputs=["name"], content="other")
    assert counts(app.embed(ADA, [mine], visibility=Visibility.PRIVATE)) == (1, 0, 0, 0)
    assert counts(app.embed(BOB, [its], visibility=Visibility.PRIVATE)) == (1, 0, 0, 0)
    assert [row.fields["content"] for row in rows(app, ADA)] == [mine["content"]]
    assert [row.fields["content"] for row in rows(app, BOB)] == ["other"]
    assert counts(app.embed(BOB, [its])) == (0, 1, 0, 0)
    assert sorted(str(row.fields["content"]) for row in rows(app, ADA)) == [
        "other",
        mine["content"],
    ]
    assert app.embedder.embedded == 2


def test_who_may_not_write_there_is_refused_before_a_record_is_read(app: Application) -> None:
    records = iter([parsed()])
    for caller, repo, error in (
        (None, "app", AuthenticationError),
        (AgentIdentity("acme", "ada", expires_at=NOW), "app", AuthenticationError),
        (AgentIdentity("neo-shared", "eve"), "neo", AccessDeniedError),
        (ADA, "white space", InvalidInputError),
    ):
        with pytest.raises(error):
            app.embed(caller, records, repo)
    with pytest.raises(AuthenticationError):
        app.knowledge_base.embed(ADA, EmbedRequest("app"), enumerate(records, 1))  # type: ignore[arg-type] # what the test is about
    assert app.store.profile() is None
    assert list(records) == [parsed()]


BAD: list[tuple[object, str, str]] = [
    (None, "", "expected an object"),
    (["x"], "", "expected an object"),
    (Unreadable("expected UTF-8"), "", "expected UTF-8"),
    (parsed(kind=3), "/kind", "expected text"),
    (parsed(schemaVersion=...), "/schemaVersion", "missing"),
    (parsed(tenantId=["acme"]), "/tenantId", "expected text"),
    (parsed(visibility="team"), "/visibility", "no field of this name"),
    (parsed(hashInputs=["none"]), "/hashInputs/0", "a present field"),
    (parsed(line_start=10), "/line_end", "a line from 10"),
    (parsed(sourcePath="../up"), "/sourcePath", "expected text that matches"),
    (parsed(rootKind="mine"), "/rootKind", "expected one of"),
    (parsed(embedding=[0.1]), "/embedding", "expected no embedding"),
    (extracted(embedding=None), "/embedding", "expected no embedding"),
    (extracted(content=3), "/content", "expected text, not 3"),
    (extracted(name=None), "/name", "missing"),
    (extracted(source="/etc/passwd"), "/source", "source path '/etc/passwd'"),
    (extracted(source="x/" * 10**5), "/source", "source path 'x/x/"),
    (extracted(0, **{"": "x"}), "/", "no field of this name"),
    (extracted(0, **{"\ud800": []}), "/\\ud800", "no field of this name"),
]


@pytest.mark.parametrize(("bad", "pointer", "reason"), BAD)
def test_one_bad_record_refuses_the_submission_and_is_named(
    app: Application, bad: object, pointer: str, reason: str
) -> None:
    app.embed(ADA, [parsed(0)])
    before, embedded = rows(app), app.embedder.embedded
    with pytest.raises(InvalidSubmissionError) as caught:
        app.embed(ADA, [parsed(0, line_start=8), parsed(1), bad, parsed(2)])
    [problem] = caught.value.problems
    assert (problem.line, problem.pointer) == (3, pointer)
    assert reason in problem.reason
    assert len(problem.reason) <= 300
    assert str(problem) in str(caught.value)
    assert (rows(app), app.embedder.embedded) == (before, embedded)


def test_a_refused_first_submission_does_not_even_make_the_collection(app: Application) -> None:
    with pytest.raises(InvalidSubmissionError):
        app.embed(ADA, [parsed(), 3])
    with pytest.raises(SpoofRejectedError):
        app.embed(EVE, [parsed()], mode=SpoofMode.REJECT)
    assert app.store.profile() is None


def test_every_record_is_judged_whatever_came_before_it(app: Application) -> None:
    with pytest.raises(InvalidSubmissionError) as caught:
        app.embed(ADA, [3, parsed(), parsed(kind=1, x=2), Unreadable("expected UTF-8")])
    assert [(item.line, item.pointer) for item in caught.value.problems] == [
        (1, ""),
        (3, "/kind"),
        (3, "/x"),
        (4, ""),
    ]


def test_the_list_of_problems_is_bounded_and_their_number_is_told(app: Application) -> None:
    with pytest.raises(InvalidSubmissionError) as caught:
        app.embed(ADA, [3] * 1000)
    assert (len(caught.value.problems), caught.value.total) == (PROBLEMS_KEPT, 1000)
    assert str(caught.value).endswith("and 950 more")


def test_an_embedding_is_refused_with_a_code_of_its_own_that_points_to_restore(
    app: Application,
) -> None:
    with pytest.raises(EmbeddingNotAllowedError, match="restore") as caught:
        app.embed(ADA, [3, parsed(embedding=[0.1])])
    assert caught.value.code == "KB_EMBEDDING_NOT_ALLOWED"
    assert [item.pointer for item in caught.value.problems] == ["", "/embedding"]


def test_values_that_are_nested_too_deeply_are_a_problem_of_their_record(
    app: Application,
) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidSubmissionError, match="nested at most 100 deep"):
        app.embed(ADA, [parsed(customMeta={"x": deep}), extracted(x=deep)])
    while deep:  # by itself, the interpreter would take them apart recursively
        deep = deep[0]


FORGED: list[Record] = [
    {"tenantId": "beta"},
    {"tenantId": "neo-shared"},
    {"tenantId": ["acme"]},
    {"tenantId": {"$ne": "x"}},
    {"tenantId": None},
    {"tenantId": " acme"},
    {"tenantId": "Acme"},
    {"tenantId": "аcme"},
    {"repoSlug": "two"},
    {"visibility": "private"},
    {"visibility": True},
    {"originAgentIdentity": "bob"},
    {"ingestedAt": "1970-01-01T00:00:00.000Z"},
    {"access": "team:beta"},
    {"access": ["team:beta", "team:acme"]},
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_field_is_overwritten_reported_and_never_honoured(
    app: Application, forged: Record, caplog: pytest.LogCaptureFixture
) -> None:
    report = app.embed(ADA, [extracted(0, **forged), extracted(1)])
    assert report == EmbedReport(2, 0, 0, 0, spoofs=1)
    first, second = sorted(rows(app), key=lambda row: str(row.fields["name"]))
    assert first.stamp == second.stamp
    assert first.key.label == "team:acme"
    assert rows(app, EVE) == []
    assert rows(app, CURATOR) == []
    [entry] = caplog.records
    assert entry.levelno == logging.WARNING
    assert f"{next(iter(forged))}=" in entry.getMessage()
    assert first.id in entry.getMessage()
    assert status(app, ADA).spoofs == 1


@pytest.mark.parametrize("forged", FORGED)
def test_in_reject_mode_a_forged_field_refuses_the_whole_submission(
    app: Application, forged: Record
) -> None:
    app.embed(ADA, [extracted(0)])
    before = rows(app)
    with pytest.raises(SpoofRejectedError) as caught:
        app.embed(ADA, [extracted(1), extracted(0, **forged)], mode=SpoofMode.REJECT)
    assert caught.value.code == "KB_TENANT_SPOOF_REJECTED"
    [problem] = caught.value.problems
    assert (problem.line, problem.pointer) == (2, f"/{next(iter(forged))}")
    assert rows(app) == before


def test_a_mode_that_is_none_rejects(app: Application) -> None:
    unchecked: Any = "overwrite "
    with pytest.raises(SpoofRejectedError):
        app.embed(ADA, [extracted(0, tenantId="beta")], mode=unchecked)
    assert rows(app) == []


def test_a_true_claim_is_no_spoof_in_any_mode(app: Application) -> None:
    claims = {"tenantId": "acme", "repoSlug": "app", "visibility": "team", "access": "team:acme"}
    report = app.embed(ADA, [parsed(), extracted(0, **claims)], mode=SpoofMode.REJECT)
    assert report == EmbedReport(2, 0, 0, 0, 0)


def test_the_owner_that_a_parsed_chunk_claims_is_overwritten_or_rejected(app: Application) -> None:
    forged = parsed(tenantId="beta", repoSlug="two")
    assert app.embed(ADA, [forged]).spoofs == 2
    [row] = rows(app)
    app.embed(ADA, [parsed()])
    assert [stored.id for stored in rows(app)] == [row.id]
    with pytest.raises(SpoofRejectedError, match=r"\(fields: 2\)"):
        app.embed(ADA, [forged], mode=SpoofMode.REJECT)


def test_a_spoof_counts_though_its_record_is_not_valid(app: Application) -> None:
    with pytest.raises(InvalidSubmissionError):
        app.embed(ADA, [parsed(tenantId=["beta"])])
    with pytest.raises(SpoofRejectedError):
        app.embed(ADA, [parsed(tenantId=["beta"])], mode=SpoofMode.REJECT)
    assert status(app, ADA).spoofs == 2


def test_the_mode_of_the_installation_is_in_force_where_the_request_says_nothing(
    app: Application,
) -> None:
    settings = app.container.settings()
    app.container.settings.override(evolve(settings, ingest=IngestSettings(spoof_mode="reject")))
    with pytest.raises(SpoofRejectedError):
        app.embed(EVE, [parsed()])
    assert app.embed(EVE, [parsed()], mode=SpoofMode.OVERWRITE).spoofs == 1


LIMIT = SpoofLimit(threshold=3, window=timedelta(minutes=1))


def limited(folder: Path, clock: StoppedClock, state: State | None = None) -> Application:
    """An application that grants three spoofs a minute."""
    app = compose(folder, MemoryEngine(), clock=clock, state=state)
    app.container.spoof_limit.override(LIMIT)
    return app


def forged(number: int) -> Record:
    return extracted(number, tenantId="beta")


def test_past_the_threshold_an_identity_is_rejected_until_the_window_has_emptied(
    tmp_path: Path,
) -> None:
    clock = StoppedClock()
    app = limited(tmp_path, clock)
    assert app.embed(ADA, [forged(0), forged(1), forged(2)]).spoofs == 3
    assert not status(app, ADA).spoofs_rejected
    with pytest.raises(SpoofRejectedError, match="too often of late"):
        app.embed(ADA, [forged(3)])
    assert status(app, ADA).spoofs_rejected
    assert app.embed(ADA, [extracted(4)]).added == 1, "what is not forged is taken"
    assert app.embed(BOB, [forged(5)]).added == 1, "others are not held to account"
    assert (status(app, BOB).spoofs, status(app, EVE).spoofs) == (1, 0)
    for _ in range(2):
        clock.instant += timedelta(seconds=59)
        with pytest.raises(SpoofRejectedError):
            app.embed(ADA, [forged(3)])
    clock.instant += timedelta(seconds=60)
    assert not status(app, ADA).spoofs_rejected
    assert app.embed(ADA, [forged(3)]).added == 1
    assert status(app, ADA).spoofs == 7


def test_a_single_submission_past_the_threshold_is_rejected_whole(tmp_path: Path) -> None:
    app = limited(tmp_path, StoppedClock())
    with pytest.raises(SpoofRejectedError):
        app.embed(ADA, map(forged, range(4)))
    assert rows(app) == []
    assert status(app, ADA).spoofs == 4


def test_the_count_is_the_installations_and_outlives_a_process(tmp_path: Path) -> None:
    """Fails: who runs a command anew begins anew."""
    clock = StoppedClock()
    for number in (0, 1):
        with closing(SqliteState(tmp_path / "state.sqlite3")) as state:
            app = limited(tmp_path, clock, state)
            assert app.embed(ADA, [forged(number)]).spoofs == 1
    with closing(SqliteState(tmp_path / "state.sqlite3")) as state:
        app = limited(tmp_path, clock, state)
        assert status(app, ADA).spoofs == 2
        with pytest.raises(SpoofRejectedError, match="too often of late"):
            app.embed(ADA, [forged(2), forged(3)])
    with closing(SqliteState(tmp_path / "state.sqlite3")) as state:
        assert state.spoofs(ADA, LIMIT).total == 4


def test_what_is_rejected_for_its_number_is_counted_without_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = limited(tmp_path, StoppedClock())
    for _ in range(10):
        with suppress(SpoofRejectedError):
            app.embed(ADA, [forged(0)])
    *single, last = caplog.messages
    assert len(single) == 4
    assert last.startswith("acme/ada has spoofed more than 3 fields")
    assert status(app, ADA).spoofs == 10


@pytest.mark.parametrize("done", [0, 4, 8])
def test_after_an_interruption_the_same_submission_embeds_only_what_is_missing(
    app: Application, done: int
) -> None:
    app.embedder.fail_after = done
    with pytest.raises(EmbedderError):
        app.embed(ADA, map(parsed, range(10)))
    assert len(rows(app)) == done
    app.embedder.fail_after = None
    assert counts(app.embed(ADA, map(parsed, range(10)))) == (10 - done, 0, done, 0)
    assert app.embedder.embedded == 10


def test_another_embedders_collection_is_refused(app: Application) -> None:
    app.embed(ADA, [parsed()])
    app.embedder.inner = HashingEmbedder(32)
    with pytest.raises(StoreMismatchError):
        app.embed(ADA, [parsed(1)])
    assert len(rows(app)) == 1


def test_one_agents_submission_leaves_anothers_private_rows(app: Application) -> None:
    app.embed(BOB, [parsed(0)], visibility=Visibility.PRIVATE)
    before = rows(app, BOB)
    for visibility in (*Visibility, *Visibility):
        app.embed(ADA, [parsed(0), parsed(1)], visibility=visibility)
        private = [row for row in rows(app, BOB) if row.stamp.visibility is Visibility.PRIVATE]
        assert private == before


class _Leaky(MemoryEngine):
    """A store that answers the rows of everybody, whatever label is asked for."""

    def get(self, labels: Sequence[str], ids: Sequence[ChunkId]) -> Iterable[RawRow]:
        return [raw for raw, _ in self.export()]


def test_a_row_that_a_faulty_store_answers_is_not_compared_with(tmp_path: Path) -> None:
    app = compose(tmp_path / "state", _Leaky())
    app.embed(BOB, [parsed()], visibility=Visibility.PRIVATE)
    assert counts(app.embed(ADA, [parsed()])) == (1, 0, 0, 0)


def test_records_may_be_read_only_once_and_one_at_a_time(app: Application) -> None:
    alive = 0

    class Counted(dict[str, Any]):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream() -> Iterator[object]:
        nonlocal alive
        for number in range(50):
            alive += 1
            assert alive <= 3
            yield Counted(parsed(number))

    assert app.embed(ADA, stream()).added == 50


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(
        json_values
        | st.dictionaries(st.sampled_from([*parsed(), *extracted(), "access"]), json_values)
        | st.builds(
            lambda base, changes: {**base, **changes},
            st.sampled_from([parsed(), extracted()]),
            st.dictionaries(
                st.sampled_from([*parsed(), *extracted(), "access", "visibility"]),
                json_values,
                max_size=2,
            ),
        ),
        max_size=4,
    )
)
def test_whatever_is_submitted_is_stored_under_the_servers_stamp_or_refused_whole(
    tmp_path_factory: pytest.TempPathFactory, records: list[object]
) -> None:
    app = compose(tmp_path_factory.getbasetemp() / "state", MemoryEngine())
    stored = 0
    with suppress(SubmissionRefusedError):
        report = app.embed(ADA, records)
        stored = report.added
        assert report.added + report.duplicates == len(records)
    assert len(rows(app)) == stored
    assert {(row.stamp.repo_slug, row.key.label) for row in rows(app)} <= {("app", "team:acme")}
    assert rows(app, EVE) == []


def test_a_submission_that_was_admitted_in_time_finishes_within_its_time(tmp_path: Path) -> None:
    clock = StoppedClock()
    app = compose(tmp_path / "state", MemoryEngine(), clock=clock)
    app.container.job_seconds.override(60.0)
    context = app.context(evolve(ADA, expires_at=NOW + timedelta(seconds=1)))
    embed, request = app.knowledge_base.embed, EmbedRequest("app")
    with pytest.raises(AuthenticationError, match="expired"):
        embed(context, request, enumerate([parsed()], 1), Passing(clock, 60))
    clock.instant = NOW
    assert embed(context, request, enumerate([parsed()], 1), Passing(clock, 59)).added == 1
    with pytest.raises(AuthenticationError, match="expired"):  # nothing begins any more
        embed(context, request, enumerate([parsed()], 1))
