"""Playwright tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from tenantkb.adapters.sources.base import ChunkSource
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import ChunkRecord, ParseJob

_GENERATED = frozenset({"node_modules", "test-results", "reports"})


class TestSource(ChunkSource):
    """The chunks that TestParser cuts from ES modules; a module without any is one chunk."""

    __test__ = False  # not for pytest, whatever the name says

    default_paths: ClassVar[str] = "test/playwright"

    def chunks(self) -> Iterator[ChunkRecord]:
        """See :meth:`ChunkSource.chunks`."""
        for job, parsed in self.workspace.parse_all("TestParser", self._jobs()):
            if isinstance(parsed, UnparsableFileError):
                found = Diagnostic(job.path, "kept as one chunk", Severity.NOTICE, str(parsed))
                self.workspace.report(found)
            if not isinstance(parsed, UnparsableFileError) and parsed:
                yield from parsed
            else:
                yield {
                    "type": "test",
                    "kind": "test-spec",
                    "name": job.path,
                    "content": job.content,
                    "source": job.path,
                }

    def _jobs(self) -> Iterator[ParseJob]:
        folder = SourceFolder(self.workspace, self.paths)
        if not folder.exists():
            return
        walked = folder.walk(lambda path, _: Path(path).name in _GENERATED)
        for file in folder.expected(file for file in walked if Path(file).suffix == ".mjs"):
            if (text := folder.read(file)) is not None:
                yield ParseJob(text, folder.relative(file))
