"""Where texts are cut, whatever ends their lines and whatever their characters consist of."""

from __future__ import annotations

from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.parsers.code_parser import CodeParser
from tenantkb.adapters.parsers.cutting import Text, spans
from tenantkb.adapters.parsers.line_parser import LineParser
from tenantkb.adapters.parsers.prose_parser import ProseParser
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord

CODE = """# Accounts.

class Ledger(Base):
    '''Keeps the books of the company, one line each.'''

    rate = 3


    def total(self):
        return sum(self.lines) + self.rate

    # Above it.
    def post(self, line): self.lines.append(line)


def rounded(value):
    text = '''
       a text of two lines

    '''
    return round(value, 2)
"""
MARKDOWN = (
    "---\ntitle: x\n---\n# Billing\n\nHow money comes in.\n\nA title\n-------\n\n```\n# no\n```\n"
)
TITLES = "Billing\n=======\n\nHow money comes in.\n\n.. _refunds:\n\nRefunds\n-------\n\ntext\n\n"
FILES: dict[str, tuple[type[CodeParser | LineParser | ProseParser], str]] = {
    "a.py": (CodeParser, CODE),
    "b.md": (ProseParser, MARKDOWN),
    "c.rst": (ProseParser, TITLES),
    "d.cfg": (LineParser, "setting = value\n\n" * 40),
}
GRAPHEMES = [
    *(
        "a",
        "é",
        "e\u0301\u0323",
        "👩\u200d👩\u200d👧",
        "🇩🇪",
        "각",
        "\u1100\u1161",
        "👍🏽",
        "☂\ufe0f",
        "\t",
    )
]


def cut(name: str, text: str) -> list[ChunkRecord] | str:
    parser = FILES[name][0](200)
    try:
        return parser.parse(text, name)
    except UnparsableFileError as error:
        return str(error)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    """A file name, and its text with parts moved; lines end with a line feed."""
    name = draw(st.sampled_from(sorted(FILES)))
    lines = FILES[name][1].split("\n")
    for _ in range(draw(st.integers(0, 4))):
        extra = st.one_of(st.sampled_from(lines), st.sampled_from(["", "é" * 300, "===", "# x"]))
        lines.insert(draw(st.integers(0, len(lines))), draw(extra))
    return name, "\n".join(lines)


@given(texts(), st.sampled_from(["\r", "\r\n"]), st.sampled_from(["", "\ufeff"]))
def test_line_ends_and_a_byte_order_mark_change_no_cut_no_name_and_no_line(
    file: tuple[str, str], line_end: str, mark: str
) -> None:
    name, plain = file
    written = mark + plain.replace("\n", line_end)
    expected = cut(name, plain)
    found = cut(name, written)
    if isinstance(found, list):
        assert all(chunk["content"] in written for chunk in found)
        found = [{**c, "content": c["content"].replace(line_end, "\n")} for c in found]
    assert found == expected


@pytest.mark.parametrize("name", FILES)
def test_a_byte_order_mark_changes_nothing_at_all(name: str) -> None:
    text = FILES[name][1]
    assert cut(name, f"\ufeff{text}") == cut(name, text) != []


@given(st.lists(st.sampled_from(["a", "\n", "\r", "\r\n", "\ufeff"])).map("".join))
def test_what_is_written_stands_in_the_file_and_no_line_end_is_torn(content: str) -> None:
    text = Text(content)
    parts = [text.written(at, at + 1) for at in range(len(text.plain))]
    assert "".join(parts) == content.removeprefix("\ufeff")
    assert not any(a.endswith("\r") and b.startswith("\n") for a, b in pairwise(parts))


@given(st.lists(st.sampled_from(GRAPHEMES), min_size=50, max_size=400).map("".join))
def test_a_long_line_is_cut_between_characters_as_readers_see_them(line: str) -> None:
    boundaries = {match.start() for match in regex.finditer(r"\X", line)} | {len(line)}
    parts = list(spans(line, 0, len(line), 60))
    assert all({start, end} <= boundaries and end - start <= 60 for start, end in parts)
    assert parts[0][0] == 0
    assert parts[-1][1] == len(line)
    assert all(before[1] >= after[0] for before, after in pairwise(parts))


def test_a_character_beyond_the_bound_is_cut_all_the_same() -> None:
    assert [end for _, end in spans("e" + "\u0301" * 250, 0, 251, 100)] == [100, 200, 251]
