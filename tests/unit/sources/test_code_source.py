from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.parsers.code_parser import CodeParser
from tenantkb.adapters.parsers.line_parser import LineParser
from tenantkb.adapters.parsers.prose_parser import ProseParser
from tenantkb.adapters.sources.code import PARSERS
from tenantkb.adapters.sources.registry import CODE_PARSERS, DEFAULT_SOURCES, WorkspaceSources
from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.errors import ConfigurationError, UnparsableFileError
from tenantkb.domain.extraction import Diagnostic
from tenantkb.ports.extraction import ChunkRecord, ParseJob
from tenantkb.schemas import problems

SAMPLES = {file.name: file.read_text() for file in (Path(__file__).parent / "samples").iterdir()}
SMALL = 800
"""A bound at which the classes of the samples are large ones."""

DEFINITIONS = {
    "Button.tsx": ["class Props", "function Button"],
    "Inventory.java": [
        "class-context Inventory",
        "method Inventory.Inventory",
        "method Inventory.reserve",
        "class Inventory.Shelf",
        "class Stock",
    ],
    "Invoice.cs": [
        "class-context Invoice",
        "method Invoice.Invoice",
        "method Invoice.Total",
        "class Customer",
    ],
    "cache.go": ["class Cache", "function New", "method Cache.Get"],
    "ledger.py": [
        "function rounded",
        "class-context Ledger",
        "method Ledger.__init__",
        "method Ledger.total",
        "method Ledger.post",
    ],
    "mailer.rb": [
        "method Courier.Mailer.initialize",
        "method Courier.Mailer.deliver",
        "method Courier.Mailer.default",
        "function deliver_all",
    ],
    "matrix.cpp": [
        "class-context Matrix",
        "method Matrix.Matrix",
        "method Matrix.~Matrix",
        "method Matrix.operator+",
        "class-context Matrix",
        "method Matrix.trace",
        "function unit_shape",
    ],
    "queue.js": [
        "class-context JobQueue",
        "method JobQueue.push",
        "method JobQueue.drain",
        "function createQueue",
        "function batches",
        "function exports.size",
    ],
    "ring.c": ["class ring", "function slot", "function ring_push"],
    "router.ts": [
        "class Route",
        "class-context Router",
        "method Router.add",
        "class-context Router",
        "method Router.match",
        "function isSecure",
    ],
    "session.php": [
        "class-context Session",
        "method Session.__construct",
        "method Session.count",
        "function session_of",
    ],
    "walker.rs": [
        "class Walker",
        "class Walker",
        "class Walker",
        "function is_hidden",
        "function dot_files_are_hidden",
    ],
}


def cut(name: str, text: str | None = None, limit: int = SMALL) -> list[ChunkRecord]:
    return CodeParser(limit).parse(SAMPLES[name] if text is None else text, name)


def labels(chunks: list[ChunkRecord]) -> list[str]:
    return [f"{chunk['kind']} {chunk['name']}" for chunk in chunks]


def only(chunks: list[ChunkRecord], name: str) -> ChunkRecord:
    (found,) = [chunk for chunk in chunks if chunk["name"] == name]
    return found


def lines_of(text: str) -> list[str]:
    return re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)


def assert_covered(text: str, chunks: list[ChunkRecord]) -> None:
    """Every chunk stands where it says, and no character but white space is in none."""
    text = text.removeprefix("\ufeff")
    lines = lines_of(text)
    starts = list(accumulate(map(len, lines), initial=0))
    missing = {index for index, character in enumerate(text) if not character.isspace()}
    for chunk in chunks:
        start, end = starts[chunk["line_start"] - 1], starts[chunk["line_end"]]
        content = chunk["content"]
        found = text.find(content, start, end)
        assert found >= 0
        while found >= 0:
            missing.difference_update(range(found, found + len(content)))
            found = text.find(content, found + 1, end)
    assert not missing
    covered = {
        number for chunk in chunks for number in range(chunk["line_start"], chunk["line_end"] + 1)
    }
    blank = {number for number, line in enumerate(lines, 1) if not line.strip()}
    assert covered | blank == set(range(1, len(lines) + 1))


def test_there_is_a_sample_for_every_row_of_expectations():
    assert set(SAMPLES) == set(DEFINITIONS)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_code_is_cut_into_its_definitions_by_qualified_name(name):
    found = [label for label in labels(cut(name)) if not label.startswith("module-context")]
    assert found == DEFINITIONS[name]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("limit", [200, SMALL, 4_000])
