"""Guides and blog posts in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tenantkb.adapters.parsers.js_text import DOT, LINE_START, SPACE, split_before, to_string, trim
from tenantkb.ports.extraction import ChunkRecord

_SECTION = re.compile(f"{LINE_START}#+{SPACE}")
_HEADING = re.compile(f"#+{SPACE}({DOT}*)")


class DocumentationParser:
    """Cuts a Markdown text before each line that begins with ``#`` characters and white space."""

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        """One chunk for each section that is not blank, or one for a text without sections.

        Args:
            content: The text.
            path: Becomes the ``source`` of the chunks.
            hints: ``item``, the entry of the table of contents: a mapping with ``id`` and, as a
                rule, ``name`` and ``parentId``. Without it the path stands for both id and name.
        """
        item: Mapping[str, Any] = hints.get("item") or {"id": path, "name": path}
        named = "name" in item
        name = to_string(item["name"]) if named else "undefined"
        sections = split_before(_SECTION, content)

        def chunk(title: dict[str, Any], text: str) -> ChunkRecord:
            return {
                "type": "blog" if item.get("parentId") == "Blog" else "guide",
                "kind": "guide",
                **title,
                "id": item["id"],
                "content": text,
                "source": path,
            }

        if len(sections) == 1:
            return [chunk({"name": item["name"]} if named else {}, content)]
        chunks = []
        for section in sections:
            if trim(section):
                heading = _HEADING.match(section)
                title = {"name": f"{name} - {heading[1] if heading else name}"}
                chunks.append(chunk(title, section))
        return chunks
