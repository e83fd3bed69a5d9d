"""Reading JSON lines that anybody may have written."""

from __future__ import annotations

from io import BytesIO

import pytest

from tenantkb.adapters.files.jsonl import read_records
from tenantkb.domain.records import Unreadable


def records(data: bytes, line_length: int = 100) -> list[tuple[int, object]]:
    return list(read_records(BytesIO(data), line_length))


def test_records_have_the_number_of_their_line_and_blank_lines_are_none() -> None:
    assert records(b'{"a": 1}\n\n \r\n[2]\r\n"\\ud800"') == [
        (1, {"a": 1}),
        (4, [2]),
        (5, "\ud800"),
    ]
    assert records(b"") == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "expected JSON: Expecting property name"),
        (b'{"a": 1} {}', "expected JSON: Extra data at column 10"),
        (b'{"a": NaN}', "expected JSON: there is no number NaN"),
        (b"[-Infinity]", "expected JSON: there is no number -Infinity"),
        (b"\xff", "expected UTF-8"),
        (b'"\xed\xa0\x80"', "expected UTF-8"),
        (b'"' + b"x" * 99, "expected a line of at most 100 bytes"),
    ],
)
def test_a_line_that_cannot_be_read_costs_that_line_only(line: bytes, reason: str) -> None:
    (_, broken), after = records(line + b"\n1\n")
    assert isinstance(broken, Unreadable)
    assert broken.reason.startswith(reason)
    assert after == (2, 1)


@pytest.mark.parametrize("line", [b"[" * 200_000, b"9" * 5_000])
def test_a_line_that_the_decoder_gives_up_on_is_unreadable(line: bytes) -> None:
    (_, broken), after = records(line + b"\n1\n", line_length=10**6)
    assert isinstance(broken, Unreadable)
    assert after == (2, 1)


@pytest.mark.parametrize("length", [99, 100, 101, 200, 201, 500])
def test_lines_of_every_length_are_told_apart(length: int) -> None:
    line = b'"' + b"x" * (length - 3) + b'"\n'
    found = records(line + b"1")
    assert [number for number, _ in found] == [1, 2]
    assert isinstance(found[0][1], Unreadable) is (length > 100)
    assert found[1] == (2, 1)
