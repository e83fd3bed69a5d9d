"""Answers and reports as JSON values, the same on the command line and over a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from tenantkb.domain import fields
from tenantkb.domain.stamps import format_instant

if TYPE_CHECKING:  # every command needs something of this module, and none all of these
    from tenantkb.application.reading.context import FilledContext
    from tenantkb.application.reading.documents import Page
    from tenantkb.application.reading.hierarchy import RepositoryHierarchy
    from tenantkb.application.reading.query import Answer, ScoreParts
    from tenantkb.application.reading.search import FoundFile, FoundPassage
    from tenantkb.application.reading.status import RepositoryStatus, StatusReport
    from tenantkb.application.writing.embed import EmbedReport
    from tenantkb.application.writing.ingest import IngestReport
    from tenantkb.application.writing.sync import SyncReport
    from tenantkb.domain.documents import Document
    from tenantkb.domain.errors import SubmissionRefusedError
    from tenantkb.domain.extraction import Diagnostic, ExtractionReport
    from tenantkb.domain.identity import AgentIdentity
    from tenantkb.domain.ingestion import IngestionStatus
    from tenantkb.domain.paths import PathIdentity
    from tenantkb.domain.sync import Refusal


def problems_object(error: SubmissionRefusedError) -> dict[str, Any]:
    """What is wrong with records, by line and place."""
    return {
        "problems": [
            {"line": problem.line, "pointer": problem.pointer, "reason": problem.reason}
            for problem in error.problems
        ],
        "problemCount": error.total,
    }


def json_text(value: dict[str, Any]) -> str:
    """``value`` as indented JSON text."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # a file's name that is not UTF-8, which reads as lone surrogates
        return json.dumps(value, indent=2)


def document_object(document: Document) -> dict[str, Any]:
    """A document with the wire names of the contracts; unknown fields are left out."""
    told = {
        fields.ID: str(document.id),
        fields.TENANT_ID: document.tenant_id,
        fields.REPO_SLUG: document.repo_slug,
        fields.SOURCE_PATH: document.source_path,
        fields.TYPE: document.type,
        fields.KIND: document.kind,
        fields.NAME: document.name,
        fields.VISIBILITY: document.visibility.value,
        fields.LINE_START: document.line_start,
        fields.LINE_END: document.line_end,
        fields.INGESTED_AT: document.ingested_at,
    }
    return {key: value for key, value in told.items() if value is not None}


def page_object(page: Page) -> dict[str, Any]:
    """A page of a list, and where the next one begins."""
    return {
        "documents": [document_object(document) for document in page.documents],
        "cursor": page.cursor,
    }


def answer_objects(answers: Sequence[Answer], *, explain: bool = False) -> list[dict[str, Any]]:
    """A query's answers: each document, its score, and its content if asked for, else a snippet.

    Args:
        answers: The answers.
        explain: Whether to tell what makes each score.
    """
    return [
        {
            **document_object(answer.document),
            "score": round(answer.score, 6),
            "lines": [list(found) for found in answer.lines],
            **_said_object(answer, explain=explain),
        }
        for answer in answers
    ]


def file_objects(files: Sequence[FoundFile], *, explain: bool = False) -> list[dict[str, Any]]:
    """A search's answers: each file with its passages.

    Args:
        files: The answers.
        explain: Whether to tell what makes each score.
    """
    return [
        {
            **path_object(each.path),
            "score": round(each.score, 6),
            "passages": [
                {
                    "score": round(passage.score, 6),
                    "span": passage.span,
                    "lines": [list(found) for found in passage.lines],
                    "documents": [document_object(document) for document in passage.documents],
                    **_said_object(passage, explain=explain),
                }
                for passage in each.passages
            ],
        }
        for each in files
    ]


def context_object(filled: FilledContext, text: str) -> dict[str, Any]:
    """What answers a question, with where it comes from."""
    return {
        "query": text,
        "tokens": filled.tokens,
        "text": filled.text,
        "citations": [
            {
                "number": each.number,
                **path_object(each.path),
                "span": each.span,
                "score": round(each.score, 6),
                "isWhole": each.is_whole,
                "documents": [document_object(document) for document in each.documents],
            }
            for each in filled.citations
        ],
    }


def path_object(path: PathIdentity) -> dict[str, str]:
    """A file among all tenants' files."""
    return {
        fields.TENANT_ID: path.tenant_id,
        fields.REPO_SLUG: path.repo_slug,
        fields.ROOT_KIND: path.root_kind.value,
        fields.SOURCE_PATH: path.source_path,
    }


