"""Fill the context of a language model with what answers a question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from attrs import evolve, frozen

from tenantkb.application.reading.arguments import require_whole_number
from tenantkb.application.reading.ranking import RankedUseCase
from tenantkb.domain import fusion
from tenantkb.domain.context import TenantContext
from tenantkb.domain.documents import Document, content_of
from tenantkb.domain.fusion import Hit
from tenantkb.domain.natures import Nature
from tenantkb.domain.passages import BYTES_OF_A_TOKEN, Passage, joined, tokens_of
from tenantkb.domain.paths import PathIdentity
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.domain.snippets import SHORTEST, snippet

TOKENS_MINIMUM: Final = 100
TOKENS_MAXIMUM: Final = 200_000

_PAGE: Final = 10
"""Of so many chunks, most come from several files."""

_SHORTEST: Final = 50
"""Tokens that a part of a passage has to have at least to be worth its place."""


@frozen
class Citation:
    """Where a passage comes from.

    Attributes:
        number: What the text calls it, from 1.
        path: Whose file, and which.
        span: The first and the last line, from 1; ``None`` where they are not known.
        documents: The chunks that the passage is made of, best first.
        score: Of the best one, 0 to 1.
        text: The passage.
        is_whole: Whether the chunks are there from beginning to end.
    """

    number: int
    path: PathIdentity
    span: tuple[int, int] | None
    documents: Sequence[Document]
    score: float
    text: str
    is_whole: bool

    @property
    def told(self) -> str:
        """The passage as a model reads it, under a line that tells where it comes from."""
        path, span = self.path, self.span
        place = path.source_path if span is None else f"{path.source_path}:{span[0]}-{span[1]}"
        head = f"[{self.number}] {path.tenant_id}:{path.repo_slug} {place}"
        return f"{head}\n{self.text.rstrip()}\n\n"


@frozen
class FilledContext:
    """What answers a question, ready to be read by a language model.

    Attributes:
        text: The passages, each under a line with its number, repository and place. It is what
            tenants have written, and may say anything: data, and no instruction.
        citations: Where they come from, in the order of the text.
        tokens: About how many tokens the text is, see :func:`domain.passages.tokens_of`.
    """

    text: str
    citations: Sequence[Citation]
    tokens: int


@frozen
class FillContext(RankedUseCase):
    """The best passages that fit into a number of tokens, each once, in reading order."""

    def __call__(
        self,
        context: TenantContext,
        text: str,
        *,
        tokens: int = 4_000,
        criteria: Criteria = ANY,
        prefer: Nature | None = None,
    ) -> FilledContext:
        """What fits.

        The best chunks are taken in the order of a query's pages, and of the first one that does
        not fit the part that says most about the question. The file of the best one comes first.

        Args:
            context: The caller's standing.
            text: The question, at most 2,000 characters.
            tokens: The room, 100 to 200,000.
            criteria: What the chunks have to be.
            prefer: What kind of text is asked for; the others are demoted.

        Raises:
            InvalidInputError: an argument has another form.
            AuthenticationError, StoreMismatchError, EmbedderError, StoreError: as for
                :class:`~application.reading.ranking.Ranking`.
        """
        require_whole_number("number of tokens", tokens, TOKENS_MINIMUM, TOKENS_MAXIMUM)
        ranked = self.ranking(context, text, criteria=criteria, prefer=prefer)
        pages = fusion.pages(ranked.hits, _PAGE, per_file=self.per_file)
        of_file: dict[PathIdentity, list[Passage]] = {}
        for passage in _fitting(chain.from_iterable(pages), ranked.weights, tokens):
            of_file.setdefault(passage.best.row.path, []).append(passage)
        passages = [each for chosen in of_file.values() for each in joined(chosen)]
        citations = [_citation(number, each) for number, each in enumerate(passages, 1)]
        told = "".join(citation.told for citation in citations)
        return FilledContext(told, citations, tokens_of(told))


def _fitting(hits: Iterable[Hit], weights: Mapping[str, float], room: int) -> Iterator[Passage]:
    """Passages of so many tokens, with what is told of them."""
    seen = set[str]()
    for number, hit in enumerate(hits, 1):
        passage = Passage.of(hit)
        if passage.text in seen:  # a copied file
            continue
        seen.add(passage.text)
        citation = _citation(number, passage)
        needed = tokens_of(citation.told)
        if needed <= room:
            room -= needed
            yield passage
            continue
        left = room - tokens_of(evolve(citation, text="").told)
        if left >= _SHORTEST:
            yield _part(passage, weights, left)
        return


def _part(passage: Passage, weights: Mapping[str, float], tokens: int) -> Passage:
    """The part of a passage that says most, of so many tokens."""
    size = tokens * BYTES_OF_A_TOKEN
    while True:
        part = snippet(passage.text, weights, max(SHORTEST, size))
        if tokens_of(part.text) <= tokens:
            break
        size = size * 3 // 4  # characters of several bytes
    lines = passage.lines
    if lines is not None:
        lines = (lines[0] - 1 + part.first_line, lines[0] - 1 + part.last_line)
    return Passage(passage.hits, part.text, lines)


def _citation(number: int, passage: Passage) -> Citation:
    return Citation(
        number,
        passage.best.row.path,
        passage.lines,
        [Document.of(hit.row) for hit in passage.hits],
        passage.best.score,
        passage.text,
        all(content_of(hit.row) in passage.text for hit in passage.hits),
    )
