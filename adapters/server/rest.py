"""HTTP for whoever speaks no MCP: the same operations, described by OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any, Final, Literal, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from tenantkb.adapters.server import wire
from tenantkb.adapters.server.bearers import context_of, request_id_of
from tenantkb.adapters.server.failures import Failure
from tenantkb.adapters.server.operations import Json, Operations
from tenantkb.adapters.server.running import Runner, Watched
from tenantkb.adapters.server.streams import as_file
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import ErrorKind, TenantKbError
from tenantkb.domain.stamps import Visibility

A = TypeVar("A", bound=wire.Sent)

PREFIX: Final = "/v1"
PROBLEM: Final = "application/problem+json"
LINES: Final = "application/x-ndjson"

_TRANSPORT: Final = "http"
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": description,
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, description in (
        (400, "The body cannot be read."),
        (401, "There is no bearer token that holds."),
        (403, "The caller may not do this."),
        (413, "The body is too large."),
        (422, "What was sent has another form."),
        (429, "The tenant asks for too much in too short a time."),
        (503, "The knowledge base is not available."),
    )
}
_MISSING: Final[dict[int | str, dict[str, Any]]] = {
    404: {**_PROBLEMS[401], "description": "There is no such thing for this caller."}
}

_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    status: {**_PROBLEMS[401], "description": description}
    for status, description in (
        (404, "There is no such thing for this caller."),
        (409, "It does not fit what is there, or deletes too much; the sender has to decide."),
        (415, "The body has another type."),
        (423, "Another job writes the repository; later it may succeed."),
    )
}
_PUSHES: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": wire.Push.model_json_schema()},
            LINES: {"schema": {"type": "string", "description": "Lines of JSON."}},
        },
    }
}
_CHUNKS: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            LINES: {"schema": {"type": "string", "description": "Lines, each a parsed-chunk-v1."}}
        },
    }
}

_bearer = HTTPBearer(auto_error=False, description="A JSON Web Token, see the guide.")


def rest_api(operations: Operations, runner: Runner, **settings: Any) -> FastAPI:
    """The routes. They expect the caller in the ASGI scope, see :mod:`adapters.server.bearers`.

    Args:
        operations: What the routes do.
        runner: Runs it.
        settings: Further arguments of the application.
    """
    api = FastAPI(
        title="tenantkb",
        version=version("tenantkb"),
        description="A knowledge base for many tenants. Every answer is made of rows that the "
        "bearer of the token may read.",
        docs_url=None,  # pages that load scripts of others
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        **settings,
    )
    api.include_router(_routes(operations, runner), prefix=PREFIX)
    for kind in (TenantKbError, RequestValidationError, HTTPException, Exception):
        api.add_exception_handler(kind, problem_of)
    _describe(api)
    return api


def caller(request: Request) -> TenantContext:
    """Who sends the request."""
    return context_of(request.scope)


Caller = Annotated[TenantContext, Depends(caller)]


def _routes(operations: Operations, runner: Runner) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(_bearer)], responses=_PROBLEMS)

    async def answered(
        name: str,
        context: TenantContext,
        asked: A,
        call: Callable[[TenantContext, A], Json],
    ) -> Response:
        told = await runner.question(context, name, _TRANSPORT, lambda: call(context, asked))
        return Response(orjson.dumps(told), media_type="application/json")

    async def carried_out(
        name: str, context: TenantContext, call: Callable[[Watched], Json]
    ) -> Response:
        told = await runner.job(context, name, _TRANSPORT, call)
        return Response(orjson.dumps(told), media_type="application/json")

    @routes.post("/query", response_model=wire.Answers, operation_id="query")
    async def query(asked: wire.AskedOneByOne, context: Caller) -> Response:
        """The chunks that answer a question."""
        return await answered("query", context, asked, operations.query)

    @routes.post("/search", response_model=wire.Found, operation_id="search")
    async def search(asked: wire.AskedOneByOne, context: Caller) -> Response:
        """The files that answer a question, with the passages that do."""
        return await answered("search", context, asked, operations.search)

    @routes.post("/context", response_model=wire.FilledContext, operation_id="context")
    async def context(asked: wire.AskedForContext, context: Caller) -> Response:
        """A text of so many tokens that answers a question, with citations."""
        return await answered("context", context, asked, operations.context)

    @routes.get("/documents", response_model=wire.Documents, operation_id="list")
    async def documents(
        context: Caller,
        limit: Annotated[wire.ListLimit, Query()] = 100,
        cursor: Annotated[wire.Cursor, Query()] = None,
        offset: Annotated[wire.Offset, Query()] = 0,
    ) -> Response:
        """The readable chunks, page by page."""
        asked = wire.ListDocuments(limit=limit, cursor=cursor, offset=offset)
        return await answered("list", context, asked, operations.list)

    @routes.get(
        "/documents/{id}",
        response_model=wire.DocumentContent,
        operation_id="get",
        responses=_MISSING,
    )
    async def document(context: Caller, id: Annotated[wire.Id, Path()]) -> Response:  # noqa: A002
        """One chunk with its text."""
        return await answered("get", context, wire.GetDocumentById(id=id), operations.get)

    @routes.get("/hierarchy", response_model=wire.Hierarchies, operation_id="hierarchy")
    async def hierarchy(context: Caller, root: Annotated[wire.Root, Query()] = None) -> Response:
        """The classes of the readable repositories."""
        asked = wire.GetClassHierarchy(root=root)
        return await answered("hierarchy", context, asked, operations.hierarchy)

    @routes.get("/status", response_model=wire.Status, operation_id="status")
    async def status(context: Caller) -> Response:
        """How many rows of which repositories the caller may read."""
        return await answered("status", context, wire.Nothing(), operations.status)

    @routes.post(
        "/ingest",
        response_model=wire.Ingested,
        operation_id="ingest",
        responses=_REFUSED,
        openapi_extra=_PUSHES,
    )
    async def ingest(request: Request, context: Caller) -> Response:
        """Take a push: files, and what is gone.

        As one object, or as lines: then the first one is all but the files, every other one a file.
        Sent again after an interruption, the same push finishes.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == LINES:
            body = as_file(request.stream())
            return await carried_out(
                "ingest", context, lambda watched: operations.ingest_lines(context, body, watched)
            )
        if kind != "application/json":
            raise HTTPException(415, f"a push is application/json or {LINES}")
        try:
            push = wire.Push.model_validate_json(await request.body())
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        return await carried_out(
            "ingest",
            context,
            lambda watched: operations.ingest_push(context, push, watched, gated=False),
        )

    @routes.get(
        "/ingestions/{id}",
        response_model=wire.Ingestion,
        operation_id="ingestion",
        responses=_MISSING,
    )
    async def ingestion(context: Caller, id: Annotated[wire.Id, Path()]) -> Response:  # noqa: A002
        """How far a push has come that the caller has sent."""
        asked = wire.GetIngestionProgress.model_validate({"ingestionId": id})
        return await answered("ingestion", context, asked, operations.ingestion)

    @routes.post(
        "/repos/{slug:path}/chunks",
        response_model=wire.Embedded,
        operation_id="embed",
        responses=_REFUSED,
        openapi_extra=_CHUNKS,
    )
    async def embed(
        request: Request,
        context: Caller,
        slug: Annotated[str, Path(min_length=1)],
        visibility: Literal["team", "private"] = "team",
    ) -> Response:
        """Store chunks that were parsed elsewhere, a line each: all that are sent, or nothing.

        What is stored already is not embedded again, so the same lines may be sent again.
        """
        body = as_file(request.stream())
        return await carried_out(
            "embed",
            context,
            lambda watched: operations.embed_lines(
                context, EmbedRequest(slug, Visibility(visibility)), body, watched
            ),
        )

    return routes


