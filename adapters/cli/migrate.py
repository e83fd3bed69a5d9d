"""The command that moves everything from one store into another."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import click
from rich.console import Console

from tenantkb.adapters.cli.output import print_refusals
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import Session, common_options, console, pass_session
from tenantkb.adapters.container import migration, open_source, with_store
from tenantkb.adapters.wire.objects import json_text, refusal_objects
from tenantkb.application.operating.migrate import MigrationReport


@click.command("migrate")
@click.option(
    "--from",
    "origin",
    metavar="KIND[:ADDRESS]",
    required=True,
    help="The other store, such as chroma:FOLDER or chroma-http:HOST:PORT; without an address, it "
    "is in the same place as the target.",
)
@click.option(
    "--to",
    "target",
    metavar="KIND[:ADDRESS]",
    help="Where everything goes; default: the store of the configuration.",
)
@common_options
@pass_session
def migrate_command(session: Session, origin: str, target: str | None) -> int:
    """Move all rows from another store here.

    It takes an operator. Rows, vectors, stamps, ids and what is known of each repository come over,
    and nothing is embedded but what the other store has lost. The other store stays as it is. After
    an interruption the same command finishes the job.
    """
    started = time.monotonic()
    settings = session.settings()
    here = settings if target is None else with_store(target, settings)
    with (
        session.knowledge_base(here, migrating=True) as kb,
        closing(open_source(origin, settings, here)) as source,
        ConsoleProgress(console(stderr=True)) as progress,
    ):
        context = session.authenticate(kb)
        context.operating()  # whoever may not migrate must not mark the store as half filled
        with migration(here):
            report = kb.migrate(context, source, progress)
        place = source.place
    seconds = time.monotonic() - started
    if session.json:
        click.echo(json_text(migration_object(report, seconds)))
    else:
        print_migration(console(), report, place, seconds)
    return int(report.malformed > 0 or bool(report.refused))


def migration_object(report: MigrationReport, seconds: float) -> dict[str, Any]:
    """A migration's report."""
    return {
        "moved": report.moved,
        "present": report.present,
        "renamed": report.renamed,
        "embedded": report.embedded,
        "refused": refusal_objects(report.refused),
        "malformed": report.malformed,
        "seconds": round(seconds, 3),
    }


def print_migration(terminal: Console, report: MigrationReport, place: str, seconds: float) -> None:
    """A migration's summary, for people."""
    if not report.rows:
        terminal.print(f"There are no rows in {place}", markup=False, soft_wrap=True)
        return
    verb = "Done" if report.moved else "Nothing to do"
    terminal.print(
        f"{verb}: {report.moved:,} moved, {report.present:,} here already in {seconds:.1f} s; "
        f"{place} is as it was and no longer needed",
        markup=False,
        soft_wrap=True,
    )
    if report.renamed:
        terminal.print(f"{report.renamed:,} have other ids now: private rows of version 0.1.0")
    if report.embedded:
        terminal.print(f"{report.embedded:,} embedded anew: their vectors were lost there")
    print_refusals(terminal, report.refused)
    if report.malformed:
        terminal.print(
            f"[yellow]{report.malformed:,} left there[/yellow]: they have no well-formed stamp, "
            "and nobody can read them"
        )
