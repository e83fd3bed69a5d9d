"""Runbooks: what to do when the pager rings."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tenantkb.adapters.sources.base import ChunkSource
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord, ParseJob, Workspace


class RunbookSource(ChunkSource):
    """Finds the runbooks of a folder."""

    default_paths = "runbooks"

    def __init__(self, workspace: Workspace, suffix: str = ".rbk") -> None:
        super().__init__(workspace)
        self.suffix = suffix

    def chunks(self) -> Iterator[ChunkRecord]:
        folder = SourceFolder(self.workspace, self.paths)
        if folder.exists():
            yield from self.parsed("RunbookParser", self._jobs(folder))

    def _jobs(self, folder: SourceFolder) -> Iterator[ParseJob]:
        for file in folder.walk():
            if file.endswith(self.suffix) and (text := folder.read(file)) is not None:
                yield ParseJob(text, folder.relative(file))


class RunbookParser:
    """Cuts a runbook before each of its headings, ``== What to do``."""

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        lines = content.splitlines()
        heads = [index for index, line in enumerate(lines) if line.startswith("== ")]
        if not heads:
            raise UnparsableFileError("a runbook has headings that begin with '== '")
        return [
            {
                "type": "runbook",
                "kind": "step",
                "name": lines[start].removeprefix("== "),
                "content": "\n".join(lines[start:end]).strip(),
                "source": path,
                "line_start": start + 1,
                "line_end": end,
            }
            for start, end in pairwise([*heads, len(lines)])
        ]
