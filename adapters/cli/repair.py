"""The command that makes the vector index anew."""

from __future__ import annotations

import time

import click

from tenantkb.adapters.cli.output import json_text
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    json_option,
    pass_session,
)


@click.command("repair")
@json_option
@common_options
@pass_session
def repair_command(session: Session) -> int:
    """Make the vector index anew and embed every row again, as an operator.

    For a store that a crash or another program has damaged: `tenantkb doctor` tells. Rows keep
    their ids, stamps and texts; after an interruption the same command finishes the job.
    """
    started = time.monotonic()
    with session.container() as container, ConsoleProgress(console(stderr=True)) as progress:
        repaired = container.repair_index()(session.authenticate(container), progress)
    seconds = time.monotonic() - started
    if session.json:
        click.echo(json_text({"rows": repaired, "seconds": round(seconds, 3)}))
    else:
        console().print(f"Done: {repaired:,} rows embedded again in {seconds:.1f} s")
    return 0
