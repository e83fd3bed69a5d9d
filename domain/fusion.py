"""From the scores of two arms to the order of the answers.

A question has two *arms*: the cosine of vectors and BM25 (:mod:`domain.bm25`). Each proposes its
best rows; the union of both are the *candidates*, and every candidate has both scores. Then, in
this order: scores are normalised over the candidates and weighted, names that the question contains
add to them, what was not asked for is demoted, classes lift their parents, and a page is taken that
neither one file nor old tickets can fill.

A weighted sum of min-max normalised scores is CombSUM (Fox and Shaw, *Combination of Multiple
Searches*, TREC-2, 1994) as a convex combination; Bruch, Gai and Ingber (*An Analysis of Fusion
Functions for Hybrid Retrieval*, ACM TOIS 42, 2023) find it better than reciprocal rank fusion. The
sizes of the constants come from this project's benchmark.

A score depends on the question and the candidates, never on how many of them are shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import islice
from typing import Final, Self

from attrs import evolve, field, frozen

from tenantkb.domain import fields
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.ids import RowKey
from tenantkb.domain.natures import Nature, nature_of
from tenantkb.domain.paths import PathIdentity
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.tokens import tokens_of

CANDIDATES: Final = 200
"""How many rows each arm proposes, of those that fulfil the question's filter."""

VECTOR_WEIGHT: Final = 0.35
"""Share of the cosine, 0 to 1; BM25 has the rest. A better embedder deserves more."""

SYMBOL_BOOST: Final = 0.3
"""For a row whose symbol the question mentions."""

FILE_BOOST: Final = 0.2
"""For a row whose file it mentions. A file has more rows than a symbol: each deserves less."""

CLASS_BOOST: Final = 0.1
"""For a row whose class it mentions."""

COVER_BOOST: Final = 0.2
"""For a row all of whose name's terms the question has; in proportion for some of them."""

DEMOTION: Final = 0.1
"""For a row of another nature than the preferred one."""

LIFT: Final = 0.1
"""The share of a class's score that its parent gets."""

LIFT_DECAY: Final = 0.6
"""What each further ancestor gets of what the one before got."""

PER_FILE: Final = 4
"""Most answers of one page from one file, as long as there are others."""

ARCHIVE_PART: Final = 4
"""Of one page, at most one in so many is from an archive, and one in any case."""

_DECIMALS: Final = 6
_CACHED_NAMES: Final = 2**15

_IN_NAME: Final = re.compile(r"[\w$./-]")
_GOES_ON: Final = re.compile(r"[\w$/]|[.-][\w$]")  # a dot alone ends a sentence


