"""What is in the archives that are published, and what they put into an environment."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.building import FOLDERS, ROOT, Archives, Environment, build


def package_files() -> set[str]:
    """What lies in the package of the checkout and behind its links, relative to the checkout."""
    return {
        (Path(folder) / name).relative_to(ROOT).as_posix()
        for folder, _, names in os.walk(ROOT / "tenantkb", followlinks=True)
        if "__pycache__" not in folder
        for name in names
    }


def test_the_wheels_of_the_checkout_and_of_the_source_distribution_are_equal(
    archives: Archives,
) -> None:
    assert archives.wheel.name == archives.rebuilt.name
    assert archives.wheel.read_bytes() == archives.rebuilt.read_bytes()


def test_a_wheel_holds_the_package_and_nothing_else(archives: Archives) -> None:
    names = set(zipfile.ZipFile(archives.wheel).namelist())
    [metadata] = {name.partition("/")[0] for name in names} - {"tenantkb"}
    assert metadata.startswith("tenantkb-")
    assert metadata.endswith(".dist-info")
    assert {name for name in names if name.startswith("tenantkb/")} == package_files()


def test_types_contracts_and_vectors_are_in_the_wheel(archives: Archives) -> None:
    names = set(zipfile.ZipFile(archives.wheel).namelist())
    contracts = {
        f"tenantkb/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("schemas/**/*.json")
    }
    assert len(contracts) >= 7
    assert contracts | {"tenantkb/py.typed"} <= names
    assert {f"tenantkb/{folder}/__init__.py" for folder in FOLDERS} <= names


def test_a_source_distribution_has_the_code_once_with_tests_and_pages(archives: Archives) -> None:
    with tarfile.open(archives.sdist) as archive:
        members = [
            (member.name.partition("/")[2], member.isfile()) for member in archive.getmembers()
        ]
    assert all(is_file for _, is_file in members)  # and no link
    names = {name for name, _ in members}
    assert len(names) == len(members)
    assert package_files() <= names
    assert {
        "tests/conftest.py",
        "docs/tenancy.md",
        "README.md",
        "LICENSE",
        "NOTICE.md",
        "SECURITY.md",
    } <= names
    assert not [name for name in names if name.partition("/")[0] in FOLDERS]


def test_an_installation_adds_one_package_and_one_command(environment: Environment) -> None:
    [metadata] = environment.added["site-packages"] - {"tenantkb"}
    assert metadata.startswith("tenantkb-")
    assert metadata.endswith(".dist-info")
    assert environment.added["bin"] == {"tenantkb"}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("links", ["left out", "as text files"])
def test_a_checkout_without_its_links_is_not_built(kind: str, links: str, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "NOTICE.md"):
        shutil.copy(ROOT / name, checkout)
    for name in FOLDERS:
        (checkout / name).mkdir()
        (checkout / name / "__init__.py").touch()
    (checkout / "tenantkb").mkdir()
    shutil.copy(ROOT / "tenantkb" / "__init__.py", checkout / "tenantkb")
    assert build_fails(checkout, tmp_path / "dist", kind, links) == [*FOLDERS]
    for name in FOLDERS:
        (checkout / "tenantkb" / name).unlink(missing_ok=True)
        (checkout / "tenantkb" / name).symlink_to(f"../{name}")
    build(checkout, tmp_path / "dist", kind)


def build_fails(checkout: Path, target: Path, kind: str, links: str) -> list[str]:
    """Try to build; returns the folders that are named in the error."""
    if links == "as text files":  # what git writes on Windows
        for name in FOLDERS:
            (checkout / "tenantkb" / name).write_text(f"../{name}")
    done = build(checkout, target, kind, check=False)
    assert done.returncode != 0
    assert not target.exists() or not list(target.iterdir())
    [line] = [line for line in done.stderr.splitlines() if "symbolic links" in line]
    return [name for name in FOLDERS if name in line.partition("has no folder")[2]]
