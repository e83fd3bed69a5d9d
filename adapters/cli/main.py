"""The command ``tenantkb``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click

from adapters.cli import output as show
from adapters.cli.progress import ConsoleProgress
from adapters.cli.session import (
    Session,
    common_options,
    console,
    json_option,
    pass_session,
    replacing,
    visibility_option,
    workspace_argument,
)
from adapters.config import Settings
from adapters.jsonl import read_records
from application.create import create
from application.embed import EmbedRequest
from application.sync import SyncRequest
from domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConfigurationError,
    DeletionGuardError,
    EmbedderError,
    InvalidInputError,
    NotFoundError,
    StoreError,
    SubmissionRefusedError,
    TenantKbError,
)
from domain.identity import AgentIdentity
from domain.rows import Criteria
from domain.spoofing import SpoofMode
from domain.tenancy import Visibility

EXIT_CODES: Final[tuple[tuple[type[TenantKbError], int], ...]] = (
    (InvalidInputError, 2),
    (ConfigurationError, 2),
    (AuthenticationError, 3),
    (AccessDeniedError, 3),
    (StoreError, 4),
    (EmbedderError, 5),
    (DeletionGuardError, 6),
    (NotFoundError, 7),
)
"""Exit codes by error.

0 is success, 1 a run that left something undone, 70 a fault of tenantkb's own, 130 an interruption,
141 a closed pipe.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tenantkb")
@common_options
def tenantkb() -> None:
    """A knowledge base for many tenants: extract, synchronise, ask."""


@tenantkb.command("create")
@workspace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("-"),
    help="File to write; default: standard output.",
)
@click.option("--strict", is_flag=True, help="Fail if a file could not be read.")
@common_options
@pass_session
def create_command(session: Session, workspace: Path, output: Path, strict: bool) -> int:
    """Extract WORKSPACE to JSON lines, one chunk a line."""
    terminal = console(stderr=True)
    started = time.monotonic()
    with (
        session.container() as container,
        ConsoleProgress(terminal) as progress,
        replacing(output) as stream,
    ):
        progress.phase("Extracting")
        report = create(container.registry(), workspace, stream)
    show.print_diagnostics(terminal, report)
    terminal.print(f"{report.total:,} chunks in {time.monotonic() - started:.1f} s")
    return int(strict and not report.is_complete)


@tenantkb.command("sync")
@workspace_argument
@click.option(
    "--repo",
    metavar="SLUG",
    help="Repository to store the rows under; default: the shared corpus's for its curator, "
    "else the folder's name.",
)
@visibility_option
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--yes", is_flag=True, help="Delete stale rows however many they are.")
@json_option
@common_options
@pass_session
def sync_command(
    session: Session,
    workspace: Path,
    repo: str | None,
    visibility: str,
    dry_run: bool,
    yes: bool,
) -> int:
    """Make the stored rows of a repository equal to WORKSPACE."""
    terminal = console(stderr=session.json)
    started = time.monotonic()
    settings = session.settings()
    with session.container() as container, ConsoleProgress(console(stderr=True)) as progress:
        caller = container.identity().authenticate()
        request = SyncRequest(
            workspace=workspace,
            repo_slug=repo or _default_repo(settings, caller, workspace),
            visibility=Visibility(visibility),
            dry_run=dry_run,
            deletable_share=1.0 if yes else settings.sync.deletable_share,
        )
        report = container.sync()(caller, request, progress)
    seconds = time.monotonic() - started
    if session.json:
        click.echo(show.json_text(show.sync_object(report, seconds)))
    else:
        show.print_sync(terminal, report, seconds)
    return int(not report.extraction.is_complete)


def _default_repo(settings: Settings, caller: AgentIdentity, workspace: Path) -> str:
    if caller.tenant_id == settings.tenancy.shared_tenant:
        return settings.tenancy.shared_repo
    return workspace.resolve().name


