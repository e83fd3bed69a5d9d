"""The audit log: what operators do is recorded before it is done, and again when it ends."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

from tenantkb.adapters.configuration.settings import (
    AuditSettings,
    Settings,
    StateSettings,
    StoreSettings,
)
from tenantkb.adapters.container import Container
from tenantkb.adapters.state.audit import JsonLinesAuditLog, MemoryAuditLog
from tenantkb.adapters.stores.sqlite.engine import SqliteEngine
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.operating.acts import Acts
from tenantkb.application.operating.backup import RestoreMode, RestoreRequest
from tenantkb.domain.backup import Adoption
from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import AccessDeniedError, AuditError, InvalidInputError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.stamps import format_instant
from tenantkb.ports.audit import ActEvent, AuditRecord, Detail
from tenantkb.testing.composition import Application, compose
from tenantkb.testing.fail_closed.operators import OtherStore
from tenantkb.testing.samples import NOW, fill, raw, row, writing

OLGA: Final = AgentIdentity("ops", "olga", frozenset({Role.OPERATOR}))
SECRET: Final = "secret-of-acme"
COLLECTION: Final = "knowledge-base"

Do = Callable[[KnowledgeBase, TenantContext, Path], object]

DO: Final[dict[str, Do]] = {
    "export": lambda kb, olga, folder: kb.export(olga, folder / "b"),
    "restore": lambda kb, olga, folder: kb.restore(
        olga,
        RestoreRequest(folder / "b", RestoreMode.REPLACE, COLLECTION, Adoption("acme", "app")),
    ),
    "truncate": lambda kb, olga, folder: kb.truncate(olga, COLLECTION),
    "migrate": lambda kb, olga, folder: kb.migrate(
        olga, OtherStore((), kb.migrate.embedder.profile)
    ),
    "repair": lambda kb, olga, folder: kb.repair(olga),
}
"""Every act, in an order in which each finds what it needs."""

ARGUMENTS: Final[dict[str, dict[str, object]]] = {
    "export": {"file": "b", "javascript": False},
    "restore": {"file": "b", "mode": "replace", "adopt": "acme/app", "foreign_ids": False},
    "truncate": {},
    "migrate": {"source": "elsewhere"},
    "repair": {},
}

RESULTS: Final[dict[str, dict[str, object]]] = {
    "export": {"records": 3, "private": 0, "underived": 0},
    "restore": {
        "added": 0,
        "updated": 0,
        "unchanged": 3,
        "deleted": 0,
        "adopted": 0,
        "verified": True,
    },
    "truncate": {"deleted": 3},
    "migrate": {
        "moved": 0,
        "present": 0,
        "renamed": 0,
        "embedded": 0,
        "refused": 0,
        "malformed": 0,
    },
    "repair": {"rows": 0, "refused": 0},
}


class BrokenLog:
    """A log that keeps so many records and no more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def append(self, record: AuditRecord) -> None:
        if self.room == 0:
            raise AuditError("the audit log is full")
        self.room -= 1


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """Three rows of a tenant in a store."""
    app = compose(SqliteEngine(tmp_path / "store"), tmp_path)
    fill(app.engine, [raw(row(writing(), f"n{n}", content=f"{SECRET} {n}")) for n in range(3)])
    yield app
    app.knowledge_base.close()


def records(app: Application) -> list[AuditRecord]:
    log = app.container.audit()
    assert isinstance(log, MemoryAuditLog)
    return log.records


def stored(app: Application) -> list[object]:
    return [found.key for found, _ in app.engine.export()]


def test_every_use_case_that_reaches_all_rows_is_an_act_or_only_examines(app: Application) -> None:
    """Fails: a use case for operators is new. Let it begin an act, and add it to the tables."""
    face = app.knowledge_base
    acting = {
        name for name in KnowledgeBase.__annotations__ if hasattr(getattr(face, name), "acts")
    }
    assert acting == DO.keys() == ARGUMENTS.keys() == RESULTS.keys()
    folder = Path(__file__).parents[2] / "application"
    using = {
        file.relative_to(folder).as_posix()
        for file in folder.glob("**/*.py")
        if re.search(r"\.operating\(\)", file.read_text("utf-8"))
    }
    assert using == {"operating/acts.py", "operating/diagnosis.py"}


def test_each_act_is_recorded_when_it_begins_and_when_it_ends(
    app: Application, tmp_path: Path
) -> None:
    for name, do in DO.items():
        before = len(records(app))
        do(app.knowledge_base, app.context(OLGA), tmp_path)
        begun, done = records(app)[before:]
        assert (begun.event, done.event) == (ActEvent.BEGUN, ActEvent.DONE)
        assert begun.act == done.act
        assert begun.at < done.at
        assert (begun.name, done.name) == (name, name)
        assert begun.identity == done.identity == OLGA
        told = {key: v.name if isinstance(v, Path) else v for key, v in begun.details.items()}
        assert told == {"collection": COLLECTION, **ARGUMENTS[name]}
        assert done.details == RESULTS[name]
    assert len({record.act for record in records(app)}) == len(DO)
    assert SECRET not in repr(records(app))