@frozen
class Question:
    """A question as rows are compared with it.

    Attributes:
        text: As it was asked.
        terms: Its tokens.
    """

    text: str
    terms: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a question."""
        return cls(text, frozenset(tokens_of(text)))

    def mentions(self, name: str) -> bool:
        """Whether it contains this name, as it is spelt and on its own.

        A name is no part of a longer one (``Base`` is not mentioned by ``core.Base`` or
        ``Base.mjs``), and no word of prose: lower-case letters alone are a name only where they
        stand in back-ticks or before a parenthesis, and a capital alone makes none of the first
        word. A question that is nothing but the name mentions it in any case.
        """
        text = self.text.strip()
        if text == name:
            return True
        start = text.find(name) if len(name) > 1 else -1
        while start >= 0:
            end = start + len(name)
            before, after = text[max(0, start - 1) : start], text[end : end + 2]
            if not _IN_NAME.search(before) and not _GOES_ON.match(after):
                marked = after[:1] == "(" or (before, after[:1]) == ("`", "`")
                capital = start > 0 and name[0].isupper()
                if marked or capital or not (name.isalpha() and name[1:].islower()):
                    return True
            start = text.find(name, start + 1)
        return False


@frozen
class Candidate:
    """A row that the caller may see, with the scores of both arms.

    Attributes:
        row: The row.
        cosine: Of the question's and the row's vector, -1 to 1.
        bm25: At least 0.
    """

    row: StampedRow
    cosine: float
    bm25: float


@frozen
class Hit:
    """A candidate with all that makes its score.

    Attributes:
        candidate: The candidate.
        vector: Weighted share of the cosine, 0 to the weight.
        lexical: Weighted share of BM25, 0 to 1 less the weight.
        name: The greatest of :data:`SYMBOL_BOOST`, :data:`FILE_BOOST` and :data:`CLASS_BOOST` of
            which the question mentions the name; 0 where it mentions none.
        cover: :data:`COVER_BOOST` times the share of its name's terms that the question has.
        demotion: :data:`DEMOTION` where another kind of text is preferred, or else 0.
        lift: What descendants of its class give it, 0 to :data:`LIFT`.
        strength: What hits are ordered by: the sum of the parts, to six decimals.
    """

    candidate: Candidate
    vector: float
    lexical: float
    name: float = 0.0
    cover: float = 0.0
    demotion: float = 0.0
    lift: float = 0.0
    strength: float = field(init=False)

    @strength.default
    def _sum(self) -> float:
        parts = self.vector + self.lexical + self.name + self.cover + self.lift - self.demotion
        return round(parts, _DECIMALS)

    @property
    def row(self) -> StampedRow:
        """The row."""
        return self.candidate.row

    @property
    def score(self) -> float:
        """What is shown, 0 to 1: the strength, clamped. Two of 1 may differ in strength."""
        return min(1.0, max(0.0, self.strength))

    @property
    def order(self) -> tuple[float, str, str]:
        """Ascending: best first, equal ones by id, then label."""
        row = self.candidate.row
        return -self.strength, row.id, row.stamp.label


def proposed(*arms: Mapping[RowKey, float]) -> list[RowKey]:
    """The candidates: the :data:`CANDIDATES` best of each arm, each once, in order of keys.

    Args:
        arms: Scores by row, of any number of rows; equal ones are taken by id, then label.
    """
    return sorted({key for arm in arms for key in _best(arm)})


def _best(arm: Mapping[RowKey, float]) -> list[RowKey]:
    return sorted(arm, key=lambda key: (-arm[key], key.id, key.label))[:CANDIDATES]


def ranked(
    question: Question,
    candidates: Sequence[Candidate],
    *,
    vector_weight: float = VECTOR_WEIGHT,
    prefer: Nature | None = None,
) -> list[Hit]:
    """Score all candidates, best first.

    Args:
        question: The question.
        candidates: With distinct rows, in any order.
        vector_weight: Share of the cosine, 0 to 1.
        prefer: What kind of text is asked for; the others are demoted. ``None`` demotes none.

    Raises:
        InvalidInputError: the weight is not within 0 to 1.
    """
    if not 0 <= vector_weight <= 1:
        raise InvalidInputError(f"the weight of the vectors is 0 to 1, not {vector_weight}")
    cosines = normalised([each.cosine for each in candidates])
    bm25s = normalised([each.bm25 for each in candidates])
    # Many rows are of one class or file. What all of a thing's names end with, or hold, is most
    # often nowhere in the question, and so is none of them.
    symbol_mentioned = cache(
        lambda name: (
            name.rpartition(".")[2] in question.text
            and any(map(question.mentions, _ends(name, ".")))
        )
    )
    path_mentioned = cache(
        lambda path: (
            _stem(path) in question.text and any(map(question.mentions, _names_of_file(path)))
        )
    )
    hits = []
    for each, cosine, bm25 in zip(candidates, cosines, bm25s, strict=True):
        row = each.row
        path = row.source_path
        symbol = row.text(fields.NAME).removeprefix(f"{path} - ")  # which some parsers put there
        name = max(
            SYMBOL_BOOST * symbol_mentioned(symbol),
            FILE_BOOST * path_mentioned(path),
            CLASS_BOOST * symbol_mentioned(row.text(fields.CLASS_NAME)),
        )
        cover = COVER_BOOST * _covered(symbol, question)
        demotion = DEMOTION * (prefer is not None and nature_of(row) is not prefer)
        vector, lexical = vector_weight * cosine, (1 - vector_weight) * bm25
        hits.append(Hit(each, vector, lexical, name, cover, demotion))
    return sorted(_lifted(hits), key=lambda hit: hit.order)


def normalised(scores: Sequence[float]) -> list[float]:
    """Min-max: the least becomes 0, the greatest 1. Where all are equal they say nothing: all 0."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - low) / (high - low) if high > low else 0.0 for score in scores]


def _names_of_file(path: str) -> Iterator[str]:
    """What a question may call a file: its path, each end of that, and its name alone."""
    yield from _ends(path, "/")
    yield _stem(path)


