"""Find the chunks that answer a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Self

from attrs import field, frozen

from tenantkb.application.reading.ranking import RankedUseCase
from tenantkb.domain import fusion
from tenantkb.domain.context import TenantContext
from tenantkb.domain.documents import Document
from tenantkb.domain.fusion import Hit
from tenantkb.domain.natures import Nature
from tenantkb.domain.passages import Passage
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.domain.snippets import matching_lines, snippet

SNIPPET_LENGTH: Final = 240


@frozen
class ScoreParts:
    """What makes a score, see :mod:`domain.fusion`.

    Attributes:
        cosine: Of the question's and the chunk's vector, -1 to 1.
        bm25: At least 0.
        vector: The share of the cosine, normalised over the candidates and weighted.
        lexical: The same of BM25.
        name: For a symbol, class or file that the question mentions.
        cover: For terms of the name that the question has.
        lift: For a class whose descendants were found.
        demotion: Taken away where another kind of text is preferred.
    """

    cosine: float = 0.0
    bm25: float = 0.0
    vector: float = 0.0
    lexical: float = 0.0
    name: float = 0.0
    cover: float = 0.0
    lift: float = 0.0
    demotion: float = 0.0

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """The parts of a hit."""
        return cls(
            hit.candidate.cosine,
            hit.candidate.bm25,
            hit.vector,
            hit.lexical,
            hit.name,
            hit.cover,
            hit.lift,
            hit.demotion,
        )


@frozen
class Answer:
    """One chunk that answers a question.

    Attributes:
        document: The chunk.
        score: 0 to 1. It depends on the question and all candidates, not on how many are asked for.
        snippet: The part of the chunk's text that says most about the question, at most 240
            characters, of one line or several.
        content: The chunk's text, where it was asked for. It is what the store holds and never
            comes from a file system: a path of another tenant's repository says nothing about this
            machine's files.
        lines: Ranges of lines of the file with terms of the question, first and last, from 1;
            empty where it is not known which lines the chunk has.
        parts: What makes the score.
    """

    document: Document
    score: float
    snippet: str
    content: str | None = None
    lines: Sequence[tuple[int, int]] = ()
    parts: ScoreParts = field(factory=ScoreParts)


@frozen
class Query(RankedUseCase):
    """The chunks that answer a question, one by one."""

    def __call__(
        self,
        context: TenantContext,
        text: str,
        *,
        limit: int = 10,
        page: int = 1,
        criteria: Criteria = ANY,
        prefer: Nature | None = None,
        per_file: int | None = None,
        content: bool = False,
    ) -> list[Answer]:
        """The best chunks, best first; fewer than ``limit`` where the candidates end.

        Args:
            context: The caller's standing.
            text: The question, at most 2,000 characters.
            limit: How many, 1 to 1,000.
            page: Which so many, from 1; what one page leaves out is on the next.
            criteria: What the chunks have to be.
            prefer: What kind of text is asked for; the others are demoted.
            per_file: Most answers of a page from one file as long as there are others, at least 1.
            content: Whether the answers bring whole chunks.

        Raises:
            InvalidInputError: an argument has another form.
            AuthenticationError, StoreMismatchError, EmbedderError, StoreError: as for
                :class:`~application.reading.ranking.Ranking`.
        """
        per_file = self._checked(limit, page, per_file, "answers from one file")
        ranked = self.ranking(context, text, criteria=criteria, prefer=prefer)
        shown = fusion.page(ranked.hits, page, limit, per_file=per_file)
        return [_answer(hit, ranked.weights, content=content) for hit in shown]


def _answer(hit: Hit, weights: Mapping[str, float], *, content: bool) -> Answer:
    passage = Passage.of(hit)
    return Answer(
        Document.of(hit.row),
        hit.score,
        snippet(passage.text, weights, SNIPPET_LENGTH).text,
        passage.text if content else None,
        lines_with(passage, weights),
        ScoreParts.of(hit),
    )


def lines_with(passage: Passage, weights: Mapping[str, float]) -> list[tuple[int, int]]:
    """The ranges of a file's lines with one of the terms; none where lines are not known."""
    if passage.lines is None:
        return []
    before = passage.lines[0] - 1
    found = matching_lines(passage.text, weights.keys())
    return [(before + begin, before + end) for begin, end in found]