def test_the_chunks_of_a_file_cover_it(name, limit):
    chunks = cut(name, limit=limit)
    assert_covered(SAMPLES[name], chunks)
    assert max(len(chunk["content"]) for chunk in chunks) <= limit


def test_what_surrounds_definitions_is_the_context_of_the_module():
    context = cut("ledger.py")[0]
    assert (context["kind"], context["name"]) == ("module-context", "ledger.py")
    assert context["content"].endswith('ROUNDING = Decimal("0.01")')
    assert "className" not in context


def test_a_method_names_its_class_and_a_function_does_not():
    chunks = cut("cache.go")
    assert only(chunks, "Cache.Get")["className"] == "Cache"
    assert "className" not in only(chunks, "New")


def test_comments_decorators_and_attributes_above_a_definition_belong_to_it():
    assert only(cut("ledger.py"), "Ledger.total")["content"].startswith("    @property\n")
    assert only(cut("ledger.py"), "Ledger.post")["content"].startswith("    # Both sides")
    assert only(cut("cache.go"), "Cache.Get")["content"].startswith("// Get looks a key up.")
    assert cut("walker.rs")[1]["content"].startswith("/// How a walk went.\n#[derive")


def test_a_comment_behind_code_or_beyond_a_blank_line_does_not_belong_to_what_follows():
    text = (
        f"LIMIT = {'1' * 50}  # per day\ndef f():\n    pass\n"
        f"# {'beyond the function ' * 3}\n\ndef g():\n    pass\n"
    )
    chunks = cut("a.py", text)
    assert only(chunks, "f")["content"] == "def f():\n    pass"
    assert only(chunks, "g")["content"] == "def g():\n    pass"


def test_a_bare_class_head_goes_with_the_first_member_and_a_ruler_with_the_one_before():
    method = "    def {}(self):\n        return '{}'\n"
    ruler = "    # ------------------------------------------------------------------\n\n"
    text = "class Book(Medium):\n" + "\n".join(
        (method.format("title", "x" * 300), ruler, method.format("author", "y" * 300))
    )
    title, author = cut("a.py", text)
    assert (title["name"], title["line_start"], title["line_end"]) == ("Book.title", 1, 5)
    assert (author["name"], author["line_start"]) == ("Book.author", 8)


EXTENDS = {
    "several.py": ("class A(B, C): pass", "B"),
    "generic.py": ("class A(x.B[int], metaclass=M): pass", "x.B"),
    "metaclass.py": ("class A(metaclass=M): pass", None),
    "exported.js": ("export default class A extends b.B {}", "b.B"),
    "class.ts": ("export abstract class A<T> extends b.B<T> implements C {}", "b.B"),
    "interface.tsx": ("interface A extends B<X>, C {}", "B"),
    "class.java": ("class A<T> extends b.B<T> implements C {}", "b.B"),
    "interface.java": ("interface A extends B<X>, C {}", "B"),
    "enum.java": ("enum A implements B { ONE }", None),
    "class.cpp": ("class A : public virtual b::B<int>, C {};", "b.B"),
    "template.cpp": ("template <class T> struct A : B<T> {};", "B"),
    "trait.rs": ("trait A: B + C {}", "B"),
    "impl.rs": ("impl B for A {}", None),
    "class.cs": ("class A<T> : b.B<T>, C where T : D {}", "b.B"),
    "record.cs": ("record A(int X) : B(X);", "B"),
    "class.rb": ("class A < B::C\nend", "B.C"),
    "class.php": ("<?php class A extends \\b\\B implements C {}", "b.B"),
}


@pytest.mark.parametrize("name", EXTENDS)
def test_a_class_tells_the_first_that_it_extends(name):
    text, parent = EXTENDS[name]
    (chunk,) = cut(name, text)
    assert (chunk["className"], chunk.get("extends")) == ("A", parent)


