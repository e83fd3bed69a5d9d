"""Files made to keep a parser busy, to take all memory, or to end its process."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.parsers.pool import Limits
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.application.writing.create import create

KINDS = {
    "parentheses": "(",
    "brackets": "[",
    "braces": "{",
    "type-arguments": "A<B,",
    "long-line": "x = y + z ",
    "quotes": "\"'`",
    "comments": "/*",
    "regular-expressions": "a/b[/(?:",
    "templates": "`${",
    "images": "![[",
    "elements": "<a ",
    "list-items": "- > ",
}
SUFFIXES = (".py", ".ts", ".js", ".c", ".cpp", ".go", ".rs", ".java", ".rb", ".php", ".md", ".rst")
GOOD = "def good():\n    return 'this function is found whatever the files beside it hold'\n"


def chunks_of(root: Path, limits: Limits) -> tuple[list[dict[str, object]], set[str]]:
    """The chunks of a folder's files, and the files that were cut by lines."""
    settings = WorkspaceSettings(use_default_sources=False, code_source=True)
    registry = WorkspaceSources(settings, workers=2, limits=limits)
    out = io.StringIO()
    report = create(registry, root, out)
    by_lines = {each.path for each in report.diagnostics if each.reason.startswith("cut by lines")}
    return [json.loads(line) for line in out.getvalue().splitlines()], by_lines


def test_every_file_has_chunks_beside_others_that_have_theirs(tmp_path: Path) -> None:
    for kind, text in KINDS.items():
        for suffix in SUFFIXES:
            # Lines, for what is one long one would count as minified.
            (tmp_path / f"{kind}{suffix}").write_text(f"{text * 60}\n" * 8)
    (tmp_path / "good.py").write_text(GOOD)
    chunks, _ = chunks_of(tmp_path, Limits())
    assert {chunk["source"] for chunk in chunks} == {file.name for file in tmp_path.iterdir()}
    assert [c["name"] for c in chunks if c["source"] == "good.py"] == ["good"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_megabyte_of_each_kind_stops_nothing(tmp_path: Path, suffix: str) -> None:
    for kind, text in KINDS.items():
        line = f"{text * 60}\n"
        (tmp_path / f"{kind}{suffix}").write_text(line * (1_000_000 // len(line)))
    (tmp_path / "good.py").write_text(GOOD)
    chunks, _ = chunks_of(tmp_path, Limits(seconds=3))
    assert {chunk["source"] for chunk in chunks} == {file.name for file in tmp_path.iterdir()}
    assert [c["name"] for c in chunks if c["source"] == "good.py"] == ["good"]


def test_what_takes_too_long_is_cut_by_lines_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(("/*" * 40 + "\n") * 12_000)
    (tmp_path / "good.py").write_text(GOOD)
    chunks, by_lines = chunks_of(tmp_path, Limits(seconds=3))
    assert by_lines == {"endless.py"}
    assert {chunk["kind"] for chunk in chunks if chunk["source"] == "endless.py"} == {"text"}
    assert [c["name"] for c in chunks if c["source"] == "good.py"] == ["good"]
