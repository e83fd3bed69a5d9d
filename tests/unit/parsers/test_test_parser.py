import pytest

from tenantkb.adapters.parsers.unit_tests import TestParser
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord
from tests.unit.parsers.strictness import INVALID, NEWER_THAN_2022, VALID


def parse(content: str) -> list[ChunkRecord]:
    return TestParser().parse(content, "t.spec.mjs")


def titles(content: str) -> list[str]:
    return [chunk["name"].removeprefix("t.spec.mjs - ") for chunk in parse(f";{content}")[1:]]


def test_a_header_without_lines_comes_before_the_tests():
    header, case = parse("import {test} from 'p';\n\ntest('a', () => {\n});\n")
    assert header == {
        "type": "test",
        "kind": "test-header",
        "name": "t.spec.mjs - [Context]",
        "content": "import {test} from 'p';",
        "source": "t.spec.mjs",
    }
    assert case == {
        "type": "test",
        "kind": "test-case",
        "name": "t.spec.mjs - a",
        "content": "test('a', () => {\n})",
        "source": "t.spec.mjs",
        "line_start": 3,
        "line_end": 4,
    }
    assert list(case)[-2:] == ["line_start", "line_end"]


def test_no_test_gives_no_chunk_and_a_test_at_the_start_no_header():
    assert parse("foo()") == []
    assert [chunk["kind"] for chunk in parse("test('a')")] == ["test-case"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "test.only('a'); test.skip('b'); test.fixme('c'); test[only]('d'); (test)('e')",
            "a b c d e",
        ),
        ("test.step('a'); test['only']('b'); x.test('c'); test.only.skip('d'); new test('e')", ""),
        ("test.describe('x', () => { test('a') }); f(function(){ test('b') })", "a b"),
        ("f(() => test('a')); f(g(() => { test('b') })); f([() => { test('c') }])", "a"),
        ("f(() => {}).then(() => { test('a') })", "a"),
        ("for (;;) test('a'); while (0) { test('b') } l: { test('c') }", "a b c"),
        ("function f(){ test('a') } class A { static { test('b') } m(){ test('c') } }", "a b"),
        ("(() => { test('a') }); (() => { test('b') })()", "a"),
        ("if (a) { test('a') } try { test('b') } finally { test('c') }", ""),
        ("switch (a) { case 1: test('a') }", ""),
        ("const x = test('a'); await test('b'); await (f)(() => { test('c') })", ""),
        ("test?.('a'); f?.(() => { test('b') }); f?.g.h(() => { test('c') }); test`d`", ""),
        ("(f?.g).h(() => { test('a') })", "a"),
        ("test('a', () => { test('b') })", "a"),
        (r"t\u0065st('a')", "a"),
    ],
)
def test_where_tests_are_found(content, expected):
    assert titles(content) == expected.split()


@pytest.mark.parametrize(
    ("argument", "title"),
    [
        ("", "Unknown Test"),
        ("...a", "Unknown Test"),
        ("`a`", "Unknown Test"),
        ("'a' + 'b'", "Unknown Test"),
        ("-1", "Unknown Test"),
        ("undefined", "Unknown Test"),
        ("/* c */ ('a')", "a"),
        (r"'a\n\u{1F600}'", "a\n😀"),
        ("1.50", "1.5"),
        ("0x10", "16"),
        ("1_0", "10"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
        ("10n", "10"),
        ("null", "null"),
        ("true", "true"),
        ("/a/yg", "/a/gy"),
    ],
)
def test_the_title_is_the_first_argument_if_that_is_a_literal(argument, title):
    assert titles(f"test({argument})") == [title]


@pytest.mark.parametrize("content", INVALID)
def test_no_module_is_unparsable(content):
    with pytest.raises(UnparsableFileError):
        parse(content)


@pytest.mark.parametrize("content", NEWER_THAN_2022)
def test_a_module_of_a_later_edition_than_2022_is_unparsable(content):
    with pytest.raises(UnparsableFileError, match=r"^line \d+: .*: newer than ECMAScript 2022$"):
        parse(content)


@pytest.mark.parametrize("content", VALID)
def test_a_module_of_ecmascript_2022_is_parsed(content):
    parse(content)
