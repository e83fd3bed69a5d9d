"""Source code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from tenantkb.adapters.sources.base import ChunkSource
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.ports.extraction import ChunkRecord, ParseJob


class ApiSource(ChunkSource):
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

    def chunks(self) -> Iterator[ChunkRecord]:
        """See :meth:`ChunkSource.chunks`."""
        return self.parsed("SourceParser", self._jobs())

    def _jobs(self) -> Iterator[ParseJob]:
        for configured, chunk_type in self.paths.items():
            folder = SourceFolder(self.workspace, configured)
            if not folder.exists():
                continue
            hints = {"type": chunk_type, "hierarchy": self.workspace.hierarchy}
            walked = folder.walk(lambda path, _: Path(path).name == "node_modules")
            for path in folder.expected(path for path in walked if path.endswith(".mjs")):
                if (text := folder.read(path)) is not None:
                    yield ParseJob(text, folder.relative(path), hints)
