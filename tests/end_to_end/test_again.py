"""Runs that know of earlier ones end as those that do not."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import Installation, stored_rows


def told(tenantkb: Installation, *arguments: str | Path) -> dict[str, Any]:
    done = tenantkb(*arguments, "--json")
    assert done.code == 0, done.errors
    found: dict[str, Any] = done.json
    found.pop("seconds")
    return found


def left_to_do(tenantkb: Installation, workspace: Path) -> int:
    """What a run finds that compares every row."""
    plan = told(tenantkb, "sync", workspace, "--full", "--dry-run")
    return int(plan["added"] + plan["updated"] + plan["deleted"])


def test_create_writes_and_tells_the_same_again(tenantkb: Installation, golden: Path) -> None:
    first = told(tenantkb, "create", golden, "-o", "first.jsonl")
    kept = Path(tenantkb.environment["TENANTKB_STORE_PATH"]) / "files"
    assert [file.stat().st_size > 0 for file in kept.iterdir() if not file.suffix] == [True]
    for name, more in (("again", []), ("full", ["--full"])):
        assert told(tenantkb, "create", golden, "-o", f"{name}.jsonl", *more) == first
        texts = [(tenantkb.folder / f"{each}.jsonl").read_bytes() for each in ("first", name)]
        assert texts[0] == texts[1]


def test_sync_does_what_is_to_be_done_and_nothing_else(
    tenantkb: Installation, golden: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(golden, workspace)
    first = told(tenantkb, "sync", workspace)
    second = told(tenantkb, "sync", workspace)
    assert second == {**first, "added": 0, "unchanged": first["added"]}
    assert left_to_do(tenantkb, workspace) == 0
    notes = next((workspace / ".github/RELEASE_NOTES").glob("*.md"))
    notes.write_text("another text")
    third = told(tenantkb, "sync", workspace)
    assert (third["added"], third["deleted"]) == (1, 1)
    assert left_to_do(tenantkb, workspace) == 0


def test_a_row_that_is_lost_is_found(tenantkb: Installation, golden: Path) -> None:
    rows = told(tenantkb, "sync", golden)["added"]
    file = Path(tenantkb.environment["TENANTKB_STORE_PATH"]) / "store.sqlite3"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DELETE FROM row WHERE id IN (SELECT id FROM row LIMIT 3)")
    found = told(tenantkb, "sync", golden)
    assert (found["added"], found["unchanged"]) == (3, rows - 3)
    assert stored_rows(tenantkb) == rows
    assert left_to_do(tenantkb, golden) == 0


def test_killed_at_any_moment_the_same_command_finishes_the_job(
    tenantkb: Installation, notes: Callable[..., Path]
) -> None:
    workspace = notes(400)
    tenantkb.environment["TENANTKB_SYNC_BATCH_SIZE"] = "8"
    told(tenantkb, "sync", workspace)
    files = sorted((workspace / ".github/RELEASE_NOTES").iterdir())
    for number, moment in enumerate((0.35, 0.45, 0.55, 0.65, 0.8, 1.0)):
        for file in files[number::7]:
            file.write_text(f"{file.name} {number}")
        files[number].unlink(missing_ok=True)
        with tenantkb.started("sync", workspace) as process:
            time.sleep(moment)
            process.kill()
        if number % 2:
            assert tenantkb("sync", workspace).code == 0
            assert left_to_do(tenantkb, workspace) == 0
        files = [file for file in files if file.exists()]
    assert told(tenantkb, "sync", workspace)["unchanged"] == len(files)
    assert stored_rows(tenantkb) == len(files)
