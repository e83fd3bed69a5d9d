"""The command ``tenantkb``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from tenantkb.adapters.cli import output as show
from tenantkb.adapters.cli.backup import backup
from tenantkb.adapters.cli.deletions import delete_command
from tenantkb.adapters.cli.doctor import doctor_command
from tenantkb.adapters.cli.embed import embed_command
from tenantkb.adapters.cli.reading import (
    get_command,
    hierarchy_command,
    list_command,
    query_command,
    status_command,
)
from tenantkb.adapters.cli.repair import repair_command
from tenantkb.adapters.cli.schemas import schema_command, validate_command
from tenantkb.adapters.cli.session import Session, common_options
from tenantkb.adapters.cli.setup import config_command, init_command
from tenantkb.adapters.cli.sync import create_command, sync_command


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=[
        init_command,
        config_command,
        create_command,
        sync_command,
        embed_command,
        query_command,
        list_command,
        get_command,
        hierarchy_command,
        status_command,
        delete_command,
        backup,
        validate_command,
        schema_command,
        doctor_command,
        repair_command,
    ],
)
@click.version_option(package_name="tenantkb")
@common_options
def tenantkb() -> None:
    """A knowledge base for many tenants: extract, synchronise, ask."""


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code, see :data:`adapters.cli.output.EXIT_CODES`."""
    session = Session()
    try:
        result = tenantkb.main(arguments, standalone_mode=False, obj=session)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        if session.json or "--json" in (sys.argv[1:] if arguments is None else arguments):
            click.echo(show.json_text(show.error_object(error)))
        error.show()
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; the same command goes on from here", err=True)
        return 130
    except Exception as error:
        if session.debug:
            raise
        if session.json:
            with suppress(OSError):  # standard output may be what failed
                click.echo(show.json_text(show.error_object(error)))
        return show.complain(error)
    return int(result or 0)


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run())
