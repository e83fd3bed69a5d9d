"""Pieces of a text, made into chunk records of bounded size that name their lines."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from attrs import frozen

from tenantkb.domain import fields
from tenantkb.ports.extraction import ChunkRecord

MAX_CHARACTERS: Final = 4_000
"""About a thousand tokens of code: within the windows of the usual embedding models."""

MIN_CHARACTERS: Final = 200

_HASH_INPUTS: Final = ("kind", "name", "content", fields.SOURCE_PATH, "parserId", "parserVersion")
_OVERLAP_SHARE: Final = 10
_LINE_END: Final = re.compile(r"\r\n?|\n")
_BLANK_LINES: Final = re.compile(r"(?:[^\S\r\n]*(?:\r\n?|\n))*")


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
    r"""Line numbers, from 1, of a text whose lines end with ``\n``, ``\r\n`` or ``\r``."""

    def __init__(self, text: str) -> None:
        if "\r" in text:
            self.starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
        else:
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
    text: str,
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
        max_characters: Most characters of one record's content.
    """
    lines = Lines(text)
    found = []
    for piece in pieces:
        whole = _trimmed(text, piece.start, piece.end)
        for part in spans(text, *whole, max_characters):
            start, end = _trimmed(text, *part)
            if start == end:
                continue
            record: ChunkRecord = {
                "schemaVersion": "1.0.0",
                fields.SOURCE_PATH: path,
                "source": path,
                "content": text[start:end],
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
    and inside a line only if that is longer than ``limit``. A span begins up to a tenth of
    ``limit`` before the end of the one before it.
    """
    overlap = limit // _OVERLAP_SHARE
    covered = start
    while end - start > limit:
        blank = text.rfind("\n\n", max(covered, start + limit // 2), start + limit)
        line = text.rfind("\n", covered, start + limit)
        if line < 0 and start < covered:
            start = covered  # rather no overlap than a cut through the next line
            continue
        cut = blank + 2 if blank >= 0 else line + 1 if line >= 0 else start + limit
        yield start, cut
        covered = cut
        if line < 0:
            start = cut - overlap
        else:
            begin = text.find("\n", max(start, cut - overlap - 1), cut - 1) + 1
            start = begin or cut
    if start < end:
        yield start, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blank lines that it begins with and the white space that ends it."""
    end = start + len(text[start:end].rstrip())
    match = _BLANK_LINES.match(text, start, end)
    return (match.end() if match else start), end
