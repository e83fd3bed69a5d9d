"""Rank what a caller may read by a question: what query, search and context begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

import numpy as np
from attrs import field, frozen, validators

from tenantkb.application.reading.arguments import require_whole_number
from tenantkb.domain import fusion
from tenantkb.domain.bm25 import Bm25, Floats, Statistics
from tenantkb.domain.context import ReadScope, TenantContext, require_context
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.fusion import CANDIDATES, Candidate, Hit, Question
from tenantkb.domain.ids import RowKey
from tenantkb.domain.lexical import field_lengths, frequencies_in, terms_of
from tenantkb.domain.natures import Nature
from tenantkb.domain.paths import is_well_formed
from tenantkb.domain.rows import ANY, Criteria, StampedRow, require_criteria
from tenantkb.domain.tokens import token_counts
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.engine import Postings, Vector
from tenantkb.ports.store import ReadingStore

LIMIT_MAXIMUM: Final = 1_000
"""The most that may be asked for. There are no more hits than the candidates of both arms."""

QUESTION_MAXIMUM: Final = 2_000
"""The longest question, in characters."""

_TERMS: Final = 64
"""Distinct tokens that count in the lexical arm, the first ones: more say little more."""


@frozen
class Ranked:
    """All hits of a question.

    Attributes:
        hits: Best first.
        weights: What weighs the question's terms, for snippets.
    """

    hits: Sequence[Hit] = ()
    weights: Mapping[str, float] = {}


@frozen
class Ranking:
    """Rank the readable chunks by a question's words and its vector.

    Where the store keeps no postings, words rank the candidates of the vectors, by statistics of
    these candidates.

    Attributes:
        store: Where the rows lie.
        embedder: The one that embedded the collection.
        vector_weight: Share of the cosine in a score, 0 to 1; the words have the rest.
    """

    store: ReadingStore
    embedder: Embedder
    vector_weight: float = fusion.VECTOR_WEIGHT

    def __call__(
        self,
        context: TenantContext,
        text: str,
        *,
        criteria: Criteria = ANY,
        prefer: Nature | None = None,
    ) -> Ranked:
        """All candidates of both arms, best first.

        Args:
            context: The caller's standing.
            text: The question, at most 2,000 characters.
            criteria: What the chunks have to be.
            prefer: What kind of text is asked for; the others are demoted.

        Raises:
            AuthenticationError: no valid standing.
            InvalidInputError: the text is blank or too long, or the criteria or what is preferred
                have another form.
            StoreMismatchError: the collection was embedded by another embedder.
            EmbedderError, StoreError: one of them failed.
        """
        scope = require_context(context).reading()
        if not isinstance(text, str) or not text.strip() or not is_well_formed(text):
            raise InvalidInputError("a question needs some text")
        if len(text) > QUESTION_MAXIMUM:
            raise InvalidInputError(f"a question has at most {QUESTION_MAXIMUM:,} characters")
        if prefer is not None and not isinstance(prefer, Nature):
            raise InvalidInputError("what is preferred is a Nature")
        require_criteria(criteria)
        profile = self.store.profile()
        if profile is None:
            return Ranked()
        profile.require(self.embedder.profile)
        terms = tuple(sorted(islice(token_counts(text), _TERMS)))
        vector = self.embedder.embed([text])[0]
        candidates, bm25 = self._candidates(scope, vector, terms, criteria)
        hits = fusion.ranked(
            Question.of(text), candidates, vector_weight=self.vector_weight, prefer=prefer
        )
        return Ranked(hits, dict(zip(bm25.terms, bm25.idf, strict=True)))

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
        matches = {match.row.key: match for match in near}
        others = [key for key in lexical if key not in matches]
        positions = postings.keys.positions(matches.keys() - lexical.keys())
        lexical |= {key: float(scores_of_all[at]) for key, at in positions.items()}
        compared = self.store.compare(scope, vector, others, criteria)
        matches |= {match.row.key: match for match in compared}
        return [
            Candidate(match.row, match.score, lexical.get(key, 0.0))
            for key, match in matches.items()
        ], bm25


@frozen
class RankedUseCase:
    """What the use cases share that answer a question by its ranking.

    Attributes:
        ranking: Ranks the chunks.
        per_file: Most chunks of one file, unless a question says otherwise.
    """

    ranking: Ranking
    per_file: int = field(default=fusion.PER_FILE, validator=validators.ge(1))

    def _checked(self, limit: object, page: object, per_file: int | None, counted: str) -> int:
        """How many of one file are wanted, of a page of so many.

        Raises:
            InvalidInputError: one of the numbers is none from 1 to 1,000; ``counted`` says of what
                ``per_file`` is the number.
        """
        wanted = self.per_file if per_file is None else per_file
        for name, value in (("limit", limit), ("page", page), (f"number of {counted}", wanted)):
            require_whole_number(name, value, 1, LIMIT_MAXIMUM)
        return wanted


def _best(postings: Postings, scores: Floats) -> dict[RowKey, float]:
    """The candidates of the lexical arm with their scores; equal ones are taken by id, then label.

    The arm may have as many rows as the store, of which few get an address.
    """
    chosen = np.arange(len(scores))
    if len(scores) > CANDIDATES:
        chosen = np.flatnonzero(scores >= np.partition(scores, -CANDIDATES)[-CANDIDATES])
    arm = dict(zip(postings.keys.at(chosen), scores[chosen].tolist(), strict=True))
    return arm if len(arm) <= CANDIDATES else {key: arm[key] for key in fusion.proposed(arm)}


def _scored(rows: Sequence[StampedRow], terms: Sequence[str]) -> tuple[Bm25, list[float]]:
    """BM25 of some rows by statistics of these very rows."""
    found = [terms_of(row.metadata()) for row in rows]
    lengths = [field_lengths(each) for each in found]
    bm25 = Bm25.of(terms, Statistics.of(found, lengths, terms))
    scores = bm25.scores(
        frequencies_in(found, bm25.terms), np.array(lengths, np.int64).reshape(-1, 3)
    )
    return bm25, scores.tolist()
