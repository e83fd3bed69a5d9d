"""Where tenantkb runs, and what it says elsewhere."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.packaging.building import ROOT

ELSEWHERE = """
import sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None  # as where there is none
from tenantkb.adapters.cli.main import main
sys.platform = sys.argv.pop(1)
main()
"""


def run_on(platform: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, platform, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["--version", "status", "nonsense"])
def test_on_windows_every_command_is_refused_in_one_sentence(tmp_path: Path, command: str) -> None:
    """Fails: somebody on Windows sees a traceback about fcntl."""
    done = run_on("win32", tmp_path, command)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("tenantkb: tenantkb runs on Linux and macOS, and not on Windows: ")
    assert line.endswith(" [KB_NOT_SUPPORTED]")


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_elsewhere_it_runs(tmp_path: Path, platform: str) -> None:
    done = run_on(platform, tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_says_where_it_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    systems = {each for each in project["classifiers"] if each.startswith("Operating System")}
    assert systems == {"Operating System :: POSIX :: Linux", "Operating System :: MacOS"}