@tenantkb.command("embed")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--repo", metavar="SLUG", required=True, help="Repository to store the rows under.")
@visibility_option
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in SpoofMode]),
    help="What a forged tenantId, repoSlug or the like does: it is overwritten, or the whole "
    "submission is rejected; default: ingest.spoof_mode of the configuration.",
)
@json_option
@common_options
@pass_session
def embed_command(
    session: Session, file: Path, repo: str, visibility: str, mode: str | None
) -> int:
    """Embed and store the chunks of FILE: parsed chunks, or what `create` wrote.

    FILE may be - for standard input. Nothing is stored unless every record is valid. Nothing is
    deleted, and nothing that is stored is embedded again.
    """
    started = time.monotonic()
    with (
        session.container() as container,
        ConsoleProgress(console(stderr=True)) as progress,
        _reading(file) as stream,
    ):
        report = container.embed()(
            container.identity().authenticate(),
            EmbedRequest(
                repo_slug=repo,
                visibility=Visibility(visibility),
                mode=None if mode is None else SpoofMode(mode),
            ),
            read_records(stream),
            progress,
        )
    seconds = time.monotonic() - started
    if session.json:
        click.echo(show.json_text(show.embed_object(report, seconds)))
    else:
        show.print_embed(console(), report, seconds)
    return 0


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file; ``-`` is standard input."""
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from error
    with stream:
        yield stream


@tenantkb.command("query")
@click.argument("text")
@click.option("--type", "type_", metavar="TYPE", help="Only chunks of this type, such as guide.")
@click.option("--repo", metavar="SLUG", help="Only chunks of this repository.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True)
@json_option
@common_options
@pass_session
def query_command(
    session: Session, text: str, type_: str | None, repo: str | None, limit: int
) -> int:
    """Rank the chunks that the caller may read by their similarity to TEXT."""
    with session.container() as container:
        caller = container.identity().authenticate()
        answers = container.query()(
            caller, text, limit=limit, criteria=Criteria(type=type_, repo_slug=repo)
        )
    if session.json:
        click.echo(show.json_text({"query": text, "results": show.answer_objects(answers)}))
    else:
        show.print_answers(console(), answers)
    return 0


@tenantkb.command("list")
@click.option("--type", "type_", metavar="TYPE", help="Only chunks of this type, such as guide.")
@click.option("--repo", metavar="SLUG", help="Only chunks of this repository.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
@common_options
@pass_session
def list_command(
    session: Session, type_: str | None, repo: str | None, limit: int, offset: int
) -> int:
    """List the chunks that the caller may read, by id."""
    with session.container() as container:
        caller = container.identity().authenticate()
        documents = container.list_documents()(
            caller, limit=limit, offset=offset, criteria=Criteria(type=type_, repo_slug=repo)
        )
    if session.json:
        click.echo(show.json_text({"documents": show.document_objects(documents)}))
    else:
        show.print_documents(console(), documents)
    return 0


@tenantkb.command("status")
@json_option
@common_options
@pass_session
def status_command(session: Session) -> int:
    """Count the rows that the caller may read, and tell the embedder and the last sync."""
    with session.container() as container:
        caller = container.identity().authenticate()
        report = container.status()(caller)
        faults = container.faults().count()
    if session.json:
        click.echo(show.json_text(show.status_object(report, caller, faults)))
    else:
        show.print_status(console(), report, caller)
    return 0


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code, see :data:`EXIT_CODES`."""
    session = Session()
    try:
        result = tenantkb.main(arguments, standalone_mode=False, obj=session)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; the same command goes on from here", err=True)
        return 130
    except TenantKbError as error:
        if session.debug:
            raise
        return _fail(session, error, error.code)
    except Exception as error:
        if session.debug:
            raise
        return _fail(session, error, "KB_INTERNAL")
    return int(result or 0)


def _fail(session: Session, error: Exception, code: str) -> int:
    """Say what went wrong, a line for each problem, and to machines as an object."""
    if code == "KB_INTERNAL":
        message = f"{type(error).__name__}: {error} (--debug shows where)"
    else:
        message = str(error)
    details = show.refusal_object(error) if isinstance(error, SubmissionRefusedError) else {}
    if session.json:
        click.echo(show.json_text({"error": {"code": code, "message": message, **details}}))
    click.echo(f"tenantkb: {message} [{code}]", err=True)
    return next((number for kind, number in EXIT_CODES if isinstance(error, kind)), 70)


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run())
