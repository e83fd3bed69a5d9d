"""Any text, by lines."""

from __future__ import annotations

from typing import Any, Final

from tenantkb.adapters.parsers.cutting import BoundedParser, Piece, Text, records
from tenantkb.ports.extraction import ChunkRecord

_VERSION: Final = "1.1.0"


class LineParser(BoundedParser):
    """Cuts a text into runs of whole lines that overlap.

    For ``max_characters`` see :class:`~adapters.parsers.cutting.BoundedParser`.
    """

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
            max_characters=self._bound(hints),
        )
