"""Architecture decision records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import ClassVar

from tenantkb.adapters.parsers.js_text import DOT, trim, utf16_key
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.ports.extraction import ChunkRecord

_RECORD = re.compile(rf"[0-9]{{4}}-{DOT}*\.md")


class AdrSource(FileSource):
    """One chunk for each numbered Markdown file of a folder."""

    default_paths: ClassVar[str] = "learn/agentos/decisions"

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        folder = SourceFolder(self.workspace, self.paths)
        if not folder.exists():
            return
        names = filter(_RECORD.fullmatch, folder.children())
        for name in folder.expected(sorted(names, key=utf16_key)):
            yield SourceFile(folder, folder.path / name)

    def cut(self, source: SourceFile, path: str, text: str) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.cut`."""
        yield {
            "type": "adr",
            "kind": "adr",
            "name": PurePath(path).name.removesuffix(".md"),
            "content": trim(text),
            "source": path,
        }
