"""What a type checker says of programs that use the installed package.

Isolation is in the types first: a program that mixes up what must not be mixed up does not pass
mypy. One program that is right has a line for each rule; each of the others has one of these lines
wrong, and mypy must say so, there and nowhere else.
"""

from __future__ import annotations

import re
import sys

import pytest
from attrs import frozen

from tests.packaging.building import Environment, run

RIGHT = '''
"""A program that uses the face, and the ports behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tenantkb
from tenantkb.application.guard import GuardedStore
from tenantkb.application.reading.query import Query
from tenantkb.application.reading.ranking import Ranking
from tenantkb.domain.context import OperatorScope, ReadScope, TenantContext, WriteScope
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.rows import Criteria, StampedRow
from tenantkb.domain.stamps import SharedNamespace, Visibility
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Embedder, Vectors
from tenantkb.ports.engine import Engine, Vector
from tenantkb.ports.store import OperatingStore, ReadingStore, WritingStore
from tenantkb.ports.telemetry import IsolationFaults


def serve(folder: Path, token: str) -> list[str]:
    with tenantkb.open(config=folder / "tenantkb.toml") as knowledge:
        context = knowledge.authenticate(token)
        knowledge.sync(context, tenantkb.SyncRequest(folder, "app"))
        answers = knowledge.query(context, "how is a session renewed", limit=3)
        page = knowledge.list(context, criteria=tenantkb.Criteria(kind="method"))
        documents = [knowledge.get(context, document.id) for document in page.documents]
        return [answer.snippet for answer in answers] + [each.content for each in documents]


def refused(error: tenantkb.TenantKbError) -> bool:
    return error.kind is tenantkb.ErrorKind.DENIED


def scopes(context: TenantContext) -> tuple[ReadScope, WriteScope, OperatorScope]:
    reading = context.reading()
    writing = context.writing("app", Visibility.PRIVATE)
    return reading, writing, context.operating()


def read(store: ReadingStore, scope: ReadScope, text: str, vector: Vector) -> list[str]:
    rows = store.get(scope, [ChunkId.parse(text)])
    matches = store.query(scope, vector, 10, Criteria(type="guide"))
    rows += list(store.scan(scope))
    return [match.row.text("name") for match in matches] + [row.text("name") for row in rows]


def write(
    store: WritingStore, context: TenantContext, rows: Sequence[StampedRow], vectors: Vectors
) -> int:
    scope = context.writing("app")
    store.upsert(scope, rows, vectors)
    return store.delete(scope, [RowKey(row.stamp.label, row.id) for row in rows])


def operate(store: OperatingStore, context: TenantContext) -> int:
    scope = context.operating()
    exported = list(store.export(scope))
    return store.truncate(scope) - len(exported)


def compose(engine: Engine, clock: Clock, faults: IsolationFaults, embedder: Embedder) -> Query:
    store = GuardedStore(engine, clock, faults)
    return Query(Ranking(store, embedder))


def renamed(row: StampedRow, namespace: SharedNamespace) -> dict[str, object]:
    changed = dict(row.fields)
    changed["name"] = namespace.tenant_id
    return {**changed}
'''.lstrip()


@frozen
class Misuse:
    """One line of the program that is made wrong.

    Attributes:
        right: The line, without its indentation.
        wrong: What is written in its place.
        error: mypy's code of the one error that this makes.
        says: A part of its message.
    """

    right: str
    wrong: str
    error: str
    says: str


