"""``tenantkb schema`` and ``tenantkb validate``, and what of the contracts is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from tenantkb import schemas
from tests.end_to_end.conftest import COMMAND, GOLDEN, Installation

ROOT = Path(__file__).parents[2]
CHUNK, OTHER_CHUNK = json.loads(schemas.text("parsed-chunk-v1"))["examples"]
BACKUP = json.loads(schemas.text("backup-record-v1"))["examples"][0]


def test_every_contract_is_printed_as_it_is_published(tenantkb: Installation) -> None:
    names = tenantkb("schema").output.split()
    assert {"parsed-chunk-v1", "backup-record-v1", "deletion-signals-v1", "path-identity-v1"} <= {
        *names
    }
    for name in names:
        published = (ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
        assert tenantkb("schema", name).output == published
    unknown = tenantkb("schema", "parsed-chunk-v2")
    assert (unknown.code, unknown.output) == (2, "")
    assert "parsed-chunk-v1" in unknown.errors


def test_good_records_of_every_kind_are_told_apart(tenantkb: Installation) -> None:
    golden = (GOLDEN / "mini-neo-workspace.jsonl").read_text(encoding="utf-8")
    lines = "".join(json.dumps(record) + "\n" for record in (CHUNK, BACKUP, OTHER_CHUNK))
    (tenantkb.folder / "in.jsonl").write_text(golden + lines, encoding="utf-8")
    done = tenantkb("validate", "in.jsonl", "--json")
    assert (done.code, done.json) == (
        0,
        {
            "problems": [],
            "records": 204,
            "badRecords": 0,
            "contracts": {"parsed-chunk-v1": 2, "backup-record-v1": 1, "extracted-chunk": 201},
        },
    )


def test_every_bad_record_is_told_by_line_pointer_and_reason(tenantkb: Installation) -> None:
    bad = [
        json.dumps(CHUNK),
        "{",
        json.dumps({**CHUNK, "kind": 3, "x": 1}),
        "",
        json.dumps({**BACKUP, "embedding": [0.5, "x"]}),
        json.dumps({"type": "guide", "name": "a", "content": "b", "source": "/c"}),
        '{"id": "a", "embedding": [1e999], "metadata": {}, "document": null}',
        "[]",
        json.dumps(OTHER_CHUNK),
    ]
    text = "\n".join(bad)
    (tenantkb.folder / "in.jsonl").write_text(text)
    done = tenantkb("validate", "in.jsonl")
    assert done.code == 1
    assert done.output.splitlines() == [
        "line 2: expected JSON: Expecting property name enclosed in double quotes at column 2",
        "line 3 /kind: expected text, not 3",
        "line 3 /x: expected no field of this name",
        "line 5 /embedding/1: expected a number, not 'x'",
        "line 6 /source: expected a relative path: source path '/c' is not relative to the "
        "repository root, or has an empty, '.' or '..' segment",
        "line 7 /embedding/0: expected a number, not inf",
        "line 8: expected an object, not []",
        "8 records, 6 of them bad; 3 parsed-chunk-v1, 2 backup-record-v1, 1 extracted-chunk",
    ]
    piped = subprocess.run(
        [COMMAND, "validate", "-", "--json"],
        cwd=tenantkb.folder,
        env=tenantkb.environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    report = json.loads(piped.stdout)
    assert (piped.returncode, report["records"], report["badRecords"]) == (1, 8, 6)
    assert [(item["line"], item["pointer"]) for item in report["problems"]] == [
        (2, ""),
        (3, "/kind"),
        (3, "/x"),
        (5, "/embedding/1"),
        (6, "/source"),
        (7, "/embedding/0"),
        (8, ""),
    ]


def test_a_file_that_cannot_be_read_and_one_without_records(tenantkb: Installation) -> None:
    assert tenantkb("validate", "missing.jsonl").code == 2
    (tenantkb.folder / "empty.jsonl").write_text("\n")
    done = tenantkb("validate", "empty.jsonl")
    assert (done.code, done.output) == (0, "0 records, 0 of them bad\n")


def test_schemas_and_vectors_are_in_the_wheel(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    [wheel] = tmp_path.glob("*.whl")
    package = Path("tenantkb")
    published = {
        (package / path.relative_to(ROOT)).as_posix() for path in (ROOT / "schemas").rglob("*.json")
    }
    assert len(published) >= 7
    assert published <= set(zipfile.ZipFile(wheel).namelist())
