"""The processes: a server that listens, and one that speaks by its standard streams."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing

import anyio
import structlog
import uvicorn
from mcp.server.stdio import stdio_server

from tenantkb.adapters.configuration.settings import Settings
from tenantkb.adapters.server import logs
from tenantkb.adapters.server.app import require_tokens, server_app
from tenantkb.adapters.server.limits import TenantLimits
from tenantkb.adapters.server.mcp import mcp_server
from tenantkb.adapters.server.metrics import Metrics
from tenantkb.adapters.server.operations import Operations
from tenantkb.adapters.server.running import Runner
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import ConfigurationError


def serve(knowledge_base: KnowledgeBase, settings: Settings, *, json_log: bool) -> None:
    """Serve until SIGTERM or SIGINT, and then until what is running has ended.

    Args:
        knowledge_base: The face.
        settings: How it is reached.
        json_log: Whether each line of the log is a JSON object.

    Raises:
        ConfigurationError: it cannot be served so.
    """
    require_tokens(settings)
    logs.configure(json=json_log)
    log = structlog.get_logger("tenantkb.server")
    metrics = Metrics(tenants=settings.serve.metrics_tenants)
    with closing(_listening(settings)) as listening:
        url = settings.serve.url or _url_of(settings.serve.host, listening)
        app = server_app(knowledge_base, settings, metrics, url.rstrip("/"))
        with metrics.served(settings.serve.metrics_address) as measured:
            log.info("serving", url=url, metrics=measured)
            server = uvicorn.Server(
                uvicorn.Config(
                    app,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    timeout_graceful_shutdown=max(1, round(settings.serve.stop_seconds)),
                )
            )
            server.run([listening])
    log.info("stopped")


def serve_stdio(
    knowledge_base: KnowledgeBase, settings: Settings, caller: Callable[[], TenantContext]
) -> None:
    """Serve one person's agent by standard input and output, until the input ends.

    Args:
        knowledge_base: The face.
        settings: What is configured.
        caller: Whose agent it is; asked at every request.
    """
    logs.configure(json=False)

    async def run() -> None:
        metrics = Metrics(tenants=False)
        limits = TenantLimits(settings.limits, metrics.exceeded)
        server = mcp_server(
            Operations(knowledge_base, settings),
            Runner(settings.serve, limits, metrics),
            lambda _: caller(),
            lambda request: str(request.request_id),
            "stdio",
        )
        async with stdio_server() as (received, sent):
            await server.run(received, sent, server.create_initialization_options())

    anyio.run(run)


def _listening(settings: Settings) -> socket.socket:
    host, port = settings.serve.host, settings.serve.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error


def _url_of(host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
