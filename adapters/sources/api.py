"""Source code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder


class ApiSource(FileSource):
    """The chunks that SourceParser cuts from the ES modules of some folders.

    ``paths`` maps a folder to the ``type`` of its chunks, in the order of extraction.
    """

    default_paths: ClassVar[Mapping[str, str]] = {
        "src": "src",
        "apps": "app",
        "examples": "example",
        "docs/app": "app",
        "ai": "ai-infrastructure",
    }

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        for configured, chunk_type in self.paths.items():
            folder = SourceFolder(self.workspace, configured)
            if not folder.exists():
                continue
            hints = {"type": chunk_type, "hierarchy": self.workspace.hierarchy}
            walked = folder.walk(lambda path, _: path.endswith("/node_modules"))
            for path in folder.expected(path for path in walked if path.endswith(".mjs")):
                yield SourceFile(folder, path, "SourceParser", hints)
