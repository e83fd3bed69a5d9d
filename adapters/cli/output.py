"""What the commands print for people."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence, Set
from typing import Final

from attrs import asdict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenantkb.application.reading.hierarchy import RepositoryHierarchy
from tenantkb.application.reading.query import Answer
from tenantkb.application.reading.search import FoundFile, FoundPassage
from tenantkb.application.reading.status import StatusReport
from tenantkb.application.writing.embed import EmbedReport
from tenantkb.application.writing.sync import SyncReport
from tenantkb.domain.documents import Document
from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.stamps import format_instant
from tenantkb.domain.sync import Refusal
from tenantkb.domain.tokens import token_counts

_STEERING: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""Control characters but for line feed and tab, and what reverses the direction of writing."""

_WORD: Final = re.compile(r"\w+")
_COLOURS: Final = {Severity.FAILURE: "red", Severity.SKIPPED: "dim"}
_COMPARED: Final = {
    "full": "all rows in scope",
    "candidates": "the nearest rows alone, as this store has no postings that are up to date",
}


def print_sync(
    console: Console, report: SyncReport, seconds: float, *, verbose: bool = False
) -> None:
    """A synchronisation's summary."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Source")
    table.add_column("Chunks", justify="right")
    for name, count in report.extraction.counts.items():
        if count:
            table.add_row(name, f"{count:,}")
    console.print(table)
    print_diagnostics(console, report.extraction, verbose=verbose)
    print_refusals(console, report.refused)
    plan = report.plan
    updated = plan.reembedded + plan.restamped
    verb = "Would change" if report.dry_run else "Done"
    if plan.added + updated + report.deleted == 0 and report.is_complete:
        verb = "Nothing to do"
    console.print(
        f"{verb}: {plan.added:,} added, {updated:,} updated, {plan.unchanged:,} unchanged, "
        f"{report.deleted:,} deleted in {seconds:.1f} s",
        highlight=False,
    )
    if plan.duplicates:
        console.print(f"{plan.duplicates:,} left out: the same content as an earlier chunk")
    if plan.kept:
        console.print(f"{plan.kept:,} kept: rows of files that cannot be read or parsed at present")
    if report.refused:
        console.print(
            f"[red]{len(report.refused):,} chunks left out[/red]: the embedder refuses their text; "
            "what was stored of their files stays"
        )
    if not report.extraction.is_complete:
        stay = "their rows stay until they can be"
        if not report.extraction.tells_what_is_gone:
            stay = f"{plan.stale:,} stale rows stay until everything can be"
        console.print(f"[red]{report.extraction.failed:,} files could not be read[/red]; {stay}")


def print_embed(console: Console, report: EmbedReport, seconds: float) -> None:
    """A submission's summary."""
    verb = "Done" if report.added + report.updated else "Nothing to do"
    console.print(
        f"{verb}: {report.added:,} added, {report.updated:,} updated, "
        f"{report.unchanged:,} unchanged in {seconds:.1f} s",
        highlight=False,
    )
    if report.duplicates:
        console.print(f"{report.duplicates:,} left out: the same chunk as an earlier one")
    print_refusals(console, report.refused)
    if report.spoofs:
        console.print(
            f"[yellow]{report.spoofs:,} claims replaced[/yellow]: "
            "the owner, audience and instant of a row are the server's to say"
        )


def print_diagnostics(console: Console, report: ExtractionReport, *, verbose: bool) -> None:
    """One line for each reason, with what it is about; or, on demand, one line for each file."""
    if verbose:
        for item in report.diagnostics:
            _print_found(console, item.severity, f"{item.path}: {item.message}")
        return
    alike: dict[tuple[Severity, str], list[Diagnostic]] = {}
    for item in report.diagnostics:
        if item.severity is not Severity.SKIPPED:
            alike.setdefault((item.severity, item.reason), []).append(item)
    for (severity, reason), (first, *others) in alike.items():
        if others:
            told = f"{len(others) + 1:,} files: {reason}: {first.path} and others"
            _print_found(console, severity, told)
        else:
            _print_found(console, severity, f"{first.path}: {first.message}")
    skipped = report.skipped()
    if skipped:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in skipped.items())
        console.print(f"{skipped.total():,} files skipped: {reasons}", soft_wrap=True)
    if skipped or any(len(items) > 1 for items in alike.values()):
        console.print("--verbose tells each", style="dim")


def _print_found(console: Console, severity: Severity, text: str) -> None:
    line = Text(f"{severity.value}: ", style=_COLOURS.get(severity, "yellow"))
    line.append(on_one_line(text), style="default")
    console.print(line, soft_wrap=True)


def print_refusals(console: Console, refused: Sequence[Refusal]) -> None:
    """Every chunk whose text the embedder refuses, one line each."""
    for item in refused:
        line = Text("refused: ", style="red")
        told = f"{item.path}: {item.name}: {item.reason}"
        line.append(on_one_line(told), style="default")
        console.print(line, soft_wrap=True)


