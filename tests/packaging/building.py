"""Builds and installs, as a user's tools do, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Self

from attrs import frozen

ROOT = Path(__file__).parents[2]
FOLDERS = ("adapters", "application", "domain", "ports", "schemas")
"""The folders of the repository that are parts of the package."""


def run(
    *command: object, folder: Path, environment: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; its output is in the failure of a test."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def build(
    checkout: Path, target: Path, kind: str, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Build a ``wheel`` or an ``sdist`` into a folder."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target)
    return run(*command, folder=checkout, check=check)


@frozen
class Archives:
    """What would be published.

    Attributes:
        sdist: The source distribution.
        wheel: The wheel that is made from the checkout.
        rebuilt: The wheel that is made from the source distribution.
    """

    sdist: Path
    wheel: Path
    rebuilt: Path


def build_archives(folder: Path) -> Archives:
    build(ROOT, folder / "dist", "sdist")
    build(ROOT, folder / "dist", "wheel")
    [sdist] = (folder / "dist").glob("*.tar.gz")
    [wheel] = (folder / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    build(unpacked, folder / "rebuilt", "wheel")
    [rebuilt] = (folder / "rebuilt").glob("*.whl")
    return Archives(sdist, wheel, rebuilt)


@frozen
class Environment:
    """A virtual environment of its own.

    Attributes:
        python: Its interpreter.
        added: What the installation of the wheel added, by folder: ``bin``, ``site-packages``.
    """

    python: Path
    added: dict[str, set[str]]

    @classmethod
    def with_wheel(cls, wheel: Path, folder: Path) -> Self:
        """The wheel, and what it depends on from where these tests run."""
        run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
        python = folder / "venv" / "bin" / "python"
        [site] = (folder / "venv" / "lib").glob("python*/site-packages")
        places = {place.name: place for place in (python.parent, site)}
        before = {name: _names(place) for name, place in places.items()}
        pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
        run(*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel, folder=folder)
        added = {name: _names(place) - before[name] for name, place in places.items()}
        # A folder on the path, whose own .pth files, and with them this checkout, do not count.
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return cls(python, added)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
