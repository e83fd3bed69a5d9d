"""The client of a server: what has changed in a checkout, as git tells it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import httpx
import stamina
from attrs import define, field, frozen

from tenantkb.adapters.cli.errors import CONFIRM_NUMBER, PUSH_ALL
from tenantkb.adapters.cli.session import Session, common_options, console, pass_session
from tenantkb.adapters.files.git import GitCheckout
from tenantkb.adapters.wire.objects import json_text
from tenantkb.domain import fields
from tenantkb.domain.errors import (
    AuthenticationError,
    ErrorKind,
    InvalidInputError,
    Remedy,
    TenantKbError,
)
from tenantkb.domain.paths import require_repo_slug
from tenantkb.domain.records import printable
from tenantkb.domain.stamps import Visibility

FILE_BYTES: Final = 1 << 20
"""Larger files are left out: no parser of the server's would take them either."""

_ATTEMPTS: Final = 4
_TIMEOUT: Final = httpx.Timeout(30, read=3600)
"""Seconds; the answer comes when the push has been carried out."""

_OWN_REMEDIES: Final[Mapping[str, str]] = {
    Remedy.CONFIRM_DELETION: CONFIRM_NUMBER,
    Remedy.SEND_MANIFEST: PUSH_ALL,
}


@frozen
class _Change:
    """What is to be sent.

    Attributes:
        head: The commit that is sent.
        base: The commit that the server knows; ``None`` where all files are sent.
        blobs: Of files that are new or changed, by path.
        gone: Files that are gone since.
        paths: All files, where all are sent.
    """

    head: str
    base: str | None
    blobs: Mapping[str, str]
    gone: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()


@define
class _Lines:
    """A push as lines, made while they are sent, and once more if they are sent again.

    Attributes:
        sent: How many files were sent.
        left_out: How many were not, by reason; of these the server keeps nothing.
    """

    checkout: GitCheckout
    change: _Change
    header: dict[str, Any]
    sent: int = 0
    left_out: Counter[str] = field(factory=Counter)

    def __iter__(self) -> Iterator[bytes]:
        self.sent, self.left_out = 0, Counter()
        unusable = set(self._unusable())
        yield self._first(unusable)
        paths = [path for path in sorted(self.change.blobs) if path not in unusable]
        blobs = (self.change.blobs[path] for path in paths)
        for path, content in zip(paths, self.checkout.contents(blobs, FILE_BYTES), strict=True):
            if content is not None:
                self.sent += 1
                yield _line({"path": path, fields.CONTENT: content.decode()})

    def _unusable(self) -> Iterator[str]:
        """Files that are no text, or too large; told first, since the first line tells of them."""
        paths = sorted(self.change.blobs)
        blobs = (self.change.blobs[path] for path in paths)
        for path, content in zip(paths, self.checkout.contents(blobs, FILE_BYTES), strict=True):
            if (reason := _reason_against(content)) is not None:
                self.left_out[reason] += 1
                yield path

    def _first(self, unusable: set[str]) -> bytes:
        change = self.change
        repo = self.header[fields.REPO_SLUG]
        told: dict[str, Any] = {**self.header, "headRevision": change.head}
        if change.base is None:
            paths = sorted(change.paths - unusable)
            told["manifestSnapshot"] = {fields.REPO_SLUG: repo, "pathsAfterPush": paths}
        else:
            told["baseRevision"] = change.base
            gone = sorted(change.gone | unusable)
            told["deleted"] = [{fields.REPO_SLUG: repo, fields.SOURCE_PATH: each} for each in gone]
        return _line(told)


@click.command("push")
@click.argument("checkout", type=click.Path(path_type=Path), default=Path())
@click.option("--server", metavar="URL", required=True, help="Address of the server.")
@click.option("--repo", metavar="SLUG", required=True, help="Repository to store the rows under.")
@click.option(
    "--visibility",
    type=click.Choice([visibility.value for visibility in Visibility]),
    default=Visibility.TEAM.value,
    show_default=True,
    help="Who may read what is written: the whole tenant, or the caller alone.",
)
@click.option("--head", default="HEAD", show_default=True, help="The commit that is sent.")
@click.option("--full", is_flag=True, help="Send all files, whatever the server knows.")
@click.option(
    "--confirm",
    type=click.IntRange(0),
    metavar="N",
    help="Delete N rows, where that is more than is deleted unasked.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be sent, and send nothing.")
@click.option("--insecure", is_flag=True, help="Send the token without TLS.")
@common_options
@pass_session
def push_command(
    session: Session,
    checkout: Path,
    server: str,
    repo: str,
    visibility: str,
    head: str,
    full: bool,
    confirm: int | None,
    dry_run: bool,
    insecure: bool,
) -> int:
    """Send what git says has changed to a server.

    Of the commits since the one that the server knows, the files that are new or changed, and the
    names of those that are gone; all files where that one is unknown here. The work tree is not
    looked at. TENANTKB_TOKEN is the bearer token.
    """
    started = time.monotonic()
    git = GitCheckout(checkout)
    with _client(session, server, insecure=insecure) as client:
        known = None if full else _known(client, require_repo_slug(repo))
        change = _change(git, git.commit(head), known)
        header: dict[str, Any] = {fields.REPO_SLUG: repo, fields.VISIBILITY: visibility}
        if confirm is not None:
            header["confirmDeletions"] = confirm
        told: dict[str, Any] = {
            "head": change.head,
            "base": change.base,
            "changed": len(change.blobs),
            "gone": len(change.gone),
            "dryRun": dry_run,
        }
        if not dry_run and change.base != change.head:
            lines = _Lines(git, change, header)
            told["report"] = _sent(client, lines)
            told |= {"sent": lines.sent, "leftOut": dict(lines.left_out)}
    told["seconds"] = round(time.monotonic() - started, 3)
    if session.json:
        click.echo(json_text(told))
    else:
        _print(told)
    report = told.get("report")
    return int(report is not None and not report["isComplete"])


