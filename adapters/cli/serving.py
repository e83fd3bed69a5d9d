"""The commands that others reach the knowledge base by."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

import attrs
import click

from tenantkb.adapters.cli.session import Session, Terminated, common_options, pass_session
from tenantkb.domain.errors import ConfigurationError

_MISSING: Final = "this needs more packages: pip install 'tenantkb[serve]'"


@click.command("mcp")
@common_options
@pass_session
def mcp_command(session: Session) -> int:
    """Serve an agent on this machine: MCP by standard streams.

    For one person's agent on this machine: it reads and writes as the caller of this command.
    """
    with session.knowledge_base() as kb:
        try:
            from tenantkb.adapters.server.serving import serve_stdio
        except ModuleNotFoundError as error:
            raise ConfigurationError(_MISSING) from error
        session.authenticate(kb)  # a caller who is nobody is told at once
        serve_stdio(kb, session.settings(), lambda: session.authenticate(kb))
    return 0


@click.command("serve")
@click.option("--host", help="Address to listen on; default: serve.host, 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; default: serve.port, 8600.")
@click.option(
    "--log",
    type=click.Choice(["json", "text"]),
    help="Lines of the log; default: text on a terminal, elsewhere json.",
)
@common_options
@pass_session
def serve_command(session: Session, host: str | None, port: int | None, log: str | None) -> int:
    """Serve many tenants: MCP, REST, metrics.

    MCP is at /mcp, REST at /v1, as /v1/openapi.json describes it; metrics have a port of their own.

    Every request needs a bearer token, which identity.kind = "token" describes. SIGTERM ends it
    when what is running has ended.
    """
    settings = session.settings()
    served = settings.serve
    served = attrs.evolve(
        served,
        host=served.host if host is None else host,
        port=served.port if port is None else port,
    )
    settings = attrs.evolve(settings, serve=served)
    with session.knowledge_base(settings) as kb:
        try:
            from tenantkb.adapters.server.serving import serve
        except ModuleNotFoundError as error:
            raise ConfigurationError(_MISSING) from error
        as_json = log == "json" if log else not sys.stderr.isatty()
        with suppress(KeyboardInterrupt, Terminated):  # this is how it ends
            serve(kb, settings, json_log=as_json)
    return 0
