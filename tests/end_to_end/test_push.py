"""``tenantkb push``: what git says has changed, to a server that runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import frozen

from tenantkb.domain.identity import AgentIdentity
from tests.end_to_end.conftest import Installation, Outcome
from tests.end_to_end.test_server import ADA, BOB, Server, serving
from tests.tokens import Signer


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True
    )
    return done.stdout.decode().strip()


@frozen
class Site:
    """A checkout, a server, and the command between them.

    Attributes:
        tenantkb: The command; it has no store of its own here.
        server: The server.
        checkout: The checkout.
    """

    tenantkb: Installation
    server: Server
    checkout: Path

    def push(self, *arguments: str, who: AgentIdentity = ADA, **variables: str) -> Outcome:
        return self.tenantkb(
            "push",
            self.checkout,
            f"--server={self.server.url}",
            "--repo=app",
            "--json",
            *arguments,
            TENANTKB_TOKEN=self.server.token(who),
            **variables,
        )

    def commit(self, **files: str | bytes | None) -> str:
        """Write, or delete, files whose names end in ``.md``; returns the commit."""
        for name, content in files.items():
            path = self.checkout / f"{name}.md"
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(self.checkout, "add", "--all")
        git(self.checkout, "commit", "--quiet", "--allow-empty", "--message=x")
        return git(self.checkout, "rev-parse", "HEAD")

    def stored(self, who: AgentIdentity = ADA) -> dict[str, str]:
        """The texts of the caller's documents, by path."""
        with self.server.http(self.server.token(who)) as http:
            page = http.get("/v1/documents", params={"limit": 1000}).json()
            return {
                each["sourcePath"]: http.get(f"/v1/documents/{each['id']}").json()["content"]
                for each in page["documents"]
            }


@pytest.fixture
def site(tenantkb: Installation, tmp_path: Path) -> Iterator[Site]:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git(checkout, "init", "--quiet", "--initial-branch=main")
    limits = {"TENANTKB_LIMITS_REQUESTS_PER_SECOND": "1000"}
    with serving(tenantkb, Signer(tmp_path / "keys.json"), **limits) as server:
        yield Site(tenantkb, server, checkout)


def test_what_has_changed_since_the_last_push_is_sent(site: Site) -> None:
    first = site.commit(a="# A\n\none", b="# B\n\ntwo", c="# C\n\nthree")
    told = site.push().json
    assert (told["base"], told["sent"], told["report"]["added"]) == (None, 3, 3)
    again = site.push().json
    assert "report" not in again, "the server knows this commit"

    head = site.commit(a="# A\n\nchanged", b=None, d="# D\n\nnew")
    told = site.push().json
    assert (told["base"], told["head"]) == (first, head)
    assert (told["sent"], told["gone"], told["report"]["deleted"]) == (2, 1, 2)
    stored = site.stored()
    assert stored.keys() == {"a.md", "c.md", "d.md"}
    assert "changed" in stored["a.md"]


def test_where_history_was_rewritten_all_files_are_sent(site: Site) -> None:
    site.commit(a="# A\n\none", b="# B\n\ntwo")
    site.push()
    git(site.checkout, "checkout", "--quiet", "--orphan", "other")
    git(site.checkout, "rm", "--quiet", "-r", "--cached", ".")
    (site.checkout / "b.md").unlink()
    head = site.commit(a="# A\n\none", c="# C\n\nthree")
    told = site.push().json
    assert (told["base"], told["head"]) == (None, head)
    assert site.stored().keys() == {"a.md", "c.md"}


def test_what_is_no_text_is_left_out_and_told(site: Site) -> None:
    site.commit(a="# A\n\none", b="# B\n\ntwo")
    site.push()
    site.commit(a=b"\0binary", c="x" * (2 << 20), d="# D\n\nfour")
    told = site.push().json
    assert told["leftOut"] == {"binary": 1, "too large": 1}
    assert site.stored().keys() == {"b.md", "d.md"}


def test_the_work_tree_is_not_looked_at_and_a_dry_run_sends_nothing(site: Site) -> None:
    site.commit(a="# A\n\none")
    (site.checkout / "a.md").write_text("# A\n\nnot committed")
    assert site.push("--dry-run").json["changed"] == 1
    assert site.stored() == {}
    site.push()
    assert "not committed" not in site.stored()["a.md"]


def test_many_deletions_have_to_be_confirmed_by_their_number(site: Site) -> None:
    site.commit(**{f"f{number}": f"# F{number}\n\ntext" for number in range(10)})
    site.push()
    site.commit(**{f"f{number}": None for number in range(8)})
    refused = site.push()
    assert refused.code == 6
    error = refused.json["error"]
    assert (error["code"], error["remedy"]["key"]) == ("KB_DELETION_GUARD", "confirm-number")
    assert site.push("--confirm=7").code == 6
    assert site.push("--confirm=8").json["report"]["deleted"] == 8
    assert site.stored().keys() == {"f8.md", "f9.md"}


def test_each_tenant_has_its_own_rows_and_head(site: Site) -> None:
    site.commit(a="# A\n\naardvark")
    site.push()
    assert site.stored(BOB) == {}
    told = site.push(who=BOB).json
    assert told["base"] is None, "what another tenant has pushed is nothing to this one"
    assert site.stored(BOB).keys() == {"a.md"}


def test_what_is_refused_is_told_as_elsewhere(site: Site, tenantkb: Installation) -> None:
    site.commit(a="# A\n\none")
    stranger = Signer(site.server.signer.file).token(ADA, datetime.now(UTC))
    to = ("push", site.checkout, "--repo=app", "--json")
    server = f"--server={site.server.url}"
    assert tenantkb(*to, server, TENANTKB_TOKEN=stranger).code == 3
    assert tenantkb(*to, server).code == 3
    away = tenantkb(*to, "--server=http://kb.example", TENANTKB_TOKEN="x")
    assert (away.code, "TLS" in away.json["error"]["message"]) == (2, True)
    assert site.push("--head=nothing").code == 2


def test_a_push_to_a_server_that_is_killed_is_finished_by_the_same_push(
    tenantkb: Installation, tmp_path: Path
) -> None:
    """Fails: a push that was broken off in the server cannot be repeated, or leaves other rows."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git(checkout, "init", "--quiet", "--initial-branch=main")
    signer = Signer(tmp_path / "keys.json")
    few = {"TENANTKB_SYNC_BATCH_SIZE": "4", "TENANTKB_LIMITS_REQUESTS_PER_SECOND": "1000"}
    with serving(tenantkb, signer, **few) as server:
        site = Site(tenantkb, server, checkout)
        site.commit(**{f"f{number}": f"# F{number}\n\ntext {number}" for number in range(400)})
        arguments = ("push", str(checkout), f"--server={server.url}", "--repo=app")
        environment = {**tenantkb.environment, "TENANTKB_TOKEN": server.token(ADA)}
        killed = Installation(tenantkb.folder, environment)
        with killed.started(*arguments) as process, server.http(server.token(ADA)) as http:
            deadline = time.monotonic() + 60
            while http.get("/v1/status").json()["rows"] < 8:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            os.kill(server.process.pid, signal.SIGKILL)
            process.kill()
    with serving(tenantkb, signer, **few) as server:
        site = Site(tenantkb, server, checkout)
        told = site.push().json
        assert told["report"]["unchanged"] >= 8, "what was stored is not embedded again"
        assert told["report"]["added"] + told["report"]["unchanged"] == 400
        assert len(site.stored()) == 400
