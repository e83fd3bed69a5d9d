"""One ASGI application: MCP at ``/mcp``, REST at ``/v1``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from anyio import sleep, to_thread
from fastapi import FastAPI
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenantkb.adapters.configuration.settings import Settings
from tenantkb.adapters.server import rest
from tenantkb.adapters.server.bearers import Verifier, context_of, request_id_of
from tenantkb.adapters.server.limits import TenantLimits
from tenantkb.adapters.server.mcp import Context, mcp_server
from tenantkb.adapters.server.metrics import Metrics
from tenantkb.adapters.server.operations import Operations
from tenantkb.adapters.server.running import Runner
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.domain.checks import State
from tenantkb.domain.errors import (
    AuthenticationError,
    ConfigurationError,
    LimitExceededError,
    TenantKbError,
)

MCP_PATH: Final = "/mcp"
_PROTECTED: Final = (MCP_PATH, f"{rest.PREFIX}/")
_READY_SECONDS: Final = 5
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

_access = structlog.get_logger("tenantkb.access")


def server_app(
    knowledge_base: KnowledgeBase, settings: Settings, metrics: Metrics, url: str
) -> ASGIApp:
    """The application.

    Args:
        knowledge_base: The face that it binds to.
        settings: How it is reached, and what tenants may ask.
        metrics: Counts.
        url: Its address as clients know it, without a path.

    Raises:
        ConfigurationError: callers could not be told apart, or an address is none.
    """
    require_tokens(settings)
    limits = TenantLimits(settings.limits, metrics.exceeded)
    runner = Runner(settings.serve, limits, metrics)
    operations = Operations(knowledge_base, settings)
    is_ready = _Readiness(knowledge_base)
    served = mcp_server(operations, runner, _caller, _request_id, "mcp")
    mcp = served.streamable_http_app(
        streamable_http_path=MCP_PATH,
        max_request_body_size=settings.limits.body_bytes,
        transport_security=_security(settings, url),
    )
    mcp.add_exception_handler(HTTPException, rest.problem_of)
    challenge = "Bearer"
    if issuers := _issuers(settings):
        resource = _address(f"{url}{MCP_PATH}")
        mcp.routes.extend(create_protected_resource_routes(resource, issuers))
        challenge += f' resource_metadata="{build_resource_metadata_url(resource)}"'

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await to_thread.run_sync(is_ready)  # the model is loaded before the first question
        async with served.session_manager.run():
            yield

    api = rest.rest_api(operations, runner, lifespan=lifespan)
    _add_probes(api, is_ready)
    api.mount("/", mcp)
    app: ASGIApp = api
    app = _Bodies(app, limits, settings.limits.body_bytes)
    app = _BearersOnly(app, challenge, metrics.unauthenticated)
    verifier = Verifier(knowledge_base.authenticate)
    app = AuthenticationMiddleware(app, backend=BearerAuthBackend(verifier))
    app = TrustedHostMiddleware(app, [*_hosts(url)], www_redirect=False)
    return _Requests(app)


def require_tokens(settings: Settings) -> None:
    """Refuse to serve where everybody would be the same caller.

    Raises:
        ConfigurationError: ``identity.kind`` is not ``token``.
    """
    if settings.identity.kind != "token":
        raise ConfigurationError(
            'a server needs identity.kind = "token", so that each caller is known by its own '
            "token; `tenantkb token` makes some for development"
        )


def _issuers(settings: Settings) -> list[AnyHttpUrl]:
    """Where clients get their tokens; nowhere they could be sent, if the issuer is no address."""
    issuer = settings.identity.issuer or ""
    known = (issuer,) if urlsplit(issuer).scheme in ("http", "https") else ()
    return [_address(each) for each in settings.serve.authorization_servers or known]


def _address(url: str) -> AnyHttpUrl:
    """A URL as it is written: clients compare issuers letter by letter (RFC 8414, 3.3)."""
    try:
        return TypeAdapter(
            AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True)
        ).validate_python(url)
    except ValueError as error:
        raise ConfigurationError(f"{url} is no address of HTTP") from error


def _hosts(url: str) -> set[str]:
    host = urlsplit(url).hostname or ""
    return {f"[{host}]" if ":" in host else host, *_LOOPBACK}


def _security(settings: Settings, url: str) -> TransportSecuritySettings:
    parts = urlsplit(url)
    hosts = [each for host in _hosts(url) for each in (host, f"{host}:*")]
    return TransportSecuritySettings(
        allowed_hosts=hosts,
        allowed_origins=[f"{parts.scheme}://{parts.netloc}", *settings.serve.origins],
    )


def _caller(request: Context) -> Any:
    if not isinstance(request.request, Request):
        raise AuthenticationError("a bearer token is needed")
    return context_of(request.request.scope)


def _request_id(request: Context) -> str:
    return request_id_of(request.request.scope) if request.request is not None else ""


def _add_probes(api: FastAPI, is_ready: Callable[[], bool]) -> None:
    """What an orchestrator asks: they tell a status and no more, and cost little if asked often."""

    @api.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @api.get("/readyz", include_in_schema=False)
    def readyz() -> Response:
        ready = is_ready()
        return PlainTextResponse("ok\n" if ready else "not ready\n", 200 if ready else 503)


class _Readiness:
    """Whether store and embedder work, looked at now and then."""

    def __init__(self, knowledge_base: KnowledgeBase) -> None:
        self._knowledge_base = knowledge_base
        self._lock = Lock()
        self._checked_at = float("-inf")
        self._is_ready = False

    def __call__(self) -> bool:
        with self._lock:
            if time.monotonic() - self._checked_at > _READY_SECONDS:
                found = list(self._knowledge_base.diagnose(None))
                self._is_ready = not any(check.state is State.ERROR for check in found)
                self._checked_at = time.monotonic()
            return self._is_ready


class _Requests:
    """Gives every request an id, and writes a line of the log: no bodies, no tokens."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, sending)
            finally:
                _access.info(
                    "request",
                    method=scope["method"],
                    path=_route_of(scope),
                    status=status,
                    ms=round((time.perf_counter() - started) * 1000, 1),
                    **_who(scope),
                )


