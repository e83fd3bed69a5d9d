"""The page of results: every benchmark replaces its own section and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).with_name("RESULTS.md")
_TITLE: Final = "# Results\n\nEach section is written by the command that it names.\n"


def write_section(title: str, text: str) -> None:
    """Replace the section of a title, or add it at the end."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else _TITLE
    section = f"## {title}\n\n{text.strip()}\n"
    found = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if found.search(page):
        page = found.sub(lambda _: section + "\n", page)
    else:
        page = page.rstrip("\n") + "\n\n" + section
    PAGE.write_text(page.rstrip("\n") + "\n", encoding="utf-8")
