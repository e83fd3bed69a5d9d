"""Every tool and every route of the server, found in its own lists, in front of many tenants' rows.

The requests are those of HTTP, tokens and all; only the wire is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from attrs import evolve, frozen
from starlette.testclient import TestClient

from tenantkb.adapters.configuration.settings import (
    LimitSettings,
    RepositorySettings,
    Settings,
)
from tenantkb.adapters.identity.signed_token import SignedTokenIdentityProvider
from tenantkb.adapters.server.app import server_app
from tenantkb.adapters.server.metrics import Metrics
from tenantkb.domain.identity import AgentIdentity
from tenantkb.testing.fail_closed.checks import untouched
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.forgeries import FORGED_STAMPS, FORGED_TENANTS, TEXTS
from tenantkb.testing.fail_closed.model import ADA, BOB, EVE, PEOPLE, SHARED, chunk
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.world import TWIN, World
from tests.conformance import stores
from tests.tokens import AUDIENCE, ISSUER, Signer

QUESTION = "how is the worker deployed with a password"
UNLIMITED = LimitSettings(requests_per_second=10_000, concurrent_requests=100)

TOOLS: dict[str, dict[str, Any]] = {
    "query_documents": {"query": QUESTION, "limit": 1000, "includeMetadata": True},
    "search_documents": {"query": QUESTION, "limit": 1000},
    "get_context": {"question": QUESTION, "maxTokens": 200_000},
    "list_documents": {"limit": 10_000},
    "get_document_by_id": {"id": "0" * 64},
    "get_class_hierarchy": {"root": "Class.secret"},
    "healthcheck": {},
    "manage_knowledge_base": {"action": "status", "repo": "app"},
    "ingest_source_files": {"repoSlug": "new", "files": [{"path": "a.md", "content": "# New"}]},
    "get_ingestion_progress": {"ingestionId": "0" * 32},
}
"""All tools, with arguments that each one understands."""

ROUTES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/v1/query"): {"query": QUESTION, "limit": 1000, "perFile": 1000, "content": True},
    ("post", "/v1/search"): {"query": QUESTION, "limit": 1000, "perFile": 1000, "content": True},
    ("post", "/v1/context"): {"query": QUESTION, "maxTokens": 200_000},
    ("get", "/v1/documents"): {"limit": 10_000},
    ("get", "/v1/documents/{id}"): {"id": "0" * 64},
    ("get", "/v1/hierarchy"): {"root": "Class.secret"},
    ("get", "/v1/status"): {},
    ("post", "/v1/ingest"): {"repoSlug": "new", "files": [{"path": "a.md", "content": "# New"}]},
    ("get", "/v1/ingestions/{id}"): {"id": "0" * 32},
    ("post", "/v1/repos/{slug}/chunks"): {"slug": "new", **TWIN},
}
"""All routes with rows, with arguments that each one understands."""

WRITING = {"ingest_source_files", "/v1/ingest", "/v1/repos/{slug}/chunks"}
"""Those that change rows."""

FORGED_HEADERS = {
    "X-Tenant": "beta",
    "X-Tenant-Id": "beta",
    "X-Forwarded-User": "beta/ada",
    "X-Agent": "ada",
    "Cookie": "tenant=beta",
    "Forwarded": "for=beta",
}


@frozen
class Site:
    """A server in front of a world.

    Attributes:
        world: What is stored.
        signer: Makes tokens that hold.
        client: Sends requests.
        findings: What the suite counts.
    """

    world: World
    signer: Signer
    client: TestClient
    findings: Findings

    def token(self, who: AgentIdentity, **changes: Any) -> str:
        return self.signer.token(who, self.world.app.clock.now(), **changes)

    def headers(self, token: str | None, more: dict[str, str] | None = None) -> dict[str, str]:
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        return {**(more or {}), **bearer}

    def route(
        self,
        token: str | None,
        method: str,
        path: str,
        given: dict[str, Any],
        more: dict[str, str] | None = None,
    ) -> Any:
        """The response of a route."""
        given = dict(given)
        for name in ("id", "slug"):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", quoted(given.pop(name)))
        headers = self.headers(token, more)
        if method == "post":
            headers["Content-Type"] = "application/json"
            return self.client.post(path, content=json.dumps(given), headers=headers)
        query = "&".join(f"{quoted(name)}={quoted(str(value))}" for name, value in given.items())
        return self.client.get(f"{path}?{query}", headers=headers)

    def tool(
        self,
        token: str | None,
        name: str,
        given: Any,
        more: dict[str, str] | None = None,
        method: str = "tools/call",
    ) -> Any:
        """The response of a tool, or of another method."""
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
            **({"Mcp-Name": name} if name else {}),
            **self.headers(token, more),
        }
        # As ASCII, so that a lone surrogate is an escape, as any client may write it.
        body = json.dumps(request_of(method, name, given))
        headers["Content-Type"] = "application/json"
        return self.client.post("/mcp", content=body, headers=headers)

    def ask_all(
        self, token: str | None, more: dict[str, str] | None = None, *, writing: bool = False
    ) -> dict[str, tuple[int, str]]:
        """Every tool's and every route's answer, by name: status and text.

        Those that change rows take part where they are to be refused.
        """
        left_out = set() if writing else WRITING
        answers = {}
        for name, given in TOOLS.items():
            if name in left_out:
                continue
            response = self.tool(token, name, given, more)
            answers[f"tool {name}"] = (response.status_code, response.text)
        for (method, path), given in ROUTES.items():
            if path in left_out:
                continue
            response = self.route(token, method, path, given, more)
            answers[f"{method} {path}"] = (response.status_code, response.text)
        return answers

    def clean(self, who: AgentIdentity | None, name: str, status: int, text: str) -> None:
        """An answer is no fault, and gives away no row of others."""
        self.findings.answers[name] += 1
        assert status < 500, text
        leaked = self.world.leaked(who, text)
        self.findings.leaks += len(leaked)
        assert not leaked


def push(repo: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    return {"repoSlug": repo, "files": files}


def request_of(method: str, name: str, given: Any) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": name, "arguments": given, "_meta": meta} if name else {"_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def quoted(text: str) -> str:
    """A text as a part of a path; even what no UTF-8 is."""
    return quote(text, safe="", errors="surrogatepass")


class Served(Worlds):
    """The server in front of a store; a subclass says in front of which."""

    @pytest.fixture
    def site(self, world: World, tmp_path: Path, findings: Findings) -> Iterator[Site]:
        signer = Signer(tmp_path / "keys.json")
        signer.publish()
        provider = SignedTokenIdentityProvider(
            world.app.clock,
            keys=signer.file,
            issuer=ISSUER,
            audience=AUDIENCE,
            algorithm="ES256",
        )
        authenticate = evolve(world.knowledge_base.authenticate, identities=provider)
        configured = RepositorySettings(workspace=world.folder, repo="app", tenant="beta")
        settings = Settings(
            identity=signer.settings(), limits=UNLIMITED, repositories=(configured,)
        )
        app = server_app(
            evolve(world.knowledge_base, authenticate=authenticate),
            settings,
            Metrics(tenants=False),
            "http://testserver",
        )
        with TestClient(app) as client:
            yield Site(world, signer, client, findings)

    def test_every_tool_and_every_route_is_walked(self, site: Site) -> None:
        """Fails: one is new. Add it to TOOLS or ROUTES."""
        token = site.token(ADA)
        listed = site.tool(token, "", {}, {}, "tools/list").json()["result"]["tools"]
        assert {tool["name"] for tool in listed} == TOOLS.keys()
        described = site.client.get("/v1/openapi.json", headers=site.headers(token)).json()
        found = {
            (method, path.replace(":path", ""))
            for path, methods in described["paths"].items()
            for method in methods
        }
        assert found == ROUTES.keys()

    @pytest.mark.case("forged identity")
    def test_everybody_sees_what_is_theirs_and_nothing_else(self, site: Site) -> None:
        """Fails: a tool or a route answers from another scope than the token's."""
        for who in PEOPLE:
            token = site.token(who)
            for name, (status, text) in site.ask_all(token).items():
                site.clean(who, name, status, text)
            listed = site.route(token, "get", "/v1/documents", {"limit": 10_000}).json()
            ids = sorted(row.id for row in site.world.model.seen_by(who))
            assert [document["id"] for document in listed["documents"]] == ids

    @pytest.mark.case("forged identity")
    def test_a_token_that_does_not_hold_gets_nothing(self, site: Site) -> None:
        """Fails: a signature, an expiry, an issuer or an audience is not looked at."""
        stranger = Signer(site.signer.file)  # a key of the same name, which is not published
        now = site.world.app.clock.now()
        good = site.token(ADA)
        head, claims, _ = good.split(".")
        unsigned = jwt.encode({"sub": "ada", "tenant": "acme"}, "", algorithm="none")
        for token in (
            None,
            "",
            "beta",
            unsigned,
            f"{head}.{claims}.",
            good[:-4],
            stranger.token(ADA, now),
            site.token(ADA, exp=1),
            site.token(ADA, aud="another"),
            site.token(ADA, iss="https://elsewhere.example"),
            site.token(ADA, tenant=None),
            site.token(ADA, roles=["root"]),
            site.token(AgentIdentity(SHARED, "ada")),
        ):
            for name, (status, text) in site.ask_all(token, writing=True).items():
                assert status == 401, name
                site.clean(None, name, status, text)

    @pytest.mark.case("1 forged tenantId")
    def test_nothing_but_the_token_tells_who_calls(self, site: Site) -> None:
        """Fails: a header, a parameter or a member of a body takes part in it."""
        token = site.token(ADA)
        honest = site.ask_all(token)
        for name, value in FORGED_HEADERS.items():
            forged = site.ask_all(token, {name: value})
            assert [status for status, _ in forged.values()] == [
                status for status, _ in honest.values()
            ]
            for asked, (status, text) in forged.items():
                site.clean(ADA, asked, status, text)
        names = cycle(("tenantId", "tenant", "as"))
        for tenant, name in zip(FORGED_TENANTS, names, strict=False):
            for tool, given in TOOLS.items():
                response = site.tool(token, tool, {**given, name: tenant})
                site.clean(ADA, f"tool {tool}", response.status_code, response.text)
                told = response.json()
                assert "error" in told or told["result"]["isError"], response.text
            for (method, path), given in ROUTES.items():
                response = site.route(token, method, path, {**given, name: str(tenant)[:5000]})
                site.clean(ADA, path, response.status_code, response.text)
                is_chunk = path == "/v1/repos/{slug}/chunks"  # whose claim is replaced
                assert method == "get" or is_chunk or response.status_code == 422

    @pytest.mark.case("forged arguments")
    def test_forged_arguments_are_refused_or_show_nothing_of_others(self, site: Site) -> None:
        """Fails: an argument is more than a text to compare with, or a fault."""
        token = site.token(EVE)
        filters = {"type": "", "kind": "", "path": "", "repo": "", "cursor": "", "root": ""}
        for number, text in enumerate(each[:5000] for each in TEXTS):  # addresses are short
            for tool, given in TOOLS.items():
                for name in given.keys() | filters.keys():
                    if number % 8 == 0 or name in given:
                        response = site.tool(token, tool, {**given, name: text})
                        site.clean(EVE, f"tool {tool}", response.status_code, response.text)
            for (method, path), given in ROUTES.items():
                for name in given.keys() | filters.keys():
                    if number % 8 == 0 or name in given:
                        response = site.route(token, method, path, {**given, name: text})
                        site.clean(EVE, path, response.status_code, response.text)

    @pytest.mark.case("1 forged tenantId")
    def test_what_is_sent_belongs_to_the_bearer_of_the_token(self, site: Site) -> None:
        """Fails: a claim within a file, a chunk or an envelope becomes a stamp."""
        before = site.world.stored()
        token = site.token(EVE)
        claims = [*({"tenantId": value} for value in ("acme", SHARED, "gamma")), *FORGED_STAMPS]
        for number, claim in enumerate(claims):
            record = {**chunk(f"claim {number}."), **claim}
            path = str(record["source"])
            file = {"path": path, "parsedChunks": [record]}
            for name, response in (
                ("tool", site.tool(token, "ingest_source_files", push("forged", [file]))),
                ("ingest", site.route(token, "post", "/v1/ingest", push("lines", [file]))),
                (
                    "chunks",
                    site.route(
                        token, "post", "/v1/repos/{slug}/chunks", {"slug": "chunks", **record}
                    ),
                ),
            ):
                site.clean(EVE, name, response.status_code, response.text)
        after = site.world.stored()
        assert untouched(before, after)
        new = [found[0] for key, found in after.items() if key not in before]
        assert len(new) >= len(claims)
        assert {(row["tenantId"], row["access"]) for row in new} == {("beta", "team:beta")}
        assert {row["repoSlug"] for row in new} <= {"forged", "lines", "chunks"}

    def test_an_ingestion_is_told_to_whoever_has_sent_it_alone(self, site: Site) -> None:
        """Fails: its id is enough."""
        files = [{"path": "a.md", "content": "# New"}]
        sent = site.route(site.token(ADA), "post", "/v1/ingest", push("new", files)).json()
        asked = {"id": sent["ingestionId"]}
        mine = site.route(site.token(ADA), "get", "/v1/ingestions/{id}", asked)
        assert mine.json()["state"] == "finished"
        for who in (BOB, EVE):
            others = site.route(site.token(who), "get", "/v1/ingestions/{id}", asked)
            missing = site.route(site.token(who), "get", "/v1/ingestions/{id}", {"id": "0" * 32})
            assert others.status_code == missing.status_code == 404
            assert masked(others.text, asked["id"]) == masked(missing.text, "0" * 32)

    @pytest.mark.case("forged arguments")
    def test_an_id_of_others_is_one_that_does_not_exist(self, site: Site) -> None:
        """Fails: an answer tells a foreign row from none."""
        foreign = next(iter(site.world.model.hidden_from(ADA)))
        token = site.token(ADA)
        absent = "0" * 64
        asked = foreign.id, absent
        for told, missing in (
            [site.tool(token, "get_document_by_id", {"id": row_id}) for row_id in asked],
            [site.route(token, "get", "/v1/documents/{id}", {"id": row_id}) for row_id in asked],
        ):
            assert told.status_code == missing.status_code
            assert masked(told.text, foreign.id) == masked(missing.text, absent)

    @pytest.mark.case("forged arguments")
    def test_a_repository_of_another_tenant_is_one_that_is_not_configured(self, site: Site) -> None:
        """Fails: whoever asks has another tenant's workspace read, or learns that there is one."""
        for action in ("sync", "status"):
            for name in ("app", "nothing"):
                given = {"action": action, "repo": name}
                told = site.tool(site.token(BOB), "manage_knowledge_base", given).json()["result"]
                assert told["structuredContent"]["error"]["code"] == "KB_NOT_FOUND"
        given = {"action": "status", "repo": "app"}
        told = site.tool(site.token(EVE), "manage_knowledge_base", given).json()["result"]
        assert told["structuredContent"]["repository"]["tenantId"] == "beta"

    def test_a_session_is_of_whoever_opened_it(self, site: Site) -> None:
        """Fails: a session answers to a token that did not open it, or keeps its identity."""
        begin = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        asking = {"Accept": "application/json, text/event-stream"}
        opened = site.client.post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin},
            headers={**asking, **site.headers(site.token(ADA))},
        )
        assert opened.status_code == 200
        session = {**asking, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
        listing = {"name": "list_documents", "arguments": {"limit": 10_000}}
        request = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": listing}
        mine = site.client.post(
            "/mcp", json=request, headers={**session, **site.headers(site.token(ADA))}
        )
        site.clean(ADA, "tool list_documents", mine.status_code, mine.text)
        assert mine.status_code == 200
        for who in (BOB, EVE):
            others = site.client.post(
                "/mcp", json=request, headers={**session, **site.headers(site.token(who))}
            )
            assert others.status_code == 404
            site.clean(None, "tool list_documents", others.status_code, others.text)
        late = site.client.post(
            "/mcp", json=request, headers={**session, **site.headers(site.token(ADA, exp=1))}
        )
        assert late.status_code == 401


def masked(text: str, row_id: str) -> str:
    """An answer without the id that was asked for, and without the id of the request."""
    return re.sub(r'"requestId":"[0-9a-f]+"', "", text.replace(row_id, "<id>"))


class TestServerOnMemory(stores.Memory, Served):
    pass


class TestServerOnSqlite(stores.Sqlite, Served):
    pass


class TestServerOnChromaPath(stores.ChromaPath, Served):
    pass
