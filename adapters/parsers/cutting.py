"""Pieces of a text, made into chunk records of bounded size that name their lines."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

import regex
from attrs import frozen

from tenantkb.domain import fields
from tenantkb.ports.extraction import ChunkRecord

MAX_CHARACTERS: Final = 4_000
"""About a thousand tokens of code: within the windows of the usual embedding models."""

MIN_CHARACTERS: Final = 200

_HASH_INPUTS: Final = ("kind", "name", "content", fields.SOURCE_PATH, "parserId", "parserVersion")
_OVERLAP_SHARE: Final = 10
_BYTE_ORDER_MARK: Final = "\ufeff"
_LINE_END: Final = re.compile(r"\r\n?")
_BLANK_LINES: Final = re.compile(r"(?:[^\S\n]*\n)*")
_GRAPHEME: Final = regex.compile(r"\X")
"""An extended grapheme cluster of UAX 29: what a reader takes for one character."""


class BoundedParser:
    """Base of parsers whose chunks have a bound.

    Args:
        max_characters: Most characters of one chunk, unless the hint ``max_characters`` says
            otherwise.
    """

    def __init__(self, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_characters = max_characters

    def _bound(self, hints: Mapping[str, Any]) -> int:
        """Most characters of a chunk, given the hints of its file."""
        bound: int = hints.get("max_characters", self._max_characters)
        return bound


class Text:
    r"""A file's text as parsers cut it: lines end with ``\n``, and no byte order mark begins it.

    So cuts, names and line numbers are the same for each way of ending lines. What is cut out has
    the line ends that the file has.

    Attributes:
        plain: What offsets count.
    """

    def __init__(self, content: str) -> None:
        self._content = content.removeprefix(_BYTE_ORDER_MARK)
        self.plain = _LINE_END.sub("\n", self._content)
        # Where in the plain text lines end that have two characters for it in the file.
        ends = (match.start() for match in re.finditer("\r\n", self._content))
        self._pairs = [end - before for before, end in enumerate(ends)]

    def written(self, start: int, end: int) -> str:
        """A part as it stands in the file."""
        return self._content[self._offset(start) : self._offset(end)]

    def _offset(self, position: int) -> int:
        return position + bisect_left(self._pairs, position)


@frozen
class Piece:
    """A part of a text.

    Attributes:
        start: Its first character.
        end: The character behind it.
        kind: The ``kind`` of its chunks.
        name: The ``name`` of its chunks.
        class_name: The class that it belongs to, if any.
        extends: The class that this one extends, if any.
    """

    start: int
    end: int
    kind: str
    name: str
    class_name: str | None = None
    extends: str | None = None


class Lines:
    r"""Line numbers, from 1, of a text whose lines end with ``\n``."""

    def __init__(self, text: str) -> None:
        lines = text.split("\n")
        self.starts = [0, *accumulate(len(line) + 1 for line in lines[:-1])]

    def number(self, position: int) -> int:
        """The line that holds a character."""
        return bisect_right(self.starts, position)

    def start(self, position: int) -> int:
        """The first character of that line."""
        return self.starts[self.number(position) - 1]

    def end(self, position: int, text_length: int) -> int:
        """The character behind that line and its end."""
        number = self.number(position)
        return self.starts[number] if number < len(self.starts) else text_length


def records(
    text: Text,
    path: str,
    pieces: Iterable[Piece],
    *,
    parser_id: str,
    parser_version: str,
    chunk_type: str,
    max_characters: int,
) -> list[ChunkRecord]:
    """One record for each piece, or several that overlap for one that is too long.

    A record's ``content`` is what stands in the file from ``line_start`` to ``line_end``, without
    blank lines around it; where two definitions share a line, it is its own part of that line.

    Args:
        text: What the pieces are parts of.
        path: Path of the file, relative to the workspace.
        pieces: In any order; blank ones give nothing.
        parser_id: Which parser cut them.
        parser_version: Its version.
        chunk_type: The ``type`` of the records.
        max_characters: Most characters of one record's content, a line end counted as one.
    """
    lines = Lines(text.plain)
    found = []
    for piece in pieces:
        whole = _trimmed(text.plain, piece.start, piece.end)
        for part in spans(text.plain, *whole, max_characters):
            start, end = _trimmed(text.plain, *part)
            if start == end:
                continue
            record: ChunkRecord = {
                "schemaVersion": "1.0.0",
                fields.SOURCE_PATH: path,
                "source": path,
                "content": text.written(start, end),
                "hashInputs": list(_HASH_INPUTS),
                "parserId": parser_id,
                "parserVersion": parser_version,
                fields.ROOT_KIND: "bare-repo",
                "kind": piece.kind,
                "type": chunk_type,
                "name": piece.name,
            }
            if piece.class_name is not None:
                record["className"] = piece.class_name
            if piece.extends is not None:
                record["extends"] = piece.extends
            record["line_start"] = lines.number(start)
            record["line_end"] = lines.number(end - 1)
            found.append(record)
    return found


def spans(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut ``text[start:end]`` into spans that cover it, each of at most ``limit`` characters.

    It is cut behind a blank line if there is one in the second half of a span, else behind a line,
    and inside a line only if that is longer than ``limit``, then between two characters as readers
    see them. A span begins up to a tenth of ``limit`` before the end of the one before it.
    """
    overlap = limit // _OVERLAP_SHARE
    covered = start
    while end - start > limit:
        blank = text.rfind("\n\n", max(covered, start + limit // 2), start + limit)
        line = text.rfind("\n", covered, start + limit)
        if line < 0 and start < covered:
            start = covered  # rather no overlap than a cut through the next line
            continue
        if line < 0:
            cuts = _between_graphemes(text, start, start + limit)
            yield start, cuts[-1]
            covered = cuts[-1]
            start = cuts[bisect_left(cuts, covered - overlap)]
        else:
            cut = blank + 2 if blank >= 0 else line + 1
            yield start, cut
            covered = cut
            begin = text.find("\n", max(start, cut - overlap - 1), cut - 1) + 1
            start = begin or cut
    if start < end:
        yield start, end


def _between_graphemes(text: str, start: int, end: int) -> list[int]:
    """Where ``text`` may be cut behind ``start`` and up to ``end``; at least at ``end``."""
    # One more character tells whether there is a boundary at the end.
    matches = _GRAPHEME.finditer(text, start, min(end + 1, len(text)))
    return [match.start() for match in matches][1:] or [end]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blank lines that it begins with and the white space that ends it."""
    end = start + len(text[start:end].rstrip())
    match = _BLANK_LINES.match(text, start, end)
    return (match.end() if match else start), end
