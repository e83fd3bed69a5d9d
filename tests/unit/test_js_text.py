from __future__ import annotations

import re
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.parsers import js_text
from tenantkb.adapters.parsers.js_text import (
    DOT,
    LINE_END,
    LINE_START,
    SPACE,
    decode,
    is_truthy,
    locale_sorted,
    parse_json,
    split_before,
    to_json,
    to_string,
    trim,
    trim_end,
    utf16_key,
)

WHITE_SPACE = [
    *(0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0xA0, 0x1680),
    *range(0x2000, 0x200B),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF),
]


def test_white_space_is_that_of_ecma_262_and_nothing_else():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert [ord(character) for character in re.findall(SPACE, everything)] == WHITE_SPACE
    assert all(trim(chr(code)) == "" for code in WHITE_SPACE)


def test_trim_keeps_what_only_python_takes_for_white_space():
    assert trim("\ufeff \x85a\x1c\n") == "\x85a\x1c"
    assert trim_end("\u3000a\u2028") == "\u3000a"


def test_lines_end_at_four_characters_only():
    text = "a\rb\nc\u2028d\u2029e\x85f\x0bg"
    assert re.findall(f"{LINE_START}{DOT}+{LINE_END}", text) == ["a", "b", "c", "d", "e\x85f\x0bg"]


def test_line_start_lies_between_carriage_return_and_line_feed_too():
    starts = [match.start() for match in re.finditer(LINE_START, "a\r\nb")]
    assert starts == [0, 2, 3]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("plain", ["plain"]),
        ("# a\n# b", ["# a\n", "# b"]),
        ("x\n# a", ["x\n", "# a"]),
        ("#a", ["#a"]),
        ("x\r## a\u2028### b", ["x\r", "## a\u2028", "### b"]),
        ("##\n# a", ["##\n", "# a"]),
    ],
)
def test_split_before_gives_no_empty_first_piece(text, pieces):
    assert split_before(re.compile(f"{LINE_START}#+{SPACE}"), text) == pieces


@given(st.text(alphabet="#\n a"))
def test_split_before_loses_nothing(text):
    assert "".join(split_before(re.compile(f"{LINE_START}#+{SPACE}"), text)) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfa", "\ufeffa"),
        (b"\xff", "\ufffd"),
        (b"\xe2\x82", "\ufffd"),
        (b"\xe2\x82a", "\ufffda"),
        (b"\xf0\x9f\x98", "\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xc0\xaf", "\ufffd\ufffd"),
        (b"\xf5\x80", "\ufffd\ufffd"),
    ],
)
def test_malformed_utf8_becomes_as_many_replacement_characters_as_in_node(data, text):
    assert decode(data) == text


def test_utf16_order_puts_astral_characters_before_the_private_use_area():
    assert sorted(["\uff5e", "\U0001f600", "z"], key=utf16_key) == ["z", "\U0001f600", "\uff5e"]


# Every list below was sorted by `localeCompare` in Node 20.
@pytest.mark.parametrize(
    "ordered",
    [
        list(" _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789aAbBcCxXyYzZ"),
        ["_x", "a_b", "a-b", "ab", "aB", "Ab", "AB", "abc", "b"],
        ["case_1.mjs", "case-10.mjs", "case-9.mjs", "case.mjs", "Case.mjs"],
        ["a", "á", "ä", "b", "e", "É", "o", "ö", "œ", "z", "α", "б", "가", "日"],
    ],
)
def test_names_are_in_the_order_of_locale_compare(ordered):
    assert locale_sorted(reversed(ordered)) == ordered


@given(st.lists(st.text(alphabet=[chr(code) for code in range(32, 127)])))
def test_the_short_way_for_ascii_agrees_with_full_collation(texts):
    collate = js_text._collator().sort_key
    assert locale_sorted(texts) == sorted(texts, key=lambda text: (collate(text), text))


@pytest.mark.parametrize("value", [None, False, 0, 0.0, float("nan"), ""])
def test_falsy_values(value):
    assert not is_truthy(value)


@pytest.mark.parametrize("value", [True, 1, -0.5, "0", [], {}, float("inf")])
def test_truthy_values(value):
    assert is_truthy(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (None, "null"),
        (True, "true"),
        (2.0, "2"),
        (1e21, "1e+21"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ([1, None, ["a", []]], "1,,a,"),
        ({"a": 1}, "[object Object]"),
        (
            datetime(2024, 1, 5, 7, 8, 9, tzinfo=UTC),
            "Fri Jan 05 2024 07:08:09 GMT+0000 (Coordinated Universal Time)",
        ),
    ],
)
def test_values_become_text_as_in_a_template_literal(value, text):
    assert to_string(value) == text


def test_dates_are_iso_strings_in_json():
    assert to_json([datetime(33, 1, 5, 7, 8, 9, 123999, UTC)]) == ["0033-01-05T07:08:09.123Z"]


def test_array_indices_come_first_among_the_keys_of_an_object():
    assert list(to_json({"b": 1, "10": 2, "9": 3, "01": 4})) == ["9", "10", "b", "01"]


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "\ufeff1", "[1,]", "[" * 100_000])
def test_what_json_parse_refuses_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