def _stem(path: str) -> str:
    """The file's name without its suffix."""
    return path.rpartition("/")[2].rpartition(".")[0]


def _ends(name: str, separator: str) -> Iterator[str]:
    """``a.b.c``, ``b.c`` and ``c``."""
    while name:
        yield name
        name = name.partition(separator)[2]


def _covered(name: str, question: Question) -> float:
    """The share of a name's terms that the question has, 0 to 1; 0 where it has no terms."""
    terms = _terms(name)
    return len(terms & question.terms) / len(terms) if terms else 0.0


@lru_cache(maxsize=_CACHED_NAMES)
def _terms(name: str) -> frozenset[str]:
    return frozenset(tokens_of(name))


_Class = tuple[str, str, str]
"""Tenant, repository, class: a class never lifts its namesake in another repository."""


def _lifted(hits: Sequence[Hit]) -> list[Hit]:
    """Let classes lift their ancestors: a question that finds a class is about its base as well.

    A parent gets :data:`LIFT` of the best score in the class, each further ancestor
    :data:`LIFT_DECAY` of the one before; of several descendants the one that gives most counts, so
    that many of them give no more than one. Which class extends which is taken from the candidates
    themselves, so from rows that the caller may see.
    """
    parents: dict[_Class, set[_Class]] = {}
    best: dict[_Class, float] = {}
    names = [_class(hit.candidate.row, fields.CLASS_NAME) for hit in hits]
    for hit, name in zip(hits, names, strict=True):
        if name is not None and (parent := _class(hit.candidate.row, fields.EXTENDS)) is not None:
            parents.setdefault(name, set()).add(parent)
    for hit, name in zip(hits, names, strict=True):
        if name is not None and name in parents:
            best[name] = max(best.get(name, 0.0), hit.score)
    lifts: dict[_Class, float] = {}
    for name in parents:
        lift, seen, level = LIFT * best[name], {name}, parents[name]
        while level := level - seen:
            for ancestor in level:
                lifts[ancestor] = max(lifts.get(ancestor, 0.0), lift)
            seen |= level
            level = set().union(*(parents.get(each, ()) for each in level))
            lift *= LIFT_DECAY
    return [
        evolve(hit, lift=lifts[name]) if name is not None and name in lifts else hit
        for hit, name in zip(hits, names, strict=True)
    ]


def _class(row: StampedRow, key: str) -> _Class | None:
    name = row.text(key)
    return (row.stamp.tenant_id, row.stamp.repo_slug, name) if name else None


def pages(
    hits: Iterable[Hit], limit: int, *, per_file: int | None = PER_FILE
) -> Iterator[list[Hit]]:
    """All hits, page by page, each in the order of the hits.

    At most ``per_file`` of a page are from one file, and at most a quarter, or one, from archives,
    as long as other hits remain. What one page leaves out is first on the next.

    Args:
        hits: As :func:`ranked` gives them.
        limit: Answers of one page, at least 1.
        per_file: Most answers from one file; ``None`` for any number.
    """
    remaining = list(hits)
    while remaining:
        taken, remaining = _taken(remaining, limit, per_file)
        yield taken


def page(
    hits: Iterable[Hit], number: int, limit: int, *, per_file: int | None = PER_FILE
) -> list[Hit]:
    """One of the :func:`pages`, by its number from 1; empty beyond the last."""
    return next(islice(pages(hits, limit, per_file=per_file), number - 1, None), [])


def _taken(hits: Sequence[Hit], limit: int, per_file: int | None) -> tuple[list[Hit], list[Hit]]:
    """The hits of the next page, and the others."""
    archived, files = 0, Counter[PathIdentity]()
    admitted: set[int] = set()
    crowded: list[int] = []
    for position, hit in enumerate(hits):
        if len(admitted) == limit:
            break
        archive = nature_of(hit.row) is Nature.ARCHIVE
        full = per_file is not None and files[hit.row.path] >= per_file
        if full or (archive and archived >= max(1, limit // ARCHIVE_PART)):
            crowded.append(position)
            continue
        admitted.add(position)
        archived += archive
        files[hit.row.path] += 1
    admitted.update(crowded[: limit - len(admitted)])
    taken = [hit for position, hit in enumerate(hits) if position in admitted]
    return taken, [hit for position, hit in enumerate(hits) if position not in admitted]
