"""Playwright tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import ChunkRecord, Parsed, ParseJob

_GENERATED = frozenset({"node_modules", "test-results", "reports"})


class TestSource(FileSource):
    """The chunks that TestParser cuts from ES modules; a module without any is one chunk."""

    __test__ = False  # not for pytest, whatever the name says

    default_paths: ClassVar[str] = "test/playwright"

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        folder = SourceFolder(self.workspace, self.paths)
        if not folder.exists():
            return
        walked = folder.walk(lambda path, _: path.rpartition("/")[2] in _GENERATED)
        for file in folder.expected(file for file in walked if Path(file).suffix == ".mjs"):
            yield SourceFile(folder, file, "TestParser")

    def parsed(self, job: ParseJob, parsed: Parsed) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.parsed`."""
        if isinstance(parsed, UnparsableFileError):
            found = Diagnostic(job.path, "kept as one chunk", Severity.NOTICE, str(parsed))
            self.workspace.report(found)
        elif parsed:
            return parsed
        return [
            {
                "type": "test",
                "kind": "test-spec",
                "name": job.path,
                "content": job.content,
                "source": job.path,
            }
        ]