LONG = "{ /* " + "a body of some length " * 3 + "*/ }"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.js",
            f"module.exports = class Cart extends Base {{ total() {LONG} add() {LONG} }}",
            ["method Cart.total < Base", "method Cart.add < Base"],
        ),
        (
            "a.cjs",
            f"module.exports = class extends a.Base {{ total() {LONG} add() {LONG} }}",
            ["method module.exports.total < a.Base", "method module.exports.add < a.Base"],
        ),
        (
            "a.jsx",
            f"export default class extends Component {{ total() {LONG} add() {LONG} }}",
            ["method default.total < Component", "method default.add < Component"],
        ),
        (
            "a.tsx",
            f"export default class extends Component<P> {{ total() {LONG} add() {LONG} }}",
            ["method default.total < Component", "method default.add < Component"],
        ),
        (
            "b.ts",
            f"export const A = class extends B {{ total(): void {LONG} add(): void {LONG} }}",
            ["method A.total < B", "method A.add < B"],
        ),
        ("a.mjs", f"export default function () {LONG}", ["function default"]),
        ("a.ts", f"export default async (a: string) => {LONG}", ["function default"]),
        (
            "b.js",
            f"const api = {{ get: function () {LONG}, put: async () => {LONG}, 'a-b'() {LONG} }}",
            ["method api.get", "method api.put", "method api.a-b"],
        ),
        (
            "c.ts",
            f"export const api: Api = {{ get: (): void => {LONG}, put(): void {LONG}, n: 1 }}",
            ["method api.get", "method api.put"],
        ),
        (
            "c.js",
            f"export default {{ data() {LONG}, methods: {{ a() {LONG}, b: () => {LONG} }} }}",
            ["method default.data", "method default.methods.a", "method default.methods.b"],
        ),
        ("d.js", "const plain = { a: 1, b: { c: 2 } }; call({ f: () => 1 })", []),
        (
            "a.go",
            "type (\n\t// A.\n\tA struct {\n\t\tx int // so it is\n\t}\n\tC int\n\tB interface {\n"
            "\t\tM(x int, y int, z int) error\n\t}\n)\n",
            ["class A", "class B"],
        ),
        (
            "a.cpp",
            f"class API_EXPORT Widget : public Base {{ int size() {LONG} int grow() {LONG} }};",
            ["method Widget.size < Base", "method Widget.grow < Base"],
        ),
        (
            "a.h",
            f"struct\nAPI(1) OLD Point final {{ int x() {LONG} int y() {LONG} }};",
            ["method Point.x", "method Point.y"],
        ),
        ("b.cpp", "class FOO { int x; };\nstruct FOO bar = {1};\nclass FOO;", ["class FOO"]),
    ],
)
def test_what_is_named_by_what_surrounds_it_is_found_qualified_and_with_its_class(
    name, text, expected
):
    found = [chunk for chunk in cut(name, text, 200) if not chunk["kind"].endswith("-context")]
    shown = [
        f"{c['kind']} {c['name']}" + (f" < {c['extends']}" if "extends" in c else "") for c in found
    ]
    assert shown == expected
    for chunk in found:
        scope = chunk["name"].rpartition(".")[0]
        if chunk["kind"] == "method":
            assert chunk["className"] == scope


def test_a_method_tells_what_its_class_extends():
    assert only(cut("router.ts"), "Router.add").get("extends") is None
    assert {chunk.get("extends") for chunk in cut("queue.js") if "className" in chunk} == {
        "EventEmitter"
    }


def test_a_function_inside_a_function_is_part_of_it():
    assert "def add(" in only(cut("ledger.py"), "Ledger.post")["content"]


def test_a_class_within_a_quarter_of_the_bound_stays_whole():
    assert "class Ledger" in labels(cut("ledger.py", limit=4_000))


def test_the_context_of_a_class_holds_its_head_fields_and_documentation():
    context = only(cut("ledger.py"), "Ledger")
    assert (context["kind"], context["className"]) == ("class-context", "Ledger")
    assert "dataclass" in context["content"]
    assert 'currency = "EUR"' in context["content"]
    assert (context["line_start"], context["line_end"]) == (16, 21)


def test_an_oversized_function_is_split_by_lines_that_overlap():
    body = "".join(f"    total += {number}\n" for number in range(200))
    parts = cut("a.py", f"def add_up():\n{body}", limit=1_000)
    assert {part["name"] for part in parts} == {"add_up"}
    for before, after in pairwise(parts):
        shared = before["line_end"] - after["line_start"] + 1
        assert shared > 0
        assert sum(map(len, after["content"].splitlines()[:shared])) <= 100
    assert parts[-1]["line_end"] == 201


def test_a_line_beyond_the_bound_is_cut_inside():
    text = "x = '" + "ab " * 400 + "'\n"
    chunks = cut("a.py", text, limit=500)
    assert len(chunks) == 3
    assert all((chunk["line_start"], chunk["line_end"]) == (1, 1) for chunk in chunks)
    assert_covered(text, chunks)


