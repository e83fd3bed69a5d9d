"""Every way to reach rows: found in the code, and a table of how each one is called.

A use case that is not in the table fails ``test_discovery.py``, and with it the suite.
"""

from __future__ import annotations

import importlib
import pkgutil
import typing
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import attrs
from attrs import frozen

from tenantkb import application
from tenantkb.application.operating.backup import ExportBackup, ImportBackup, TruncateCollection
from tenantkb.application.operating.diagnosis import DiagnoseStore
from tenantkb.application.operating.repair import RepairIndex
from tenantkb.application.reading.base import ReadUseCase
from tenantkb.application.reading.document import GetDocument
from tenantkb.application.reading.documents import ListDocuments
from tenantkb.application.reading.hierarchy import ClassHierarchy
from tenantkb.application.reading.query import Query
from tenantkb.application.reading.search import Search
from tenantkb.application.reading.status import Status
from tenantkb.application.writing.deletions import ApplyDeletions, PlanDeletions
from tenantkb.application.writing.embed import EmbedChunks
from tenantkb.application.writing.sync import Sync
from tenantkb.domain.documents import Document
from tenantkb.domain.errors import TenantKbError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.ports.store import VectorStore
from tests.composition import Application
from tests.fail_closed.model import Planted

QUESTION = "how is the worker deployed with a password"


def discovered(*, callable_only: bool = True) -> list[type]:
    """The classes of the application that hold a store, whatever they are named.

    Args:
        callable_only: Leave out those without ``__call__``, which are bases of others.
    """
    found = []
    for module_info in pkgutil.walk_packages(application.__path__, "tenantkb.application."):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                hints = typing.get_type_hints(value)
                if VectorStore in hints.values():
                    found.append(value)
    return [kind for kind in found if not callable_only or "__call__" in dir(kind)]


@frozen
class Request:
    """What a client can send to a reading use case; each takes its part."""

    text: Any = QUESTION
    limit: Any = 1000
    offset: Any = 0
    criteria: Any = ANY
    ids: Sequence[Any] = ()


@frozen
class Reader:
    """How a reading use case is called and what its answer says about rows.

    Attributes:
        use_case: The class.
        provider: Its name in the container.
        takes: The fields of :class:`Request` that it understands.
        call: Calls it.
        shown: The answer as a value that can be compared.
        expected: The same value, made from the rows that the caller may see.
    """

    use_case: type[ReadUseCase]
    provider: str
    takes: frozenset[str]
    call: Callable[[Any, AgentIdentity | None, Request], Any]
    shown: Callable[[Any], object]
    expected: Callable[[Sequence[Planted], Request], object]

    @property
    def name(self) -> str:
        return self.use_case.__name__

    def ask(self, app: Application, who: AgentIdentity | None, request: Request) -> Any:
        """The answer, or the error in its place; an error that is not clean is raised."""
        facade = getattr(app.container, self.provider)()
        try:
            return self.call(facade, who, request)
        except TenantKbError as error:
            return {"error": error.code, "message": str(error)}


