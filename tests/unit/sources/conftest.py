from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import ChunkRecord


class Checkout:
    """A workspace on disk, and what a source makes of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.diagnostics: list[Diagnostic] = []

    def write(self, path: str, content: str | bytes = "") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def extract(self, name: str, paths: Any = None) -> list[ChunkRecord]:
        """The chunks of one source, each with a right hash."""
        configured = {} if paths is None else {name: paths}
        registry = WorkspaceSources(
            WorkspaceSettings(source_paths=configured, raw_repo_source=True, code_source=True)
        )
        lines: list[str] = []

        class Out:
            def write(self, line: str) -> None:
                lines.append(line)

        self.diagnostics.clear()
        sources = dict(registry.build(self.root, self.diagnostics.append))
        self.diagnostics.clear()  # of the class hierarchy, which no test here has
        count = sources[name].extract(Out(), content_fingerprint)
        assert count == len(lines)
        assert all(line.endswith("\n") for line in lines)
        chunks = [json.loads(line) for line in lines]
        for chunk in chunks:
            assert list(chunk)[-1] == "hash"
            assert chunk["hash"] == content_fingerprint(chunk)
        return chunks

    @property
    def failures(self) -> dict[str, str]:
        return self._reasons(Severity.FAILURE)

    @property
    def warnings(self) -> dict[str, str]:
        return self._reasons(Severity.WARNING)

    @property
    def notices(self) -> dict[str, str]:
        return self._reasons(Severity.NOTICE)

    @property
    def skipped(self) -> dict[str, str]:
        return self._reasons(Severity.SKIPPED)

    def _reasons(self, severity: Severity) -> dict[str, str]:
        return {each.path: each.reason for each in self.diagnostics if each.severity is severity}


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    return Checkout(root)
