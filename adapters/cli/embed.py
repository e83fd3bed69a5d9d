"""The command that takes chunks which were parsed elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from tenantkb.adapters.cli import output as show
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    json_option,
    pass_session,
)
from tenantkb.adapters.files.jsonl import read_records
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.spoofing import SpoofMode
from tenantkb.domain.tenancy import Visibility


@click.command("embed")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--repo", metavar="SLUG", required=True, help="Repository to store the rows under.")
@click.option(
    "--visibility",
    type=click.Choice([visibility.value for visibility in Visibility]),
    default=Visibility.TEAM.value,
    show_default=True,
    help="Who may read what is written: the whole tenant, or the caller alone.",
)
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