def _change(git: GitCheckout, head: str, known: str | None) -> _Change:
    if known == head:
        return _Change(head, known, {})
    if known is not None and git.is_ancestor(known, head):
        return _Change(head, known, git.changed(known, head), git.between(known, head))
    tree = git.tree(head)
    return _Change(head, None, tree, paths=frozenset(tree))


def _client(session: Session, server: str, *, insecure: bool) -> httpx.Client:
    """A client that sends the token to this server and to no other.

    Raises:
        InvalidInputError: the address is none, or would have the token sent in the clear.
        AuthenticationError: there is no token.
    """
    parts = urlsplit(server)
    is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInputError(f"{printable(server)} is no address of HTTP")
    if parts.scheme == "http" and not (is_local or insecure):
        raise InvalidInputError("the token would be sent without TLS: use https, or --insecure")
    token = session.settings().identity.token
    if token is None:
        raise AuthenticationError("there is no token: set TENANTKB_TOKEN")
    return httpx.Client(
        base_url=server.rstrip("/"),
        headers={"Authorization": f"Bearer {token}"},
        timeout=_TIMEOUT,
        follow_redirects=False,
        trust_env=not is_local,  # no proxy leads to this machine
    )


def _known(client: httpx.Client, repo: str) -> str | None:
    """The revision that the server knows of the caller's repository."""
    status = _asked(client, lambda: client.get("/v1/status"))
    owner = status["tenant"]
    for each in status["repositories"]:
        if (each[fields.TENANT_ID], each[fields.REPO_SLUG]) == (owner, repo):
            head: str | None = each["head"]
            return head
    return None


def _sent(client: httpx.Client, lines: _Lines) -> Any:
    """What the server tells of a push; one that is broken off may be sent again."""
    kind = {"Content-Type": "application/x-ndjson"}
    return _asked(client, lambda: client.post("/v1/ingest", content=iter(lines), headers=kind))


def _asked(client: httpx.Client, ask: Callable[[], httpx.Response]) -> Any:
    """What the server answers.

    Raises:
        TenantKbError: it does not answer, or answers an error, whose kind and code this one has.
    """
    try:
        response = stamina.RetryingCaller(attempts=_ATTEMPTS)(httpx.TransportError, ask)
    except httpx.TransportError as error:
        told = f"{client.base_url} does not answer: {printable(str(error))}"
        raise _error(ErrorKind.UNAVAILABLE, "KB_SERVER", told) from error
    if response.is_success:
        return response.json()
    try:
        problem = response.json()
        kind, remedy = ErrorKind(problem["kind"]), problem.get("remedy") or {}
        lines = [str(problem["detail"])]
        lines += [f"  {each['pointer']}: {each['reason']}" for each in problem.get("problems", ())]
        key = str(remedy["key"]) if remedy else ""
        raise _error(kind, problem["code"], "\n".join(lines), _OWN_REMEDIES.get(key, key) or None)
    except (ValueError, KeyError, TypeError) as error:
        told = f"{client.base_url} answers {response.status_code}, and not as a server of tenantkb"
        raise _error(ErrorKind.UNAVAILABLE, "KB_SERVER", told) from error


def _error(kind: ErrorKind, code: str, message: str, remedy: str | None = None) -> TenantKbError:
    """An error as the server tells it; its kind decides the exit code, as it would there."""
    made = type("ServerError", (TenantKbError,), {"kind": kind, "code": code})
    error: TenantKbError = made(message, remedy=remedy)
    return error


def _reason_against(content: bytes | None) -> str | None:
    """Why a file is left out."""
    if content is None:
        return "too large"
    if b"\0" in content:
        return "binary"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return None


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _print(told: dict[str, Any]) -> None:
    terminal = console()
    since = "all files" if told["base"] is None else f"since {told['base'][:12]}"
    files = f"{told['changed']:,} files new or changed, {told['gone']:,} gone"
    report = told.get("report")
    if report is None:
        verb = "Would send" if told["dryRun"] and told["base"] != told["head"] else "Nothing to do"
        terminal.print(f"{verb}: {told['head'][:12]}, {since}: {files}")
        return
    terminal.print(f"Sent {told['head'][:12]}, {since}: {files}")
    for reason, count in told["leftOut"].items():
        terminal.print(f"{count:,} left out: {reason}")
    terminal.print(
        f"Done: {report['added']:,} added, {report['updated']:,} updated, "
        f"{report['unchanged']:,} unchanged, {report['deleted']:,} deleted "
        f"in {told['seconds']:.1f} s"
    )
    if not report["isComplete"]:
        terminal.print("[red]Not all could be stored[/red]; --json tells what was not")
