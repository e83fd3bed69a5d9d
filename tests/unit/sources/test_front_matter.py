from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.sources.front_matter import FrontMatterError, split_front_matter


# Every value below is what gray-matter 4 with js-yaml 3 gave in Node 20.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 8),
        ("08", "08"),
        ("0o10", "0o10"),
        ("0x1F", 31),
        ("-0x1f", -31),
        ("0b101", 5),
        ("1_000", 1000),
        ("1_000_", "1_000_"),
        ("190:20:30", 685230),
        ("190:20:30.15", 685230.15),
        ("1e5", 100000.0),
        (".5", 0.5),
        ("+.5", "+.5"),
        ("5.", 5.0),
        ("-.INF", float("-inf")),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("", None),
        ("''", ""),
        ("! 5", "5"),
        ("!!str 5", "5"),
        ("!!float 3", 3.0),
        ("foo # c", "foo"),
        ("a#b", "a#b"),
        ("\tfoo", "foo"),
        ("a\tb", "a\tb"),
        ("foo\t# c", "foo"),
        ("a\u2028b", "a\u2028b"),
        ('"a\\n\\x41"', "a\nA"),
        ("[a, 1.50, [~]]", ["a", 1.5, [None]]),
        ("{a: 1, 10: x}", {"a": 1, "10": "x"}),
        ("{<<: {a: 1, b: 2}, b: 3}", {"a": 1, "b": 3}),
        ("!!pairs [a: 1, a: 2]", [["a", 1], ["a", 2]]),
        ("|\n  text\n  more", "text\nmore\n"),
        (">-\n  a\n  b", "a b"),
        ("2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-13-45", datetime(2025, 2, 14, tzinfo=UTC)),
        ("2024-1-1", "2024-1-1"),
        ("2024-02-30T10:20:30.5+05:30", datetime(2024, 3, 1, 4, 50, 30, 500000, UTC)),
        ("2024-01-01 10:20:30 -5", datetime(2024, 1, 1, 15, 20, 30, tzinfo=UTC)),
        ("0050-01-01", datetime(1950, 1, 1, tzinfo=UTC)),
    ],
)
def test_yaml_values_are_those_of_js_yaml_3(text, value):
    data, body = split_front_matter(f"---\nvalue: {text}\n---\nbody")
    assert data == {"value": value}
    assert type(data["value"]) is type(value)
    assert body == "body"


@pytest.mark.parametrize(
    ("text", "data", "body"),
    [
        ("", {}, ""),
        ("no front matter", {}, "no front matter"),
        ("\ufeff---\na: 1\n---\nx", {"a": 1}, "x"),
        ("---\r\na: 1\r\n---\r\nx", {"a": 1}, "x"),
        ("---\na: 1\n---\n\nx", {"a": 1}, "\nx"),
        ("---\na: 1\n---x", {"a": 1}, "x"),
        ("---\na: 1\n----\nx", {"a": 1}, "-\nx"),
        ("---\na: 1\n", {"a": 1}, ""),
        ("----\na: 1\n----\n", {}, "----\na: 1\n----\n"),
        (" ---\na: 1\n---\n", {}, " ---\na: 1\n---\n"),
        ("---\n---\nx", {}, "x"),
        ("---\n # only a comment\n---\nx", {}, "x"),
        ("---\njust text\n---\nx", {}, "x"),
        ("---yml\na: 010\n---\nx", {"a": 8}, "x"),
        ('--- json \n{"a": [1]}\n---\nx', {"a": [1]}, "x"),
        ("---json\n5\n---\nx", {}, "x"),
    ],
)
def test_front_matter_opens_and_closes_as_in_gray_matter(text, data, body):
    assert split_front_matter(text) == (data, body)


@pytest.mark.parametrize(
    "text",
    [
        "---\na: [\n---\n",
        "---\na: 1\na: 2\n---\n",
        "---\na: 1\n'a': 2\n---\n",
        "---\na: *missing\n---\n",
        "---\na: !!int x\n---\n",
        "---\na: !custom x\n---\n",
        "---\na: !!python/name:os.system\n---\n",
        "---\na: &a [*a]\n---\n",
        "---\na: 1\n...\nb: 2\n---\n",
        "---\na: \x07\n---\n",
        "---json\n{a: 1}\n---\n",
        "---json\nNaN\n---\n",
        "---toml\na = 1\n---\n",
        "---\na: " + "[" * 700 + "\n---\n",
    ],
)
def test_malformed_front_matter_is_refused_in_one_line(text):
    with pytest.raises(FrontMatterError) as caught:
        split_front_matter(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("language", ["js", "javascript", "JS", "coffee"])
def test_front_matter_that_is_a_program_is_never_run(language):
    with pytest.raises(FrontMatterError, match="only YAML and JSON"):
        split_front_matter(f"---{language}\n{{name: process.exit(1)}}\n---\n")


def test_aliases_cannot_unfold_without_limit():
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 20))
    with pytest.raises(FrontMatterError, match="aliases"):
        split_front_matter(f"---\nl0: &l0 [x]\n{levels}---\n")


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for opened in (text, f"---\n{text}\n---\nbody"):
        try:
            data, body = split_front_matter(opened)
        except FrontMatterError:
            continue
        assert opened.endswith(body)
        assert all(isinstance(key, str) for key in data)
