"""The command ``tenantkb``: what it starts with, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import click

from tenantkb.adapters.cli import errors, streams
from tenantkb.adapters.cli.errors import OutputError
from tenantkb.adapters.cli.group import Entry, LazyGroup
from tenantkb.adapters.cli.session import Session, Terminated, common_options
from tenantkb.adapters.wire.objects import json_text
from tenantkb.domain.errors import NotSupportedError

_NOT_ON_WINDOWS: Final = (
    "tenantkb runs on Linux and macOS, and not on Windows: its locks and its limits for parsers "
    "are those of POSIX; use it in WSL or in a container"
)

SECTIONS: Final = {
    "Read": {
        "search": Entry("reading", "search_command", "Rank the files by their likeness to TEXT."),
        "query": Entry("reading", "query_command", "Rank the chunks by their likeness to TEXT."),
        "context": Entry(
            "reading", "context_command", "Print what a language model should read to answer TEXT."
        ),
        "list": Entry("reading", "list_command", "List the chunks by id, page by page."),
        "get": Entry("reading", "get_command", "Print one chunk as it is stored."),
        "hierarchy": Entry("reading", "hierarchy_command", "Print the classes of repositories."),
        "status": Entry("reading", "status_command", "Count the rows; tell the last syncs."),
    },
    "Write": {
        "sync": Entry("sync", "sync_command", "Make the rows of a repository equal to WORKSPACE."),
        "embed": Entry("embed", "embed_command", "Store chunks that were parsed elsewhere."),
        "push": Entry("push", "push_command", "Send what git says has changed to a server."),
        "delete": Entry("deletions", "delete_command", "Delete the rows of files that are gone."),
        "create": Entry("sync", "create_command", "Extract WORKSPACE to JSON lines."),
        "validate": Entry("schemas", "validate_command", "Judge records; nothing is stored."),
    },
    "Operate": {
        "doctor": Entry("doctor", "doctor_command", "Examine the installation."),
        "backup": Entry("backup", "backup", "Export, restore and truncate all rows."),
        "migrate": Entry("migrate", "migrate_command", "Move all rows from another store here."),
        "repair": Entry("repair", "repair_command", "Make the vector index anew."),
    },
    "Serve": {
        "mcp": Entry(
            "serving", "mcp_command", "Serve an agent on this machine: MCP by standard streams."
        ),
        "serve": Entry("serving", "serve_command", "Serve many tenants: MCP, REST, metrics."),
    },
    "Set up": {
        "init": Entry("setup", "init_command", "Write a tenantkb.toml for this folder."),
        "config": Entry("setup", "config_command", "Print the settings and where they come from."),
        "schema": Entry("schemas", "schema_command", "Print the JSON Schema of a contract."),
        "token": Entry("tokens", "token_command", "Make a token for development."),
    },
}
"""All commands, by what they are for."""


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="tenantkb")
@common_options
def tenantkb() -> None:
    """A knowledge base for many tenants: extract, synchronise, ask."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, see :data:`adapters.cli.errors.EXIT_CODES`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    session = Session()
    try:
        code = tenantkb.main(given, "tenantkb", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except streams.ClosedPipe:  # whoever read the output has seen enough
        streams.discard(1, 2)
        return errors.CLOSED_PIPE
    except (click.Abort, KeyboardInterrupt):
        return _stopped("interrupted", errors.INTERRUPTED)
    except Terminated:
        return _stopped("terminated", errors.TERMINATED)
    except Exception as error:
        return _failed(error, session, as_json=session.json or "--json" in given)
    return int(code or 0)


def main() -> NoReturn:
    """Entry point of the installed command."""
    if sys.platform == "win32":
        sys.exit(errors.complain(NotSupportedError(_NOT_ON_WINDOWS)))
    # numpy would start threads for products of matrices, of which there are none here, and that
    # takes longer than a question.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    streams.prepare()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # else whoever started it said otherwise
        signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run())


def _terminate(*_: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing breaks off what is now being closed
    raise Terminated


def _stopped(how: str, code: int) -> int:
    with suppress(streams.ClosedPipe):
        click.echo(f"{how}; the same command goes on from here", err=True)
    return code


def _failed(error: Exception, session: Session, *, as_json: bool) -> int:
    """Tell an error where it is looked for; returns the exit code."""
    if isinstance(error, OutputError):
        streams.discard(1)
    with suppress(OutputError, streams.ClosedPipe):  # a stream may be what failed
        if session.debug:
            traceback.print_exception(error)
        if as_json:
            click.echo(json_text(errors.error_object(error)))
        if isinstance(error, click.ClickException):
            error.show()
            return error.exit_code
        return errors.complain(error)
    return errors.Failure.of(error).exit_code
