"""Notebooks of Jupyter, by cells; nbformat 4, and 3, which has its cells in worksheets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from tenantkb.adapters.parsers.cutting import BoundedParser, Piece, Text, records
from tenantkb.domain import fields
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord

NOTEBOOK: Final = ".ipynb"
"""The suffix of notebooks, in lower case."""

_VERSION: Final = "1.0.0"
_HEADING: Final = re.compile(r"^#{1,6}[ \t]+(.*?)[ \t#]*$", re.MULTILINE)
_PROSE: Final = frozenset({"markdown", "raw", "heading"})


class NotebookParser(BoundedParser):
    """Gives the code and the text of each cell, and nothing of what running it has printed.

    A cell has no lines of its own in the file, so neither have its chunks.

    For ``max_characters`` see :class:`~adapters.parsers.cutting.BoundedParser`.
    """

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        """Chunks of kind ``cell`` or ``doc-section``, named by the last heading above.

        Raises:
            UnparsableFileError: it is no notebook.
        """
        name, found = path, []
        for kind, source in _cells(content):
            text = Text(source)
            is_prose = kind in _PROSE
            if is_prose and (headings := _HEADING.findall(text.plain)):
                name = " ".join(headings[0].split()) or path
            for record in records(
                text,
                path,
                [Piece(0, len(text.plain), "doc-section" if is_prose else "cell", name)],
                parser_id="notebook",
                parser_version=_VERSION,
                chunk_type="doc" if is_prose else "code",
                max_characters=self._bound(hints),
            ):
                del record[fields.LINE_START], record[fields.LINE_END]  # those of the cell
                found.append(record)
        return found


def _cells(content: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each cell."""
    try:
        notebook = json.loads(content.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UnparsableFileError(f"not JSON: {error}") from error
    if not isinstance(notebook, dict):
        raise UnparsableFileError("not a notebook")
    sheets = [notebook, *_items(notebook.get("worksheets"))]
    if not any("cells" in sheet for sheet in sheets):
        raise UnparsableFileError("a notebook without cells")
    for cell in chain.from_iterable(_items(sheet.get("cells")) for sheet in sheets):
        source = cell.get("source", cell.get("input", ""))
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        if isinstance(source, str):
            yield str(cell.get("cell_type")), source


def _items(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, if it is one."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