def test_definitions_on_one_line_are_chunks_of_their_own():
    text = "function a() { return 1 } function b() { return 2 }"
    assert [chunk["content"] for chunk in cut("a.js", text)] == [
        "function a() { return 1 } ".rstrip(),
        "function b() { return 2 }",
    ]


def test_columns_count_characters_and_not_bytes():
    text = (
        "naïve = '😀' * 20 + 'and more text, which is long enough'\ndef größe():\n    return 'ß'\n"
    )
    assert [chunk["content"] for chunk in cut("a.py", text)] == [
        *text.splitlines()[:1],
        "def größe():\n    return 'ß'",
    ]


def test_a_file_with_syntax_errors_still_gives_its_definitions():
    broken = SAMPLES["ledger.py"].replace("amount.quantize(ROUNDING)", "amount.quantize((")
    assert {"rounded", "Ledger.post"} <= {chunk["name"] for chunk in cut("ledger.py", broken)}


NESTED = {
    "classes.py": "".join(f"{' ' * depth}class C{depth}:\n" for depth in range(500)),
    "classes.java": "".join(f"class A{depth} {{" for depth in range(40_000)) + "}" * 40_000,
    "sums.c": f"int x = {''.join(f'({depth}+' for depth in range(20_000))}1{')' * 20_000};",
    "statements.ts": "".join(f"if (a{depth}) " for depth in range(20_000)) + ";",
    "modules.rb": "".join(f"module A{depth}\n" for depth in range(2_000)) + "end\n" * 2_000,
}


@pytest.mark.parametrize("name", NESTED)
def test_nesting_has_no_depth_that_breaks_a_file(name):
    chunks = cut(name, NESTED[name])
    joined = "".join(chunk["content"] for chunk in chunks)
    assert len(joined) >= len("".join(NESTED[name].split()))
    assert set(re.findall(r"\d+", NESTED[name])) <= set(re.findall(r"\d+", joined))


@pytest.mark.parametrize("text", ["x = " + "[" * 50_000, "{" * 50_000, "<a>" * 20_000])
def test_a_long_run_of_syntax_errors_is_left_to_others(text):
    with pytest.raises(UnparsableFileError, match="syntax errors"):
        cut("a.js", text)


REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("folder", ["adapters", "application", "docs", "domain", "tests/golden"])
def test_nothing_of_a_real_file_is_lost(folder):
    read = 0
    for file in (REPOSITORY / folder).rglob("*"):
        parser = PARSERS.get(file.suffix)
        if parser is None:
            continue
        text = file.read_text(errors="replace")
        try:
            chunks = (CodeParser if parser == "CodeParser" else ProseParser)(2_000).parse(
                text, file.name
            )
        except UnparsableFileError:
            continue
        assert_covered(text, chunks)
        read += 1
    assert read


def assert_bounded(chunks: list[ChunkRecord], limit: int) -> None:
    assert all(0 < len(c["content"].replace("\r\n", "\n")) <= limit for c in chunks)


def pieces_of_text() -> st.SearchStrategy[str]:
    awkward = ["{", "}", "(", '"', "'", "/*", "*/", "#", "'''", "class ", "def ", "end\n", "```\n"]
    return st.one_of(
        st.sampled_from([*awkward, "\n", "\n\n", "\r", "\r\n", "é", "😀", "\ufeff", "\0", "==="]),
        st.text(max_size=20),
    )


@st.composite
def mangled(draw: st.DrawFn, texts: dict[str, str]) -> tuple[str, str]:
    """A file name, and its text with pieces taken out, put in and doubled."""
    name = draw(st.sampled_from(sorted(texts)))
    text = texts[name]
    for _ in range(draw(st.integers(0, 6))):
        first, second = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        middle = draw(st.sampled_from(["", text[first:second] * 2])) + draw(pieces_of_text())
        text = text[:first] + middle + text[second:]
    return name, text


@given(mangled(SAMPLES), st.integers(200, 1_500))
def test_nothing_of_a_mangled_source_is_lost(source, limit):
    name, text = source
    try:
        chunks = CodeParser(limit).parse(text, name)
    except UnparsableFileError:
        chunks = LineParser(limit).parse(text, name)
    assert_covered(text, chunks)
    assert_bounded(chunks, limit)


