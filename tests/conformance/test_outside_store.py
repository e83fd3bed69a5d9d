"""A store of somebody else: built, installed, tested and used, and nothing here is changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

EXAMPLE = Path(__file__).parents[1] / "outside_store" / "acme-shelf"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "write-a-store.md"


@frozen
class Outside:
    """A copy of the example in a folder of its own, installed beside it."""

    folder: Path
    installed: Path

    def python(self, *arguments: str) -> str:
        """What a Python process prints that knows the installed package."""
        return _run(sys.executable, *arguments, folder=self.folder, path=self.installed)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    folder = tmp_path_factory.mktemp("outside")
    copy, installed = folder / "acme-shelf", folder / "installed"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    build = ("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist"))
    _run(sys.executable, *build, folder=copy)
    [wheel] = (folder / "dist").glob("*.whl")
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    _run(sys.executable, *install, "--target", str(installed), str(wheel), folder=folder)
    shutil.rmtree(copy / "src")  # so that only what is installed can be imported
    return Outside(copy, installed)


def _run(*command: str, folder: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return done.stdout


def test_both_suites_hold_a_store_from_outside_to_the_rules(outside: Outside) -> None:
    """Fails: a suite relies on something that only this repository has; the output tells."""
    printed = outside.python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--matrix", "tests"
    )
    [passed] = re.findall(r"^(\d+) passed", printed, re.MULTILINE)
    assert int(passed) > 150
    assert re.search(r"^[\d,]+ answers checked, 0 leaks$", printed, re.MULTILINE), printed
    assert "LEAK OR FAULT" not in printed


def test_a_program_opens_a_store_from_outside_by_its_kind(outside: Outside) -> None:
    """Fails: a store or an embedder of an installed package is not found by its entry point."""
    first, second = outside.python("ask.py"), outside.python("ask.py")
    assert first == second == "Queue - Drain the queue first.\n"
    assert (outside.folder / "notes" / "shelf.jsonl").exists()


def test_an_option_that_a_store_does_not_take_is_told(outside: Outside) -> None:
    """Fails: a misspelt option is ignored, or ends in a traceback."""
    printed = outside.python(
        "-c",
        """
import tenantkb
from tenantkb.adapters.configuration.settings import StoreSettings

for store in (StoreSettings(kind="shelf", options={"durabel": 1}), StoreSettings(kind="shelves")):
    try:
        tenantkb.open(tenantkb.Settings(store=store))
    except tenantkb.TenantKbError as error:
        print(error.code, error)
""",
    )
    assert re.search(r"^KB_CONFIGURATION .*shelf.*durabel", printed, re.MULTILINE)
    assert re.search(r"^KB_CONFIGURATION .*no store shelves.*shelf", printed, re.MULTILINE)


def test_the_guide_shows_the_package_that_is_tested() -> None:
    """Fails: the page and the example differ; copy the example's text into the page."""
    blocks = re.findall(
        r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    shown = dict(blocks)
    assert set(shown) == {
        "pyproject.toml",
        "src/acme_shelf/__init__.py",
        "tests/conftest.py",
        "tests/test_shelf.py",
        "ask.py",
    }
    for name, text in shown.items():
        assert (EXAMPLE / name).read_text("utf-8") == text, name
