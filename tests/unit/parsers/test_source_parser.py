from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.parsers.source_parser import SourceParser
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord
from tests.unit.parsers.strictness import (
    BEYOND_THE_GRAMMAR,
    INVALID,
    NEWER_THAN_2022,
    REFUSED_AND_VALID,
    TAKEN_AND_INVALID,
    VALID,
)


def parse(content: str, **hints: Any) -> list[ChunkRecord]:
    return SourceParser().parse(content, "src/a.mjs", **hints)


def contents(content: str) -> list[tuple[str, str]]:
    return [(chunk["kind"], chunk["content"]) for chunk in parse(content)]


def test_a_class_gives_context_fields_config_and_methods_in_this_order():
    chunks = parse(
        "import B from 'b';\n\nclass A extends B {\n    m() {}\n"
        "    static config = {className: 'N.A'}\n    x = 1;\n}\n",
        type="app",
        hierarchy={"N.A": "N.B"},
    )
    assert [(c["kind"], c["name"], c["line_start"], c["line_end"]) for c in chunks] == [
        ("module-context", "src/a.mjs - [Module Context]", 1, 8),
        ("class-properties", "src/a.mjs - [Class Properties]", 6, 6),
        ("class-config", "src/a.mjs - [Config]", 5, 5),
        ("method", "src/a.mjs - m()", 4, 4),
    ]
    assert chunks[0]["content"] == "import B from 'b';\n\nclass A extends B {"
    assert ",".join(chunks[0]) == (
        "type,kind,name,content,source,line_start,line_end,className,extends"
    )
    assert {(c["type"], c["className"], c["extends"]) for c in chunks} == {("app", "N.A", "N.B")}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ("x = 1", [("class-properties", "x = 1")]),
        ("x = 1 /* c */ ; y", [("class-properties", "x = 1 /* c */ ;\n\ny")]),
        ("x\n ;", [("class-properties", "x\n ;")]),
        ("m(){};", [("method", "m(){}")]),
        ("static { x }", []),
        (
            "get a(){ return 1 } set a(b){}",
            [("method", "get a(){ return 1 }"), ("method", "set a(b){}")],
        ),
        ("config = {}", [("class-properties", "config = {}")]),
        ("static 'config' = {}", [("class-properties", "static 'config' = {}")]),
        ("static #config = {}", [("class-config", "static #config = {}")]),
        ("static [config] = {};", [("class-config", "static [config] = {};")]),
    ],
)
def test_members_are_cut_with_the_semicolon_of_a_field_and_without_that_of_a_method(
    members, expected
):
    assert contents(f"class A {{ {members} }}") == expected


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("m(){}", "m"),
        ("#m(){}", "m"),
        ("constructor(){}", "constructor"),
        ("static async *m(){}", "m"),
        ("[m](){}", "m"),
        ("['m'](){}", "[computed]"),
        ("'m'(){}", "[computed]"),
        ("5(){}", "[computed]"),
        ("[a.b](){}", "[computed]"),
        (r"\u006d(){}", "m"),
    ],
)
def test_a_method_is_named_by_the_identifier_of_its_key(method, name):
    assert [chunk["name"] for chunk in parse(f"class A {{ {method} }}")] == [
        f"src/a.mjs - {name}()"
    ]


@pytest.mark.parametrize(
    ("config", "class_name"),
    [
        ("{className: 'X.Y'}", "X.Y"),
        ("({className: ('X.Y')})", "X.Y"),
        ("{[className]: 'X.Y'}", "X.Y"),
        ("{a: 1, className: 'X.Y', ...b}", "X.Y"),
        (r"{className: '\x41\u00e9\u{1F600}\ud83d\ude00\n'}", "Aé😀😀\n"),
        (r"{className: '\ud800'}", "\ud800"),
        ("{className: 5}", 5),
        ("{className: null}", None),
        ("{className: ''}", ""),
        ("{className: `X.Y`}", "A"),
        ("{'className': 'X.Y'}", "A"),
        ("{className}", "A"),
        ("{className(){}, className: 'X.Y'}", "A"),
        ("f({className: 'X.Y'})", "A"),
    ],
)
def test_class_name_is_the_literal_of_the_static_config_or_the_identifier(config, class_name):
    assert parse(f"class A {{ static config = {config} }}")[0]["className"] == class_name


@pytest.mark.parametrize(
    "config",
    ["static config;", "static config = {...b, className: 'x'}", "static config = {className: 1n}"],
)
def test_a_config_that_cannot_be_read_makes_the_file_unparsable(config):
    with pytest.raises(UnparsableFileError, match="line 2"):
        parse(f"class A {{\n{config} }}")


