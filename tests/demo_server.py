"""A server with two tenants, asked as both by MCP and by REST: ``make demo-server``."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

COMMAND: Final = Path(sysconfig.get_path("scripts")) / "tenantkb"
GOLDEN: Final = Path(__file__).parent / "golden" / "mini-neo-workspace"
TENANTS: Final = {"acme/ada": "aardvark", "beta/bob": "buffalo"}
QUESTION: Final = "which animal pulls the plough?"
SETTINGS: Final = """\
[identity]
kind = "token"
keys = ".tenantkb/development-keys/keys.json"
issuer = "urn:tenantkb:for-development-only"
audience = "tenantkb"
"""


def run(folder: Path, *arguments: str, token: str = "") -> str:
    """What the installed command prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENANTKB_")}
    environment = {**kept, "TENANTKB_STORE_PATH": str(folder / "store"), "TENANTKB_TOKEN": token}
    print("$ tenantkb", *(each if len(each) < 60 else "…" for each in arguments))
    done = subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
    )
    return done.stdout.decode().strip()


def filled(folder: Path) -> dict[str, str]:
    """The tokens of the tenants, each of which has stored what the other may not read."""
    tokens = {}
    for who, animal in TENANTS.items():
        tokens[who] = run(folder, "token", who)
        (folder / "tenantkb.toml").write_text(SETTINGS)
        farm = folder / who / "farm"
        farm.mkdir(parents=True)
        (farm / "README.md").write_text(f"# The plough\n\nIt is pulled by the {animal}.\n")
        (farm / "tenantkb-demo.txt").write_text("a farm\n")
        reading = ["--config", str(folder / "sync.toml")]
        (folder / "sync.toml").write_text(
            f'code_source = true\nuse_default_sources = false\nroot_kind = "bare-repo"\n{SETTINGS}'
        )
        print(run(folder, "sync", str(farm), "--repo=farm", *reading, token=tokens[who]))
    return tokens


async def ask(url: str, token: str) -> str:
    """What the official client of MCP gets for a question."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        answer = await client.call_tool("get_context", {"question": QUESTION})
    return "\n".join(getattr(part, "text", "") for part in answer.content)


def main() -> None:
    """Start, ask, stop; an answer of the wrong tenant ends it with an error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = filled(folder)
        environment = {**os.environ, "TENANTKB_STORE_PATH": str(folder / "store")}
        command = [str(COMMAND), "serve", "--port=0", "--log=json"]
        print("$ tenantkb serve")
        with subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stderr is not None
            try:
                url = json.loads(server.stderr.readline())["url"]
                print(f"serving at {url}")
                for who, animal in TENANTS.items():
                    headers = {"Authorization": f"Bearer {tokens[who]}"}
                    found = httpx2.post(
                        f"{url}/v1/query", json={"query": QUESTION}, headers=headers
                    ).raise_for_status()
                    told = anyio.run(ask, url, tokens[who])
                    print(f"\n{who} asks {QUESTION!r}, by MCP:\n{told}")
                    others = set(TENANTS.values()) - {animal}
                    if animal not in told or any(each in told + found.text for each in others):
                        raise SystemExit(f"{who} was answered with what is not theirs")
                nobody = httpx2.post(f"{url}/v1/query", json={"query": QUESTION})
                print(f"\nwithout a token: {nobody.status_code} {nobody.json()['code']}")
            finally:
                server.terminate()
                server.communicate()
        print(f"stopped, exit code {server.returncode}")
        if server.returncode:
            raise SystemExit(server.returncode)


if __name__ == "__main__":
    main()
