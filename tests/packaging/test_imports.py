"""What the names of the package are, and what importing them brings along."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tenantkb
from tests.packaging.building import FOLDERS, Environment, run

NO_PATH = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(params=["checkout", "wheel"])
def python(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The interpreter that sees an editable installation, and the one that sees the wheel's."""
    if request.param == "checkout":
        yield Path(sys.executable)
    else:
        environment: Environment = request.getfixturevalue("environment")
        yield environment.python


def evaluate(python: Path, folder: Path, program: str) -> Any:
    """What a program prints as JSON, run elsewhere than in the checkout."""
    done = run(python, "-c", program, folder=folder, environment=NO_PATH)
    return json.loads(done.stdout)


def test_the_folders_of_the_repository_are_no_packages_of_their_own(
    python: Path, tmp_path: Path
) -> None:
    names = [*FOLDERS, "tests", "benchmarks"]
    found = evaluate(
        python,
        tmp_path,
        f"""
import json
from importlib.util import find_spec
found = [(name, find_spec(name)) for name in {names}]
# A dependency leaves a folder `schemas` without code in site-packages: it has no origin.
print(json.dumps([name for name, spec in found if spec and spec.origin]))
""",
    )
    assert found == []
    failed = run(python, "-c", "import domain", folder=tmp_path, environment=NO_PATH, check=False)
    assert "ModuleNotFoundError: No module named 'domain'" in failed.stderr


def test_folders_of_a_user_with_the_same_names_are_left_alone(python: Path, tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"whose = {f'{name} of the user'!r}\n")
    found = evaluate(
        python,
        tmp_path,
        """
import json, adapters, application, domain, ports, schemas, tenantkb
from tenantkb.domain.rows import StampedRow
for name in tenantkb.__all__:
    getattr(tenantkb, name)
users = [module.whose for module in (adapters, application, domain, ports, schemas)]
print(json.dumps([*users, StampedRow.__module__]))
""",
    )
    assert found == [*(f"{name} of the user" for name in FOLDERS), "tenantkb.domain.rows"]


def test_the_package_alone_imports_nothing(python: Path, tmp_path: Path) -> None:
    found = evaluate(
        python,
        tmp_path,
        """
import sys
before = set(sys.modules)
import tenantkb
after = set(sys.modules) - before
import json
added = {name for name in after if name.partition(".")[0] not in sys.stdlib_module_names}
print(json.dumps(sorted(added)))
""",
    )
    assert found == ["tenantkb"]


def test_a_knowledge_base_without_chroma_does_not_import_chroma(
    python: Path, tmp_path: Path
) -> None:
    found = evaluate(
        python,
        tmp_path,
        """
import json, sys, tenantkb
from tenantkb.adapters.configuration.settings import EmbedderSettings, StoreSettings
settings = tenantkb.Settings(
    store=StoreSettings(kind="memory"), embedder=EmbedderSettings(kind="hashing")
)
with tenantkb.open(settings) as knowledge:
    rows = knowledge.status(knowledge.authenticate()).rows
print(json.dumps([rows, "chromadb" in sys.modules]))
""",
    )
    assert found == [0, False]


def test_every_public_name_is_there_and_listed(python: Path, tmp_path: Path) -> None:
    found = evaluate(
        python,
        tmp_path,
        """
import json, tenantkb
listed = dir(tenantkb)  # before anything is loaded
kinds = {name: type(getattr(tenantkb, name)).__name__ for name in tenantkb.__all__}
print(json.dumps([listed, kinds]))
""",
    )
    listed, kinds = found
    assert kinds.keys() == set(tenantkb.__all__) <= set(listed)
    assert tenantkb.__all__ == sorted(tenantkb.__all__)
    assert kinds["open"] == "function"
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        tenantkb.opne  # noqa: B018 # a name that is misspelt


def test_the_command_is_installed(environment: Environment, tmp_path: Path) -> None:
    done = run(environment.python.with_name("tenantkb"), "--help", folder=tmp_path)
    assert done.stdout.startswith("Usage: tenantkb")
