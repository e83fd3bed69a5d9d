"""The installed command, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import frozen

from tests.end_to_end.launcher import launch

COMMAND = Path(sysconfig.get_path("scripts")) / "tenantkb"
GOLDEN = Path(__file__).parents[1] / "golden"


@frozen
class Outcome:
    """What one run of the command left behind."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


@frozen
class Installation:
    """A store of its own and a working folder with nothing in it."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str | Path, **variables: str) -> Outcome:
        with TemporaryDirectory() as name:
            output = Path(name)
            code = launch(
                list(map(str, arguments)), self.folder, {**self.environment, **variables}, output
            )
            out, err = ((output / stream).read_text() for stream in ("out", "err"))
        return Outcome(code, out, err)

    @contextmanager
    def started(self, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        """A run in the background; one that is still going at the end is killed.

        It takes notice of SIGINT, also where the tests themselves are a background job of a shell
        and ignore it.
        """
        with subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def stored_rows(tenantkb: Installation) -> int:
    """How many rows the file of the store holds, also while a command is writing to it."""
    file = Path(tenantkb.environment["TENANTKB_STORE_PATH"]) / "store.sqlite3"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            [[rows]] = database.execute("SELECT count(*) FROM row").fetchall()
    except sqlite3.OperationalError:  # there is no file yet, or no table in it
        return 0
    return int(rows)


@pytest.fixture
def tenantkb(tmp_path: Path) -> Installation:
    folder = tmp_path / "work"
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENANTKB_")}
    return Installation(folder, {**kept, "TENANTKB_STORE_PATH": str(tmp_path / "store")})


@pytest.fixture
def shell(tenantkb: Installation) -> Callable[..., Outcome]:
    """Runs a line of a shell, in which ``tenantkb`` is the installed script itself."""

    def run(line: str, **variables: str) -> Outcome:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tenantkb.folder,
            env={
                **tenantkb.environment,
                "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}",
                **variables,
            },
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def golden() -> Path:
    return GOLDEN / "mini-neo-workspace"


@pytest.fixture
def notes(tmp_path: Path) -> Callable[[int, str], Path]:
    """Makes a workspace of as many release notes as asked for."""

    def make(count: int, text: str = "release") -> Path:
        root = tmp_path / f"notes-{count}-{text}"
        folder = root / ".github" / "RELEASE_NOTES"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"v{number}.md").write_text(f"{text} {number}")
        return root

    return make