def print_answers(
    console: Console, answers: Sequence[Answer], question: str, lexical: str | None = None
) -> None:
    """Ranked chunks: place, score, title, and snippet or content with the question's words marked.

    Args:
        console: Where to.
        answers: The chunks.
        question: What was asked.
        lexical: What the words were compared with; given if scores are to be explained.
    """
    terms = token_counts(question).keys()
    if lexical is not None:
        console.print(f"Words are compared with: {_COMPARED[lexical]}")
    for answer in answers:
        document = answer.document
        head = Text(place_of(document, answer.lines), style="cyan")
        head.append(f"  {answer.score:.3f}", style="bold")
        head.append(f"  [{on_one_line(document.type)}]", style="dim")
        head.append(f" {document.tenant_id}:{document.repo_slug}", style="dim")
        console.print(head, soft_wrap=True)
        console.print(Text(f"    {on_one_line(document.name)}", style="bold"), soft_wrap=True)
        _print_said(console, answer, terms, explain=lexical is not None)


def print_files(
    console: Console, files: Sequence[FoundFile], question: str, lexical: str | None = None
) -> None:
    """Ranked files: each place, score and owner, then its passages, each with its place.

    Args:
        console: Where to.
        files: The files.
        question: What was asked.
        lexical: What the words were compared with; given if scores are to be explained.
    """
    terms = token_counts(question).keys()
    if lexical is not None:
        console.print(f"Words are compared with: {_COMPARED[lexical]}")
    for found in files:
        head = Text(on_one_line(found.path.source_path), style="bold cyan")
        head.append(f"  {found.score:.3f}", style="bold")
        head.append(f"  {found.path.tenant_id}:{found.path.repo_slug}", style="dim")
        console.print(head, soft_wrap=True)
        for passage in found.passages:
            best = passage.documents[0]
            line = Text("  ")
            line.append(place_of(best, passage.lines), style="cyan")
            line.append(f"  [{on_one_line(best.type)}]", style="dim")
            line.append(f" {on_one_line(best.name)}")
            if len(passage.documents) > 1:
                line.append(f" and {len(passage.documents) - 1:,} more", style="dim")
            console.print(line, soft_wrap=True)
            _print_said(console, passage, terms, explain=lexical is not None)


def _print_said(
    console: Console, found: Answer | FoundPassage, terms: Set[str], *, explain: bool
) -> None:
    """What makes the score, if that is asked for, and the whole content or a snippet of it."""
    if explain:
        parts = asdict(found.parts).items()
        told = ", ".join(f"{name} {value:.3f}" for name, value in parts if value)
        console.print(Text(f"    {told}", style="dim"), soft_wrap=True)
    text = found.snippet if found.content is None else found.content
    shown = textwrap.indent(harmless(text).rstrip(), "    ")
    console.print(_marked(shown, terms), soft_wrap=True)


def _marked(text: str, terms: Set[str]) -> Text:
    """A text whose words that have one of the terms stand out."""
    marked = Text(text)
    for word in _WORD.finditer(text):
        if not terms.isdisjoint(token_counts(word[0])):
            marked.stylize("bold yellow", *word.span())
    return marked


def print_documents(console: Console, documents: list[Document]) -> None:
    """One line a document."""
    for document in documents:
        line = Text(f"{document.id}  ", style="dim")
        line.append(f"{document.tenant_id}:{document.repo_slug}  ")
        line.append(place_of(document), style="cyan")
        line.append(f"  [{on_one_line(document.type)}] {on_one_line(document.name)}")
        console.print(line, soft_wrap=True)


def print_hierarchies(console: Console, hierarchies: list[RepositoryHierarchy]) -> None:
    """One line a class."""
    if not hierarchies:
        console.print("No classes.")
    for item in hierarchies:
        for name, parent in item.parents.items():
            line = Text(f"{item.tenant_id}:{item.repo_slug}  ", style="dim")
            line.append(on_one_line(name), style="cyan")
            line.append(f" extends {on_one_line(parent)}" if parent else "")
            console.print(line, soft_wrap=True)


def print_status(console: Console, report: StatusReport, caller: AgentIdentity) -> None:
    """The state of the knowledge base."""
    console.print(Text(f"Caller    {caller.tenant_id}/{caller.agent_id}"))
    console.print(Text(f"Embedder  {report.embedder.name}, {report.embedder.dimension} dimensions"))
    console.print(Text(f"Words     {_COMPARED[report.lexical]}"))
    table = Table(box=None, pad_edge=False)
    for column in ("Tenant", "Repository"):
        table.add_column(column)
    table.add_column("Rows", justify="right")
    table.add_column("Last sync")
    for item in report.repositories:
        when = format_instant(item.last_sync) if item.last_sync else "unknown"
        table.add_row(item.tenant_id, Text(item.repo_slug), f"{item.rows:,}", when)
    console.print(table if report.repositories else "No rows that you may see.")


def harmless(text: str) -> str:
    """Stored text in which only lines and tabs are left of what steers a terminal.

    Rich takes out some control characters. The others, escape sequences above all, would let the
    writer of a row change what its readers see of other rows.
    """
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """Stored text that cannot pass for several lines, see :func:`harmless`."""
    return harmless(text).replace("\n", "\\n").replace("\t", "\\t")


def place_of(document: Document, matching: Sequence[tuple[int, int]] = ()) -> str:
    """``path:line``, as editors understand it: the first matching line, or else all lines."""
    path = on_one_line(document.source_path)
    if matching:
        return f"{path}:{matching[0][0]}"
    if document.line_start is None:
        return path
    return f"{path}:{document.line_start}-{document.line_end}"
