"""``tenantkb delete`` with real git repositories, and what a killed one leaves behind."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.end_to_end.conftest import Installation, Outcome, stored_rows
from tests.end_to_end.test_interruption import wait_for
from tests.repositories import Repository
from tests.servers import chroma_process

REPO = "client-org/main-app"


def chunk(path: str) -> dict[str, Any]:
    return {"type": "guide", "name": path, "content": f"text of {path}", "source": path}


@frozen
class Client:
    """Somebody who pushes a repository's content and says what is gone."""

    tenantkb: Installation
    repository: Repository

    def embed(self, *paths: str, caller: str = "acme", repo: str = REPO) -> None:
        file = self.tenantkb.folder / "chunks.jsonl"
        file.write_text("".join(json.dumps(chunk(path)) + "\n" for path in paths))
        assert self.tenantkb("embed", file, "--repo", repo, "--as", caller).code == 0

    def stored(self, caller: str = "acme", repo: str = REPO) -> set[str]:
        done = self.tenantkb("list", "--repo", repo, "--as", caller, "--limit", "1000", "--json")
        return {document["sourcePath"] for document in done.json["documents"]}

    def arguments(self, *arguments: str | Path, **signals: Any) -> list[str | Path]:
        command: list[str | Path] = ["delete", "--repo", REPO, "--as", "acme", "--json", *arguments]
        for option, document in signals.items():
            file = self.tenantkb.folder / f"{option}.json"
            file.write_text(json.dumps(document))
            command += [f"--{option}", file]
        return command

    def delete(self, *arguments: str | Path, **signals: Any) -> Outcome:
        return self.tenantkb(*self.arguments(*arguments, "--yes", **signals))

    def boundary(self, head: str, base: str | None = None) -> list[str | Path]:
        known: list[str | Path] = [] if base is None else ["--base", base]
        return [*known, "--head", head, "--git", self.repository.folder]


def tombstones(*paths: str) -> dict[str, Any]:
    return {"deleted": [{"sourcePath": path, "repoSlug": REPO} for path in paths]}


def manifest(*paths: str, **fields: str) -> dict[str, Any]:
    return {"manifestSnapshot": {"repoSlug": REPO, "pathsAfterPush": list(paths), **fields}}


@pytest.fixture
def client(tenantkb: Installation, tmp_path: Path) -> Client:
    return Client(tenantkb, Repository.initialised(tmp_path / "checkout"))


def reasons(done: Outcome) -> dict[str, str]:
    return {path["sourcePath"]: path["reason"] for path in done.json["paths"]}


def test_a_history_of_pushes(client: Client) -> None:
    client.embed("a.md", "b.md", "c.md", "d.md")
    client.embed("a.md", "b.md", caller="beta")
    client.embed("a.md", "b.md", repo="other")
    first = client.repository.commit(dict.fromkeys(["a.md", "b.md", "c.md", "d.md"], "x"))

    unknown = client.delete(*client.boundary("main", base=first))
    assert (unknown.code, unknown.json["error"]["code"]) == (6, "KB_MANIFEST_REQUIRED")
    assert "--manifest" in unknown.json["error"]["remedy"]["words"]
    known = client.delete(
        *client.boundary("main"), manifest=manifest("a.md", "b.md", "c.md", "d.md")
    )
    assert (known.code, known.json["deleted"], known.json["headRevision"]) == (0, 0, first)

    second = client.repository.commit({"b.md": None})
    dry = client.delete(*client.boundary("main", base=first), "--dry-run")
    assert (dry.json["deleted"], dry.json["dryRun"], reasons(dry)) == (
        1,
        True,
        {"b.md": "boundary"},
    )
    assert client.stored() == {"a.md", "b.md", "c.md", "d.md"}
    done = client.delete(*client.boundary("main", base=first[:12]), tombstones=tombstones("c.md"))
    assert done.code == 0
    assert reasons(done) == {"b.md": "boundary", "c.md": "tombstone"}
    assert client.stored() == {"a.md", "d.md"}
    again = client.delete(*client.boundary("main", base=first), tombstones=tombstones("c.md"))
    assert (again.code, again.json["deleted"], again.json["headRevision"]) == (0, 0, second)

    client.repository.git("reset", "--quiet", "--hard", first)
    rewritten = client.repository.commit({"d.md": None})
    refused = client.delete(*client.boundary("main", base=first))
    assert (refused.code, refused.json["error"]["code"]) == (6, "KB_MANIFEST_REQUIRED")
    mended = client.delete(*client.boundary("main", base=first), manifest=manifest("a.md", "b.md"))
    assert (mended.json["deleted"], reasons(mended)) == (1, {"d.md": "orphan"})
    assert mended.json["headRevision"] == rewritten

    assert client.stored() == {"a.md"}
    assert client.stored(caller="beta") == {"a.md", "b.md"}
    assert client.stored(repo="other") == {"a.md", "b.md"}


