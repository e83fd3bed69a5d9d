"""Find the documents that answer a question."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from tenantkb.application.reading.ranking import RankedReadUseCase
from tenantkb.domain.documents import Document, content_of
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria

_SNIPPET_LENGTH: Final = 240


@frozen
class Answer:
    """One document that answers a question.

    Attributes:
        document: The chunk.
        score: Cosine similarity, -1 to 1.
        snippet: The beginning of the chunk's text on one line, at most 240 characters.
    """

    document: Document
    score: float
    snippet: str


@frozen
class Query(RankedReadUseCase):
    """Rank the readable chunks by their similarity to a text; for people who want places."""

    def __call__(
        self,
        identity: AgentIdentity | None,
        text: str,
        *,
        limit: int = 10,
        criteria: Criteria = ANY,
    ) -> list[Answer]:
        """The ``limit`` best chunks, best first.

        Raises:
            AuthenticationError: no valid identity.
            InvalidInputError: the text is blank, or ``limit`` is not within 1 to 1,000.
            StoreMismatchError: the collection was embedded by another embedder.
        """
        return [
            Answer(Document.of(match.row), match.score, snippet_of(content_of(match.row)))
            for match in self._ranked(identity, text, limit, criteria)
        ]


def snippet_of(content: str) -> str:
    """The first 240 characters of a text, white space folded, with an ellipsis where it goes on."""
    beginning = content[: 4 * _SNIPPET_LENGTH]
    folded = " ".join(beginning.split())
    if len(folded) <= _SNIPPET_LENGTH and beginning == content:
        return folded
    return folded[: _SNIPPET_LENGTH - 1].rstrip() + "…"
