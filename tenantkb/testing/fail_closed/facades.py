"""Every way to reach rows: the attributes of the knowledge base, and how each one is called.

An attribute that is not in one of the tables fails the suite.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

import attrs
from attrs import frozen

from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.reading.context import TOKENS_MAXIMUM
from tenantkb.domain.documents import Document
from tenantkb.domain.errors import TenantKbError
from tenantkb.domain.globs import matches
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.records import shown
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.testing.fail_closed.model import Planted

QUESTION = "how is the worker deployed with a password"


def discovered() -> set[str]:
    """The names of everything that the knowledge base offers."""
    return {field.name for field in attrs.fields(KnowledgeBase) if not field.name.startswith("_")}


@frozen
class Request:
    """What a client can send to a reading facade; each takes its part."""

    text: Any = QUESTION
    limit: Any = 1000
    offset: Any = 0
    cursor: Any = None
    criteria: Any = ANY
    ids: Sequence[Any] = ()


@frozen
class Reader:
    """How a reading facade is called and what its answer says about rows.

    Attributes:
        name: Its name in the knowledge base.
        takes: The fields of :class:`Request` that it understands.
        call: Calls it, given the facade, the context and the request.
        shown: The answer as a value that can be compared.
        expected: The same value, made from the rows that the caller may see.
    """

    name: str
    takes: frozenset[str]
    call: Callable[[Any, Any, Request], Any]
    shown: Callable[[Any], object]
    expected: Callable[[Sequence[Planted], Request], object]

    def ask(self, knowledge_base: KnowledgeBase, context: Any, request: Request) -> Any:
        """The answer, or the error in its place; an error that is not clean is raised."""
        try:
            return self.call(getattr(knowledge_base, self.name), context, request)
        except TenantKbError as error:
            return refusal(error)


def refusal(error: TenantKbError) -> dict[str, str]:
    """An error as an answer."""
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
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    return value


def cursor_to(row_id: object, label: object) -> str:
    """A cursor of a list, as whoever has seen one can forge it."""
    return base64.urlsafe_b64encode(json.dumps([row_id, label]).encode()).decode()


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
        fits = criteria.path is None or matches(criteria.path, str(row.chunk["source"]))
        return fits and all(asked is None or asked == has for asked, has in pairs)

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


def _in_files(rows: Sequence[Planted], request: Request) -> object:
    return sorted(_planted(row) for row in narrowed(rows, request.criteria))


def _texts(rows: Sequence[Planted], request: Request) -> object:
    """Of rows with one text, that of one of them."""
    return sorted({str(row.chunk["content"]) for row in narrowed(rows, request.criteria)})


def _listed(rows: Sequence[Planted], request: Request) -> object:
    found = [_planted(row) for row in narrowed(rows, request.criteria)]
    return found[request.offset : request.offset + request.limit]


def _get_each(facade: Any, context: Any, request: Request) -> list[Any]:
    """One answer an id; where an error repeats what the caller has sent, that is masked."""
    answers: list[Any] = []
    for sent in request.ids:
        try:
            answers.append(facade(context, ChunkId.parse(sent)))
        except TenantKbError as error:
            told = refusal(error)
            repeated = shown(sent) if isinstance(sent, str) else "<nothing>"
            answers.append({**told, "message": told["message"].replace(repeated, "<id>")})
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


READERS: Final = {
    reader.name: reader
    for reader in (
        Reader(
            "query",
            frozenset({"text", "limit", "criteria"}),
            lambda facade, context, asked: facade(
                context, asked.text, limit=asked.limit, criteria=asked.criteria, content=True
            ),
            lambda answers: sorted((*_facts(found.document), found.content) for found in answers),
            _ranked,
        ),
        Reader(
            "search",
            frozenset({"text", "limit", "criteria"}),
            lambda facade, context, asked: facade(
                context,
                asked.text,
                limit=asked.limit,
                criteria=asked.criteria,
                per_file=1000,
                content=True,
            ),
            lambda answer: sorted(
                _facts(document)
                for found in answer
                for passage in found.passages
                for document in passage.documents
            ),
            _in_files,
        ),
        Reader(
            "context",
            frozenset({"text", "criteria"}),
            lambda facade, context, asked: facade(
                context, asked.text, tokens=TOKENS_MAXIMUM, criteria=asked.criteria
            ),
            lambda filled: sorted(citation.text for citation in filled.citations),
            _texts,
        ),
        Reader(
            "list",
            frozenset({"limit", "offset", "cursor", "criteria"}),
            lambda facade, context, asked: facade(
                context,
                limit=asked.limit,
                offset=asked.offset,
                cursor=asked.cursor,
                criteria=asked.criteria,
            ),
            lambda page: [_facts(document) for document in page.documents],
            _listed,
        ),
        Reader("get", frozenset({"ids"}), _get_each, _got, _gettable),
        Reader(
            "hierarchy",
            frozenset({"criteria"}),
            lambda facade, context, asked: facade(context, criteria=asked.criteria),
            lambda answer: [
                (each.tenant_id, each.repo_slug, sorted(each.parents.items())) for each in answer
            ],
            _classes,
        ),
        Reader(
            "status",
            frozenset(),
            lambda facade, context, _: facade(context),
            lambda answer: [
                (each.tenant_id, each.repo_slug, each.rows) for each in answer.repositories
            ],
            _counts,
        ),
    )
}
"""The facades that answer rows, or something made of them."""

WRITERS: Final = ("sync", "embed")
"""Those that write; ``world.py`` knows how each one is called."""

SIGNALLED: Final = ("plan_deletions", "apply_deletions")
"""Those of deletion signals: see ``deletions.py``."""

PUSHING: Final = ("ingest", "ingestion")
"""Those of a push: see ``pushes.py``."""

DIAGNOSING: Final = ("diagnose",)
"""What everybody may ask about the store: see ``diagnosis.py``."""

OPERATED: Final = ("export", "restore", "truncate", "migrate", "repair")
"""Those for operators, who reach all rows: see ``operators.py``."""

REACHING_NO_ROWS: Final = ("authenticate", "create")
"""The others: one gives contexts, one extracts a workspace."""
