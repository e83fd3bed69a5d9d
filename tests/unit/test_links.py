"""The links of the documentation lead somewhere."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / name for name in ("CHANGELOG.md", "NOTICE.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]


def inline_tokens(page: Path) -> list[Token]:
    text = page.read_text(encoding="utf-8")
    blocks = MarkdownIt("commonmark").enable("table").parse(text)
    return [token for block in blocks for token in block.children or ()]


def targets(page: Path) -> list[str]:
    """What a page's links and images point to; text in code is none."""
    found = [token.attrGet("href") or token.attrGet("src") for token in inline_tokens(page)]
    return [str(target) for target in found if target]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names that GitHub gives to a page's headings, but for numbers after equal ones."""
    text = page.read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").parse(text)
    return frozenset(
        re.sub(r"[^\w\- ]", "", title.content.lower()).replace(" ", "-")
        for opening, title in pairwise(tokens)
        if opening.type == "heading_open"
    )


def leads_somewhere(page: Path, target: str) -> bool:
    link = urlsplit(target)
    if link.scheme:
        return True
    file = page.parent / unquote(link.path) if link.path else page
    return file.exists() and (not link.fragment or link.fragment in anchors(file))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert [target for target in targets(page) if not leads_somewhere(page, target)] == []


def test_the_tests_that_the_threat_model_relies_on_are_there() -> None:
    """Fails: a test is gone, or has another name, and the page promises what nobody checks."""
    page = ROOT / "SECURITY.md"
    named = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", page.read_text("utf-8"))
    assert len(named) > 30
    assert [
        name for name, file in named if f"def {name}(" not in (ROOT / file).read_text("utf-8")
    ] == []


def test_a_missing_file_and_a_missing_heading_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One, two\n[a](#one-two) [b](#three) [c](page.md#one-two) [d](none.md) `[e](f)`"
    )
    assert [link for link in targets(page) if not leads_somewhere(page, link)] == [
        "#three",
        "none.md",
    ]
