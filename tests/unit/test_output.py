"""What is printed for people: stored text is shown, and never steers the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tenantkb.adapters.cli import output
from tenantkb.application.reading.hierarchy import RepositoryHierarchy
from tenantkb.application.reading.query import Answer, ScoreParts
from tenantkb.application.reading.search import FoundFile, FoundPassage
from tenantkb.application.reading.status import RepositoryStatus, StatusReport
from tenantkb.domain.documents import Document
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.stamps import Visibility

STEERING = (
    "a\x1b[2J", "a\x1b]0;title\x07", "a\x9b2J", "a\rb", "a\x08", "a\u202eb", "a\u2028b"
)  # fmt: skip
ADA = AgentIdentity("acme", "ada")


def document(text: str) -> Document:
    return Document(ChunkId("id"), "acme", "app", text, text, text, text, Visibility.TEAM)


def printed(show: str, *values: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    getattr(output, show)(console, *values)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("text", STEERING)
@pytest.mark.parametrize(
    ("show", "lines"), [("documents", 1), ("hierarchies", 1), ("answers", 3), ("contents", 3)]
)
def test_stored_text_cannot_steer_a_terminal(show: str, lines: int, text: str) -> None:
    forged = f"{text} é"
    cut = [Answer(document(forged), 0.5, forged)]
    whole = [Answer(document(forged), 0.5, "short", forged)]
    hierarchies = [RepositoryHierarchy("a", "b", {forged: forged})]
    calls: dict[str, tuple[str, list[object]]] = {
        "documents": ("print_documents", [[document(forged)]]),
        "hierarchies": ("print_hierarchies", [hierarchies]),
        "answers": ("print_answers", [cut, "a"]),
        "contents": ("print_answers", [whole, "a"]),
    }
    name, values = calls[show]
    shown = printed(name, *values)
    assert len(shown.splitlines()) == shown.count("\n") == lines
    assert all(line.isprintable() and "é" in line for line in shown.splitlines())


def test_one_document_cannot_pass_for_two() -> None:
    assert printed("print_documents", [document("a\nb")]).count("\n") == 1


def test_lines_and_tabs_of_a_content_stay() -> None:
    assert output.harmless("a\r\n\tb\n") == "a\n\tb\n"


def test_an_answer_begins_with_the_line_that_matches() -> None:
    found = Answer(
        document("a.py"), 0.5, "one\nZebras", lines=[(7, 8)], parts=ScoreParts(cosine=0.25)
    )
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard")
    output.print_answers(console, [found], "zebra")
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.startswith("\x1b[36ma.py:7\x1b[0m")
    assert "\n    one\n    \x1b[1;33mZebras\x1b[0m\n" in shown
    assert "cosine" not in shown
    assert "cosine 0.250\n" in printed("print_answers", [found], "zebra", "candidates")


def test_a_file_is_told_with_its_passages() -> None:
    place = PathIdentity("acme", "app", RootKind.BARE_REPO, "a.py")
    parts = ScoreParts(cosine=0.25)
    passages = [
        FoundPassage(
            [document("a.py"), document("a.py")], 0.5, "one\nZebras", None, (7, 9), [(8, 8)], parts
        ),
        FoundPassage([document("a.py")], 0.25, "", "whole\x1b", None, [], parts),
    ]
    shown = printed("print_files", [FoundFile(place, 0.5, passages)], "zebra").split("\n")
    assert shown[0] == "a.py  0.500  acme:app"
    assert shown[1].startswith("  a.py:8  [")
    assert shown[1].endswith(" and 1 more")
    assert shown[2:4] == ["    one", "    Zebras"]
    assert shown[5:] == ["    whole\\x1b", ""]
    explained = printed("print_files", [FoundFile(place, 0.5, passages)], "zebra", "full")
    assert explained.count("cosine 0.250\n") == 2


@pytest.mark.parametrize("slug", ["[/x]", "[red]x", "[link=https://example.org]x"])
def test_the_name_of_a_repository_is_no_markup(slug: str) -> None:
    console = Console(file=io.StringIO(), width=200)
    repositories = [RepositoryStatus("acme", slug, 1, None)]
    report = StatusReport(repositories, EmbedderProfile("hashing", 64), 0, False, 0, "full")
    output.print_status(console, report, ADA)
    assert isinstance(console.file, io.StringIO)
    assert slug in console.file.getvalue()


FOUND = (
    *(Diagnostic(f"{number}.pb.go", "generated", Severity.SKIPPED) for number in range(8)),
    *(
        Diagnostic(f"{number}.png", "binary", Severity.SKIPPED, "by its name")
        for number in range(4)
    ),
    Diagnostic("a.mjs", "cannot be parsed", Severity.WARNING, "line 1"),
    Diagnostic("b.mjs", "cannot be parsed", Severity.WARNING, "line 2"),
    Diagnostic("two\nlines\x1b[2J", "Permission denied"),
)


def diagnostics_printed(*found: Diagnostic, verbose: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    output.print_diagnostics(console, ExtractionReport({}, found), verbose=verbose)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_files_with_the_same_problem_are_one_line() -> None:
    assert diagnostics_printed(*FOUND) == [
        "warning: 2 files: cannot be parsed: a.mjs and others",
        "failure: two\\nlines\\x1b[2J: Permission denied",
        "12 files skipped: generated (8), binary (4)",
        "--verbose tells each",
    ]
    assert diagnostics_printed(FOUND[-1]) == ["failure: two\\nlines\\x1b[2J: Permission denied"]


def test_each_file_is_told_on_demand() -> None:
    told = diagnostics_printed(*FOUND, verbose=True)
    assert len(told) == len(FOUND)
    assert told[8] == "skipped: 0.png: binary: by its name"
