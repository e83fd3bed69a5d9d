"""Find the texts that answer a question."""

from __future__ import annotations

from attrs import frozen

from tenantkb.application.reading.ranking import RankedReadUseCase
from tenantkb.domain.documents import Document, content_of
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria


@frozen
class Passage:
    """One whole chunk that answers a question.

    Attributes:
        document: The chunk.
        score: Cosine similarity, -1 to 1.
        content: The chunk's text, as it is stored. It never comes from a file system: a path of
            another tenant's repository says nothing about this machine's files.
    """

    document: Document
    score: float
    content: str


@frozen
class Search(RankedReadUseCase):
    """Rank the readable chunks by their similarity to a text; for agents who want the content."""

    def __call__(
        self,
        identity: AgentIdentity | None,
        text: str,
        *,
        limit: int = 10,
        criteria: Criteria = ANY,
    ) -> list[Passage]:
        """The ``limit`` best chunks, best first.

        Raises:
            AuthenticationError: no valid identity.
            InvalidInputError: the text is blank, or ``limit`` is not within 1 to 1,000.
            StoreMismatchError: the collection was embedded by another embedder.
        """
        return [
            Passage(Document.of(match.row), match.score, content_of(match.row))
            for match in self._ranked(identity, text, limit, criteria)
        ]