MARKDOWN = """---
title: not a heading
---
Before the first heading.

# Guide

## Install

```sh
# not a heading
make install
```

- # in a list, so not a heading of the document

From source
-----------

`make` does it.

# Reference
"""

RST = """\
=====
Guide
=====

Before.

Install
-------

::

    make install

From source
~~~~~~~~~~~
Like this.

=====  =====
not    a title
=====  =====

Reference
---------
"""


def test_markdown_is_cut_by_headings_that_are_headings():
    chunks = ProseParser().parse(MARKDOWN, "guide.md")
    assert [(chunk["name"], chunk["line_start"]) for chunk in chunks] == [
        ("guide.md", 1),
        ("Guide > Install", 6),
        ("Guide > From source", 17),
        ("Reference", 22),
    ]
    assert {chunk["kind"] for chunk in chunks} == {"doc-section"}


def test_restructured_text_is_cut_by_titles_and_their_order_tells_the_level():
    chunks = ProseParser().parse(RST, "guide.rst")
    assert [(chunk["name"], chunk["line_start"]) for chunk in chunks] == [
        ("Guide", 1),
        ("Guide > Install", 7),
        ("Guide > Install > From source", 14),
        ("Guide > Reference", 22),
    ]


def test_a_title_may_be_longer_than_a_line_of_four_that_stands_apart():
    text = "A long title\n====\n\na\n\nAnother\n---\n\nThe last line of\na paragraph\n----\n\nb\n"
    assert [chunk["name"] for chunk in ProseParser().parse(text, "a.rst")] == ["A long title"]
    text = "A long title\n====\n\na\n\nAnother one\n----\n\nb\n"
    assert [chunk["name"] for chunk in ProseParser().parse(text, "a.rst")] == [
        "A long title",
        "A long title > Another one",
    ]


def test_titles_name_sections_without_their_markup():
    text = "# <img src='logo.png'> [`kb` *core*](https://x.y) ![badge](b.svg)\n\ntext\n"
    (chunk,) = ProseParser().parse(text, "README.md")
    assert chunk["name"] == "kb core"


def test_targets_above_a_title_belong_to_its_section():
    text = "Guide\n=====\n\ntext\n\n.. _setup:\n\n.. _install:\n\nInstall\n-------\n\ntext\n"
    guide, install = ProseParser().parse(text, "guide.rst")
    assert (guide["line_end"], install["line_start"]) == (4, 6)


@given(mangled({"a.md": MARKDOWN, "a.rst": RST, "b.md": "# A\r\rB\r\n---\rtext"}), st.just(200))
def test_nothing_of_a_mangled_document_is_lost(source, limit):
    name, text = source
    chunks = ProseParser(limit).parse(text, name)
    assert_covered(text, chunks)
    assert_bounded(chunks, limit)


@given(st.text(max_size=2_000), st.integers(200, 300))
def test_nothing_of_a_text_cut_by_lines_is_lost(text, limit):
    chunks = LineParser(limit).parse(text, "notes.txt")
    assert_covered(text, chunks)
    assert_bounded(chunks, limit)


def test_a_text_is_rather_cut_at_a_blank_line():
    paragraph = "word " * 30
    chunks = LineParser(400).parse(f"{paragraph}\n{paragraph}\n\n{paragraph}\n", "notes.txt")
    assert [chunk["line_end"] for chunk in chunks] == [2, 4]


def paths(chunks: list[ChunkRecord]) -> list[str]:
    return list(dict.fromkeys(chunk["sourcePath"] for chunk in chunks))


def extracted(checkout: Any, settings: Any = None) -> list[str]:
    return paths(checkout.extract("CodeSource", settings))


def test_the_code_source_is_opt_in_comes_last_and_brings_its_parsers():
    assert "CodeSource" not in WorkspaceSources().sources
    registry = WorkspaceSources(WorkspaceSettings(code_source=True, use_default_parsers=False))
    assert registry.names() == [*DEFAULT_SOURCES, "CodeSource"]
    assert registry.parsers.names() == list(CODE_PARSERS)


def test_every_file_goes_to_the_parser_of_its_name(checkout):
    for path in ("src/a.PY", "README.md", "docs/x.rst", "docs/y.txt", "Makefile", "b.toml"):
        checkout.write(path, "text = 1\n")
    chunks = checkout.extract("CodeSource")
    assert [(chunk["sourcePath"], chunk["parserId"]) for chunk in chunks] == [
        ("src/a.PY", "code-python"),
        ("b.toml", "lines"),
        ("Makefile", "lines"),
        ("docs/x.rst", "prose"),
        ("docs/y.txt", "prose"),
        ("README.md", "prose"),
    ]


