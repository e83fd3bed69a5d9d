"""The code of the page "Use it as a library": checked strictly, and run, as it is printed."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.packaging.building import ROOT, Environment, run

PAGE = ROOT / "docs" / "guides" / "use-as-a-library.md"
BLOCK = re.compile(r"^`([\w.]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

DRIVER = '''
"""What two agents of acme and one of beta meet."""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tenantkb
from asynchronous import ask_all
from service import STATUS, Service, respond
from swapped import knowledge_with
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.domain.context import TenantContext

ada, bob, eve, expired = json.loads(sys.argv[1])
assert set(STATUS) == set(tenantkb.ErrorKind)

service = Service(Path("service.toml"))
with service.knowledge:
    added = service.sync(ada, Path("checkout"), "app")
    assert added > 3
    assert service.sync(ada, Path("checkout"), "app") == 0

    for team in (ada, bob):
        [(path, snippet), *_] = service.ask(team, "how is a session renewed")
        assert (path, "renew" in snippet) == ("session.py", True)
        ids = [document.id for document in service.documents(team)]
        assert len(ids) == len(set(ids)) == added
    assert service.ask(eve, "how is a session renewed") == []
    assert list(service.documents(eve)) == []

    def get(token: str, row: tenantkb.ChunkId) -> object:
        return service.knowledge.get(service.knowledge.authenticate(token), row)

    assert respond(lambda: get(bob, ids[0]))[0] == 200
    foreign = respond(lambda: get(eve, ids[0]))
    missing = respond(lambda: get(eve, tenantkb.ChunkId("0" * 64)))
    assert foreign[0] == missing[0] == 404
    assert str(foreign).replace(ids[0], "0" * 64) == str(missing)
    assert respond(lambda: service.ask("no token", "x"))[0] == 401
    assert respond(lambda: service.ask(expired, "x"))[0] == 401
    assert respond(lambda: service.ask(ada, " "))[0] == 400
    assert respond(lambda: service.knowledge.authenticate(ada, "beta"))[0] == 403
    (Path("checkout") / "session.py").unlink()
    (Path("checkout") / "README.md").unlink()
    assert respond(lambda: service.sync(ada, Path("checkout"), "app"))[0] == 409

    begun = list[str]()
    files = {"tax.py": "def tax(amount): return amount // 5"}
    assert service.push(ada, "pushed", files, begun.append) == 1
    assert service.progress(ada, begun[0])[0] == "finished"
    assert respond(lambda: service.progress(bob, begun[0]))[0] == 404

    questions = ["how is a session renewed", "what does an invoice add up"] * 8
    answers = asyncio.run(ask_all(service, bob, questions))
    assert answers == [service.ask(bob, question) for question in questions]

    def mixed(number: int) -> bool:
        return bool(service.ask((ada, bob, eve)[number % 3], "session")) is (number % 3 < 2)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(mixed, range(96)))
service.knowledge.close()  # a second time

settings = tenantkb.load_settings({}, Path.cwd(), Path("service.toml"))
with knowledge_with(settings, MemoryEngine()) as knowledge:
    assert knowledge.list(knowledge.authenticate(ada)).documents == []
print("done")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page, a checkout, and the public key of whoever signs tokens."""
    blocks = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    assert blocks.keys() == {"service.toml", "service.py", "asynchronous.py", "swapped.py"}
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "driver.py").write_text(DRIVER.lstrip())
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "session.py").write_text(
        '"""Sessions."""\n\n\nclass Session:\n    def renew(self) -> None:\n'
        '        """How a session is renewed."""\n        self.expires += 1\n\n'
        "    def end(self) -> None:\n        self.expires = 0\n"
    )
    (checkout / "invoice.py").write_text("def add_up(invoice):\n    return sum(invoice.lines)\n")
    (checkout / "README.md").write_text("# Shop\n\nA shop.\n\n## Invoices\n\nThey are added up.\n")
    return tmp_path


@pytest.fixture
def tokens(folder: Path) -> list[str]:
    """Of ada and bob of acme, of eve of beta, and one of ada's that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    (folder / "keys.json").write_text(json.dumps({"keys": [{**public, "alg": "ES256"}]}))

    def token(tenant: str, agent: str, seconds: int = 600) -> str:
        claims = {
            "iss": "https://login.example",
            "aud": "knowledge",
            "sub": agent,
            "tenant": tenant,
            "exp": int(time.time()) + seconds,
        }
        return jwt.encode(claims, key, "ES256")

    return [
        token("acme", "ada"),
        token("acme", "bob"),
        token("beta", "eve"),
        token("acme", "ada", seconds=-60),
    ]


def test_the_code_of_the_page_runs(
    folder: Path, tokens: list[str], environment: Environment
) -> None:
    done = run(
        environment.python,
        *("-W", "error", "driver.py", json.dumps(tokens)),
        folder=folder,
        environment={"PYTHONPATH": ""},
    )
    assert done.stdout == "done\n"


def test_the_code_of_the_page_is_typed(folder: Path, environment: Environment) -> None:
    (folder / "mypy.ini").write_text("[mypy]\nstrict = True\nwarn_unreachable = True\n")
    run(
        sys.executable,
        *("-m", "mypy", "--python-executable", environment.python, "--config-file", "mypy.ini"),
        *("--cache-dir", "cache", "service.py", "asynchronous.py", "swapped.py", "driver.py"),
        folder=folder,
        environment={"MYPYPATH": ""},
    )
