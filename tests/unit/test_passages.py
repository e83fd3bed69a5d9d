"""Hits of one file as passages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.fusion import Candidate, Hit
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.passages import Passage, joined, tokens_of
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import TenantStamp, Visibility

FILE = [f"line {number}" for number in range(1, 41)]
STAMP = TenantStamp("acme", "app", Visibility.TEAM, origin_agent_identity=None, ingested_at=None)
PATH = PathIdentity("acme", "app", RootKind.BARE_REPO, "a.py")


def hit(number: int, text: str, strength: float, **said: Any) -> Hit:
    fields = {"type": "src", "name": f"n{number}", "content": text, **said}
    row = StampedRow(ChunkId(f"{number:04}"), PATH, STAMP, fields)
    return Hit(Candidate(row, 0, 0), strength, 0)


def of_lines(number: int, first: int, last: int, strength: float = 0.5) -> Passage:
    text = "\n".join(FILE[first - 1 : last])
    return Passage.of(hit(number, text, strength, line_start=first, line_end=last))


def test_neighbours_and_what_overlaps_are_one_passage_in_reading_order() -> None:
    found = joined(
        [
            of_lines(1, 20, 25, 0.3),
            of_lines(2, 1, 4, 0.9),
            of_lines(3, 5, 8, 0.95),
            of_lines(4, 7, 9),
        ]
    )
    assert [each.lines for each in found] == [(1, 9), (20, 25)]
    assert found[0].text.split("\n") == FILE[:9]
    assert [each.row.id for each in found[0].hits] == ["0003", "0002", "0004"]
    assert found[0].best.row.id == "0003"


def test_a_passage_within_another_adds_no_text() -> None:
    [found] = joined([of_lines(1, 1, 10), of_lines(2, 3, 4)])
    assert (found.lines, found.text.split("\n"), len(found.hits)) == ((1, 10), FILE[:10], 2)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"line_start": 1},
        {"line_start": 1, "line_end": 3},
        {"line_start": True, "line_end": 2},
        {"line_start": "1", "line_end": "2"},
    ],
)
def test_a_text_that_is_not_those_lines_is_joined_with_nothing(said: dict[str, Any]) -> None:
    odd = Passage.of(hit(1, "one\ntwo", 0.1, **said))
    better = Passage.of(hit(2, "three", 0.2))
    assert odd.lines is None
    assert joined([odd, of_lines(3, 1, 2), better]) == [of_lines(3, 1, 2), better, odd]


ranges = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 8)).map(
        lambda pair: (pair[0], min(40, pair[0] + pair[1]))
    ),
    max_size=8,
)


@given(ranges, st.randoms(use_true_random=False))
def test_every_line_is_told_once_and_whole(drawn: list[tuple[int, int]], chance: Any) -> None:
    passages = [of_lines(number, *lines) for number, lines in enumerate(drawn)]
    found = joined(passages)
    wanted = sorted({line for first, last in drawn for line in range(first, last + 1)})
    told = [
        line for each in found if each.lines for line in range(each.lines[0], each.lines[1] + 1)
    ]
    assert told == wanted
    assert (
        "\n".join(each.text for each in found).split("\n") == [FILE[line - 1] for line in wanted]
        or not wanted
    )
    assert sorted(each.row.id for part in found for each in part.hits) == [
        f"{number:04}" for number in range(len(drawn))
    ]
    chance.shuffle(passages)
    assert joined(passages) == found


def test_four_bytes_are_a_token() -> None:
    assert [tokens_of(text) for text in ("", "a", "abcd", "abcde", "äöü")] == [0, 1, 1, 2, 2]