MISUSES = {
    "a text as an id": Misuse(
        "rows = store.get(scope, [ChunkId.parse(text)])",
        "rows = store.get(scope, [text])",
        "list-item",
        'has incompatible type "str"; expected "ChunkId"',
    ),
    "a text as an id, to the face": Misuse(
        "documents = [knowledge.get(context, document.id) for document in page.documents]",
        "documents = [knowledge.get(context, document.name) for document in page.documents]",
        "arg-type",
        'has incompatible type "str"; expected "ChunkId"',
    ),
    "an identity as a context": Misuse(
        'answers = knowledge.query(context, "how is a session renewed", limit=3)',
        'answers = knowledge.query(context.identity, "how is a session renewed", limit=3)',
        "arg-type",
        'has incompatible type "AgentIdentity"; expected "TenantContext"',
    ),
    "a credential as a context": Misuse(
        'knowledge.sync(context, tenantkb.SyncRequest(folder, "app"))',
        'knowledge.sync(token, tenantkb.SyncRequest(folder, "app"))',
        "arg-type",
        'has incompatible type "str"; expected "TenantContext"',
    ),
    "criteria that are a filter of a store": Misuse(
        'page = knowledge.list(context, criteria=tenantkb.Criteria(kind="method"))',
        'page = knowledge.list(context, criteria={"tenantId": "beta"})',
        "arg-type",
        'has incompatible type "dict[str, str]"; expected "Criteria"',
    ),
    "a kind of error that is a text": Misuse(
        "return error.kind is tenantkb.ErrorKind.DENIED",
        'return error.kind == "denied"',
        "comparison-overlap",
        "Non-overlapping equality check",
    ),
    "a scope that nobody handed out": Misuse(
        "reading = context.reading()",
        "reading = ReadScope(identity=context.identity, namespace=context.namespace, "
        "admitted_at=context.admitted_at, expires_at=None, labels=('team:beta',))",
        "call-arg",
        'Missing named argument "seal" for "ReadScope"',
    ),
    "a visibility that is a text": Misuse(
        'writing = context.writing("app", Visibility.PRIVATE)',
        'writing = context.writing("app", "private")',
        "arg-type",
        'has incompatible type "str"; expected "Visibility"',
    ),
    "a scope that is widened": Misuse(
        "return reading, writing, context.operating()",
        "reading.labels = ('team:beta',); return reading, writing, context.operating()",
        "misc",
        'Property "labels" defined in "ReadScope" is read-only',
    ),
    "a scope of another kind": Misuse(
        "return reading, writing, context.operating()",
        "return reading, writing, writing",
        "return-value",
        "Incompatible return value type",
    ),
    "criteria that are a mapping, to the port": Misuse(
        'matches = store.query(scope, vector, 10, Criteria(type="guide"))',
        'matches = store.query(scope, vector, 10, {"type": "guide"})',
        "arg-type",
        'has incompatible type "dict[str, str]"; expected "Criteria"',
    ),
    "an export of a store for readers": Misuse(
        "rows += list(store.scan(scope))",
        "rows += list(store.export(scope))",
        "attr-defined",
        '"ReadingStore" has no attribute "export"',
    ),
    "a match as a row": Misuse(
        'return [match.row.text("name") for match in matches] + [row.text("name") for row in rows]',
        'return [match.text("name") for match in matches] + [row.text("name") for row in rows]',
        "attr-defined",
        '"Match" has no attribute "text"',
    ),
    "a context as a scope": Misuse(
        "exported = list(store.export(scope))",
        "exported = list(store.export(context))",
        "arg-type",
        'has incompatible type "TenantContext"; expected "OperatorScope"',
    ),
    "a write under what may be read": Misuse(
        "store.upsert(scope, rows, vectors)",
        "store.upsert(context.reading(), rows, vectors)",
        "arg-type",
        'has incompatible type "ReadScope"; expected "WriteScope"',
    ),
    "an address the wrong way round": Misuse(
        "return store.delete(scope, [RowKey(row.stamp.label, row.id) for row in rows])",
        "return store.delete(scope, [RowKey(row.id, row.stamp.label) for row in rows])",
        "arg-type",
        'has incompatible type "str"; expected "ChunkId"',
    ),
    "an engine without its guard": Misuse(
        "return Query(Ranking(store, embedder))",
        "return Query(Ranking(engine, embedder))",
        "arg-type",
        'has incompatible type "Engine"; expected "ReadingStore"',
    ),
    "a stored row that is changed": Misuse(
        'changed["name"] = namespace.tenant_id',
        'row.fields["name"] = namespace.tenant_id',
        "index",
        "Unsupported target for indexed assignment",
    ),
}

CONFIGURATION = """
[mypy]
strict = True
warn_unreachable = True
[mypy-chromadb.*,onnx.*,onnxruntime.*,Stemmer.*,wordllama.*]
follow_imports = skip
"""
"""Strict for the program. What is installed is not judged, only read."""

Errors = dict[str, list[tuple[int, str, str]]]


def file_name(title: str) -> str:
    return re.sub(r"\W+", "_", title) + ".py"


@pytest.fixture(scope="module")
def errors(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """Line, code and message of each error, by file; all files in one run.

    The interpreter is that of the environment with the wheel. Were its marker ``py.typed`` missing,
    every import of it would be an error.
    """
    folder = tmp_path_factory.mktemp("programs")
    (folder / "mypy.ini").write_text(CONFIGURATION)
    (folder / "right.py").write_text(RIGHT)
    for title, misuse in MISUSES.items():
        assert RIGHT.count(f"    {misuse.right}\n") == 1, title
        (folder / file_name(title)).write_text(RIGHT.replace(misuse.right, misuse.wrong))
    done = run(
        sys.executable,
        *("-m", "mypy", "--python-executable", environment.python, "--config-file", "mypy.ini"),
        *("--no-error-summary", "--cache-dir", folder / "cache"),
        *sorted(folder.glob("*.py")),
        folder=folder,
        environment={"MYPYPATH": ""},
        check=False,
    )
    found: Errors = {}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"(\w+\.py):(\d+): error: (.*)  \[([\w-]+)\]", line)
        if match is None:
            assert ": note: " in line, done.stdout + done.stderr
            continue
        name, number, message, code = match.groups()
        found.setdefault(name, []).append((int(number), code, message))
    assert done.stderr == ""
    return found


def test_a_program_that_is_right_passes(errors: Errors) -> None:
    assert errors.get("right.py", []) == []


@pytest.mark.parametrize("title", MISUSES)
def test_a_misuse_is_found_where_it_is_made(title: str, errors: Errors) -> None:
    misuse = MISUSES[title]
    wrong = RIGHT.replace(misuse.right, misuse.wrong).splitlines()
    [line] = [number for number, text in enumerate(wrong, 1) if text.strip() == misuse.wrong]
    [(number, code, message)] = errors.get(file_name(title), [])
    assert (number, code) == (line, misuse.error)
    assert misuse.says in message