def _route_of(scope: Scope) -> str:
    """The route's path, which holds no id of a row; an unknown path as it was sent, cut short."""
    route = getattr(scope.get("route"), "path", None)
    return str(route or scope["path"])[:100]


def _who(scope: Scope) -> dict[str, str]:
    try:
        identity = context_of(scope).identity
    except AuthenticationError:
        return {}
    return {"tenant": identity.tenant_id, "agent": identity.agent_id}


class _BearersOnly:
    """Refuses requests without a token that holds, before anything of them is read.

    Args:
        app: What answers the others.
        challenge: What is asked for (RFC 6750), and where it is to be had (RFC 9728).
        refused: Told when a request is refused.
    """

    def __init__(self, app: ASGIApp, challenge: str, refused: Callable[[], None]) -> None:
        self._app = app
        self._challenge = challenge
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_PROTECTED):
            try:
                context_of(scope)
            except AuthenticationError as error:
                self._refused()
                response = rest.problem_of(Request(scope), error)
                response.headers["WWW-Authenticate"] = self._challenge
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Bodies:
    """Counts the bytes that a tenant sends, and refuses bodies that are too large.

    Streams of lines may have any length: a tenant that sends too fast has to wait.
    """

    def __init__(self, app: ASGIApp, limits: TenantLimits, most: int) -> None:
        self._app = app
        self._limits = limits
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            tenant = context_of(scope).identity.tenant_id
        except AuthenticationError:
            tenant = None
        is_stream = Headers(scope=scope).get("content-type", "").startswith(rest.LINES)
        has_begun = False
        refusal: Exception | None = None
        size = 0

        async def receiving() -> Message:
            nonlocal size, refusal
            message = await receive()
            if received := len(message.get("body", b"")):
                size += received
                try:
                    if is_stream:
                        await self._wait_for(tenant, received)
                    else:
                        await self._take(tenant, received, size)
                except (HTTPException, TenantKbError) as error:
                    refusal = error
                    raise
            return message

        async def sending(message: Message) -> None:
            nonlocal has_begun
            if refusal is None or has_begun:  # else this is what the framework makes of it
                has_begun = True
                await send(message)

        try:
            await self._app(scope, receiving, sending)
        except (HTTPException, TenantKbError):
            if refusal is None:
                raise
        if refusal is not None and not has_begun:
            await rest.problem_of(Request(scope), refusal)(scope, receive, send)

    async def _take(self, tenant: str | None, received: int, size: int) -> None:
        if size > self._most:
            raise HTTPException(413, f"a body has at most {self._most:,} bytes")
        if tenant is not None:
            await self._limits.take(tenant, received)

    async def _wait_for(self, tenant: str | None, received: int) -> None:
        while tenant is not None:
            try:
                await self._limits.take(tenant, received)
            except LimitExceededError as error:
                await sleep(error.retry_after)
            else:
                return
