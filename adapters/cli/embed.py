"""The command that takes chunks which were parsed elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tenantkb.adapters.cli.output import print_embed
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    pass_session,
    reading,
)
from tenantkb.adapters.files.jsonl import read_records
from tenantkb.adapters.wire.objects import embed_object, json_text
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.domain.spoofing import SpoofMode
from tenantkb.domain.stamps import Visibility


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
@common_options
@pass_session
def embed_command(
    session: Session, file: Path, repo: str, visibility: str, mode: str | None
) -> int:
    """Store chunks that were parsed elsewhere.

    FILE has parsed chunks, or what `create` wrote; it may be - for standard input. Nothing is
    stored unless every record is valid. Nothing is deleted, and nothing that is stored is embedded
    again. Chunks whose text the embedder refuses are told and left out.
    """
    started = time.monotonic()
    request = EmbedRequest(
        repo_slug=repo,
        visibility=Visibility(visibility),
        mode=None if mode is None else SpoofMode(mode),
    )
    with (
        session.knowledge_base() as kb,
        ConsoleProgress(console(stderr=True)) as progress,
        reading(file) as stream,
    ):
        report = kb.embed(session.authenticate(kb), request, read_records(stream), progress)
    seconds = time.monotonic() - started
    if session.json:
        click.echo(json_text(embed_object(report, seconds)))
    else:
        print_embed(console(), report, seconds)
    return int(bool(report.refused))