def test_a_manifest_spares_what_is_younger(client: Client) -> None:
    client.embed("a.md", "b.md")
    old = client.delete(manifest=manifest("a.md", createdAt="2026-01-31T09:30:00.000Z"))
    assert (old.json["deleted"], old.json["kept"]) == (0, 1)
    assert reasons(old) == {"b.md": "younger-than-manifest"}
    now = client.delete(manifest=manifest("a.md"))
    assert (now.json["deleted"], now.json["unaffected"]) == (1, 1)
    older = client.delete(manifest=manifest(createdAt="2026-01-31T09:30:00.000Z"))
    assert (older.code, older.json["error"]["code"]) == (6, "KB_MANIFEST_OUTDATED")
    assert client.stored() == {"a.md"}


def test_wrong_signals_change_nothing(client: Client) -> None:
    client.embed("a.md")
    conflict = client.delete(tombstones=tombstones("a.md"), manifest=manifest("a.md"))
    assert (conflict.code, conflict.json["error"]["code"]) == (2, "KB_DELETION_CONFLICT")
    invalid = client.delete(tombstones={"deleted": [{"sourcePath": "/a.md"}]})
    assert (invalid.code, invalid.json["error"]["code"]) == (2, "KB_INVALID_SUBMISSION")
    assert {problem["pointer"] for problem in invalid.json["error"]["problems"]} == {
        "/deleted/0/repoSlug",
        "/deleted/0/sourcePath",
    }
    for arguments in (
        [],
        ["--base", "1", "--head", "2"],
        ["--git", client.repository.folder],
        ["--tombstones", "missing.json"],
        client.boundary("nothing"),
    ):
        assert client.delete(*arguments).code == 2
    swapped = client.delete(tombstones=manifest("a.md"))
    assert (swapped.code, client.stored()) == (2, {"a.md"})


def test_many_deletions_need_a_yes(client: Client) -> None:
    client.embed("a.md", "b.md", "c.md")
    command = client.arguments(manifest=manifest())
    refused = client.tenantkb(*command)
    assert (refused.code, refused.json["error"]["code"]) == (6, "KB_DELETION_GUARD")
    assert refused.json["error"]["remedy"]["words"] == "Repeat with --yes."
    assert len(client.stored()) == 3
    others = client.arguments(manifest=manifest("d.md"))
    assert client.tenantkb(*others).code == 6
    done = client.tenantkb(*others, TENANTKB_SYNC_DELETABLE_SHARE="1")
    assert (done.code, done.json["deleted"]) == (0, 3)
    client.embed("a.md", "b.md", "c.md")
    command = client.arguments(manifest=manifest())
    refused = client.tenantkb(*command, TENANTKB_SYNC_DELETABLE_SHARE="1")
    assert (refused.code, len(client.stored())) == (6, 3), "no share covers an empty manifest"
    assert client.tenantkb(*client.arguments("--yes", manifest=manifest())).json["deleted"] == 3


