"""What the server costs and stands: ``python -m benchmarks.server``.

One store holds a tenant of 20,000 chunks and fifty tenants of 200, each with a word of its own in
every chunk. The installed command serves it; clients are processes of their own, on the same
machine.

- *Warm question*: one client asks the large tenant's knowledge base, one question after the other,
  by MCP with the official client, by REST, and, as the baseline, the face in this process.
- *Many tenants*: eight clients ask for two minutes, each time as another of the fifty tenants.
  An answer that is crossed has a chunk without the tenant's own word; one that is lost has another
  status than 200.
- *Neighbours*: one tenant asks five times a second; first alone, then while another one sends as
  much as the limits let through, by eight clients at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from typing import Final

import anyio
import httpx2
import numpy as np
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks._results import write_section
from benchmarks._workspace import SCRATCH, machine
from benchmarks.latency import ROWS, made_up
from tenantkb.adapters.configuration.settings import Settings, StoreSettings
from tenantkb.adapters.container import open_knowledge_base
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.domain.identity import AgentIdentity
from tests.tokens import AUDIENCE, ISSUER, Signer

HOME: Final = SCRATCH / "server"
COMMAND: Final = Path(sysconfig.get_path("scripts")) / "tenantkb"
LARGE: Final = AgentIdentity("large", "agent")
TENANTS: Final = [AgentIdentity(f"tenant-{number:02}", "agent") for number in range(50)]
ROWS_EACH: Final = 200
CLIENTS: Final = 8
WARM: Final = 100
NEIGHBOUR_SECONDS: Final = 20

Times = list[float]
"""Milliseconds, one of each question."""


def word_of(who: AgentIdentity) -> str:
    """What every chunk of a tenant says, and no other tenant's."""
    return f"canary{who.tenant_id.replace('-', '')}"


@contextmanager
def filled(signer: Signer) -> Iterator[KnowledgeBase]:
    """The store with the rows of all tenants; made once, and kept for the next run."""
    settings = Settings(store=StoreSettings(path=HOME / "store"), identity=signer.settings())
    with open_knowledge_base(settings) as opened:
        chunks = made_up(ROWS).chunks
        for who, rows in ((LARGE, chunks), *((each, chunks[:ROWS_EACH]) for each in TENANTS)):
            context = opened.authenticate(signer.token(who, datetime.now(UTC)))
            if opened.status(context).rows != len(rows):
                named = [{**row, "name": f"{row['name']} {word_of(who)}"} for row in rows]
                opened.embed(context, EmbedRequest("app"), enumerate(named, 1))
        yield opened


