"""The command ``tenantkb``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from adapters.cli import output as show
from adapters.cli.backup import backup
from adapters.cli.deletions import delete_command
from adapters.cli.doctor import doctor_command
from adapters.cli.progress import ConsoleProgress
from adapters.cli.schemas import schema_command, validate_command
from adapters.cli.session import (
    Session,
    common_options,
    console,
    json_option,
    pass_session,
    visibility_option,
)
from adapters.cli.setup import config_command, init_command
from adapters.cli.sync import create_command, sync_command
from adapters.jsonl import read_records
from application.embed import EmbedRequest
from domain.errors import (
    InvalidInputError,
    TenantKbError,
)
from domain.rows import Criteria
from domain.spoofing import SpoofMode
from domain.tenancy import Visibility


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tenantkb")
@common_options
def tenantkb() -> None:
    """A knowledge base for many tenants: extract, synchronise, ask."""


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
            session.authenticate(container),
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
        caller = session.authenticate(container)
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
        caller = session.authenticate(container)
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
        caller = session.authenticate(container)
        report = container.status()(caller)
        faults = container.faults().count()
    if session.json:
        click.echo(show.json_text(show.status_object(report, caller, faults)))
    else:
        show.print_status(console(), report, caller)
    return 0


tenantkb.add_command(backup)
tenantkb.add_command(init_command)
tenantkb.add_command(config_command)
tenantkb.add_command(create_command)
tenantkb.add_command(sync_command)
tenantkb.add_command(doctor_command)
tenantkb.add_command(delete_command)
tenantkb.add_command(schema_command)
tenantkb.add_command(validate_command)


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code, see :data:`adapters.cli.output.EXIT_CODES`."""
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
        return _failed(session, error)
    except Exception as error:
        if session.debug:
            raise
        return _failed(session, error)
    return int(result or 0)


def _failed(session: Session, error: Exception) -> int:
    if session.json:
        click.echo(show.json_text(show.error_object(error)))
    return show.complain(error)


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run())
