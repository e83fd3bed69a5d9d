"""The Model Context Protocol, by its official SDK."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import mcp_types as types
import orjson
import structlog
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError

from tenantkb.adapters.server.failures import Failure
from tenantkb.adapters.server.operations import Operations
from tenantkb.adapters.server.running import Runner, Step, Watched
from tenantkb.adapters.server.tools import TOOLS, UNTRUSTED, Tool
from tenantkb.domain.context import TenantContext
from tenantkb.domain.records import shown

Context = ServerRequestContext[Any, Any]

_INSTRUCTIONS: Final = (
    "A knowledge base of code, guides, tickets and decisions. Ask get_context first; "
    f"query_documents and search_documents tell where things are. {UNTRUSTED}"
)


def mcp_server(
    operations: Operations,
    runner: Runner,
    caller: Callable[[Context], TenantContext],
    request_id: Callable[[Context], str],
    transport: str,
) -> Server[dict[str, Any]]:
    """The server; on which transport it runs is for others to say.

    Args:
        operations: What the tools do.
        runner: Runs them.
        caller: Who sends a request, told from that very request and from no session.
        request_id: The id under which the log tells of a request.
        transport: Its name, for the metrics.
    """
    listed = [tool.listed() for tool in TOOLS.values()]
    input_schemas = {tool.name: tool.input_schema for tool in listed}

    async def list_tools(
        _: Context, __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(
        request: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {shown(params.name)}")
        named = request_id(request)
        with structlog.contextvars.bound_contextvars(request_id=named, tool=tool.name):
            try:
                context = caller(request)
                arguments = tool.arguments.model_validate(params.arguments or {})
                if tool.is_job:
                    told = await runner.job(
                        context,
                        tool.name,
                        transport,
                        lambda progress: tool.run(operations, context, arguments, progress),
                        _telling(request),
                    )
                else:
                    told = await runner.question(
                        context,
                        tool.name,
                        transport,
                        lambda: tool.run(operations, context, arguments, Watched()),
                    )
            except Exception as error:
                return _failed(Failure.of(error, named))
        return _told(tool, told)

    return Server(
        "tenantkb",
        version=version("tenantkb"),
        instructions=_INSTRUCTIONS,
        get_tool_input_schema=input_schemas.get,  # else the SDK lists the tools for each call
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _telling(request: Context) -> Callable[[Step], Any]:
    """Tells the client how far a job has come, in steps that never go back."""
    told = 0

    async def tell(step: Step) -> None:
        nonlocal told
        told += 1
        count = f"{step.done:,}" if step.total is None else f"{step.done:,} of {step.total:,}"
        where = f"{step.phase}: {count}"
        message = f"{step.name}: {where}" if step.name else where
        await request.session.report_progress(told, message=message)

    return tell


def _told(tool: Tool, value: dict[str, Any]) -> types.CallToolResult:
    text = orjson.dumps(value).decode() if tool.text is None else tool.text(value)
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=value)


def _failed(failure: Failure) -> types.CallToolResult:
    told = {"error": {"message": failure.message, **failure.members()}}
    words = told["error"].get("remedy", {}).get("words")
    text = f"{failure.message} [{failure.code}]" + (f"\n{words}" if words else "")
    return types.CallToolResult(
        content=[types.TextContent(text=text)], structured_content=told, is_error=True
    )
