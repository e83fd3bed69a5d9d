"""Get one chunk by its id."""

from __future__ import annotations

from attrs import frozen

from tenantkb.application.reading.base import ReadUseCase
from tenantkb.domain.documents import Document, content_of
from tenantkb.domain.errors import NotFoundError
from tenantkb.domain.identity import AgentIdentity


@frozen
class DocumentContent:
    """One chunk with its text, as it is stored."""

    document: Document
    content: str


@frozen
class GetDocument(ReadUseCase):
    """One readable chunk."""

    def __call__(self, identity: AgentIdentity | None, document_id: str) -> DocumentContent:
        """The chunk with this id.

        Raises:
            AuthenticationError: no valid identity.
            NotFoundError: there is none that the caller may read. The message does not depend on
                whether another caller has one.
        """
        scope = self._scope(identity)
        rows = self.store.get(scope, [document_id]) if isinstance(document_id, str) else []
        for row in rows:
            if self._admit(scope, row) and row.id == document_id:
                return DocumentContent(Document.of(row), content_of(row))
        raise NotFoundError(f"there is no document {document_id!r}")