def plain(value: Any) -> Any:
    """An answer as JSON values, every field of it."""
    if attrs.has(type(value)):
        return {
            field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def narrowed(rows: Sequence[Planted], criteria: Criteria) -> list[Planted]:
    """The rows that a caller asked for."""

    def wanted(row: Planted) -> bool:
        pairs = (
            (criteria.type, row.chunk.get("type")),
            (criteria.kind, row.chunk.get("kind")),
            (criteria.repo_slug, row.repo),
            (criteria.source_path, row.chunk.get("source")),
            (criteria.class_name, row.chunk.get("className")),
        )
        return all(asked is None or asked == has for asked, has in pairs)

    return [row for row in rows if wanted(row)]


def _facts(document: Document) -> tuple[str, ...]:
    return (
        document.id,
        document.tenant_id,
        document.repo_slug,
        document.source_path,
        document.type,
        document.kind,
        document.name,
        document.visibility.value,
    )


def _planted(row: Planted) -> tuple[str, ...]:
    chunk = row.chunk
    return (
        row.id,
        row.tenant,
        row.repo,
        str(chunk["source"]),
        str(chunk["type"]),
        str(chunk["kind"]),
        str(chunk["name"]),
        row.visibility,
    )


def _ranked(rows: Sequence[Planted], request: Request) -> object:
    """As a set: the order is compared between stores, which is the stricter test."""
    return sorted(
        (*_planted(row), row.chunk["content"]) for row in narrowed(rows, request.criteria)
    )


def _listed(rows: Sequence[Planted], request: Request) -> object:
    found = [_planted(row) for row in narrowed(rows, request.criteria)]
    return found[request.offset : request.offset + request.limit]


def _get_each(facade: GetDocument, who: AgentIdentity | None, request: Request) -> list[Any]:
    """One answer an id; where an error repeats what the caller has sent, that is masked."""
    answers: list[Any] = []
    for document_id in request.ids:
        try:
            answers.append(facade(who, document_id))
        except TenantKbError as error:
            message = str(error).replace(repr(document_id), "<id>")
            answers.append({"error": error.code, "message": message})
    return answers


def _got(answers: Any) -> object:
    return [
        item if isinstance(item, dict) else (*_facts(item.document), item.content)
        for item in answers
    ]


def _gettable(rows: Sequence[Planted], request: Request) -> object:
    by_id = {row.id: row for row in rows}
    missing = {"error": "KB_NOT_FOUND", "message": "there is no document <id>"}
    return [
        (*_planted(by_id[key]), by_id[key].chunk["content"]) if key in by_id else missing
        for key in request.ids
    ]


def _classes(rows: Sequence[Planted], request: Request) -> object:
    found: dict[tuple[str, str], dict[str, str | None]] = {}
    for row in narrowed(rows, request.criteria):
        if name := row.chunk.get("className"):
            classes = found.setdefault((row.tenant, row.repo), {})
            classes[name] = row.chunk.get("extends") or classes.get(name)
    return sorted((tenant, repo, sorted(found[tenant, repo].items())) for tenant, repo in found)


def _counts(rows: Sequence[Planted], _: Request) -> object:
    places = [(row.tenant, row.repo) for row in rows]
    return [(*place, places.count(place)) for place in sorted(set(places))]


_readers = (
    Reader(
        Query,
        "query",
        frozenset({"text", "limit", "criteria"}),
        lambda facade, who, asked: facade(
            who, asked.text, limit=asked.limit, criteria=asked.criteria
        ),
        lambda answers: sorted((*_facts(found.document), found.snippet) for found in answers),
        _ranked,
    ),
    Reader(
        Search,
        "search",
        frozenset({"text", "limit", "criteria"}),
        lambda facade, who, asked: facade(
            who, asked.text, limit=asked.limit, criteria=asked.criteria
        ),
        lambda answers: sorted((*_facts(found.document), found.content) for found in answers),
        _ranked,
    ),
    Reader(
        ListDocuments,
        "list_documents",
        frozenset({"limit", "offset", "criteria"}),
        lambda facade, who, asked: facade(
            who, limit=asked.limit, offset=asked.offset, criteria=asked.criteria
        ),
        lambda answers: [_facts(document) for document in answers],
        _listed,
    ),
    Reader(GetDocument, "get_document", frozenset({"ids"}), _get_each, _got, _gettable),
    Reader(
        ClassHierarchy,
        "class_hierarchy",
        frozenset({"criteria"}),
        lambda facade, who, asked: facade(who, criteria=asked.criteria),
        lambda answer: [
            (each.tenant_id, each.repo_slug, sorted(each.parents.items())) for each in answer
        ],
        _classes,
    ),
    Reader(
        Status,
        "status",
        frozenset(),
        lambda facade, who, _: facade(who),
        lambda answer: [
            (each.tenant_id, each.repo_slug, each.rows) for each in answer.repositories
        ],
        _counts,
    ),
)
READERS = {reader.name: reader for reader in _readers}


def _named(*use_cases: type) -> dict[str, type]:
    return {use_case.__name__: use_case for use_case in use_cases}


WRITERS = _named(Sync, EmbedChunks)
"""The writing use cases; ``world.py`` knows how each one is called."""

SIGNALLED = _named(PlanDeletions, ApplyDeletions)
"""The use cases of deletion signals: see ``test_deletions.py``."""

DIAGNOSING = _named(DiagnoseStore)
"""What everybody may ask about the store: see ``test_diagnosis.py``."""

OPERATED = _named(ExportBackup, ImportBackup, TruncateCollection, RepairIndex)
"""The use cases for operators, who reach all rows: see ``test_operators.py``."""
