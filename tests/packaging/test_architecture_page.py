"""What ``docs/architecture.md`` says of the code is so."""

from __future__ import annotations

import re

from tests.packaging.building import FOLDERS, ROOT
from tests.packaging.import_table import PAGE, printed, table


def test_the_table_of_imports_is_current() -> None:
    assert printed() == table(), "python -m tests.packaging.import_table writes it anew"


def test_the_words_of_the_page_are_names_of_the_code() -> None:
    words = re.findall(r"^\| `(\w+)`[^|]*\| `([\w.]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(words) > 10
    for word, module in words:
        code = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert re.search(rf"^(class {word}\b|def {word}\b|{word} = )", code, re.MULTILINE), word


def test_every_folder_of_the_package_is_in_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in FOLDERS if f"| `{name}/` |" not in text] == []
