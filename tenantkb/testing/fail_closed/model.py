"""What is stored, as plain values, and who may see it: written out once more, on purpose.

Nothing here is imported from the product's rules, so that an error in one of them cannot hide in
both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from attrs import field, frozen

from tenantkb.domain.identity import AgentIdentity, Role

SHARED = "neo-shared"
CORPUS = "neo"

ADA = AgentIdentity("acme", "ada")
BOB = AgentIdentity("acme", "bob")
EVE = AgentIdentity("beta", "ada")
"""Another tenant's agent of the same name as :data:`ADA`."""
GIL = AgentIdentity("gamma", "gil", frozenset({Role.AGENT, Role.OPERATOR}))
"""An operator, of a tenant without rows: he may export all rows, and reads none for that."""
CORA = AgentIdentity(SHARED, "cora", frozenset({Role.AGENT, Role.CURATOR}))
OPA = AgentIdentity(SHARED, "opa", frozenset({Role.OPERATOR, Role.CURATOR}))
"""An operator who may restore the rows of the shared tenant, too."""
PEOPLE = (ADA, BOB, EVE, GIL, CORA)

_HASHED = ("type", "name", "description", "content", "extends", "configType", "params", "returns")

Chunk = dict[str, Any]
Key = tuple[str, str]
"""The address of a row: its label and its id."""


@frozen
class Planted:
    """One row that is there.

    Attributes:
        tenant: Whose it is.
        repo: The repository.
        private_to: The agent that sees it; ``None`` for all of the tenant.
        chunk: What it says.
        secret: What gives it away; empty where several rows say the same.
        place: Where it lies, if not where such a row does.
    """

    tenant: str
    repo: str
    private_to: str | None
    chunk: Chunk = field(hash=False)
    secret: str = ""
    place: Key | None = None

    @property
    def visibility(self) -> str:
        return "team" if self.private_to is None else "private"

    @cached_property
    def key(self) -> Key:
        return self.place or (
            label_of(self.tenant, self.private_to),
            row_id(self.tenant, self.repo, self.private_to, self.chunk),
        )

    @property
    def label(self) -> str:
        return self.key[0]

    @property
    def id(self) -> str:
        return self.key[1]

    def seen_as(self, private_to: str | None) -> Planted:
        """The same chunk with another audience within its tenant."""
        return Planted(self.tenant, self.repo, private_to, self.chunk, self.secret)


def label_of(tenant: str, private_to: str | None) -> str:
    """The access label of an audience."""
    return f"team:{tenant}" if private_to is None else f"private:{tenant}:{private_to}"


def fingerprint_of(chunk: Chunk) -> str:
    """The content hash of a chunk of text fields."""
    return _sha256({key: chunk[key] for key in _HASHED if key in chunk})


def row_id(tenant: str, repo: str, private_to: str | None, chunk: Chunk) -> str:
    """The id that the server has to give to a chunk of text fields."""
    fingerprint = fingerprint_of(chunk)
    if private_to is None and (tenant, repo) == (SHARED, CORPUS):
        return fingerprint
    hashed = {
        "tenantId": tenant,
        "repoSlug": repo,
        "hash": fingerprint,
        "type": chunk["type"],
        "name": chunk["name"],
        "source": chunk["source"],
    }
    return _sha256(hashed if private_to is None else {**hashed, "originAgentIdentity": private_to})


def _sha256(value: dict[str, str]) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sees(reader: AgentIdentity, row: Planted) -> bool:
    """The read rule."""
    if row.tenant == reader.tenant_id:
        return row.private_to is None or row.private_to == reader.agent_id
    return row.tenant == SHARED and row.private_to is None


class Model(dict[Key, Planted]):
    """Every row by its address."""

    def add(self, row: Planted) -> None:
        """A row is there, whatever was under its address."""
        self[row.key] = row

    def seen_by(self, reader: AgentIdentity) -> list[Planted]:
        """What a caller may see, by ascending id and label."""
        return sorted(
            (row for row in self.values() if sees(reader, row)), key=lambda row: row.key[::-1]
        )

    def hidden_from(self, reader: AgentIdentity) -> list[Planted]:
        """What a caller may not see."""
        return [row for row in self.values() if not sees(reader, row)]

    def sync(self, writer: AgentIdentity, repo: str, private: bool, chunks: list[Chunk]) -> None:
        """A repository becomes equal to a workspace, as far as the writer may see it."""
        wanted = self._rows(writer, repo, private, chunks)
        self.remove(writer, repo, [key for key in self if key not in wanted])
        self.update(wanted)

    def write(self, writer: AgentIdentity, repo: str, private: bool, chunks: list[Chunk]) -> None:
        """Rows are written or written again.

        In one writer's eyes a chunk at a path is one row: the team's becomes the writer's own
        private one, and the other way round. Another agent's private row is another row.
        """
        for key, row in self._rows(writer, repo, private, chunks).items():
            self.pop(row.seen_as(None if private else writer.agent_id).key, None)
            self[key] = row

    def remove(self, writer: AgentIdentity, repo: str, keys: Iterable[Key]) -> list[Key]:
        """Rows of one repository go, as far as the writer may see them; returns their addresses."""
        gone = [
            key
            for key in keys
            if key in self
            and (self[key].tenant, self[key].repo) == (writer.tenant_id, repo)
            and sees(writer, self[key])
        ]
        for key in gone:
            del self[key]
        return gone

    @staticmethod
    def _rows(
        writer: AgentIdentity, repo: str, private: bool, chunks: list[Chunk]
    ) -> dict[Key, Planted]:
        """The rows of some chunks; of several with one address, that of the first."""
        owner = writer.agent_id if private else None
        rows: dict[Key, Planted] = {}
        for each in chunks:
            row = Planted(writer.tenant_id, repo, owner, each, secret_of(each))
            rows.setdefault(row.key, row)
        return rows


def chunk(secret: str, **fields: Any) -> Chunk:
    """A chunk whose every field gives it away by ``secret``."""
    return {
        "type": "guide",
        "kind": "section",
        "name": f"name {secret}",
        "source": f"docs/{secret}.md",
        "className": f"Class.{secret}",
        "extends": f"Base.{secret}",
        "content": f"deploy the worker, password {secret}",
        **fields,
    }


def secret_of(chunk: Chunk) -> str:
    """What gives a chunk away; nothing for one that several tenants have."""
    found = str(chunk["content"]).rpartition("password ")[2]
    return found if found.startswith("secret-") else ""
