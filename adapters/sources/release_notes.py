"""Release notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import ClassVar

from tenantkb.adapters.parsers.js_text import utf16_key
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.ports.extraction import ChunkRecord


class ReleaseNotesSource(FileSource):
    """One chunk for each Markdown file of a folder, verbatim."""

    default_paths: ClassVar[str] = ".github/RELEASE_NOTES"

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        folder = SourceFolder(self.workspace, self.paths)
        if not folder.exists():
            return
        names = (name for name in folder.children() if name.endswith(".md"))
        for name in folder.expected(sorted(names, key=utf16_key)):
            yield SourceFile(folder, folder.path / name)

    def cut(self, source: SourceFile, path: str, text: str) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.cut`."""
        yield {
            "type": "release",
            "kind": "release",
            "name": PurePath(path).name.replace(".md", "", 1),
            "content": text,
            "source": path,
        }