@pytest.mark.parametrize("name", DO)
def test_an_act_that_cannot_be_recorded_does_not_begin(
    app: Application, tmp_path: Path, name: str
) -> None:
    """Fails: what nobody will know of is done all the same."""
    app.knowledge_base.export(app.context(OLGA), tmp_path / "b")
    before, files = stored(app), {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "a-file").touch()
    files[tmp_path / "a-file"] = (tmp_path / "a-file").stat().st_mtime_ns
    log = JsonLinesAuditLog(tmp_path / "a-file" / "audit.jsonl")
    face = app.knowledge_base
    use_case = evolve(getattr(face, name), acts=Acts(log, app.clock, COLLECTION))
    with pytest.raises(AuditError, match="nothing was done"):
        DO[name](evolve(face, **{name: use_case}), app.context(OLGA), tmp_path)
    assert stored(app) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


def test_an_end_that_cannot_be_recorded_is_told_beside_what_was_done(app: Application) -> None:
    truncate = evolve(app.knowledge_base.truncate, acts=Acts(BrokenLog(1), app.clock, COLLECTION))
    with pytest.raises(InvalidInputError) as caught:
        truncate(app.context(OLGA), None)
    assert caught.value.__notes__ == ["the audit log is full"]
    truncate = evolve(truncate, acts=Acts(BrokenLog(1), app.clock, COLLECTION))
    with pytest.raises(AuditError, match="done, but the audit log is full"):
        truncate(app.context(OLGA), COLLECTION)
    assert stored(app) == []


def test_how_an_act_was_broken_off_is_recorded_without_what_the_error_says(
    app: Application, tmp_path: Path
) -> None:
    (tmp_path / "b").write_text(json.dumps({"id": SECRET}) + "\n")
    with pytest.raises(InvalidInputError, match=SECRET):
        app.knowledge_base.restore(app.context(OLGA), RestoreRequest(tmp_path / SECRET))
    assert records(app)[-1].event is ActEvent.FAILED
    assert records(app)[-1].details == {"error": "KB_INVALID_INPUT"}
    acts: Acts = app.container.acts()
    with pytest.raises(KeyboardInterrupt), acts.begin(app.context(OLGA), "export"):
        raise KeyboardInterrupt
    assert records(app)[-1].event is ActEvent.INTERRUPTED
    assert records(app)[-1].details == {"error": "KeyboardInterrupt"}


def test_who_is_no_operator_begins_nothing(app: Application, tmp_path: Path) -> None:
    ada = AgentIdentity("acme", "ada", frozenset({Role.AGENT, Role.CURATOR}))
    for do in DO.values():
        with pytest.raises(AccessDeniedError):
            do(app.knowledge_base, app.context(ada), tmp_path)
    assert records(app) == []


def olgas(event: ActEvent = ActEvent.BEGUN, **details: Detail) -> AuditRecord:
    return AuditRecord(act="a1", name="export", event=event, at=NOW, identity=OLGA, details=details)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_record_is_one_line_of_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    log = JsonLinesAuditLog(path)
    named = Path(os.fsdecode(b"back\nup-\xff\xe2\x80\xa8"))
    log.append(olgas(file=named, rows=3, javascript=False, adopt=None))
    log.append(olgas(ActEvent.DONE))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    begun, done = lines(path)
    assert f"pid {os.getpid()}" in begun.pop("process")
    assert begun == {
        "version": 1,
        "act": "a1",
        "name": "export",
        "event": "begun",
        "at": format_instant(NOW),
        "tenant": "ops",
        "agent": "olga",
        "roles": ["operator"],
        "details": {"file": str(named.absolute()), "rows": 3, "javascript": False, "adopt": None},
    }
    assert done["event"] == "done"


def test_a_line_that_was_cut_short_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = JsonLinesAuditLog(path)
    log.append(olgas())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    log.append(olgas(ActEvent.DONE))
    first, cut, last = path.read_bytes().splitlines()
    assert first + b"\n" == whole
    assert cut == whole[:30]
    assert json.loads(last)["event"] == "done"


def test_records_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    log = JsonLinesAuditLog(tmp_path / "audit.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda number: log.append(olgas(number=number, filler="x" * 5000)), range(40))
        )
    told = sorted(line["details"]["number"] for line in lines(log.path))
    assert told == list(range(40))


@pytest.mark.parametrize("place", ["a folder", "a pipe", "below a file"])
def test_a_place_that_is_no_file_is_refused_with_its_name(tmp_path: Path, place: str) -> None:
    path = tmp_path / "audit"
    if place == "a folder":
        path.mkdir()
    elif place == "a pipe":
        os.mkfifo(path)
    else:
        path.touch()
        path = path / "log"
    with pytest.raises(AuditError, match=re.escape(f"the audit log {path} cannot be written")):
        JsonLinesAuditLog(path).append(olgas())


def test_the_log_lies_beside_the_state_unless_it_is_said_where(tmp_path: Path) -> None:
    def place(store: StoreSettings, **settings: Any) -> Path | None:
        container: Any = Container(settings=Settings(store=store, **settings))
        return getattr(container.audit(), "path", None)

    here = StoreSettings(path=tmp_path)
    memory = evolve(here, kind="memory")
    state = StateSettings(tmp_path / "elsewhere" / "state.sqlite3")
    assert place(here) == tmp_path / "audit.jsonl"
    assert place(here, state=state) == tmp_path / "elsewhere" / "audit.jsonl"
    assert place(here, audit=AuditSettings(tmp_path / "log")) == tmp_path / "log"
    assert place(memory) is None
    assert place(memory, state=state) == tmp_path / "elsewhere" / "audit.jsonl"