@contextmanager
def serving(signer: Signer) -> Iterator[str]:
    """The address of the installed command, as it serves with its default limits."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TENANTKB_")},
        "TENANTKB_STORE_PATH": str(HOME / "store"),
        "TENANTKB_IDENTITY_KIND": "token",
        "TENANTKB_IDENTITY_KEYS": str(signer.file),
        "TENANTKB_IDENTITY_ISSUER": ISSUER,
        "TENANTKB_IDENTITY_AUDIENCE": AUDIENCE,
        "TENANTKB_IDENTITY_ALGORITHM": "ES256",
        "TENANTKB_SERVE_METRICS_ADDRESS": "",
    }
    log = (HOME / "log.txt").open("w")
    command = [str(COMMAND), "serve", "--port=0", "--log=json"]
    with log, subprocess.Popen(command, cwd=HOME, env=environment, stderr=log) as process:
        try:
            while '"serving"' not in (told := (HOME / "log.txt").read_text()):
                if process.poll() is not None:
                    raise RuntimeError(told)
                time.sleep(0.1)
            url = json.loads(told.splitlines()[0])["url"]
            while httpx2.get(f"{url}/readyz").status_code != 200:
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()


def questions(count: int) -> list[str]:
    """Questions of the made-up corpus."""
    return [item.text for item in itertools.islice(itertools.cycle(made_up(1).items), count)]


def clocked(ask: Callable[[str], object], pause: float = 0.0) -> Times:
    """How long each of the questions takes that have been asked before."""
    asked = questions(WARM)
    for text in asked:
        ask(text)
        time.sleep(pause)
    times = []
    for text in asked:
        started = time.perf_counter()
        ask(text)
        times.append(1000 * (time.perf_counter() - started))
        time.sleep(pause)
    return times


PAUSE: Final = 0.11
"""Seconds between two questions of one client, so that it stays below the limit of requests."""


def by_rest(url: str, token: str) -> Times:
    """Warm questions by REST."""
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as http:

        def ask(text: str) -> None:
            http.post("/v1/query", json={"query": text}).raise_for_status()

        return clocked(ask, PAUSE)


def by_mcp(url: str, token: str) -> Times:
    """Warm questions by the official client."""
    times: Times = []

    async def run() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            await client.list_tools()
            asked = questions(WARM)
            for number, text in enumerate([*asked, *asked]):
                started = time.perf_counter()
                answer = await client.call_tool("query_documents", {"query": text, "limit": 10})
                if answer.is_error:
                    raise RuntimeError(str(answer.content))
                if number >= WARM:
                    times.append(1000 * (time.perf_counter() - started))
                await anyio.sleep(PAUSE)

    anyio.run(run)
    return times


def one_of_many(
    url: str, tokens: dict[str, str], seconds: float, seed: int
) -> tuple[Times, Counter[str]]:
    """What one client sees that is now this tenant and now that."""
    draw = random.Random(seed)
    asked = questions(WARM)
    times: Times = []
    counts = Counter[str]()
    until = time.monotonic() + seconds
    with httpx2.Client(base_url=url, timeout=60) as http:
        while time.monotonic() < until:
            who = draw.choice(TENANTS)
            started = time.perf_counter()
            response = http.post(
                "/v1/query",
                json={"query": draw.choice(asked)},
                headers={"Authorization": f"Bearer {tokens[who.tenant_id]}"},
            )
            times.append(1000 * (time.perf_counter() - started))
            if response.status_code == 429:
                counts["limited"] += 1
            elif response.status_code != 200:
                counts["lost"] += 1
            else:
                counts["answered"] += 1
                found = response.json()["results"]
                crossed = [each for each in found if not each["name"].endswith(word_of(who))]
                counts["crossed"] += bool(crossed) or not found
    return times, counts


def neighbour(url: str, token: str, seconds: float) -> Times:
    """How long a tenant waits that asks five times a second."""
    asked = itertools.cycle(questions(WARM))
    times: Times = []
    until = time.monotonic() + seconds
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as http:
        while time.monotonic() < until:
            started = time.perf_counter()
            http.post("/v1/query", json={"query": next(asked)}).raise_for_status()
            times.append(1000 * (time.perf_counter() - started))
            time.sleep(max(0.0, 0.2 - (time.perf_counter() - started)))
    return times


def noise(url: str, token: str, seconds: float) -> Counter[int]:
    """A tenant that sends as much as it can, by several clients."""
    statuses = Counter[int]()
    over = Event()

    def send() -> None:
        asked = itertools.cycle(questions(WARM))
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as http:
            while not over.is_set():
                status = http.post("/v1/query", json={"query": next(asked)}).status_code
                statuses[status] += 1
                if status == 429:
                    time.sleep(0.05)  # a client that does not wait as it is told, nor spins

    senders = [Thread(target=send) for _ in range(CLIENTS)]
    for sender in senders:
        sender.start()
    time.sleep(seconds)
    over.set()
    for sender in senders:
        sender.join()
    return statuses


def percentiles(times: Times) -> str:
    return " / ".join(f"{value:.1f}" for value in np.percentile(times, (50, 95)))


def measured(seconds: float) -> str:
    """All three tables."""
    HOME.mkdir(parents=True, exist_ok=True)
    signer = Signer(HOME / "keys.json")
    signer.publish()
    now = datetime.now(UTC)
    tokens = {who.tenant_id: signer.token(who, now) for who in (LARGE, *TENANTS)}
    large = tokens[LARGE.tenant_id]
    with filled(signer) as opened:
        context = opened.authenticate(large)
        inside = clocked(lambda text: opened.query(context, text))
    lines = [
        f"| warm question, {ROWS:,} chunks | p50 / p95, ms |",
        "|---|---|",
        f"| the face, in one process | {percentiles(inside)} |",
    ]
    with serving(signer) as url, ProcessPoolExecutor(CLIENTS, get_context("spawn")) as clients:
        rest = clients.submit(by_rest, url, large).result()
        mcp = clients.submit(by_mcp, url, large).result()
        lines += [f"| REST | {percentiles(rest)} |", f"| MCP | {percentiles(mcp)} |"]

        asking = [
            clients.submit(one_of_many, url, tokens, seconds, seed) for seed in range(CLIENTS)
        ]
        found = [each.result() for each in asking]
        times = [value for each, _ in found for value in each]
        counts = sum((each for _, each in found), Counter[str]())
        lines += [
            "",
            f"| {CLIENTS} clients, {len(TENANTS)} tenants, {seconds:.0f} s | |",
            "|---|---|",
            f"| answered | {counts['answered']:,} |",
            f"| crossed, lost | {counts['crossed']}, {counts['lost']} |",
            f"| p50 / p95, ms | {percentiles(times)} |",
        ]

        quiet_tenant, loud_tenant = (tokens[who.tenant_id] for who in TENANTS[:2])
        quiet = clients.submit(neighbour, url, quiet_tenant, NEIGHBOUR_SECONDS).result()
        loud = clients.submit(noise, url, loud_tenant, NEIGHBOUR_SECONDS + 1)
        time.sleep(0.5)
        beside = clients.submit(neighbour, url, quiet_tenant, NEIGHBOUR_SECONDS).result()
        statuses = loud.result()
        ratio = np.percentile(beside, 95) / np.percentile(quiet, 95)
        lines += [
            "",
            "| a tenant that asks five times a second | p50 / p95, ms |",
            "|---|---|",
            f"| alone | {percentiles(quiet)} |",
            f"| beside one at full load ({statuses[200]:,} answered, {statuses[429]:,} refused) | "
            f"{percentiles(beside)} |",
            f"| ratio of the p95 | {ratio:.2f} |",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120, help="of the many tenants")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    parser.add_argument("--anew", action="store_true", help="make the store again")
    options = parser.parse_args()
    if options.anew:
        shutil.rmtree(HOME, ignore_errors=True)
    text = f"`python -m benchmarks.server`. {machine()}.\n\n{measured(options.seconds)}"
    print(text)
    if not options.no_write:
        write_section("The server", text)


if __name__ == "__main__":
    main()
