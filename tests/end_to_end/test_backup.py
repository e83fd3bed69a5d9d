"""``tenantkb backup``, from the shell's side: round trips, refusals, and kill -9 on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenantkb.domain.derivation import derived_id
from tenantkb.domain.stamps import SharedNamespace, unlabelled_stamp_of
from tests.end_to_end.conftest import GOLDEN, Installation, stored_rows

ROWS = 1500


@pytest.fixture
def operator(tenantkb: Installation) -> Installation:
    """An installation whose caller is an operator, with a quick embedder."""
    tenantkb.environment.update(
        TENANTKB_ROLES="operator",
        TENANTKB_EMBEDDER_KIND="hashing",
        TENANTKB_EMBEDDER_DIMENSION="8",
        TENANTKB_SYNC_BATCH_SIZE="50",
    )
    return tenantkb


def numbered(number: int, agent: str | None = None) -> dict[str, Any]:
    """A record of a row that is the team's, or an agent's alone; its label says the former."""
    tenant = f"tenant-{number % 3}"
    metadata = {
        "access": f"team:{tenant}",
        "content": f"text {number}",
        "hash": f"{number:064x}",
        "name": f"N{number}",
        "repoSlug": "app",
        "rootKind": "bare-repo",
        "sourcePath": f"docs/{number}.md",
        "tenantId": tenant,
        "type": "guide",
        "visibility": "team",
    }
    if agent is not None:
        metadata |= {"visibility": "private", "originAgentIdentity": agent}
    stamp = unlabelled_stamp_of(metadata)
    path, content_hash = metadata["sourcePath"], metadata["hash"]
    return {
        "id": derived_id(metadata, content_hash, path, stamp, SharedNamespace()),
        "embedding": [float(number % 7 - 3), 0.1, 0.25 * number, 1e-3, 0.0, 0.0, -2.0, 1.0],
        "metadata": metadata,
        "document": f"document {number}" if number % 2 else None,
    }


def records(count: int) -> list[dict[str, Any]]:
    """Records in the order of an export."""
    return sorted(map(numbered, range(count)), key=lambda record: str(record["id"]))


def write(tenantkb: Installation, name: str, *records: object) -> Path:
    path = tenantkb.folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path: Path) -> list[Any]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.002)


def counts(report: dict[str, Any]) -> list[int]:
    return [report[key] for key in ("added", "updated", "unchanged", "deleted", "adopted")]


def test_an_export_is_restored_row_by_row_and_bit_by_bit(operator: Installation) -> None:
    given = records(20)
    write(operator, "in.jsonl", *given)
    assert counts(operator("backup", "import", "in.jsonl", "--json").json) == [20, 0, 0, 0, 0]
    done = operator("backup", "export", "out.jsonl", "--json")
    assert (done.code, done.json["records"]) == (0, 20)
    assert read(operator.folder / "out.jsonl") == given
    manifest = json.loads((operator.folder / "out.jsonl.manifest.json").read_text())
    assert manifest["tenants"] == {"tenant-0": 7, "tenant-1": 7, "tenant-2": 6}
    assert (manifest["embedder"], manifest["dimension"]) == ("hashing-v1-8-words1", 8)

    refused = operator("backup", "truncate", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "KB_INVALID_INPUT")
    assert refused.json["error"]["remedy"]["words"] == "Repeat with --confirm COLLECTION."
    confirmed = ("--confirm", "knowledge-base", "--json")
    assert operator("backup", "truncate", *confirmed).json["deleted"] == 20
    restored = operator("backup", "import", "out.jsonl", "--json").json
    assert (counts(restored), restored["verified"]) == ([20, 0, 0, 0, 0], True)
    again = operator("backup", "export", "again.jsonl", "--json").json
    assert again["sha256"] == manifest["sha256"]

    write(operator, "less.jsonl", *given[:5])
    replaced = operator("backup", "import", "less.jsonl", "--mode", "replace", *confirmed)
    assert counts(replaced.json) == [0, 0, 5, 15, 0]


def test_restored_rows_are_read_by_their_owners_alone(operator: Installation) -> None:
    write(operator, "in.jsonl", numbered(0), numbered(1, agent="bob"))
    assert operator("backup", "import", "in.jsonl").code == 0

    def names(caller: str) -> list[str]:
        done = operator("list", "--as", caller, "--json", TENANTKB_ROLES="")
        return [document["name"] for document in done.json.get("documents", ())]

    assert names("tenant-0/ada") == ["N0"]
    assert names("tenant-1/ada") == []  # the label "team:tenant-1" came with the backup
    assert names("tenant-1/bob") == ["N1"]


def test_ids_of_another_system_are_taken_if_that_is_said(operator: Installation) -> None:
    write(operator, "in.jsonl", numbered(0), {**numbered(1), "id": "of-another-system"})
    refused = operator("backup", "import", "in.jsonl", "--json")
    assert (refused.code, refused.json["error"]["problemCount"]) == (2, 1)
    assert "--foreign-ids" in refused.json["error"]["remedy"]["words"]
    taken = operator("backup", "import", "in.jsonl", "--foreign-ids", "--json")
    assert counts(taken.json) == [2, 0, 0, 0, 0]
    assert operator("get", "of-another-system", "--as", "tenant-1").output == "text 1\n"
    assert operator("backup", "export", "out.jsonl", "--json").json["foreignIds"] == 1
    again = operator("backup", "import", "out.jsonl", "--json")  # its manifest tells of them
    assert counts(again.json) == [0, 0, 2, 0, 0]


def test_who_is_no_operator_is_refused(operator: Installation) -> None:
    path = write(operator, "in.jsonl", numbered(0))
    assert operator("backup", "import", path).code == 0
    for arguments in (
        ("export", "out.jsonl"),
        ("import", "in.jsonl"),
        ("truncate", "--confirm", "knowledge-base"),
    ):
        done = operator("backup", *arguments, "--json", TENANTKB_ROLES="agent,curator")
        assert (done.code, done.json["error"]["code"]) == (3, "KB_ACCESS_DENIED")
    assert list(operator.folder.iterdir()) == [path]
    assert operator("backup", "export", "out.jsonl", "--json").json["records"] == 1


def test_another_embedder_or_dimension_is_refused_before_the_first_write(
    operator: Installation,
) -> None:
    write(operator, "in.jsonl", numbered(0))
    assert operator("backup", "import", "in.jsonl").code == 0
    assert operator("backup", "export", "out.jsonl").code == 0
    other = {"TENANTKB_STORE_PATH": str(operator.folder / "other")}
    for variables in (
        {**other, "TENANTKB_EMBEDDER_DIMENSION": "4"},
        {**other, "TENANTKB_EMBEDDER_KIND": "wordllama"},
    ):
        done = operator("backup", "import", "out.jsonl", "--json", **variables)
        assert (done.code, done.json["error"]["code"]) == (6, "KB_STORE_MISMATCH")
    bare = operator("backup", "import", "in.jsonl", TENANTKB_EMBEDDER_DIMENSION="4", **other)
    assert bare.code == 2
    assert "line 1 /embedding: expected 4 numbers (hashing-v1-4-words1), not 8" in bare.errors
    assert operator("backup", "export", "none.jsonl", "--json", **other).json["records"] == 0


@pytest.mark.parametrize(
    ("owner", "renamed"),
    [
        ("neo-shared/neo", 0),
        ("acme/client-org/main-app", 1),  # the export has a name that is a list as a text
    ],
)
def test_a_javascript_export_is_adopted_as_a_sync_would_have_written_it(
    tenantkb: Installation, owner: str, renamed: int
) -> None:
    """Fails: the next synchronisation of the same workspace has anything to do."""
    tenantkb.environment["TENANTKB_ROLES"] = "operator"
    workspace = GOLDEN / "mini-neo-workspace"
    assert tenantkb("sync", workspace).code == 0
    assert tenantkb("backup", "export", "own.jsonl").code == 0
    assert tenantkb("backup", "truncate", "--confirm", "knowledge-base").code == 0
    vectors = {each["id"]: each["embedding"] for each in read(tenantkb.folder / "own.jsonl")}
    extracted = reversed(
        read(GOLDEN / "mini-neo-workspace.jsonl")
    )  # of duplicates, the first stays
    chunks = {each["hash"]: each for each in extracted}
    write(
        tenantkb,
        "js.jsonl",
        *(
            {
                "id": content_hash,
                "embedding": vectors[content_hash],
                "metadata": {key: javascript(value) for key, value in chunk.items()},
                "document": None,
            }
            for content_hash, chunk in chunks.items()
        ),
    )
    refused = tenantkb("backup", "import", "js.jsonl", "--json")
    assert (refused.code, refused.json["error"]["problemCount"]) == (2, 200)
    assert refused.json["error"]["remedy"]["words"] == "Repeat with --adopt TENANT/REPO."
    for added in (200, 0):
        adopted = tenantkb("backup", "import", "js.jsonl", "--adopt", owner, "--json")
        assert (adopted.code, counts(adopted.json)) == (0, [added, 0, 200 - added, 0, 200])
    tenant, _, repo = owner.partition("/")
    synced = tenantkb("sync", workspace, "--as", tenant, "--repo", repo, "--json").json
    counted = [synced[key] for key in ("added", "updated", "unchanged", "deleted")]
    assert counted == [renamed, 0, 200 - renamed, renamed]
    others = tenantkb("sync", workspace, "--as", "neo-shared", "--json").json
    assert others["added"] == (0 if tenant == "neo-shared" else 200)


def javascript(value: object) -> object:
    """A value as the JavaScript system puts it into metadata."""
    if value is None:
        return "null"
    if isinstance(value, list | dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value


def test_an_import_that_was_killed_is_finished_by_the_same_command(operator: Installation) -> None:
    given = records(ROWS)
    write(operator, "in.jsonl", *given)
    before = 0
    for _ in range(2):
        with operator.started("backup", "import", "in.jsonl") as process:
            wait_for(lambda before=before: stored_rows(operator) > before)  # type: ignore[misc] # bound at once
            assert process.poll() is None
            process.kill()
        process.wait()
        before = stored_rows(operator)
        assert before % 50 == 0  # a batch is there, or it is not
    done = operator("backup", "import", "in.jsonl", "--json")
    assert (done.code, counts(done.json)) == (0, [ROWS - before, 0, before, 0, 0])
    assert 0 < before < ROWS
    assert counts(operator("backup", "import", "in.jsonl", "--json").json) == [0, 0, ROWS, 0, 0]
    assert operator("backup", "export", "out.jsonl").code == 0
    assert read(operator.folder / "out.jsonl") == given


def test_an_export_that_was_killed_leaves_no_half_written_file(operator: Installation) -> None:
    write(operator, "in.jsonl", *records(ROWS))
    assert operator("backup", "import", "in.jsonl").code == 0
    out, part = operator.folder / "out.jsonl", operator.folder / ".out.jsonl.part"
    names = {"in.jsonl", out.name, out.name + ".manifest.json"}
    for before in (None, b"an earlier backup\n"):
        if before is not None:
            out.write_bytes(before)
        with operator.started("backup", "export", "out.jsonl") as process:
            wait_for(part.exists)
            process.kill()
        process.wait()
        assert (out.read_bytes() if out.exists() else None) == before
        assert part.exists()
        assert not (operator.folder / "out.jsonl.manifest.json").exists()
    assert operator("backup", "export", "out.jsonl").code == 0
    assert len(read(out)) == ROWS
    assert {file.name for file in operator.folder.iterdir()} == names
    assert counts(operator("backup", "import", "out.jsonl", "--json").json) == [0, 0, ROWS, 0, 0]


def test_an_export_of_the_javascript_system_moves_here_and_back(tenantkb: Installation) -> None:
    scheme = {
        "TENANTKB_TENANCY_IDS": "neo13",
        "TENANTKB_EMBEDDER_KIND": "hashing",
        "TENANTKB_EMBEDDER_DIMENSION": "4",
        "TENANTKB_ROLES": "operator",
    }
    theirs = GOLDEN / "mini-neo-workspace-13-export.jsonl"
    moved = tenantkb("backup", "import", theirs, "--json", **scheme)
    assert (moved.code, moved.json["added"], moved.json["adopted"]) == (0, 200, 0)
    synced = tenantkb("sync", GOLDEN / "mini-neo-workspace", "--json", **scheme)
    counts = [synced.json[key] for key in ("added", "updated", "unchanged", "deleted")]
    assert (synced.code, counts) == (0, [0, 0, 200, 0])
    back = tenantkb("backup", "export", "back.jsonl", "--for", "neo13", "--json", **scheme)
    assert (back.code, back.json["ids"], back.json["records"]) == (0, "neo13", 200)
    assert back.json["leftOut"] == {"private": 0, "underived": 0}
    lines = (tenantkb.folder / "back.jsonl").read_bytes().splitlines()
    ids = (GOLDEN / "mini-neo-workspace.ids-13.txt").read_text().split()
    assert {json.loads(line)["id"] for line in lines} == set(ids)
    content = {**scheme, "TENANTKB_TENANCY_IDS": "content"}
    mixed = tenantkb("sync", GOLDEN / "mini-neo-workspace", **content)
    assert mixed.code == 6
    assert "scheme neo13, and tenancy.ids is content" in mixed.errors
    created = tenantkb("create", GOLDEN / "mini-neo-workspace", "-o", "out.jsonl", **scheme)
    assert created.code == 0
    expected = (GOLDEN / "mini-neo-workspace-13.jsonl").read_bytes()
    assert (tenantkb.folder / "out.jsonl").read_bytes() == expected
