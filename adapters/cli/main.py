"""The command ``tenantkb``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import attrs
import click
from rich.console import Console

from adapters.cli import output as show
from adapters.cli.progress import ConsoleProgress
from adapters.config import Settings, load
from adapters.container import Container
from application.create import create
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
    TenantKbError,
)
from domain.identity import AgentIdentity
from domain.rows import Criteria
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

F = TypeVar("F", bound=Callable[..., Any])


@attrs.define
class Session:
    """What one invocation of the command shares.

    Attributes:
        config: File given with ``--config``.
        caller: ``TENANT[/AGENT]`` given with ``--as``.
        debug: Whether tracebacks are shown.
        json: Whether machines read the output.
    """

    config: Path | None = None
    caller: str | None = None
    debug: bool = False
    json: bool = False

    @contextmanager
    def container(self) -> Iterator[Container]:
        """The composed application; its store is closed at the end."""
        container = Container(settings=self.settings())
        try:
            yield container
        finally:
            container.shutdown_resources()

    def settings(self) -> Settings:
        """The settings in force, ``--as`` included."""
        settings = load(os.environ, Path.cwd(), self.config)
        if self.caller is None:
            return settings
        tenant, _, agent = self.caller.partition("/")
        identity = attrs.evolve(settings.identity, tenant=tenant)
        if agent:
            identity = attrs.evolve(identity, agent=agent)
        return attrs.evolve(settings, identity=identity)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Keep an option in the session, whether it stands before the command's name or behind it."""

    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Session), name, value)

    return callback


def _common_options(command: F) -> F:
    for option in (
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_remember("debug"),
            help="Show tracebacks and log lines.",
        ),
        click.option(
            "--as",
            metavar="TENANT[/AGENT]",
            expose_value=False,
            callback=_remember("caller"),
            help="Who calls; default: TENANTKB_TENANT and TENANTKB_AGENT, or the configuration.",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            expose_value=False,
            callback=_remember("config"),
            help="Configuration file; default: TENANTKB_CONFIG, or tenantkb.toml in this folder.",
        ),
    ):
        command = option(command)
    return command


_json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_remember("json"),
    help="Print one JSON object.",
)
_workspace_argument = click.argument("workspace", type=click.Path(path_type=Path))
_pass_session = click.make_pass_decorator(Session, ensure=True)


def _console(*, stderr: bool = False) -> Console:
    """Lines as wide as the terminal; elsewhere wide enough that no table cell is folded."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 200)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tenantkb")
@_common_options
def tenantkb() -> None:
    """A knowledge base for many tenants: extract, synchronise, ask."""


@tenantkb.command("create")
@_workspace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("-"),
    help="File to write; default: standard output.",
)
@click.option("--strict", is_flag=True, help="Fail if a file could not be read.")
@_common_options
@_pass_session
def create_command(session: Session, workspace: Path, output: Path, strict: bool) -> int:
    """Extract WORKSPACE to JSON lines, one chunk a line."""
    console = _console(stderr=True)
    started = time.monotonic()
    with (
        session.container() as container,
        ConsoleProgress(console) as progress,
        _replacing(output) as stream,
    ):
        progress.phase("Extracting")
        report = create(container.registry(), workspace, stream)
    show.print_diagnostics(console, report)
    console.print(f"{report.total:,} chunks in {time.monotonic() - started:.1f} s")
    return int(strict and not report.is_complete)


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes its name only when it is complete; ``-`` is standard output."""
    if str(path) == "-":
        with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


@tenantkb.command("sync")
@_workspace_argument
@click.option(
    "--repo",
    metavar="SLUG",
    help="Repository to store the rows under; default: the shared corpus's for its curator, "
    "else the folder's name.",
)
@click.option(
    "--visibility",
    type=click.Choice([visibility.value for visibility in Visibility]),
    default=Visibility.TEAM.value,
    show_default=True,
    help="Who may read what is written: the whole tenant, or the caller alone.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--yes", is_flag=True, help="Delete stale rows however many they are.")
@_json_option
@_common_options
@_pass_session
def sync_command(
    session: Session,
    workspace: Path,
    repo: str | None,
    visibility: str,
    dry_run: bool,
    yes: bool,
) -> int:
    """Make the stored rows of a repository equal to WORKSPACE."""
    console = _console(stderr=session.json)
    started = time.monotonic()
    settings = session.settings()
    with session.container() as container, ConsoleProgress(_console(stderr=True)) as progress:
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
        show.print_sync(console, report, seconds)
    return int(not report.extraction.is_complete)


def _default_repo(settings: Settings, caller: AgentIdentity, workspace: Path) -> str:
    if caller.tenant_id == settings.tenancy.shared_tenant:
        return settings.tenancy.shared_repo
    return workspace.resolve().name


@tenantkb.command("query")
@click.argument("text")
@click.option("--type", "type_", metavar="TYPE", help="Only chunks of this type, such as guide.")
@click.option("--repo", metavar="SLUG", help="Only chunks of this repository.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True)
@_json_option
@_common_options
@_pass_session
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
        show.print_answers(_console(), answers)
    return 0


@tenantkb.command("list")
@click.option("--type", "type_", metavar="TYPE", help="Only chunks of this type, such as guide.")
@click.option("--repo", metavar="SLUG", help="Only chunks of this repository.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True)
@_json_option
@_common_options
@_pass_session
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
        show.print_documents(_console(), documents)
    return 0


@tenantkb.command("status")
@_json_option
@_common_options
@_pass_session
def status_command(session: Session) -> int:
    """Count the rows that the caller may read, and tell the embedder and the last sync."""
    with session.container() as container:
        caller = container.identity().authenticate()
        report = container.status()(caller)
        faults = container.faults().count()
    if session.json:
        click.echo(show.json_text(show.status_object(report, caller, faults)))
    else:
        show.print_status(_console(), report, caller)
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
    """Say what went wrong in one line, and to machines as an object."""
    if code == "KB_INTERNAL":
        message = f"{type(error).__name__}: {error} (--debug shows where)"
    else:
        message = str(error)
    if session.json:
        click.echo(show.json_text({"error": {"code": code, "message": message}}))
    click.echo(f"tenantkb: {message} [{code}]", err=True)
    return next((number for kind, number in EXIT_CODES if isinstance(error, kind)), 70)


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run())