def test_every_chunk_is_a_parsed_chunk_once_it_says_whose_it_is(checkout):
    for name, text in {**SAMPLES, "a.md": MARKDOWN, "a.txt": "text"}.items():
        checkout.write(f"src/{name}", text)
    chunks = checkout.extract("CodeSource")
    assert len(paths(chunks)) == len(SAMPLES) + 2
    for chunk in chunks:
        record = {key: chunk[key] for key in chunk if key not in ("source", "type", "hash")}
        claimed = record | {"tenantId": "acme", "repoSlug": "shop"}
        assert problems("parsed-chunk-v1", 1, claimed) == []


def test_ignored_files_are_left_out_as_git_does(checkout):
    checkout.write(".gitignore", "*.log\n!kept.log\n/build\nsecret/\n[z-a]\n")
    checkout.write("deep/.gitignore", "!*.log\nlocal.*\n")
    for path in (
        *("a.log", "kept.log", "build/x.txt", "lib/build/x.txt", "secret/.gitignore"),
        *("secret/kept.log", "deep/b.log", "deep/local.txt", "deep/er/c.log", "local.txt"),
    ):
        checkout.write(path, "!*\n")
    assert sorted(extracted(checkout)) == [
        *(".gitignore", "deep/.gitignore", "deep/b.log", "deep/er/c.log", "kept.log"),
        *("lib/build/x.txt", "local.txt"),
    ]


def test_rules_above_the_folder_that_is_walked_count(checkout):
    checkout.write(".gitignore", "/app/generated\n")
    checkout.write("app/generated/x.txt", "x")
    checkout.write("app/y.txt", "y")
    assert extracted(checkout, "app") == ["app/y.txt"]


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", "web/node_modules/x/index.js", "vendor/x.go", "app/__pycache__/x.txt"),
        *("logo.PNG", "app.min.js", "api_pb2.py", "package-lock.json", "Cargo.lock", "x.svg"),
    ],
)
def test_what_is_no_source_of_this_repository_is_always_left_out(checkout, path):
    checkout.write(path, "text")
    checkout.write("src/vendor/kept.py", "kept = 1\n")
    assert extracted(checkout) == ["src/vendor/kept.py"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\0\1", "binary"),
        (b"// Code generated by protoc-gen-go. DO NOT EDIT.\n", "generated"),
        (b"x=1;" * 5_000, "minified"),
        (b"x = 1\n" * 200_000, "too large"),
    ],
)
def test_what_is_no_source_by_its_content_is_skipped_with_the_reason(checkout, content, reason):
    checkout.write("a.go", content)
    assert extracted(checkout) == []
    assert checkout.skipped == {"a.go": reason}


@pytest.mark.parametrize("name", ["bundle.js", "data.json", "matrix.txt"])
def test_files_of_endless_lines_are_left_out_as_minified(checkout, name):
    checkout.write(name, "x=1;" * 5_000)
    checkout.write("short.json", "[" + "1," * 500 + "1]")
    checkout.write("prose.md", ("word " * 250 + "\n\n") * 40)
    assert extracted(checkout) == ["short.json", "prose.md"]
    assert checkout.skipped == {name: "minified"}


def test_what_is_left_out_by_its_name_is_told_once_for_a_folder(checkout):
    for path in ("vendor/a.go", "vendor/b.go", "logo.png", ".env", ".git/HEAD", "x_pb2.py", "a.py"):
        checkout.write(path, "text = 1\n")
    assert extracted(checkout) == ["a.py"]
    assert checkout.skipped == {
        "vendor": "vendored",
        "logo.png": "binary",
        ".env": "secret",
        "x_pb2.py": "generated",
    }
    assert extracted(checkout, {"excludePaths": ["*", "!a.py"]}) == ["a.py"]
    assert checkout.diagnostics == [], "what the settings leave out is no news"


def test_one_endless_line_does_not_drop_its_file(checkout):
    component = "export function Part(props) {\n  return props.label\n}\n"
    checkout.write(
        "Logo.jsx", f'const LOGO = "data:image/png;base64,{"iVBOR" * 9_000}"\n{component}'
    )
    chunks = checkout.extract("CodeSource")
    assert any("props.label" in chunk["content"] for chunk in chunks)
    assert sum(len(chunk["content"]) for chunk in chunks) < 500
    assert "characters left out]" in chunks[0]["content"]
    assert checkout.notices == {"Logo.jsx": "endless lines cut short"}


