"""Release notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tenantkb.adapters.parsers.js_text import utf16_key
from tenantkb.adapters.sources.base import ChunkSource
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.ports.extraction import ChunkRecord


class ReleaseNotesSource(ChunkSource):
    """One chunk for each Markdown file of a folder, verbatim."""

    default_paths: ClassVar[str] = ".github/RELEASE_NOTES"

    def chunks(self) -> Iterator[ChunkRecord]:
        """See :meth:`ChunkSource.chunks`."""
        folder = SourceFolder(self.workspace, self.paths)
        if not folder.exists():
            return
        names = (name for name in folder.children() if name.endswith(".md"))
        for name in folder.expected(sorted(names, key=utf16_key)):
            path = folder.path / name
            text = folder.read(path)
            if text is not None:
                yield {
                    "type": "release",
                    "kind": "release",
                    "name": name.replace(".md", "", 1),
                    "content": text,
                    "source": folder.relative(path),
                }