def _said_object(found: Answer | FoundPassage, *, explain: bool) -> dict[str, Any]:
    """What makes the score, if that is asked for, and the whole content or a snippet of it."""
    parts = {"parts": parts_object(found.parts)} if explain else {}
    if found.content is None:
        return {**parts, "snippet": found.snippet}
    return {**parts, fields.CONTENT: found.content}


def parts_object(parts: ScoreParts) -> dict[str, float]:
    """What makes a score."""
    return {name: round(value, 6) for name, value in attrs.asdict(parts).items()}


def hierarchy_objects(hierarchies: Sequence[RepositoryHierarchy]) -> list[dict[str, Any]]:
    """The classes of each repository, with their parents."""
    return [
        {
            fields.TENANT_ID: item.tenant_id,
            fields.REPO_SLUG: item.repo_slug,
            "parents": item.parents,
        }
        for item in hierarchies
    ]


def diagnostic_object(diagnostic: Diagnostic) -> dict[str, Any]:
    """A skipped file."""
    return {
        "path": diagnostic.path,
        "severity": diagnostic.severity.value,
        "reason": diagnostic.message,
    }


def sync_object(report: SyncReport, seconds: float) -> dict[str, Any]:
    """A synchronisation's report."""
    return {
        "added": report.plan.added,
        "updated": report.plan.reembedded + report.plan.restamped,
        "unchanged": report.plan.unchanged,
        "deleted": report.deleted,
        "kept": report.plan.kept + report.plan.stale - report.deleted,
        "duplicates": report.plan.duplicates,
        "failed": report.extraction.failed,
        "dryRun": report.dry_run,
        "seconds": round(seconds, 3),
        "sources": dict(report.extraction.counts),
        "skipped": dict(report.extraction.skipped()),
        "diagnostics": [diagnostic_object(item) for item in report.extraction.diagnostics],
        "refused": refusal_objects(report.refused),
    }


def refusal_objects(refused: Sequence[Refusal]) -> list[dict[str, str]]:
    """Chunks whose text the embedder refuses."""
    return [{"path": each.path, "name": each.name, "reason": each.reason} for each in refused]


def embed_object(report: EmbedReport, seconds: float) -> dict[str, Any]:
    """A submission's report."""
    return {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "duplicates": report.duplicates,
        "spoofs": report.spoofs,
        "refused": refusal_objects(report.refused),
        "seconds": round(seconds, 3),
    }


def status_object(report: StatusReport, caller: AgentIdentity) -> dict[str, Any]:
    """The state of the knowledge base."""
    tenants: dict[str, int] = {}
    for item in report.repositories:
        tenants[item.tenant_id] = tenants.get(item.tenant_id, 0) + item.rows
    return {
        "tenant": caller.tenant_id,
        "agent": caller.agent_id,
        "rows": report.rows,
        "tenants": tenants,
        "repositories": [repository_object(item) for item in report.repositories],
        "embedder": {"name": report.embedder.name, "dimension": report.embedder.dimension},
        "lexical": report.lexical,
        "isolationFaults": report.isolation_faults,
        "spoofs": report.spoofs,
        "spoofsRejected": report.spoofs_rejected,
    }


def ingest_object(report: IngestReport, seconds: float) -> dict[str, Any]:
    """A push's report."""
    return {
        "ingestionId": report.ingestion_id,
        **report.counts(),
        "refused": refusal_objects(report.refused),
        "diagnostics": [diagnostic_object(item) for item in report.diagnostics],
        "isComplete": report.is_complete,
        "seconds": round(seconds, 3),
    }


def ingestion_object(status: IngestionStatus) -> dict[str, Any]:
    """How far a push has come."""
    return {
        "ingestionId": status.ingestion_id,
        fields.REPO_SLUG: status.repo_slug,
        "state": status.state.value,
        "phase": status.phase,
        "done": status.done,
        "total": status.total,
        "startedAt": format_instant(status.started_at),
        "updatedAt": format_instant(status.updated_at),
        "counts": dict(status.counts),
        "error": status.error,
    }


def repository_object(status: RepositoryStatus) -> dict[str, Any]:
    """A repository, as far as the caller may see it."""
    return {
        fields.TENANT_ID: status.tenant_id,
        fields.REPO_SLUG: status.repo_slug,
        "rows": status.rows,
        "lastSync": status.last_sync and format_instant(status.last_sync),
        "head": status.head,
    }


def extraction_object(report: ExtractionReport, seconds: float) -> dict[str, Any]:
    """An extraction's report."""
    return {
        "chunks": report.total,
        "failed": report.failed,
        "seconds": round(seconds, 3),
        "sources": dict(report.counts),
        "skipped": dict(report.skipped()),
        "diagnostics": [diagnostic_object(item) for item in report.diagnostics],
    }
