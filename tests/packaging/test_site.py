"""The documentation site: built strictly, complete, and asking no other host for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.packaging.building import ROOT

PAGES = sorted(
    page.relative_to(ROOT).with_suffix("")
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
)


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """What ``make docs`` does, from a folder of one's choice."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    [options] = re.findall(
        r"^\t\$\(BIN\)/sphinx-build (.+) \. \.scratch/site$", makefile, re.MULTILINE
    )
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options.split(), str(source), str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Loaded(HTMLParser):
    """Collects what a browser loads to show a page; links that a person follows are none."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        names = {"link": ("href",), "a": ()}.get(tag, ("src", "srcset", "data", "poster"))
        self.found += [str(given[name]) for name in names if given.get(name)]


def is_external(address: str) -> bool:
    return bool(re.match(r"(?!data:)[a-z][a-z0-9+.-]*:|//", address, re.IGNORECASE))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    return target


def test_every_page_of_the_repository_is_on_the_site(site: Path) -> None:
    assert len(PAGES) > 30
    assert [page for page in PAGES if not (site / page).with_suffix(".html").is_file()] == []
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_every_page_is_reached_from_the_first_one(site: Path) -> None:
    navigation = (site / "index.html").read_text("utf-8")
    linked = set(re.findall(r'class="reference internal" href="([^"#]+)"', navigation))
    missing = [
        str(page) for page in PAGES if f"{page}.html" not in linked and page.name != "README"
    ]
    assert missing == []


def test_a_browser_asks_no_other_host_for_anything(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    loaded = [address for page in pages for address in Loaded(page).found]
    assert len(loaded) > len(pages)
    assert [address for address in loaded if is_external(address)] == []
    styles = "".join(style.read_text("utf-8") for style in site.rglob("*.css"))
    imported = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)", styles)
    assert [address for address in imported if is_external(address)] == []


def test_what_leads_nowhere_fails_the_site(tmp_path: Path) -> None:
    for name in ("docs", "benchmarks", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("domain", "application", "ports", "tests", "tenantkb", "Makefile", "LICENSE"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("README.md", "CHANGELOG.md", "NOTICE.md", "SECURITY.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "NOTICE.md").open("a", encoding="utf-8") as page:
        page.write("\n[page](docs/gone.md) [heading](docs/tenancy.md#gone) ![picture](gone.png)\n")
    (tmp_path / "docs" / "apart.md").write_text("# In no navigation\n")
    done = build(tmp_path, tmp_path / ".site")
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "WARNING" in line]
    places = (
        "docs/gone.md",
        "'gone'",
        "gone.png",
        "apart.md",
    )
    assert [sum(place in line for line in told) for place in places] == [1, 1, 1, 1]
    assert len(told) == len(places)
