"""What clients ask of the face of the application, whichever way they come: values to values."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from importlib.metadata import version
from typing import Any, BinaryIO

from attrs import evolve, frozen

from tenantkb.adapters.configuration.settings import RepositorySettings, Settings
from tenantkb.adapters.container import sources_of
from tenantkb.adapters.files.jsonl import read_records
from tenantkb.adapters.server import wire
from tenantkb.adapters.server.running import Watched
from tenantkb.adapters.wire import objects
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.application.writing.ingest import IngestRequest, parse_push
from tenantkb.application.writing.sync import SyncRequest
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import InvalidInputError, NotFoundError
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.natures import Nature
from tenantkb.domain.paths import RootKind
from tenantkb.domain.records import shown
from tenantkb.domain.rows import Criteria
from tenantkb.domain.stamps import Visibility

Json = dict[str, Any]

ALL_TYPES = "all"
"""What clients of the JavaScript system send where they want chunks of any type."""


@frozen
class Operations:
    """The face, bound to what is sent and told.

    Attributes:
        knowledge_base: The face.
        settings: For the repositories that the operator has configured.
    """

    knowledge_base: KnowledgeBase
    settings: Settings

    def query(self, context: TenantContext, asked: wire.AskedOneByOne) -> Json:
        """See :class:`application.reading.query.Query`."""
        answers = self.knowledge_base.query(context, asked.query, **_one_by_one(asked))
        results = objects.answer_objects(answers, explain=asked.explain)
        return {"query": asked.query, "results": results}

    def search(self, context: TenantContext, asked: wire.AskedOneByOne) -> Json:
        """See :class:`application.reading.search.Search`."""
        found = self.knowledge_base.search(context, asked.query, **_one_by_one(asked))
        results = objects.file_objects(found, explain=asked.explain)
        return {"query": asked.query, "results": results}

    def context(self, context: TenantContext, asked: wire.AskedForContext) -> Json:
        """See :class:`application.reading.context.FillContext`."""
        filled = self.knowledge_base.context(
            context, asked.query, tokens=asked.max_tokens, **_narrowed(asked)
        )
        return objects.context_object(filled, asked.query)

    def query_documents(self, context: TenantContext, asked: wire.QueryDocuments) -> Json:
        """A query, as clients of the JavaScript system know it."""
        answers = self.knowledge_base.query(
            context, asked.query, limit=asked.limit, criteria=Criteria(type=_type(asked.type))
        )
        results = [
            {
                fields.SOURCE: answer.document.source_path,
                "score": round(answer.score, 6),
                fields.ID: str(answer.document.id),
                fields.REPO_SLUG: answer.document.repo_slug,
                fields.NAME: answer.document.name,
                "lines": [list(found) for found in answer.lines],
                "snippet": answer.snippet,
                **(
                    {"metadata": objects.document_object(answer.document)}
                    if asked.include_metadata
                    else {}
                ),
            }
            for answer in answers
        ]
        top = results[0][fields.SOURCE] if results else None
        return {"topResult": top, "results": results}

    def list(self, context: TenantContext, asked: wire.ListDocuments) -> Json:
        """See :class:`application.reading.documents.ListDocuments`."""
        return objects.page_object(
            self.knowledge_base.list(
                context, limit=asked.limit, cursor=asked.cursor, offset=asked.offset
            )
        )

    def get(self, context: TenantContext, asked: wire.GetDocumentById) -> Json:
        """See :class:`application.reading.document.GetDocument`."""
        found = self.knowledge_base.get(context, ChunkId.parse(asked.id))
        return {
            "document": objects.document_object(found.document),
            fields.CONTENT: found.content,
        }

    def hierarchy(self, context: TenantContext, asked: wire.GetClassHierarchy) -> Json:
        """See :class:`application.reading.hierarchy.ClassHierarchy`."""
        found = self.knowledge_base.hierarchy(context, root=asked.root)
        return {"repositories": objects.hierarchy_objects(found)}

    def status(self, context: TenantContext, _: wire.Nothing) -> Json:
        """See :class:`application.reading.status.Status`."""
        return objects.status_object(self.knowledge_base.status(context), context.identity)

    def health(self, context: TenantContext, _: wire.Nothing) -> Json:
        """Whether store and embedder answer, and how many rows the caller may read."""
        report = self.knowledge_base.status(context)
        return {
            "status": "healthy",
            "version": version("tenantkb"),
            "rows": report.rows,
            "embedder": {"name": report.embedder.name, "dimension": report.embedder.dimension},
        }

    def ingest_push(
        self, context: TenantContext, sent: wire.Push, progress: Watched, *, gated: bool
    ) -> Json:
        """See :class:`application.writing.ingest.Ingest`.

        Args:
            context: The caller's standing.
            sent: The push.
            progress: Takes notice, and is told the id.
            gated: Whether no more chunks are taken than ``ingest.max_chunks``.
        """
        request, files = parse_push(sent.root, context)
        most = self.settings.ingest.max_chunks if gated else None
        return self._ingested(context, evolve(request, max_chunks=most), files, progress)

    def ingest_lines(self, context: TenantContext, lines: BinaryIO, progress: Watched) -> Json:
        """The same push as lines: the first one is all but its files, every other one a file.

        Raises:
            InvalidInputError: there is no first line of such a kind.
        """
        records = self._records(lines)
        _, first = next(records, (1, None))
        if not isinstance(first, dict) or "files" in first:
            raise InvalidInputError("the first line of a push is an object without its files")
        request, _ = parse_push({**first, "files": []}, context)
        return self._ingested(context, request, records, progress)

    def embed_lines(
        self, context: TenantContext, request: EmbedRequest, lines: BinaryIO, progress: Watched
    ) -> Json:
        """See :class:`application.writing.embed.EmbedChunks`: a record is a line."""
        started = time.monotonic()
        report = self.knowledge_base.embed(context, request, self._records(lines), progress)
        return objects.embed_object(report, time.monotonic() - started)

    def ingestion(self, context: TenantContext, asked: wire.GetIngestionProgress) -> Json:
        """See :class:`application.reading.ingestion.GetIngestion`."""
        status = self.knowledge_base.ingestion(context, asked.ingestion_id)
        return objects.ingestion_object(status)

    def _records(self, lines: BinaryIO) -> Iterator[tuple[int, object]]:
        return read_records(lines, self.settings.limits.body_bytes)

    def _ingested(
        self,
        context: TenantContext,
        request: IngestRequest,
        files: Iterable[tuple[int, object]],
        progress: Watched,
    ) -> Json:
        started = time.monotonic()
        report = self.knowledge_base.ingest(context, request, files, progress, progress.name)
        return objects.ingest_object(report, time.monotonic() - started)

    def manage(
        self, context: TenantContext, asked: wire.ManageKnowledgeBase, progress: Watched
    ) -> Json:
        """Synchronise a repository that is configured for the caller's tenant, or tell its state.

        Raises:
            NotFoundError: none is, by that name; whether another tenant's is cannot be told.
        """
        entry = self._configured(context, asked.repo)
        told: Json = {"action": asked.action, "repo": entry.repo}
        if asked.action == "status":
            owner = context.identity.tenant_id
            every = self.knowledge_base.status(context).repositories
            mine = [
                each for each in every if (each.tenant_id, each.repo_slug) == (owner, entry.repo)
            ]
            return told | {"repository": next(map(objects.repository_object, mine), None)}
        request = SyncRequest(
            workspace=entry.workspace,
            repo_slug=entry.repo,
            root_kind=RootKind(entry.root_kind),
            visibility=Visibility(entry.visibility),
            deletable_share=self.settings.sync.deletable_share,
            sources=sources_of(self.settings, entry),
        )
        started = time.monotonic()
        with redirect_stdout(sys.stderr):  # sources and parsers of the operator's own may print
            report = self.knowledge_base.sync(context, request, progress)
        return told | {"report": objects.sync_object(report, time.monotonic() - started)}

    def _configured(self, context: TenantContext, repo: str) -> RepositorySettings:
        """A workspace of this machine is read for the tenant that it is configured for alone.

        One that is configured for nobody is for whoever has the machine, as the configuration names
        the caller there.
        """
        identity = self.settings.identity
        of_nobody = identity.tenant if identity.kind == "static" else None
        for entry in self.settings.repositories:
            owner = entry.tenant or of_nobody
            if entry.repo == repo and owner == context.identity.tenant_id:
                return evolve(entry, tenant=owner)
        raise NotFoundError(f"no repository {shown(repo)} is configured for this tenant")


def _type(sent: str | None) -> str | None:
    return None if sent == ALL_TYPES else sent


def _narrowed(asked: wire.Asked) -> dict[str, Any]:
    return {
        "criteria": Criteria(
            type=_type(asked.type), kind=asked.kind, path=asked.path, repo_slug=asked.repo
        ),
        "prefer": None if asked.prefer is None else Nature(asked.prefer),
    }


def _one_by_one(asked: wire.AskedOneByOne) -> dict[str, Any]:
    return {
        **_narrowed(asked),
        "limit": asked.limit,
        "page": asked.page,
        "per_file": asked.per_file,
        "content": asked.content,
    }
