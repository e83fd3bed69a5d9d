"""How far an extraction has come: its steps are the files that sources have found."""

from __future__ import annotations

import io
from pathlib import Path

from attrs import define

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.application.writing.create import create


@define
class Steps:
    """Counts what is expected and what is done."""

    expected: int = 0
    done: int = 0
    behind: int = 0

    def phase(self, name: str, total: int | None = None) -> None:
        """Nothing is counted."""

    def expect(self, steps: int) -> None:
        self.expected += steps

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        self.behind += self.done > self.expected


def test_the_files_of_a_repository_are_counted_before_the_first_is_read(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.py").write_text("x = 1\n")
    sources = WorkspaceSources(WorkspaceSettings(use_default_sources=False, code_source=True))
    steps = Steps()
    create(sources, tmp_path, io.StringIO(), steps)
    assert steps == Steps(30, 30, 0)


def test_the_files_of_a_workspace_are_counted_as_far_as_they_are_listed() -> None:
    workspace = Path(__file__).parents[1] / "golden/mini-neo-workspace"
    steps = Steps()
    create(WorkspaceSources(), workspace, io.StringIO(), steps)
    assert 0 < steps.expected <= steps.done
