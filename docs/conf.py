"""How Sphinx makes the documentation site: ``make docs``.

The pages are the Markdown files of the repository, as they are: links between them, and to files
beside them, lead to the same places here and there.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from shutil import copyfile

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "tenantkb"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "version"
]
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "benchmarks/RESULTS.md"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"tenantkb {release}"
html_copy_source = False
html_show_copyright = False
html_use_index = False

NAVIGATION = {
    "README": (
        (
            "Use",
            "guides/index-your-own-repository",
            "guides/run-a-server",
            "guides/push-from-ci",
            "commands",
            "configuration",
            "troubleshooting",
        ),
        ("Build on it", "guides/use-as-a-library", "guides/write-a-source", "guides/write-a-store"),
        ("Understand", "tenancy", "architecture", "extraction", "contracts/README", "adr/README"),
        ("Move", "guides/move-from-the-javascript-system", "/CHANGELOG"),
        (
            "Trust",
            "/SECURITY",
            "/NOTICE",
            "mutation",
            "guides/container-tests",
            "/benchmarks/RESULTS",
        ),
    ),
    "docs/adr/README": (("Decisions", "adr/[0-9]*"),),
    "docs/contracts/README": (("Contracts", "contracts/*-v1"),),
}
"""Below which page, under which words, which pages of ``docs/`` come next, in reading order."""


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    for caption, *pages in NAVIGATION.get(page, ()):
        names = "\n".join(name if name[0] == "/" else f"/docs/{name}" for name in pages)
        hidden = ":hidden:\n" if page == root_doc else ""
        source[0] += f"\n```{{toctree}}\n:glob:\n{hidden}:caption: {caption}\n\n{names}\n```\n"


def add_index(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        copyfile(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    app.add_lexer("mermaid", TextLexer)  # a diagram stays text: what draws it comes from a network
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_index)