def test_people_see_the_plan_and_what_was_done(client: Client) -> None:
    client.embed("a.md", "b.md")
    (client.tenantkb.folder / "gone.json").write_text(json.dumps(tombstones("a.md")))
    command = ("delete", "--repo", REPO, "--as", "acme", "--tombstones", "gone.json")
    dry = client.tenantkb(*command, "--dry-run").output.splitlines()
    assert dry[0] == "delete a.md  tombstone, 1 rows"
    assert dry[1].startswith("Would delete 1 rows in ")
    assert client.tenantkb(*command).output.splitlines()[1].startswith("Deleted 1 rows in ")


FILES = tuple(f"docs/{number:03}.md" for number in range(120))
GONE = FILES[:-1]


@pytest.fixture
def push(client: Client) -> Callable[[], list[str | Path]]:
    """Makes the command of a push in which all files but one are gone; nobody has run it yet."""

    def make() -> list[str | Path]:
        client.tenantkb.environment["TENANTKB_SYNC_BATCH_SIZE"] = "1"
        client.embed(*FILES)
        first = client.repository.commit(dict.fromkeys(FILES, "x"))
        assert client.delete(*client.boundary(first), manifest=manifest(*FILES)).code == 0
        second = client.repository.commit(dict.fromkeys(GONE))
        return client.arguments(*client.boundary(second, base=first), "--yes")

    return make


def head_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as state:
        [[head]] = state.execute("SELECT head FROM known").fetchall()
    return str(head)


def finish(client: Client, command: list[str | Path], file: Path) -> Outcome:
    done = client.tenantkb(*command)
    assert done.code == 0
    assert client.stored() == {FILES[-1]}
    assert head_of(file) == done.json["headRevision"] == client.repository.git("rev-parse", "main")
    assert client.tenantkb(*command).json["deleted"] == 0
    return done


def test_killed_while_rows_are_deleted_the_head_stands_and_the_same_command_finishes(
    client: Client, push: Callable[[], list[str | Path]]
) -> None:
    command = push()
    file = Path(client.tenantkb.environment["TENANTKB_STORE_PATH"]) / "store.sqlite3"
    first = head_of(file)
    killed(client, command, lambda: stored_rows(client.tenantkb) < len(FILES))
    left = stored_rows(client.tenantkb)
    assert 1 < left < len(FILES)
    assert head_of(file) == first
    assert finish(client, command, file).json["deleted"] == left - 1


def test_killed_between_the_last_row_and_the_head_the_same_command_finishes(
    client: Client, push: Callable[[], list[str | Path]], tmp_path: Path
) -> None:
    """A server keeps no heads, so that the two are not one transaction."""
    with chroma_process(tmp_path / "chroma") as address:
        client.tenantkb.environment.update(
            TENANTKB_STORE_KIND="chroma-http",
            TENANTKB_STORE_HOST=address.host,
            TENANTKB_STORE_PORT=str(address.port),
        )
        command = push()
        file = Path(client.tenantkb.environment["TENANTKB_STORE_PATH"]) / "state.sqlite3"
        first = head_of(file)
        with no_head_is_recorded(file):
            killed(client, command, lambda: client.stored() == {FILES[-1]})
        assert head_of(file) == first
        assert finish(client, command, file).json["deleted"] == 0


@contextmanager
def no_head_is_recorded(file: Path) -> Iterator[None]:
    """Whoever records a head counts numbers that have no end, and is not held up before."""
    with closing(sqlite3.connect(file, isolation_level=None)) as state:
        state.execute(
            "CREATE VIEW endless AS WITH RECURSIVE"
            " number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number) SELECT n FROM number"
        )
        state.execute(
            "CREATE TRIGGER held BEFORE INSERT ON known BEGIN SELECT count(*) FROM endless; END"
        )
        yield
        state.execute("DROP TRIGGER held")
        state.execute("DROP VIEW endless")


def killed(client: Client, command: list[str | Path], when: Callable[[], bool]) -> None:
    with client.tenantkb.started(*command) as process:
        wait_for(when)
        process.kill()
        assert process.wait() == -9
