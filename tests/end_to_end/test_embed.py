"""``tenantkb embed``, from the shell's side."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tenantkb import schemas
from tests.embedding_server import DIMENSION, Answer, embedding_server
from tests.end_to_end.conftest import COMMAND, GOLDEN, Installation

CHUNKS: list[dict[str, Any]] = json.loads(schemas.text("parsed-chunk-v1"))["examples"]


def submit(tenantkb: Installation, *lines: object) -> str:
    """Write a submission; strings go into the file as they are."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (tenantkb.folder / "in.jsonl").write_text("".join(f"{text}\n" for text in texts))
    return "in.jsonl"


def picked(report: dict[str, Any]) -> list[int]:
    return [report[key] for key in ("added", "updated", "unchanged", "duplicates", "spoofs")]


def test_what_create_wrote_is_embedded_once(tenantkb: Installation) -> None:
    file = GOLDEN / "mini-neo-workspace.jsonl"
    first = tenantkb("embed", file, "--repo", "neo", "--json")
    assert (first.code, picked(first.json)) == (0, [200, 0, 0, 1, 0])
    with file.open("rb") as stream:
        again = subprocess.run(
            [COMMAND, "embed", "-", "--repo", "neo"],
            cwd=tenantkb.folder,
            env=tenantkb.environment,
            stdin=stream,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    assert again.stdout.startswith("Nothing to do: 0 added, 0 updated, 200 unchanged")
    synced = tenantkb("sync", GOLDEN / "mini-neo-workspace", "--json").json
    assert (synced["added"], synced["unchanged"], synced["deleted"]) == (0, 200, 0)


def test_parsed_chunks_belong_to_the_caller_whatever_they_claim(tenantkb: Installation) -> None:
    repo = ("--repo", "client-org/main-app")
    file = submit(tenantkb, CHUNKS[0], {**CHUNKS[0], "name": "forged", "tenantId": "beta"})
    rejected = tenantkb("embed", file, *repo, "--as", "acme", "--mode", "reject", "--json")
    assert rejected.code == 3
    assert rejected.json["error"]["code"] == "KB_TENANT_SPOOF_REJECTED"
    assert rejected.json["error"]["problems"] == [
        {
            "line": 2,
            "pointer": "/tenantId",
            "reason": "claims 'beta', and the server's is 'acme'",
        }
    ]
    taken = tenantkb("embed", file, *repo, "--as", "acme", "--json")
    assert (taken.code, picked(taken.json)) == (0, [2, 0, 0, 0, 1])
    assert "spoofed field: acme/" in taken.errors
    assert "claims tenantId='beta'" in taken.errors
    assert tenantkb("status", "--as", "acme", "--json").json["spoofs"] == 2
    documents = tenantkb("list", "--as", "acme", "--json").json["documents"]
    assert {(d["tenantId"], d["repoSlug"]) for d in documents} == {("acme", "client-org/main-app")}
    assert len(documents) == 2
    assert tenantkb("status", "--as", "beta", "--json").json["rows"] == 0


def test_a_refused_file_names_every_bad_line_and_stores_nothing(tenantkb: Installation) -> None:
    file = submit(tenantkb, CHUNKS[0], "{", {**CHUNKS[0], "embedding": [0.1]}, {"kind": 3})
    done = tenantkb("embed", file, "--repo", "client-org/main-app", "--as", "acme", "--json")
    assert done.code == 2
    error = done.json["error"]
    assert error["code"] == "KB_EMBEDDING_NOT_ALLOWED"
    assert [(item["line"], item["pointer"]) for item in error["problems"]] == [
        (2, ""),
        (3, "/embedding"),
        (4, "/content"),
        (4, "/kind"),
        (4, "/name"),
        (4, "/sourcePath"),
    ]
    assert error["problemCount"] == 6
    assert "line 3 /embedding: expected no embedding" in done.errors
    assert "Traceback" not in done.errors
    status = tenantkb("status", "--as", "acme", "--json").json
    assert (status["rows"], status["spoofs"], status["spoofsRejected"]) == (0, 0, False)
    assert error["remedy"]["words"] == "Restore them with `tenantkb backup import`."
    missing = tenantkb("embed", "missing.jsonl", "--repo", "app")
    assert (missing.code, missing.output) == (2, "")
    assert "cannot read missing.jsonl" in missing.errors


def test_a_text_that_the_server_refuses_is_told_and_the_exit_code_says_partial(
    tenantkb: Installation,
) -> None:
    def refuse(texts: list[str]) -> Answer | None:
        return Answer(400, body="too long") if any("poison" in text for text in texts) else None

    with embedding_server() as server:
        server.refuse = refuse
        configured = {
            "TENANTKB_EMBEDDER_KIND": "openai",
            "TENANTKB_EMBEDDER_MODEL": "m",
            "TENANTKB_EMBEDDER_DIMENSION": str(DIMENSION),
            "TENANTKB_EMBEDDER_BASE_URL": server.base_url,
            "ALL_PROXY": "socks5://127.0.0.1:9",
        }
        bad = {**CHUNKS[0], "name": "bad", "content": "poison"}
        file = submit(tenantkb, CHUNKS[0], bad)
        submitted = tenantkb("embed", file, "--repo", "app", "--json", **configured)
        notes = tenantkb.folder / "checkout" / ".github" / "RELEASE_NOTES"
        notes.mkdir(parents=True)
        (notes / "v1.md").write_text("fine")
        (notes / "v2.md").write_text("poison")
        synced = tenantkb("sync", "checkout", "--json", **configured)
        shown = tenantkb("sync", "checkout", **configured)
    assert (submitted.code, submitted.json["added"]) == (1, 1)
    [refused] = submitted.json["refused"]
    assert (refused["path"], refused["name"]) == (CHUNKS[0]["sourcePath"], "bad")
    assert "answered 400: too long" in refused["reason"]
    assert (synced.code, synced.json["added"], len(synced.json["refused"])) == (1, 1, 1)
    assert shown.code == 1
    assert "refused: .github/RELEASE_NOTES/v2.md: " in shown.output
    assert "1 chunks left out" in shown.output
