"""The installed command as a server, and the official client of MCP."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from attrs import frozen
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from tenantkb.domain.identity import AgentIdentity
from tests.end_to_end.conftest import COMMAND, Installation
from tests.tokens import AUDIENCE, ISSUER, Signer

ADA, BOB = AgentIdentity("acme", "ada"), AgentIdentity("beta", "bob")
MODES = ("legacy", "auto")
"""The protocol with a handshake and sessions, and the one without."""


@frozen
class Server:
    """A server that runs.

    Attributes:
        url: Its address.
        metrics: The address of its metrics.
        signer: Makes tokens that it accepts.
        log: The lines of its log so far.
        process: It.
    """

    url: str
    metrics: str
    signer: Signer
    log: list[str]
    process: subprocess.Popen[str]

    def token(self, who: AgentIdentity, **changes: Any) -> str:
        return self.signer.token(who, datetime.now(UTC), **changes)

    def http(self, token: str | None) -> httpx2.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60)

    @asynccontextmanager
    async def client(self, token: str, mode: str = "auto") -> Any:
        """The official client, with a token."""
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(
                streamable_http_client(f"{self.url}/mcp", http_client=http), mode=mode
            ) as client,
        ):
            yield client


@contextmanager
def serving(tenantkb: Installation, signer: Signer, **variables: str) -> Iterator[Server]:
    """The installed command serves at a free port."""
    signer.publish()
    environment = {
        **tenantkb.environment,
        "TENANTKB_IDENTITY_KIND": "token",
        "TENANTKB_IDENTITY_KEYS": str(signer.file),
        "TENANTKB_IDENTITY_ISSUER": ISSUER,
        "TENANTKB_IDENTITY_AUDIENCE": AUDIENCE,
        "TENANTKB_IDENTITY_ALGORITHM": "ES256",
        "TENANTKB_SERVE_METRICS_ADDRESS": "127.0.0.1:0",
        **variables,
    }
    with subprocess.Popen(
        [COMMAND, "serve", "--port=0", "--log=json"],
        cwd=tenantkb.folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines: list[str] = []
        begun: queue.Queue[dict[str, Any] | None] = queue.Queue()

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                if '"event": "serving"' in line:
                    begun.put(json.loads(line))
            begun.put(None)

        reading = threading.Thread(target=read)
        reading.start()
        try:
            told = begun.get(timeout=60)
            assert told is not None, "".join(lines)
            yield Server(told["url"], told["metrics"], signer, lines, process)
        finally:
            process.kill()
            process.wait()
            reading.join()


@pytest.fixture
def filled(tenantkb: Installation, notes: Callable[..., Path]) -> Installation:
    """Rows of two tenants, each with a word of its own."""
    for who, word in (("acme/ada", "aardvark"), ("beta/bob", "buffalo")):
        workspace = notes(5, f"{word} release")
        assert tenantkb("sync", workspace, "--repo=app", f"--as={who}").code == 0
    return tenantkb


@pytest.fixture
def server(filled: Installation, tmp_path: Path) -> Iterator[Server]:
    with serving(filled, Signer(tmp_path / "keys.json")) as running:
        yield running


async def texts(client: Client) -> str:
    """What every tool answers that takes a question or none."""
    answers = [
        await client.call_tool("query_documents", {"query": "release aardvark buffalo"}),
        await client.call_tool("search_documents", {"query": "release aardvark buffalo"}),
        await client.call_tool("get_context", {"question": "release aardvark buffalo"}),
        await client.call_tool("list_documents", {}),
        await client.call_tool("get_class_hierarchy", {}),
        await client.call_tool("healthcheck", {}),
    ]
    assert not any(answer.is_error for answer in answers)
    return json.dumps([answer.model_dump(mode="json") for answer in answers])


@pytest.mark.parametrize("mode", MODES)
def test_the_official_client_gets_what_its_token_may_read(server: Server, mode: str) -> None:
    async def run() -> None:
        for who, own, others in ((ADA, "aardvark", "buffalo"), (BOB, "buffalo", "aardvark")):
            async with server.client(server.token(who), mode) as client:
                listed = {tool.name: tool for tool in (await client.list_tools()).tools}
                assert listed["query_documents"].annotations.read_only_hint
                assert listed["manage_knowledge_base"].annotations.destructive_hint
                told = await texts(client)
                assert f"{own} release" in told
                assert f"{others} release" not in told
                page = await client.call_tool("list_documents", {"limit": 2})
                ids = [each["id"] for each in page.structured_content["documents"]]
                one = await client.call_tool("get_document_by_id", {"id": ids[0]})
                assert own in one.structured_content["content"]
                rest = {"limit": 100, "cursor": page.structured_content["cursor"]}
                more = await client.call_tool("list_documents", rest)
                ids += [each["id"] for each in more.structured_content["documents"]]
                assert len(set(ids)) == 5

    anyio.run(run)


def test_an_agent_on_this_machine_is_served_by_standard_streams(filled: Installation) -> None:
    async def run() -> None:
        environment = {**filled.environment, "TENANTKB_TENANT": "acme", "TENANTKB_AGENT": "ada"}
        started = StdioServerParameters(
            command=str(COMMAND), args=["mcp"], env=environment, cwd=filled.folder
        )
        async with Client(stdio_client(started)) as client:
            told = await texts(client)
            assert "aardvark release" in told
            assert "buffalo release" not in told
            failed = await client.call_tool("get_document_by_id", {"id": "nothing"})
            assert failed.is_error
            assert failed.structured_content["error"]["code"] == "KB_NOT_FOUND"

    anyio.run(run)


def test_nobody_is_told_anything(server: Server) -> None:
    with server.http(None) as http:
        for method, path in (("GET", "/v1/status"), ("POST", "/mcp"), ("POST", "/v1/query")):
            refused = http.request(method, path, json={"query": "release"})
            assert refused.status_code == 401
            challenge = refused.headers["WWW-Authenticate"]
            where = challenge.partition('resource_metadata="')[2].rstrip('"')
            assert http.get(where).json()["authorization_servers"] == [f"{ISSUER}"]
        assert http.get("/healthz").text == "ok\n"
        assert http.get("/readyz").text == "ok\n"
        missing = http.get("/nothing")
        assert missing.status_code == 404
        assert missing.headers["Content-Type"] == "application/problem+json"
        elsewhere = http.get("/healthz", headers={"Host": "evil.example"})
        assert elsewhere.status_code == 400
    with server.http(server.token(ADA)) as http:
        foreign = http.post("/mcp", json={}, headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403


@pytest.mark.parametrize("mode", MODES)
def test_an_expired_and_a_revoked_token_are_refused_at_the_next_request(
    server: Server, mode: str
) -> None:
    async def run() -> None:
        short = server.token(ADA, exp=int((datetime.now(UTC) + timedelta(seconds=3)).timestamp()))
        async with server.client(short, mode) as client:
            assert not (await client.call_tool("healthcheck", {})).is_error
            await anyio.sleep(3.5)
            with pytest.raises(Exception, match=r"(?i)unauthorized|401|failed|closed"):
                await client.call_tool("healthcheck", {})

    def revoke() -> None:
        with server.http(server.token(ADA)) as http:
            assert http.get("/v1/status").status_code == 200
            Signer(server.signer.file, "next").publish()
            assert http.get("/v1/status").status_code == 401

    try:
        anyio.run(run)
    except BaseExceptionGroup as group:  # the client's own tasks meet the refusal as well
        assert group.subgroup(lambda error: "401" in str(error)) is not None  # noqa: PT017
    revoke()


def test_rest_tells_problems_as_documents_and_never_what_it_is_made_of(server: Server) -> None:
    with server.http(server.token(ADA)) as http:
        answers = http.post("/v1/query", json={"query": "release", "explain": True}).json()
        assert answers["results"][0]["parts"]["bm25"] > 0
        for sent, where in (
            ({"query": ""}, "query"),
            ({"query": "x", "limit": "5"}, "limit"),
            ({"query": "x", "tenantId": "beta"}, "tenantId"),
        ):
            refused = http.post("/v1/query", json=sent)
            assert refused.status_code == 422
            assert refused.json()["code"] == "KB_INVALID_INPUT"
            assert refused.json()["detail"].startswith(where)
        large = http.post("/v1/query", json={"query": "x" * (5 << 20)})
        assert large.status_code == 413


def test_a_tenant_that_asks_too_much_is_told_to_wait(filled: Installation, tmp_path: Path) -> None:
    limits = {"TENANTKB_LIMITS_REQUESTS_PER_SECOND": "3", "TENANTKB_SERVE_METRICS_TENANTS": "true"}
    with serving(filled, Signer(tmp_path / "keys.json"), **limits) as server:
        with server.http(server.token(ADA)) as http:
            answers = [http.get("/v1/hierarchy") for _ in range(30)]
            refused = [each for each in answers if each.status_code == 429]
            assert refused
            assert refused[0].json()["code"] == "KB_LIMIT_EXCEEDED"
            assert int(refused[0].headers["Retry-After"]) >= 1
        with server.http(server.token(BOB)) as http:
            assert http.get("/v1/hierarchy").status_code == 200
        told = httpx2.get(f"http://{server.metrics}/metrics").text
        counted = 'tenantkb_limit_exceeded_total{limit="requests_per_second",tenant="acme"}'
        assert f"{counted} {len(refused)}.0" in told


def test_the_log_holds_no_token_and_no_question(server: Server) -> None:
    token = server.token(ADA)
    with server.http(token) as http:
        http.post("/v1/query", json={"query": "aardvark"}, headers={"X-Note": "aardvark"})
        http.get("/v1/documents/aardvark")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    told = "".join(server.log)
    assert "aardvark" not in told
    assert token not in told
    assert '"tenant": "acme"' in told


def test_sigterm_lets_what_is_running_end(filled: Installation, tmp_path: Path) -> None:
    """Even a synchronisation, which is longer than a question."""
    workspace = tmp_path / "many"
    folder = workspace / ".github" / "RELEASE_NOTES"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"v{number}.md").write_text(f"release {number}")
    (filled.folder / "tenantkb.toml").write_text(
        f'[[repositories]]\nworkspace = "{workspace}"\nrepo = "many"\ntenant = "acme"\n'
    )
    told: list[str] = []

    async def run(server: Server) -> None:
        async def heard(progress: float, total: float | None, message: str | None) -> None:
            if not told:
                os.kill(server.process.pid, signal.SIGTERM)
            told.append(message or "")

        async with server.client(server.token(ADA)) as client:
            await client.list_tools()  # which the client does later, where nobody did it before
            given = {"action": "sync", "repo": "many"}
            done = await client.call_tool("manage_knowledge_base", given, progress_callback=heard)
            assert not done.is_error
            assert done.structured_content["report"]["added"] == 3000

    with serving(filled, Signer(tmp_path / "keys.json")) as server:
        anyio.run(run, server)
        assert server.process.wait(30) == 0
    assert told


def test_a_synchronisation_that_is_cancelled_stops_and_can_be_finished(
    filled: Installation, tmp_path: Path
) -> None:
    workspace = tmp_path / "many"
    folder = workspace / ".github" / "RELEASE_NOTES"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"v{number}.md").write_text(f"release {number}")
    (filled.folder / "tenantkb.toml").write_text(
        f'[[repositories]]\nworkspace = "{workspace}"\nrepo = "many"\ntenant = "acme"\n'
    )
    given = {"action": "sync", "repo": "many"}

    async def run(server: Server) -> None:
        async with server.client(server.token(ADA)) as client:
            with anyio.CancelScope() as scope:

                async def heard(*_: Any) -> None:
                    scope.cancel()

                await client.call_tool("manage_knowledge_base", given, progress_callback=heard)
            assert scope.cancelled_caught
        async with server.client(server.token(ADA)) as client:
            done = await client.call_tool("manage_knowledge_base", given)
            report = done.structured_content["report"]
            assert report["added"] + report["unchanged"] == 3000

    with serving(filled, Signer(tmp_path / "keys.json")) as server:
        anyio.run(run, server)
        counted = httpx2.get(f"http://{server.metrics}/metrics").text
        assert 'operation="manage_knowledge_base",outcome="cancelled"' in counted


def test_a_server_without_tokens_is_refused(tenantkb: Installation) -> None:
    refused = tenantkb("serve", "--port=0")
    assert refused.code == 2
    assert "identity.kind" in refused.errors


def test_a_token_for_development_opens_a_server_for_development(tenantkb: Installation) -> None:
    made = tenantkb("token", "acme/ada", "--role=curator", "--json").json
    assert (
        tenantkb.folder / ".tenantkb/development-keys/FOR-DEVELOPMENT-ONLY.pem"
    ).stat().st_mode & 0o77 == 0
    again = tenantkb("token", "acme/ada", "--json").json
    assert again["keys"] == made["keys"]
    variables = {
        "TENANTKB_IDENTITY_KIND": "token",
        "TENANTKB_IDENTITY_KEYS": made["keys"],
        "TENANTKB_IDENTITY_ISSUER": made["issuer"],
        "TENANTKB_IDENTITY_AUDIENCE": made["audience"],
    }
    told = tenantkb("status", "--json", TENANTKB_TOKEN=made["token"], **variables).json
    assert (told["tenant"], told["agent"]) == ("acme", "ada")
