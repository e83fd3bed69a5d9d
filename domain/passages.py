"""Passages: what hits say of a file, as a reader would find it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

from attrs import evolve, frozen

from tenantkb.domain.documents import content_of, lines_of
from tenantkb.domain.fusion import Hit

BYTES_OF_A_TOKEN: Final = 4


@frozen
class Passage:
    """A run of lines of one file, or a text whose lines are not known.

    Attributes:
        hits: What it is made of, best first.
        text: The lines, each once.
        lines: The first and the last one, from 1; ``None`` where they are not known.
    """

    hits: tuple[Hit, ...]
    text: str
    lines: tuple[int, int] | None

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """The passage of one hit."""
        return cls((hit,), content_of(hit.row), lines_of(hit.row))

    @property
    def best(self) -> Hit:
        """The hit that it is found by."""
        return self.hits[0]


def joined(passages: Sequence[Passage]) -> list[Passage]:
    """The passages of one file in reading order, those that touch or overlap as one.

    Those whose lines are not known come last, best first, and are joined with none.
    """
    placed = sorted(
        ((each.lines, each) for each in passages if each.lines is not None),
        key=lambda pair: (pair[0], pair[1].best.order),
    )
    runs: list[Passage] = []
    for lines, passage in placed:
        if runs and (before := runs[-1].lines) is not None and lines[0] <= before[1] + 1:
            runs[-1] = _with(runs[-1], before, passage, lines)
        else:
            runs.append(passage)
    others = [each for each in passages if each.lines is None]
    return runs + sorted(others, key=lambda each: each.best.order)


def _with(
    run: Passage, before: tuple[int, int], further: Passage, lines: tuple[int, int]
) -> Passage:
    """A run and a passage that begins in it or right behind it."""
    beyond = further.text.split("\n")[before[1] + 1 - lines[0] :]
    hits = sorted((*run.hits, *further.hits), key=lambda hit: hit.order)
    return evolve(
        run,
        hits=tuple(hits),
        text="\n".join([run.text, *beyond]),
        lines=(before[0], max(before[1], lines[1])),
    )


def tokens_of(text: str) -> int:
    """About how many tokens of a language model a text is: one for each four bytes of UTF-8.

    That is the usual rule of thumb for English; code has somewhat more.
    """
    return -(-len(text.encode()) // BYTES_OF_A_TOKEN)
