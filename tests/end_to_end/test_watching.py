"""A workspace that is followed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Installation


def told(process: subprocess.Popen[str]) -> Any:
    """What the next synchronisation did."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_every_change_of_a_workspace_is_synchronised_until_somebody_ends_it(
    tenantkb: Installation, notes: Callable[..., Path], number: int, code: int
) -> None:
    """Fails: the store lies in the workspace and its own writes are changes, without end."""
    root = notes(2)
    releases = root / ".github" / "RELEASE_NOTES"
    tenantkb.environment["TENANTKB_STORE_PATH"] = str(root / "store")
    with tenantkb.started("sync", root, "--watch", "--json") as process:
        assert told(process)["added"] == 2
        (root / ".git").mkdir()
        (root / ".git" / "index").write_text("no change")
        (releases / "v2.md").write_text("another")
        assert (found := told(process))["added"] == 1
        assert found["unchanged"] == 2
        (releases / "v0.md").unlink()
        assert told(process)["deleted"] == 1
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (code, "")
    assert "Traceback" not in errors


def test_what_fails_is_told_and_tried_again_at_the_next_change(
    tenantkb: Installation, notes: Callable[..., Path]
) -> None:
    root = notes(3)
    releases = root / ".github" / "RELEASE_NOTES"
    with tenantkb.started("sync", root, "--watch", "--json") as process:
        assert told(process)["added"] == 3
        kept = releases.rename(root / "elsewhere")
        assert told(process)["error"]["code"] == "KB_DELETION_GUARD"
        kept.rename(releases)
        assert told(process)["unchanged"] == 3
        process.terminate()
        process.communicate(timeout=60)


def test_only_folders_are_followed(tenantkb: Installation, tmp_path: Path) -> None:
    done = tenantkb("sync", tmp_path / "nothing", "--watch")
    assert done.code == 2
    assert "nothing is not a folder" in done.errors
