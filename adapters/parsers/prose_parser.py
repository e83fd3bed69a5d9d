"""Markdown and reStructuredText, by headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, Final

from attrs import frozen
from markdown_it import MarkdownIt

from tenantkb.adapters.parsers.cutting import (
    MAX_CHARACTERS,
    BoundedParser,
    Lines,
    Piece,
    Text,
    records,
)
from tenantkb.ports.extraction import ChunkRecord

_VERSION: Final = "1.1.0"
MARKDOWN: Final = frozenset({".markdown", ".md", ".mdown", ".mdx"})
RESTRUCTURED_TEXT: Final = frozenset({".rest", ".rst", ".txt"})
"""Plain text as well: titles that are underlined are common in it."""

_FRONT_MATTER: Final = re.compile(r"---[ \t]*\n.*?^(?:---|\.\.\.)[ \t]*$", re.S | re.M)
# A title stands at the left margin; the line below it, and maybe the one above, repeats one sign.
_ADORNMENT: Final = r"(?P<{}>[!-/:-@\[-`{{-~])(?P={}){{2,}}"
_RST_TITLE: Final = re.compile(
    rf"^(?:{_ADORNMENT.format('over', 'over')}[ \t]*\n)?"
    rf"(?P<title>[ \t]*\S[^\n]*)\n(?P<line>{_ADORNMENT.format('under', 'under')})[ \t]*$",
    re.MULTILINE,
)
_PASSABLE_LINE: Final = 4
_RST_TARGET: Final = re.compile(r"\.\. _.*:\s*$")


@frozen
class _Heading:
    """Where a section begins: line, depth, title, and the line behind the heading; lines from 0."""

    line: int
    level: int
    title: str
    body: int


class ProseParser(BoundedParser):
    """Cuts a document before its headings; a heading without text goes with the next section.

    What has no suffix of Markdown is read as reStructuredText, whatever its suffix.

    For ``max_characters`` see :class:`~adapters.parsers.cutting.BoundedParser`.
    """

    def __init__(self, max_characters: int = MAX_CHARACTERS) -> None:
        super().__init__(max_characters)
        # What stands inside a line cannot make a heading, and is only read for the title of one.
        self._markdown = MarkdownIt("commonmark").disable("inline")
        self._inline = MarkdownIt("commonmark")

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        """Chunks of kind ``doc-section``, named by the headings above, outermost first."""
        text = Text(content)
        is_markdown = PurePosixPath(path).suffix.lower() in MARKDOWN
        headings = (self._markdown_headings if is_markdown else _rst_headings)(text.plain)
        return records(
            text,
            path,
            _sections(text.plain, path, headings),
            parser_id="prose",
            parser_version=_VERSION,
            chunk_type="doc",
            max_characters=self._bound(hints),
        )

    def _markdown_headings(self, text: str) -> Iterator[_Heading]:
        front_matter = _FRONT_MATTER.match(text)
        start = front_matter.end() if front_matter else 0
        offset = Lines(text[:start]).number(start) - 1
        tokens = self._markdown.parse(text[start:])
        for opening, inline in pairwise(tokens):
            if opening.type == "heading_open" and opening.level == 0 and opening.map:
                first, last = (offset + line for line in opening.map)
                yield _Heading(first, int(opening.tag[1:]), self._title(inline.content), last)

    def _title(self, heading: str) -> str:
        """A heading as one reads it: without markup, addresses and images."""
        (line,) = self._inline.parseInline(heading)
        shown = ("text", "code_inline", "softbreak")
        return "".join(each.content or " " for each in line.children or () if each.type in shown)


def _rst_headings(text: str) -> Iterator[_Heading]:
    """The titles of a document; how deep one is follows from which adornments came before."""
    written = text.split("\n")
    levels: list[tuple[str | None, str]] = []
    lines = Lines(text)
    for match in _RST_TITLE.finditer(text):
        style = (match["over"], match["under"])
        title = match["title"].strip()
        overlined = match["over"] is not None
        if overlined and match["over"] != match["under"]:
            continue
        first = line = lines.number(match.start()) - 1
        if not overlined and match["title"][0].isspace():
            continue
        # Docutils lets a short line of four signs pass, with a warning; here it has to stand apart,
        # since plain text has such lines below paragraphs, too.
        stands_apart = not line or not written[line - 1].strip()
        least = _PASSABLE_LINE if stands_apart else len(title)
        if not overlined and len(match["line"]) < min(least, len(title)):
            continue
        if len(set(title)) == 1 and not title.isalnum():
            continue
        if style not in levels:
            levels.append(style)
        # The targets of references right above a title are its own.
        while line and (not written[line - 1].strip() or _RST_TARGET.match(written[line - 1])):
            line -= 1
            first = line if written[line].strip() else first
        yield _Heading(first, levels.index(style) + 1, title, lines.number(match.end()))


def _sections(text: str, path: str, headings: Iterator[_Heading]) -> Iterator[Piece]:
    starts = Lines(text).starts

    def position(line: int) -> int:
        return starts[line] if line < len(starts) else len(text)

    start, body, name = 0, 0, path
    trail: list[_Heading] = []
    for heading in headings:
        cut = position(heading.line)
        if text[body:cut].strip():
            yield Piece(start, cut, "doc-section", name)
            start = cut
        trail = [above for above in trail if above.level < heading.level] + [heading]
        body = position(heading.body)
        titles = (" ".join(each.title.split()) for each in trail)
        name = " > ".join(title for title in titles if title) or path
    yield Piece(start, len(text), "doc-section", name)
