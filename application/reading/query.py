"""Find the chunks that answer a question."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from tenantkb.domain.context import TenantContext, require_context
from tenantkb.domain.documents import Document, content_of
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.paths import is_well_formed
from tenantkb.domain.rows import ANY, Criteria, require_criteria
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.store import ReadingStore

LIMIT_MAXIMUM: Final = 1_000
"""The most chunks that one question is answered with."""

_SNIPPET_LENGTH: Final = 240


@frozen
class Answer:
    """One chunk that answers a question.

    Attributes:
        document: The chunk.
        score: Cosine similarity, -1 to 1.
        snippet: The beginning of the chunk's text on one line, at most 240 characters.
        content: The chunk's text, where it was asked for. It is what the store holds and never
            comes from a file system: a path of another tenant's repository says nothing about this
            machine's files.
    """

    document: Document
    score: float
    snippet: str
    content: str | None = None


@frozen
class Query:
    """Rank the readable chunks by their similarity to a text.

    Attributes:
        store: Where the rows lie.
        embedder: The one that embedded the collection.
    """

    store: ReadingStore
    embedder: Embedder

    def __call__(
        self,
        context: TenantContext,
        text: str,
        *,
        limit: int = 10,
        criteria: Criteria = ANY,
        content: bool = False,
    ) -> list[Answer]:
        """The ``limit`` best chunks, best first.

        Args:
            context: The caller's standing.
            text: The question.
            limit: How many, 1 to 1,000.
            criteria: What the chunks have to be.
            content: Whether the answers bring whole chunks.

        Raises:
            AuthenticationError: no valid standing.
            InvalidInputError: the text is blank, or the limit or the criteria have another form.
            StoreMismatchError: the collection was embedded by another embedder.
            EmbedderError, StoreError: one of them failed.
        """
        scope = require_context(context).reading()
        if not isinstance(text, str) or not text.strip() or not is_well_formed(text):
            raise InvalidInputError("a question needs some text")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LIMIT_MAXIMUM:
            raise InvalidInputError(f"the limit is a whole number from 1 to {LIMIT_MAXIMUM:,}")
        require_criteria(criteria)
        profile = self.store.profile()
        if profile is None:
            return []
        profile.require(self.embedder.profile)
        vector = self.embedder.embed([text])[0]
        return [
            Answer(
                Document.of(match.row),
                match.score,
                snippet_of(content_of(match.row)),
                content_of(match.row) if content else None,
            )
            for match in self.store.query(scope, vector, limit, criteria)
        ]


def snippet_of(content: str) -> str:
    """The first 240 characters of a text, white space folded, with an ellipsis where it goes on."""
    beginning = content[: 4 * _SNIPPET_LENGTH]
    folded = " ".join(beginning.split())
    if len(folded) <= _SNIPPET_LENGTH and beginning == content:
        return folded
    return folded[: _SNIPPET_LENGTH - 1].rstrip() + "…"