@pytest.mark.parametrize("source", ["CodeSource", "RawRepoSource"])
def test_utf_16_with_a_mark_is_read(checkout, source):
    checkout.write("a.txt", "größe\n".encode("utf-16"))
    [chunk] = checkout.extract(source)
    assert chunk["content"].strip() == "größe"


def test_a_notebook_gives_its_cells_whatever_its_pictures_weigh(checkout):
    output = {"data": {"image/png": "iVBOR" * 400_000}}
    cells = [{"cell_type": "code", "source": ["churn = 1\n"], "outputs": [output]}]
    checkout.write("a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    checkout.write("b.ipynb", json.dumps({"no": "notebook", "x": "iVBOR" * 9_000}))
    first, second = checkout.extract("CodeSource")
    assert (first["content"], first["parserId"]) == ("churn = 1", "notebook")
    assert (second["parserId"], len(second["content"]) < 500) == ("lines", True)
    assert checkout.notices == {"b.ipynb": "cut by lines"}
    assert (
        problems(
            "parsed-chunk-v1",
            1,
            {
                **{key: first[key] for key in first if key not in ("source", "type", "hash")},
                "tenantId": "acme",
                "repoSlug": "shop",
            },
        )
        == []
    )


def test_configured_patterns_are_left_out_too(checkout):
    checkout.write("locale/de.po", "x")
    checkout.write("a.txt", "x")
    assert extracted(checkout, {"excludePaths": ["*.po"]}) == ["a.txt"]


def test_a_configured_pattern_takes_in_what_is_always_left_out(checkout):
    checkout.write("vendor/ours.go", "package ours\n")
    checkout.write("vendor/.gitignore", "*.txt\n")
    checkout.write("vendor/ignored.txt", "x")
    assert extracted(checkout, {"excludePaths": ["!/vendor/"]}) == [
        "vendor/ours.go",
        "vendor/.gitignore",
    ]


def test_links_are_not_followed(checkout, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("password = 1\n")
    checkout.write("a.py", "text = 1\n")
    (checkout.root / "folder").symlink_to(outside)
    (checkout.root / "file.py").symlink_to(outside / "secret.py")
    (checkout.root / "inner.py").symlink_to("a.py")
    (checkout.root / "nowhere.py").symlink_to("missing.py")
    (checkout.root / ".gitignore").symlink_to(outside / "secret.py")
    assert extracted(checkout) == ["a.py"]
    assert checkout.failures == {}
    assert checkout.warnings == {
        ".gitignore": "the link leads out of the folder",
        "file.py": "the link leads out of the folder",
        "folder": "the link leads out of the folder",
        "nowhere.py": "the link leads nowhere",
    }
    assert checkout.skipped == {"inner.py": "symbolic link"}


def test_text_that_is_not_utf_8_is_read_with_replacements_and_blank_files_give_nothing(checkout):
    checkout.write("latin.py", "def größe():\n    return 1\n".encode("latin-1"))
    checkout.write("empty.py")
    checkout.write("blank.md", "\n \n")
    (chunk,) = checkout.extract("CodeSource")
    assert chunk["content"].startswith("def gr\ufffd\ufffde():")
    assert checkout.diagnostics == []


def test_a_file_beyond_the_bound_is_left_out(checkout):
    checkout.write("dump.sql", "x" * 101)
    checkout.write("fits.sql", "x" * 100)
    assert extracted(checkout, {"maxBytes": 100}) == ["fits.sql"]
    assert checkout.skipped == {"dump.sql": "too large"}


def test_code_without_definitions_and_with_errors_is_cut_by_lines_with_a_notice(checkout):
    checkout.write("a.py", "}{ ) not python at all (\n")
    (chunk,) = checkout.extract("CodeSource")
    assert (chunk["kind"], chunk["parserId"]) == ("text", "lines")
    assert list(checkout.notices) == ["a.py"]


def test_the_parser_that_is_configured_for_a_file_comes_first(tmp_path):
    (tmp_path / "notes.text").write_text(RST)
    settings = WorkspaceSettings(code_source=True, parser_patterns={"*.text": "ProseParser"})
    out = io.StringIO()
    for _, source in WorkspaceSources(settings).build(tmp_path, lambda _: None):
        source.extract(out, content_fingerprint)
    assert json.loads(out.getvalue().splitlines()[0])["name"] == "Guide"


def test_the_bound_of_chunks_can_be_configured(checkout):
    checkout.write("a.txt", "word\n" * 200)
    chunks = checkout.extract("CodeSource", {"maxCharacters": 300})
    assert max(len(chunk["content"]) for chunk in chunks) <= 300


@pytest.mark.parametrize(
    "settings",
    [{"excludePath": []}, {"excludePaths": "*.md"}, {"maxCharacters": 50}, {"maxBytes": "1"}],
)
def test_settings_that_cannot_be_are_refused(checkout, settings):
    with pytest.raises(ConfigurationError, match="CodeSource"):
        checkout.extract("CodeSource", settings)


def test_worker_processes_cut_as_this_one_does(checkout):
    for number in range(40):
        checkout.write(f"src/{number}.py", SAMPLES["ledger.py"] * 30)
    checkout.write("last.py", "class Last:\n    pass\n")
    chunks = checkout.extract("CodeSource")
    assert {chunk["parserId"] for chunk in chunks} == {"code-python"}
    assert len({chunk["sourcePath"] for chunk in chunks}) == 41


def sent(files: dict[str, str], settings: Any = None) -> tuple[dict[str, Any], dict[str, str]]:
    """The chunks of files that somebody sends, and the reasons of all diagnostics."""
    configured = {} if settings is None else {"CodeSource": settings}
    sources = WorkspaceSources(WorkspaceSettings(source_paths=configured))
    told: list[Diagnostic] = []
    jobs = (ParseJob(text, path) for path, text in files.items())
    chunks = dict(sources.parse(jobs, told.append))
    return chunks, {found.path: found.reason for found in told}


def test_files_that_are_sent_give_the_chunks_of_files_that_are_found(checkout):
    texts = {f"src/{name}": text for name, text in SAMPLES.items()}
    texts |= {"broken.py": "}{ ) no python (", "data.csv": "x" * 6000 + "\nend\n", "nul.txt": "\0"}
    for path, text in texts.items():
        checkout.write(path, text)
    found = [
        {key: value for key, value in chunk.items() if key != "hash"}
        for chunk in checkout.extract("CodeSource")
    ]
    chunks, told = sent(texts)
    assert list(chunks) != []
    assert chunks.keys() == texts.keys()
    by_path = {path: [chunk for chunk in found if chunk["sourcePath"] == path] for path in texts}
    assert chunks == by_path
    assert told == {
        "broken.py": "cut by lines",
        "data.csv": "endless lines cut short",
        "nul.txt": "binary",
    }


def test_files_that_are_sent_are_left_out_by_their_names_and_folders():
    names = [
        *(".git/config", "node_modules/x/index.js", "src/app.min.js", "Certs/Server.PEM"),
        *("docs/secret/a.md", "keep/dist/b.txt", "fine.md"),
    ]
    settings = {"excludePaths": ["secret/", "!keep/dist"], "maxBytes": 10}
    chunks, told = sent({**dict.fromkeys(names, "# Text"), "large.md": "# " + "é" * 5}, settings)
    assert [path for path, found in chunks.items() if found] == ["keep/dist/b.txt", "fine.md"]
    assert told == {
        ".git/config": "excluded",
        "node_modules/x/index.js": "vendored",
        "src/app.min.js": "generated",
        "Certs/Server.PEM": "secret",
        "docs/secret/a.md": "excluded",
        "large.md": "too large",
    }


@pytest.mark.parametrize(("count", "text", "most"), [(12, "word\n" * 200_000, 8), (9000, "", 4500)])
def test_of_files_that_are_sent_a_bounded_part_is_held(count, text, most):
    read = []

    def files() -> Iterator[ParseJob]:
        for number in range(count):
            read.append(number)
            yield ParseJob(text, f"{number}.txt")

    given = WorkspaceSources().parse(files(), lambda _: None)
    assert next(given)[0] == "0.txt"
    assert len(read) < most
    assert [path for path, _ in given] == [f"{number}.txt" for number in range(1, count)]


def test_half_a_character_that_is_sent_is_no_text():
    chunks, _ = sent({"a.md": "# A \ud800"})
    assert chunks["a.md"][0]["content"] == "# A \ufffd\ufffd\ufffd"