def problem_of(request: Request, error: Exception) -> Response:
    """Any error as a problem document (RFC 9457)."""
    request_id = request_id_of(request.scope)
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        members: Json = {
            "type": "about:blank",
            "title": str(error.detail),
            "status": error.status_code,
            "detail": str(error.detail),
            "code": "KB_HTTP",
            "kind": _kind(error.status_code).value,
            "requestId": request_id,
        }
        headers |= error.headers or {}
    else:
        if isinstance(error, RequestValidationError):
            failure = Failure.malformed(error.errors())
        else:
            failure = Failure.of(error, request_id)
        members = failure.problem(request_id)
        if failure.retry_after is not None:
            headers["Retry-After"] = f"{max(1, round(failure.retry_after))}"
    return Response(orjson.dumps(members), members["status"], headers, PROBLEM)


def _kind(status: int) -> ErrorKind:
    """The sort of an error that the framework has found."""
    if status == HTTPStatus.NOT_FOUND:
        return ErrorKind.NOT_FOUND
    return ErrorKind.INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ErrorKind.INVALID


def _describe(api: FastAPI) -> None:
    """Add to the OpenAPI document what errors look like."""
    made = api.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schema = wire.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        schemas |= schema.pop("$defs", {})
        schemas["Problem"] = schema
        return document

    api.openapi = openapi  # type: ignore[method-assign] # the way that its documentation shows
