"""Any text, by lines."""

from __future__ import annotations

from typing import Any, Final

from tenantkb.adapters.parsers.cutting import MAX_CHARACTERS, Piece, Text, records
from tenantkb.ports.extraction import ChunkRecord

_VERSION: Final = "1.1.0"


class LineParser:
    """Cuts a text into runs of whole lines that overlap.

    Args:
        max_characters: Most characters of one chunk, unless the hint ``max_characters`` says
            otherwise.
    """

    def __init__(self, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_characters = max_characters

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        """Chunks of kind ``text``, all named after the file."""
        text = Text(content)
        return records(
            text,
            path,
            [Piece(0, len(text.plain), "text", path)],
            parser_id="lines",
            parser_version=_VERSION,
            chunk_type="text",
            max_characters=hints.get("max_characters", self._max_characters),
        )
