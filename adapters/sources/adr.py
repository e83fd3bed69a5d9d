"""Architecture decision records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from tenantkb.adapters.parsers.js_text import DOT, trim, utf16_key
from tenantkb.adapters.sources.base import ChunkSource
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.ports.extraction import ChunkRecord

_RECORD = re.compile(rf"[0-9]{{4}}-{DOT}*\.md")


class AdrSource(ChunkSource):
    """One chunk for each numbered Markdown file of a folder."""

    default_paths: ClassVar[str] = "learn/agentos/decisions"

    def chunks(self) -> Iterator[ChunkRecord]:
        """See :meth:`ChunkSource.chunks`."""
        folder = SourceFolder(self.workspace, self.paths)
        if not folder.exists():
            return
        names = filter(_RECORD.fullmatch, folder.children())
        for name in folder.expected(sorted(names, key=utf16_key)):
            path = folder.path / name
            text = folder.read(path)
            if text is not None:
                yield {
                    "type": "adr",
                    "kind": "adr",
                    "name": name.removesuffix(".md"),
                    "content": trim(text),
                    "source": folder.relative(path),
                }
