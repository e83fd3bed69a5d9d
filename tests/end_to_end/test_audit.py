"""What operators do leaves a trace, also of an act that was killed."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import Installation

OPERATOR = {"TENANTKB_ROLES": "operator"}


def log_of(tenantkb: Installation) -> Path:
    return Path(tenantkb.environment["TENANTKB_STORE_PATH"]) / "audit.jsonl"


def acts(tenantkb: Installation) -> list[tuple[str, str]]:
    records: list[dict[str, Any]] = [
        json.loads(line) for line in log_of(tenantkb).read_bytes().splitlines()
    ]
    return [(record["name"], record["event"]) for record in records]


def test_an_act_that_was_killed_has_begun_and_not_ended(
    tenantkb: Installation, golden: Path
) -> None:
    """Fails: of rows that are gone nobody can tell who wanted that."""
    assert tenantkb("sync", golden).code == 0
    tenantkb.environment.update(OPERATOR)
    with closing(sqlite3.connect(log_of(tenantkb).with_name("store.sqlite3"))) as other:
        other.execute("BEGIN IMMEDIATE")  # the act waits for this writer
        with tenantkb.started("backup", "truncate", "--confirm", "knowledge-base") as process:
            deadline = time.monotonic() + 60
            while not log_of(tenantkb).exists() or not acts(tenantkb):
                assert time.monotonic() < deadline, "waited for a minute"
                time.sleep(0.01)
            process.kill()
            process.wait()
    assert acts(tenantkb) == [("truncate", "begun")]
    assert tenantkb("backup", "truncate", "--confirm", "knowledge-base").code == 0
    assert acts(tenantkb)[1:] == [("truncate", "begun"), ("truncate", "done")]


def test_the_log_holds_neither_rows_nor_tokens(tenantkb: Installation, golden: Path) -> None:
    assert tenantkb("sync", golden).code == 0
    secrets = {"TENANTKB_STORE_TOKEN": "s3cret-token", "TENANTKB_EMBEDDER_API_KEY": "s3cret-key"}
    operator = {**OPERATOR, "TENANTKB_ROLES": "operator,curator", **secrets}
    for command in (
        ("backup", "export", "b.jsonl"),
        ("backup", "truncate", "--confirm", "knowledge-base"),
        ("backup", "import", "b.jsonl"),
        ("repair",),
        ("migrate", "--from", "sqlite:elsewhere"),
    ):
        outcome = tenantkb(*command, **operator)
        assert outcome.code == 0, outcome.errors
    assert len(acts(tenantkb)) == 10
    text = log_of(tenantkb).read_text("ascii")
    assert "s3cret" not in text
    exported = (tenantkb.folder / "b.jsonl").read_bytes().splitlines()
    contents = [str(json.loads(line)["metadata"]["content"]) for line in exported]
    assert len(contents) == 200
    assert not [each for each in contents if len(each) > 20 and json.dumps(each)[1:-1] in text]


def test_a_migration_that_may_not_begin_leaves_the_store_usable(
    tenantkb: Installation, golden: Path
) -> None:
    """Fails: whoever is no operator, or a log that cannot be written, shuts everybody out."""
    assert tenantkb("sync", golden).code == 0
    elsewhere = ("migrate", "--from", "sqlite:elsewhere")
    assert tenantkb(*elsewhere).code == 3
    assert tenantkb("status").code == 0
    refused = tenantkb(*elsewhere, **OPERATOR, TENANTKB_AUDIT_PATH="/dev/null")
    assert refused.code == 4
    assert "KB_AUDIT" in refused.errors
    assert tenantkb("status").code == 0
