"""Where in a text a question's terms are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from itertools import groupby
from typing import Final

from attrs import frozen

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.tokens import tokens_of

SHORTEST: Final = 16
"""The least bound of a snippet, in characters."""

_ELLIPSIS: Final = "…"


@frozen
class Snippet:
    """A part of a text.

    Attributes:
        text: Whole lines; of a line that is too long a part, with an ellipsis where it is cut.
        first_line: The line of the whole text that it begins with, from 1.
        last_line: The line that it ends with.
    """

    text: str
    first_line: int
    last_line: int


@frozen
class _Piece:
    """``content[start:end]``: a line without its end, or a part of a long line."""

    line: int
    start: int
    end: int


def matching_lines(content: str, terms: Set[str]) -> list[tuple[int, int]]:
    """The lines that have any of the terms, neighbours as one range: first and last, from 1.

    Terms are those of :func:`domain.tokens.tokens_of`.
    """
    found = [
        number
        for number, line in enumerate(content.split("\n"), 1)
        if not terms.isdisjoint(_tokens(line))
    ]
    runs = groupby(enumerate(found), key=lambda pair: pair[1] - pair[0])
    ranges = ([number for _, number in run] for _, run in runs)
    return [(numbers[0], numbers[-1]) for numbers in ranges]


@lru_cache(maxsize=1024)
def _tokens(line: str) -> frozenset[str]:
    """Of an answer's lines, which are asked for twice: for the snippet and for their numbers."""
    return frozenset(tokens_of(line))


def snippet(content: str, weights: Mapping[str, float], limit: int) -> Snippet:
    """The part of a text that says most about a question.

    It is the run of lines with the greatest total weight of distinct terms, the first of equals. It
    begins with a line that has one and goes on for as long as there is room; lines before it fill
    what is left. A text without any of the terms is shown from its beginning.

    Args:
        content: The text.
        weights: Weight by term, each above 0, such as :attr:`domain.bm25.Bm25.idf`.
        limit: Most characters, at least 16.

    Raises:
        InvalidInputError: the limit is smaller.
    """
    if limit < SHORTEST:
        raise InvalidInputError(f"a snippet has room for {SHORTEST} characters, not for {limit}")
    room = limit - 2 * len(_ELLIPSIS)
    pieces = list(_pieces(content, room))
    found = [weights.keys() & _tokens(content[each.start : each.end]) for each in pieces]
    first, most = 0, 0.0
    for position, terms in enumerate(found):
        if terms:
            end = _end(pieces, position, room)
            weight = sum(weights[term] for term in sorted(set().union(*found[position:end])))
            if weight > most:
                first, most = position, weight
    end = _end(pieces, first, room)
    while first and pieces[end - 1].end - pieces[first - 1].start <= room:
        first -= 1
    start, stop = pieces[first].start, pieces[end - 1].end
    before = _ELLIPSIS if start and content[start - 1] != "\n" else ""
    after = _ELLIPSIS if stop < len(content) and content[stop] != "\n" else ""
    text = f"{before}{content[start:stop]}{after}"
    return Snippet(text, pieces[first].line, pieces[end - 1].line)


def _end(pieces: list[_Piece], first: int, room: int) -> int:
    """The position behind the last piece that fits into ``room`` characters from ``first`` on."""
    end = first + 1
    while end < len(pieces) and pieces[end].end - pieces[first].start <= room:
        end += 1
    return end


def _pieces(content: str, room: int) -> Iterator[_Piece]:
    """The lines in order; those longer than ``room`` in parts of up to half of it, cut at spaces.

    At least one, which may be empty.
    """
    size = room // 2
    start = 0
    for number, line in enumerate(content.split("\n"), 1):
        stop = start + len(line)
        while stop - start > room:
            space = content.rfind(" ", start + size // 2, start + size)
            cut = space + 1 if space >= 0 else start + size
            yield _Piece(number, start, cut)
            start = cut
        yield _Piece(number, start, stop)
        start = stop + 1
