"""Get one chunk by its id."""

from __future__ import annotations

from attrs import frozen

from tenantkb.domain.context import TenantContext, require_context
from tenantkb.domain.documents import Document, content_of
from tenantkb.domain.errors import NotFoundError
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.records import shown
from tenantkb.ports.store import ReadingStore


@frozen
class DocumentContent:
    """One chunk with its text, as it is stored."""

    document: Document
    content: str


@frozen
class GetDocument:
    """One readable chunk.

    Attributes:
        store: Where the rows lie.
    """

    store: ReadingStore

    def __call__(self, context: TenantContext, chunk_id: ChunkId) -> DocumentContent:
        """The chunk with this id; of several under one id, a row of the caller's own comes first.

        Raises:
            AuthenticationError: no valid standing.
            InvalidInputError: ``chunk_id`` is no :class:`ChunkId`.
            NotFoundError: there is none that the caller may read. The message does not depend on
                whether another caller has one.
            StoreError: the store failed.
        """
        scope = require_context(context).reading()
        rows = self.store.get(scope, [chunk_id])
        for row in sorted(rows, key=lambda each: each.stamp.tenant_id != scope.identity.tenant_id):
            return DocumentContent(Document.of(row), content_of(row))
        raise NotFoundError(f"there is no document {shown(str(chunk_id))}")
