"""Three real repositories, three tenants, one collection: ``python -m benchmarks.repositories``.

Django (Python), Apache Commons Lang (Java) and fzf (Go), from the package index and from Debian's
archive, are fetched once into ``.scratch/``, synchronised twice by the installed command, and asked
a question each. Prints chunks by kind, seconds, and the rank of the function that is the answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from attrs import frozen
from rich.console import Console
from rich.table import Table

from benchmarks._workspace import SCRATCH, machine

FOLDER = SCRATCH / "repositories"
COMMAND = Path(sysconfig.get_path("scripts")) / "tenantkb"
DEBIAN = "http://deb.debian.org/debian/pool/main"  # signed elsewhere; the digest is checked


def _from_index(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:",
         f"--dest={folder}", "django==5.2.8"],
        check=True,
    )  # fmt: skip
    [archive] = folder.glob("*.tar.gz")
    return archive


def from_debian(path: str) -> Callable[[Path], Path]:
    def fetch(folder: Path) -> Path:
        archive = folder / path.rpartition("/")[2]
        response = httpx.get(f"{DEBIAN}/{path}", timeout=300, follow_redirects=True)
        archive.write_bytes(response.raise_for_status().content)
        return archive

    return fetch


@frozen
class Repository:
    """A repository, and a question that one function of it answers."""

    tenant: str
    name: str
    fetch: Callable[[Path], Path]
    sha256: str
    question: str
    answer: str

    @property
    def workspace(self) -> Path:
        return FOLDER / self.name

    def unpack(self) -> None:
        """Fetch the sources, unless they are there."""
        if self.workspace.exists():
            return
        draft = FOLDER / f".{self.name}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        archive = self.fetch(draft)
        if hashlib.sha256(archive.read_bytes()).hexdigest() != self.sha256:
            raise SystemExit(f"{archive.name} is not the archive that was measured")
        with tarfile.open(archive) as package:
            package.extractall(draft / "sources", filter="data")
        [root] = (draft / "sources").iterdir()
        root.rename(self.workspace)
        shutil.rmtree(draft)


REPOSITORIES = (
    Repository(
        "django-team",
        "django",
        _from_index,
        "23254866a5bb9a2cfa6004e8b809ec6246eba4b58a7589bc2772f1bcc8456c7f",
        "make a slug: lowercase, hyphens instead of spaces",
        "slugify",
    ),
    Repository(
        "java-team",
        "commons-lang",
        from_debian("libc/libcommons-lang3-java/libcommons-lang3-java_3.12.0.orig.tar.xz"),
        "f7c22574707611b63bae19ff17f59e24cdd32e2b0e61a50ec9b1b525fbc909d1",
        "left pad a string with a character",
        "StringUtils.leftPad",
    ),
    Repository(
        "go-team",
        "fzf",
        from_debian("f/fzf/fzf_0.38.0.orig.tar.gz"),
        "75ad1bdb2ba40d5b4da083883e65a2887d66bd2d4dbfa29424cb3f09c37efaa7",
        "split a line into tokens by a delimiter",
        "Tokenize",
    ),
)


def main() -> None:
    """Fetch, synchronise twice, ask."""
    for repository in REPOSITORIES:
        repository.unpack()
    shutil.rmtree(FOLDER / "store", ignore_errors=True)
    configuration = [f'store.path = "{FOLDER / "store"}"', "use_default_sources = false",
                     "code_source = true", 'root_kind = "bare-repo"']  # fmt: skip
    for repository in REPOSITORIES:
        configuration += [
            "[[repositories]]",
            f'tenant = "{repository.tenant}"',
            f'repo = "{repository.name}"',
            f'workspace = "{repository.workspace}"',
        ]
    (FOLDER / "tenantkb.toml").write_text("\n".join(configuration))

    console = Console(width=140)
    console.print(machine())
    table = Table("Repository", "Chunks", "First sync", "Second sync", "Question", "Rank of")
    for repository in REPOSITORIES:
        first, second = _sync(repository), _sync(repository)
        if second["added"] or second["updated"] or second["deleted"]:
            raise SystemExit(f"{repository.name} changed between two synchronisations")
        rank = _rank(repository)
        table.add_row(
            repository.name,
            f"{first['added']:,}",
            f"{first['seconds']:.0f} s",
            f"{second['seconds']:.0f} s",
            repository.question,
            f"{repository.answer}: {rank or 'not among the first ten'}",
        )
    console.print(table)
    kinds = {repository.name: _kinds(repository) for repository in REPOSITORIES}
    names = sorted({kind for counted in kinds.values() for kind in counted})
    by_kind = Table("Repository", *names)
    for name, counted in kinds.items():
        by_kind.add_row(name, *(f"{counted[kind]:,}" for kind in names))
    console.print(by_kind)


def _sync(repository: Repository) -> dict[str, float]:
    started = time.perf_counter()
    report: dict[str, float] = _run(repository, "sync", str(repository.workspace))
    return {**report, "seconds": time.perf_counter() - started}


def _rank(repository: Repository) -> int | None:
    results = _run(repository, "query", repository.question)["results"]
    names = [result["name"] for result in results]
    return names.index(repository.answer) + 1 if repository.answer in names else None


def _kinds(repository: Repository) -> Counter[str]:
    counted: Counter[str] = Counter()
    done = subprocess.run(
        [COMMAND, "create", repository.workspace],
        cwd=FOLDER, env=_environment(), check=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    counted.update(json.loads(line)["kind"] for line in done.stdout.splitlines())
    return counted


def _run(repository: Repository, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [COMMAND, "--as", repository.tenant, *arguments, "--json"],
        cwd=FOLDER, env=_environment(), check=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("TENANTKB_")}


if __name__ == "__main__":
    main()
