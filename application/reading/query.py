"""Find the chunks that answer a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, Self

import numpy as np
from attrs import field, frozen, validators

from tenantkb.application.reading.arguments import require_whole_number
from tenantkb.domain import fields, fusion
from tenantkb.domain.bm25 import Bm25, Floats, Statistics
from tenantkb.domain.context import ReadScope, TenantContext, require_context
from tenantkb.domain.documents import Document, content_of
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.fusion import CANDIDATES, Candidate, Hit, Question
from tenantkb.domain.ids import RowKey
from tenantkb.domain.lexical import field_lengths, frequencies_in, terms_of
from tenantkb.domain.natures import Nature
from tenantkb.domain.paths import is_well_formed
from tenantkb.domain.rows import ANY, Criteria, StampedRow, require_criteria
from tenantkb.domain.snippets import matching_lines, snippet
from tenantkb.domain.tokens import token_counts
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.engine import Postings, Vector
from tenantkb.ports.store import ReadingStore

LIMIT_MAXIMUM: Final = 1_000
"""The most chunks that may be asked for. There are no more than the candidates of both arms."""

QUESTION_MAXIMUM: Final = 2_000
"""The longest question, in characters."""

_TERMS: Final = 64
"""Distinct tokens that count in the lexical arm, the first ones: more say little more."""

_SNIPPET_LENGTH: Final = 240


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
class Query:
    """Rank the readable chunks by a question's words and its vector.

    Where the store keeps no postings, words rank the candidates of the vectors, by statistics of
    these candidates.

    Attributes:
        store: Where the rows lie.
        embedder: The one that embedded the collection.
        vector_weight: Share of the cosine in a score, 0 to 1; the words have the rest.
        per_file: Most answers from one file, unless a question says otherwise.
    """

    store: ReadingStore
    embedder: Embedder
    vector_weight: float = fusion.VECTOR_WEIGHT
    per_file: int = field(default=fusion.PER_FILE, validator=validators.ge(1))

    def __call__(
        self,
        context: TenantContext,
        text: str,
        *,
        limit: int = 10,
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
            criteria: What the chunks have to be.
            prefer: What kind of text is asked for; the others are demoted.
            per_file: Most answers from one file as long as there are others, at least 1.
            content: Whether the answers bring whole chunks.

        Raises:
            AuthenticationError: no valid standing.
            InvalidInputError: the text is blank or too long, or the limit, the criteria or another
                argument have another form.
            StoreMismatchError: the collection was embedded by another embedder.
            EmbedderError, StoreError: one of them failed.
        """
        scope = require_context(context).reading()
        if not isinstance(text, str) or not text.strip() or not is_well_formed(text):
            raise InvalidInputError("a question needs some text")
        if len(text) > QUESTION_MAXIMUM:
            raise InvalidInputError(f"a question has at most {QUESTION_MAXIMUM:,} characters")
        require_whole_number("limit", limit, 1, LIMIT_MAXIMUM)
        per_file = self.per_file if per_file is None else per_file
        require_whole_number("number of answers from one file", per_file, 1, LIMIT_MAXIMUM)
        if prefer is not None and not isinstance(prefer, Nature):
            raise InvalidInputError("what is preferred is a Nature")
        require_criteria(criteria)
        profile = self.store.profile()
        if profile is None:
            return []
        profile.require(self.embedder.profile)
        question = Question.of(text)
        terms = tuple(sorted(islice(token_counts(text), _TERMS)))
        vector = self.embedder.embed([text])[0]
        candidates, bm25 = self._candidates(scope, vector, terms, criteria)
        hits = fusion.ranked(question, candidates, vector_weight=self.vector_weight, prefer=prefer)
        shown = fusion.page(hits, 1, limit, per_file=per_file)
        weights = dict(zip(bm25.terms, bm25.idf, strict=True))
        return [_answer(hit, weights, content=content) for hit in shown]

    def _candidates(
        self, scope: ReadScope, vector: Vector, terms: Sequence[str], criteria: Criteria
    ) -> tuple[list[Candidate], Bm25]:
        """What both arms propose, each row with both scores, and what weighs the terms."""
        near = self.store.query(scope, vector, CANDIDATES, criteria)
        postings = self.store.postings(scope, terms, criteria)
        if postings is None:
            bm25, scores = _scored([match.row for match in near], terms)
            return [
                Candidate(match.row, match.score, score)
                for match, score in zip(near, scores, strict=True)
            ], bm25
        bm25 = Bm25.of(terms, postings.statistics)
        scores_of_all = bm25.scores(postings.frequencies, postings.lengths)
        lexical = _best(postings, scores_of_all)
        there = {match.row.key for match in near}
        others = [key for key in lexical if key not in there]
        matches = [*near, *self.store.compare(scope, vector, others, criteria)]
        positions = postings.keys.positions(there - lexical.keys())
        lexical |= {key: float(scores_of_all[at]) for key, at in positions.items()}
        return [
            Candidate(match.row, match.score, lexical.get(match.row.key, 0.0)) for match in matches
        ], bm25


def _best(postings: Postings, scores: Floats) -> dict[RowKey, float]:
    """The candidates of the lexical arm with their scores; equal ones are taken by id, then label.

    The arm may have as many rows as the store, of which few get an address.
    """
    chosen = np.arange(len(scores))
    if len(scores) > CANDIDATES:
        chosen = np.flatnonzero(scores >= np.partition(scores, -CANDIDATES)[-CANDIDATES])
    arm = {postings.keys[at]: float(scores[at]) for at in chosen.tolist()}
    return {key: arm[key] for key in fusion.proposed(arm)}


def _scored(rows: Sequence[StampedRow], terms: Sequence[str]) -> tuple[Bm25, list[float]]:
    """BM25 of some rows by statistics of these very rows."""
    found = [terms_of(row.metadata()) for row in rows]
    lengths = [field_lengths(each) for each in found]
    bm25 = Bm25.of(terms, Statistics.of(found, lengths, terms))
    scores = bm25.scores(
        frequencies_in(found, bm25.terms), np.array(lengths, np.int64).reshape(-1, 3)
    )
    return bm25, scores.tolist()


def _answer(hit: Hit, weights: Mapping[str, float], *, content: bool) -> Answer:
    text = content_of(hit.row)
    return Answer(
        Document.of(hit.row),
        hit.score,
        snippet(text, weights, _SNIPPET_LENGTH).text,
        text if content else None,
        _lines(hit.row, text, weights),
        ScoreParts.of(hit),
    )


def _lines(row: StampedRow, text: str, weights: Mapping[str, float]) -> list[tuple[int, int]]:
    """The lines of the file with one of the terms, where the text is so many lines of it."""
    first, last = row.fields.get(fields.LINE_START), row.fields.get(fields.LINE_END)
    if type(first) is not int or type(last) is not int or last - first != text.count("\n"):
        return []
    found = matching_lines(text, weights.keys())
    return [(first - 1 + begin, first - 1 + end) for begin, end in found]
