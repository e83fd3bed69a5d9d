"""Find the files that answer a question, with the passages that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from tenantkb.application.reading.query import SNIPPET_LENGTH, ScoreParts, lines_with
from tenantkb.application.reading.ranking import RankedUseCase
from tenantkb.domain import fusion
from tenantkb.domain.context import TenantContext
from tenantkb.domain.documents import Document
from tenantkb.domain.fusion import Hit
from tenantkb.domain.natures import Nature
from tenantkb.domain.passages import Passage, joined
from tenantkb.domain.paths import PathIdentity
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.domain.snippets import snippet


@frozen
class FoundPassage:
    """A part of a file that answers a question.

    Attributes:
        documents: The chunks that it is made of, best first; all are of the file.
        score: Of the best one, 0 to 1.
        snippet: The part of the text that says most about the question, at most 240 characters.
        content: The whole text, where it was asked for.
        span: The first and the last line, from 1; ``None`` where they are not known.
        lines: Ranges of lines with terms of the question, within the span.
        parts: What makes the score.
    """

    documents: Sequence[Document]
    score: float
    snippet: str
    content: str | None
    span: tuple[int, int] | None
    lines: Sequence[tuple[int, int]]
    parts: ScoreParts


@frozen
class FoundFile:
    """A file that answers a question.

    Attributes:
        path: Whose it is, and where.
        score: Of its best passage, 0 to 1.
        passages: In reading order.
    """

    path: PathIdentity
    score: float
    passages: Sequence[FoundPassage]


@frozen
class Search(RankedUseCase):
    """The files that answer a question; neighbouring chunks of a file are one passage."""

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
    ) -> list[FoundFile]:
        """The best files, best first by their best chunk.

        Args:
            context: The caller's standing.
            text: The question, at most 2,000 characters.
            limit: How many files, 1 to 1,000.
            page: Which so many, from 1; what one page leaves out is on the next.
            criteria: What the chunks have to be.
            prefer: What kind of text is asked for; the others are demoted.
            per_file: Most chunks of one file, its best ones, at least 1.
            content: Whether passages bring their whole text.

        Raises:
            InvalidInputError: an argument has another form.
            AuthenticationError, StoreMismatchError, EmbedderError, StoreError: as for
                :class:`~application.reading.ranking.Ranking`.
        """
        per_file = self._checked(limit, page, per_file, "chunks of one file")
        ranked = self.ranking(context, text, criteria=criteria, prefer=prefer)
        of_file: dict[PathIdentity, list[Hit]] = {}
        for hit in ranked.hits:
            of_file.setdefault(hit.row.path, []).append(hit)
        heads = [hits[0] for hits in of_file.values()]
        return [
            FoundFile(
                head.row.path,
                head.score,
                [
                    _found(passage, ranked.weights, content=content)
                    for passage in joined(
                        [Passage.of(hit) for hit in of_file[head.row.path][:per_file]]
                    )
                ],
            )
            for head in fusion.page(heads, page, limit, per_file=None)
        ]


def _found(passage: Passage, weights: Mapping[str, float], *, content: bool) -> FoundPassage:
    return FoundPassage(
        [Document.of(hit.row) for hit in passage.hits],
        passage.best.score,
        snippet(passage.text, weights, SNIPPET_LENGTH).text,
        passage.text if content else None,
        passage.lines,
        lines_with(passage, weights),
        ScoreParts.of(passage.best),
    )
