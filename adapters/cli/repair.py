"""The command that makes the vector index anew."""

from __future__ import annotations

import time

import click

from tenantkb.adapters.cli.output import print_refusals
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    pass_session,
)
from tenantkb.adapters.wire.objects import json_text, refusal_objects


@click.command("repair")
@common_options
@pass_session
def repair_command(session: Session) -> int:
    """Make the vector index anew.

    It takes an operator, and is for a store whose index a crash or another program has damaged:
    `tenantkb doctor` tells. Rows keep their ids, stamps and texts; after an interruption the same
    command finishes the job.
    """
    started = time.monotonic()
    with session.knowledge_base() as kb, ConsoleProgress(console(stderr=True)) as progress:
        report = kb.repair(session.authenticate(kb), progress)
    seconds = time.monotonic() - started
    if session.json:
        click.echo(
            json_text(
                {
                    "rows": report.rows,
                    "refused": refusal_objects(report.refused),
                    "seconds": round(seconds, 3),
                }
            )
        )
    else:
        print_refusals(console(), report.refused)
        console().print(f"Done: {report.rows:,} rows in the index, in {seconds:.1f} s")
    return int(bool(report.refused))
