"""The commands, from the shell's side."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import GOLDEN, Installation

MakeNotes = Callable[..., Path]


def test_create_writes_the_bytes_of_the_reference(tenantkb: Installation, golden: Path) -> None:
    done = tenantkb("create", golden, "-o", "out.jsonl")
    assert done.code == 0
    expected = (GOLDEN / "mini-neo-workspace.jsonl").read_bytes()
    assert (tenantkb.folder / "out.jsonl").read_bytes() == expected
    assert tenantkb("create", golden).output.encode() == expected


def test_create_of_a_workspace_that_is_not_there_leaves_the_old_file(
    tenantkb: Installation,
) -> None:
    (tenantkb.folder / "out.jsonl").write_text("old")
    done = tenantkb("create", "missing", "-o", "out.jsonl")
    assert (done.code, done.output) == (2, "")
    assert (
        done.errors
        == "Extracting\ntenantkb: the workspace missing is not a folder [KB_INVALID_INPUT]\n"
    )
    assert (tenantkb.folder / "out.jsonl").read_text() == "old"
    assert [file.name for file in tenantkb.folder.iterdir()] == ["out.jsonl"]


def test_a_file_that_cannot_be_read_fails_a_strict_create_and_every_sync(
    tenantkb: Installation, notes: MakeNotes
) -> None:
    workspace = notes(2)
    (workspace / ".github/RELEASE_NOTES/v9.md").mkdir()
    done = tenantkb("create", workspace, "-o", "out.jsonl")
    assert done.code == 0
    assert "failure: .github/RELEASE_NOTES/v9.md: " in done.errors
    assert tenantkb("create", workspace, "-o", "out.jsonl", "--strict").code == 1
    done = tenantkb("sync", workspace, "--json")
    assert (done.code, done.json["added"], done.json["failed"]) == (1, 2, 1)


def test_sync_query_list_and_status_of_the_example(tenantkb: Installation, golden: Path) -> None:
    first = tenantkb("sync", golden, "--json")
    assert first.code == 0
    picked = ("added", "updated", "unchanged", "deleted", "failed", "duplicates")
    assert [first.json[key] for key in picked] == [200, 0, 0, 0, 0, 1]
    second = tenantkb("sync", golden, "--json")
    assert [second.json[key] for key in picked] == [0, 0, 200, 0, 0, 1]
    assert "Nothing to do" in tenantkb("sync", golden).output

    results = tenantkb("query", "why does the application run in workers?", "--json").json[
        "results"
    ]
    assert results[0]["sourcePath"] == "learn/blog/why-workers.md"
    assert [result["score"] for result in results] == sorted(
        (result["score"] for result in results), reverse=True
    )
    method = tenantkb("query", "reset the value", "--type", "src", "--limit", "1", "--json")
    assert method.json["results"][0].keys() >= {"line_start", "line_end", "snippet", "tenantId"}

    documents = tenantkb("list", "--limit", "1000", "--json").json["documents"]
    assert len(documents) == 200
    pages = [
        document
        for offset in range(0, 300, 100)
        for document in tenantkb("list", "--limit", "100", "--offset", str(offset), "--json").json[
            "documents"
        ]
    ]
    assert pages == documents
    first_page = tenantkb("list", "--limit", "150", "--json").json
    rest = tenantkb("list", "--limit", "150", "--cursor", first_page["cursor"], "--json").json
    assert first_page["documents"] + rest["documents"] == documents
    assert rest["cursor"] is None

    status = tenantkb("status", "--json").json
    assert status["tenants"] == {"neo-shared": 200}
    assert status["repositories"][0]["repoSlug"] == "neo"
    assert status["repositories"][0]["lastSync"].endswith("Z")
    assert status["embedder"]["dimension"] == 256


def test_what_is_printed_for_people_has_no_colours_in_a_pipe(
    tenantkb: Installation, golden: Path
) -> None:
    tenantkb("sync", golden)
    for arguments in (("query", "workers"), ("list",), ("status",), ("sync", golden)):
        done = tenantkb(*arguments)
        assert done.code == 0
        assert done.output
        assert "\x1b" not in done.output + done.errors


def test_tenants_see_their_own_rows_and_the_shared_ones(
    tenantkb: Installation, notes: MakeNotes, golden: Path
) -> None:
    tenantkb("sync", golden)
    tenantkb("--as", "acme/ada", "sync", notes(3, "acme"), "--repo", "app")
    tenantkb("sync", notes(2, "secret"), "--repo", "own", "--visibility", "private",
             "--as", "acme/ada")  # fmt: skip
    tenantkb("sync", notes(4, "beta"), "--repo", "app", TENANTKB_TENANT="beta")

    def rows(*arguments: str, **variables: str) -> dict[str, int]:
        tenants: dict[str, int] = tenantkb(*arguments, "status", "--json", **variables).json[
            "tenants"
        ]
        return tenants

    assert rows() == {"neo-shared": 200}
    assert rows("--as", "acme/ada") == {"acme": 5, "neo-shared": 200}
    assert rows("--as", "acme/bob") == {"acme": 3, "neo-shared": 200}
    assert rows(TENANTKB_TENANT="acme", TENANTKB_AGENT="ada")["acme"] == 5
    assert rows("--as", "beta") == {"beta": 4, "neo-shared": 200}
    assert rows("--as", "gamma") == {"neo-shared": 200}
    found = tenantkb("--as", "acme/bob", "query", "secret 1", "--limit", "50", "--json").json
    assert {result["repoSlug"] for result in found["results"]} <= {"app", "neo"}


def test_a_repository_is_named_after_its_folder_unless_it_is_the_shared_one(
    tenantkb: Installation, notes: MakeNotes
) -> None:
    tenantkb("sync", notes(1, "x"), "--as", "acme")
    [repository] = tenantkb("status", "--json", "--as", "acme").json["repositories"]
    assert repository["repoSlug"] == "notes-1-x"


def test_many_deletions_need_a_yes(tenantkb: Installation, notes: MakeNotes) -> None:
    workspace = notes(4)
    tenantkb("sync", workspace)
    shutil.rmtree(workspace / ".github")
    refused = tenantkb("sync", workspace, "--json")
    assert refused.code == 6
    error = refused.json["error"]
    assert (error["code"], error["kind"]) == ("KB_DELETION_GUARD", "conflict")
    assert error["remedy"] == {"key": "confirm-deletion", "words": "Repeat with --yes."}
    assert refused.errors.endswith("\n→ Repeat with --yes.\n")
    assert tenantkb("sync", workspace, "--dry-run", "--yes", "--json").json["deleted"] == 4
    assert tenantkb("status", "--json").json["rows"] == 4
    assert tenantkb("sync", workspace, "--yes", "--json").json["deleted"] == 4
    assert tenantkb("status", "--json").json["rows"] == 0


def test_reading_commands_make_nothing_on_disk(tenantkb: Installation, tmp_path: Path) -> None:
    asked = (["query", "x"], ["search", "x"], ["context", "x"])
    for arguments in (["list"], ["hierarchy"], *asked):
        done = tenantkb(*arguments, "--json")
        assert (done.code, done.json["error"]["code"]) == (7, "KB_NOT_FOUND")
        assert f"store.path {tmp_path}/store" in done.json["error"]["message"]
    assert tenantkb("status", "--json").json["rows"] == 0
    assert not (tmp_path / "store").exists()
    assert list(tenantkb.folder.iterdir()) == []


def test_what_does_not_exist_for_the_caller_is_an_error_that_lists_what_does(
    tenantkb: Installation, notes: MakeNotes
) -> None:
    tenantkb("sync", notes(2), "--repo", "app", "--as", "acme")
    tenantkb("sync", notes(1, "x"), "--repo", "secret", "--as", "beta")
    for arguments, told in (
        (["list", "--repo", "secret"], "there is no repository 'secret'; there are app"),
        (["query", "x", "--repo", "ap"], "there is no repository 'ap'; there are app"),
        (["hierarchy", "--repo", "ap"], "there is no repository 'ap'; there are app"),
        (["query", "x", "--type", "guide"], "no chunks of the type 'guide'; there are release"),
        (
            ["list", "--type", "guide", "--repo", "app"],
            "no chunks of the type 'guide' in app; there are release",
        ),
    ):
        done = tenantkb(*arguments, "--as", "acme")
        assert (done.code, done.output) == (7, "")
        assert told in done.errors
    assert tenantkb("hierarchy", "--repo", "app", "--as", "acme").output == "No classes.\n"
    beyond = tenantkb("list", "--offset", "9", "--as", "acme", "--json")
    assert (beyond.code, beyond.json) == (0, {"documents": [], "cursor": None})


def test_a_store_that_is_a_file_is_an_error_that_says_so(
    tenantkb: Installation, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    done = tenantkb("list", TENANTKB_STORE_PATH=str(tmp_path / "file"))
    assert (done.code, done.output) == (4, "")
    assert f"{tmp_path}/file" in done.errors
    assert "folder" in done.errors


def test_another_embedder_is_refused(tenantkb: Installation, notes: MakeNotes) -> None:
    workspace = notes(2)
    tenantkb("sync", workspace)
    for arguments in (("sync", workspace), ("sync", workspace, "--dry-run"), ("query", "x")):
        done = tenantkb(*arguments, TENANTKB_EMBEDDER_KIND="hashing")
        assert done.code == 6
        assert "the collection holds vectors of wordllama" in done.errors


def test_wrong_use_is_told_in_one_line(tenantkb: Installation, golden: Path) -> None:
    for code, message, arguments, variables in (
        (2, "is not a tenant id", ("status", "--as", "ACME"), {}),
        (2, "is not a tenant id", ("status", "--as", "/ada"), {}),
        (2, "is not a tenant id", ("status",), {"TENANTKB_TENANT": ""}),
        (2, "did you mean TENANTKB_STORE_PATH?", ("status",), {"TENANTKB_STOREPATH": "x"}),
        (2, "a question needs some text", ("query", "  "), {}),
        (2, "No such command", ("snyc",), {}),
        (2, "is not a repository slug", ("sync", golden, "--repo", "a b"), {}),
        (2, "cannot read none.toml", ("status", "--config", "none.toml"), {}),
    ):
        done = tenantkb(*arguments, **variables)
        assert done.code == code, done
        assert message in done.errors
        assert "Traceback" not in done.errors
    assert "Traceback" in tenantkb("--debug", "query", " ").errors


def test_every_error_is_json_where_that_is_asked_for(tenantkb: Installation) -> None:
    for code, arguments in (
        ("KB_INVALID_INPUT", ("validate", "missing.jsonl", "--json")),
        ("KB_INVALID_INPUT", ("embed", "missing.jsonl", "--json")),
        ("KB_INVALID_INPUT", ("delete", "--repo", "app", "--json")),
        ("KB_INVALID_INPUT", ("embed", os.fsdecode(b"\xff"), "--repo", "app", "--json")),
        ("KB_CONFIGURATION", ("status", "--config", "none.toml", "--json")),
        ("KB_INVALID_INPUT", ("--json", "snyc")),
        ("KB_INVALID_INPUT", ("--json", "create", "missing")),
        ("KB_INVALID_INPUT", ("backup", "--json", "import", "missing.jsonl", "--adopt", "x")),
    ):
        done = tenantkb(*arguments)
        assert done.code == 2, done
        error = done.json["error"]
        assert (error["code"], error["kind"], error["remedy"]) == (code, "invalid", None)


def test_json_is_asked_for_before_the_command_or_behind_it(
    tenantkb: Installation, golden: Path
) -> None:
    assert tenantkb("--json", "status").json == tenantkb("status", "--json").json
    assert "parsed-chunk-v1" in tenantkb("--json", "schema").json["schemas"]
    created = tenantkb("create", golden, "-o", "out.jsonl", "--json").json
    assert (created["chunks"], created["failed"]) == (201, 0)


def test_pipes_and_links_are_written_to_and_not_replaced(
    tenantkb: Installation, golden: Path
) -> None:
    pipe, link = tenantkb.folder / "pipe", tenantkb.folder / "link"
    os.mkfifo(pipe)
    link.symlink_to("chunks.jsonl")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert tenantkb("create", tenantkb.folder, "-o", "pipe").code == 0
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert tenantkb("create", golden, "-o", "link").code == 0
    assert link.is_symlink()
    assert (tenantkb.folder / "chunks.jsonl").stat().st_size > 0


def test_search_and_context_of_the_example(tenantkb: Installation, golden: Path) -> None:
    tenantkb("sync", golden)
    question = "why does the application run in workers?"
    found = tenantkb("search", question, "--limit", "3", "--explain", "--json").json
    assert (found["query"], found["lexical"], len(found["results"])) == (question, "full", 3)
    best = found["results"][0]
    assert best["sourcePath"] == "learn/blog/why-workers.md"
    assert best["passages"][0].keys() == {
        *("score", "span", "lines", "documents", "parts", "snippet"),
    }
    further = tenantkb("search", question, "--limit", "3", "--page", "2", "--json").json["results"]
    paths = [each["sourcePath"] for each in (*found["results"], *further)]
    assert len(set(paths)) == 6
    within = tenantkb("search", question, "--path", "learn/", "--json").json["results"]
    assert {each["sourcePath"].split("/")[0] for each in within} == {"learn"}
    assert tenantkb("search", question).output.startswith("learn/blog/why-workers.md  1.000  ")

    filled = tenantkb("context", question, "--tokens", "300", "--json").json
    assert filled["tokens"] <= 300
    assert filled["citations"][0]["sourcePath"] == "learn/blog/why-workers.md"
    assert filled["text"].startswith("[1] neo-shared:neo learn/blog/why-workers.md\n# Why workers?")
    printed = tenantkb("context", question, "--tokens", "300").output
    assert printed == filled["text"].replace("\u2028", "\\u2028")  # which would steer a terminal


def test_a_chunk_is_printed_as_it_is_stored(tenantkb: Installation, golden: Path) -> None:
    tenantkb("sync", golden)
    question = ("query", "why does the application run in workers?", "--limit", "1", "--json")
    [answer] = tenantkb(*question, "--content").json["results"]
    assert answer["content"].startswith("# Why workers? 🤔\n\nBecause.\n")
    got = tenantkb("get", answer["id"], "--json").json
    assert got == {key: value for key, value in answer.items() if key not in ("score", "lines")}
    assert tenantkb("get", answer["id"]).output == answer["content"] + "\n"


def test_a_chunk_of_somebody_else_is_answered_like_one_that_does_not_exist(
    tenantkb: Installation, notes: MakeNotes
) -> None:
    tenantkb("sync", notes(1), "--as", "acme/ada")
    [document] = tenantkb("list", "--as", "acme/ada", "--json").json["documents"]
    foreign = tenantkb("get", document["id"], "--as", "beta/eve")
    tenantkb("sync", notes(0), "--repo", "notes", "--as", "acme/ada", "--yes")
    missing = tenantkb("get", document["id"], "--as", "beta/eve")
    assert (foreign.code, foreign.output) == (7, "")
    assert foreign == missing


def test_the_hierarchy_of_classes_is_that_of_the_rows(tenantkb: Installation, golden: Path) -> None:
    tenantkb("sync", golden)
    [shared] = tenantkb("hierarchy", "--json", "--as", "acme").json["repositories"]
    assert (shared["tenantId"], shared["repoSlug"]) == ("neo-shared", "neo")
    assert shared["parents"]["Mini.ab.Second"] == "Mini.ab.First"
    assert shared["parents"]["Mini.ab.Bom"] is None
    lines = tenantkb("hierarchy").output.splitlines()
    assert len(lines) == len(shared["parents"])


def test_the_help_shows_every_command_with_its_whole_summary(tenantkb: Installation) -> None:
    for arguments in ([], ["backup"]):
        shown = tenantkb(*arguments, "--help").output
        assert "..." not in shown.partition("Read:" if not arguments else "Commands:")[2]
    shown = tenantkb("--help").output
    sections = re.findall(r"^([A-Z][a-z ]+):$", shown, re.MULTILINE)
    assert sections == ["Options", "Read", "Write", "Operate", "Serve", "Set up"]
    for name, summary in re.findall(r"^  ([a-z]+) +([A-Z].*)$", shown, re.MULTILINE):
        lines = tenantkb(name, "--help").output.splitlines()
        assert lines[2].strip() == summary