@pytest.mark.parametrize(
    ("content", "context"),
    [
        ("const a = 1 /* c */\nfoo()", "const a = 1"),
        ("const a = 1 /* c */\n/* d */ ; foo", "const a = 1 /* c */\n/* d */ ;"),
        ("foo(); let a; bar()", "foo(); let a;"),
        ("let\n// c\n a = 1\n , b\nfoo()", "let\n// c\n a = 1\n , b"),
        ("export default class { m(){} }", "export default\n\nclass {"),
        ("x; export /* c */ default class A {}", "x; export /* c */ default\n\nclass A {"),
        ("let a; class A {} foo(); class B {}", "let a; class A {} foo();\n\nclass B {"),
        ("let a; export class A {}", "let a;"),
        ("let a; export default (class A {})", "let a;"),
        ("\ufefflet a", "let a"),
        ("\ufeffclass A {}", "class A {"),
    ],
)
def test_module_context_is_what_stands_before_the_class_or_up_to_the_last_declaration(
    content, context
):
    assert contents(content)[0] == ("module-context", context)


@pytest.mark.parametrize("content", ["", "// c", "foo()", "export const a = 1", "class A {}"])
def test_without_context_or_with_a_class_at_the_very_start_there_is_no_module_context(content):
    assert contents(content) == []


def test_an_interpreter_line_and_its_newline_are_removed_before_lines_are_counted():
    assert parse("#!/usr/bin/env node\nclass A { m(){} }")[0]["line_start"] == 1
    assert parse("#!/usr/bin/env node\r\nlet a; class A {}")[0]["content"].startswith("#!/usr")


def test_all_line_terminators_count():
    chunks = parse("a;\rb;\u2028c;\r\nclass A { m(){\u2029} }\n")
    assert [(c["line_start"], c["line_end"]) for c in chunks] == [(1, 6), (4, 5)]


@given(st.text(alphabet="aé→😀\n", max_size=20), st.text(alphabet="bü𝒜 ", max_size=20))
def test_a_method_is_cut_exactly_whatever_stands_around_it(before, inside):
    method = f"m() {{ return '{inside}' }}"
    chunk = parse(f"/*{before}*/ class A {{ {method} }}\n")[-1]
    assert chunk["content"] == method
    assert chunk["line_start"] == before.count("\n") + 1


@pytest.mark.parametrize("content", [*INVALID, *REFUSED_AND_VALID])
def test_no_module_gives_no_chunk(content):
    with pytest.raises(UnparsableFileError):
        parse(content)


@pytest.mark.parametrize("content", [*VALID, *NEWER_THAN_2022, *TAKEN_AND_INVALID])
def test_a_valid_module_is_accepted(content):
    parse(content)


def test_a_refusal_names_the_line_and_the_reason():
    with pytest.raises(UnparsableFileError, match=r"^line 3: variable name expected$"):
        parse("#!/usr/bin/env node\na\n\nlet if\n")


@pytest.mark.parametrize("content", BEYOND_THE_GRAMMAR)
def test_what_the_grammar_does_not_know_costs_no_chunk_around_it(content):
    module = "import a from 'b';\nclass A {\n    x = 1;\n    m() {}\n}\n"
    cut = [("class-properties", "x = 1;"), ("method", "m() {}")]
    assert contents(f"{module}{content}\n")[1:] == cut
    assert contents(f"{content}\n{module}")[1:] == cut
    assert contents(f"{content}\n{module}")[0][1].startswith(content.partition("\n")[0])


def test_fields_that_a_line_break_ends_are_cut_without_it():
    assert contents("let a; class A { x\n*y() {} }")[1:] == [
        ("class-properties", "x"),
        ("method", "*y() {}"),
    ]
    assert contents("let a; class A { x // c\n[y] = 1 }")[1:] == [
        ("class-properties", "x\n\n[y] = 1")
    ]


def test_using_is_a_name_where_a_line_break_follows():
    assert contents("using\nx = 1") == []
    assert contents("using x = 1") == [("module-context", "using x = 1")]


@pytest.mark.parametrize(
    "content",
    [
        "(" * 100_000,
        "x = " + "[" * 100_000 + "]" * 100_000,
        "f(" + "a," * 70_000 + ")",
    ],
    ids=["parentheses", "lists", "arguments"],
)
def test_a_limit_of_the_compiler_is_no_verdict(content):
    with pytest.raises(UnparsableFileError, match="no verdict"):
        parse(content)


def test_a_name_that_sounds_like_a_limit_is_a_plain_error():
    with pytest.raises(UnparsableFileError, match=r"^(?!.*no verdict)"):
        parse("a 'too many'")


def test_nothing_is_run(capfd):
    parse("console.log('ran'); print('ran'); throw new Error('ran'); await new Promise(() => {});")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("get\nx() {}", [("method", "get\nx() {}")]),
        ("static // why\nx() {}", [("method", "static // why\nx() {}")]),
        (
            "static\nconfig = {className: 'Q.R'}",
            [("class-config", "static\nconfig = {className: 'Q.R'}")],
        ),
        ("x = a.get\ny", [("class-properties", "x = a.get\n\ny")]),
        ("static\nstatic\nx", [("class-properties", "static\nstatic\n\nx")]),
    ],
)
def test_a_line_break_behind_a_modifier_changes_nothing(body, expected):
    assert contents(f"// c\nclass A {{ {body} }}")[1:] == expected


def test_let_and_its_names_may_stand_on_two_lines():
    assert contents("let\n  a = 1;\nconst b = 2;") == [
        ("module-context", "let\n  a = 1;\nconst b = 2;")
    ]
    assert contents("const $let\n= 1, b = 2;") != []
