"""What is stored, as plain values, and who may see it: written out once more, on purpose.

Nothing here is imported from the product's rules, so that an error in one of them cannot hide in
both.
"""

from __future__ import annotations

import hashlib
import json
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
PEOPLE = (ADA, BOB, EVE, GIL, CORA)

_HASHED = ("type", "name", "description", "content", "extends", "configType", "params", "returns")

Chunk = dict[str, Any]


@frozen
class Planted:
    """One row that is there."""

    tenant: str
    repo: str
    private_to: str | None
    chunk: Chunk = field(hash=False)
    secret: str = ""

    @property
    def visibility(self) -> str:
        return "team" if self.private_to is None else "private"

    @property
    def id(self) -> str:
        return row_id(self.tenant, self.repo, self.chunk)


def row_id(tenant: str, repo: str, chunk: Chunk) -> str:
    """The id that the server has to give to a chunk of text fields."""
    fingerprint = _sha256({key: chunk[key] for key in _HASHED if key in chunk})
    if (tenant, repo) == (SHARED, CORPUS):
        return fingerprint
    return _sha256(
        {
            "tenantId": tenant,
            "repoSlug": repo,
            "hash": fingerprint,
            "type": chunk["type"],
            "name": chunk["name"],
            "source": chunk["source"],
        }
    )


def _sha256(value: dict[str, str]) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sees(reader: AgentIdentity, row: Planted) -> bool:
    """The read rule."""
    if row.tenant == reader.tenant_id:
        return row.private_to is None or row.private_to == reader.agent_id
    return row.tenant == SHARED and row.private_to is None


class Model(dict[str, Planted]):
    """Every row by its id."""

    def seen_by(self, reader: AgentIdentity) -> list[Planted]:
        """What a caller may see, by ascending id."""
        return [self[key] for key in sorted(self) if sees(reader, self[key])]

    def hidden_from(self, reader: AgentIdentity) -> list[Planted]:
        """What a caller may not see."""
        return [row for row in self.values() if not sees(reader, row)]

    def sync(self, writer: AgentIdentity, repo: str, private: bool, chunks: list[Chunk]) -> None:
        """A repository becomes equal to a workspace, as far as the writer may see it."""
        wanted = {row_id(writer.tenant_id, repo, each) for each in chunks}
        self.remove(writer, repo, [key for key in self if key not in wanted])
        self.write(writer, repo, private, chunks)

    def write(self, writer: AgentIdentity, repo: str, private: bool, chunks: list[Chunk]) -> None:
        """Rows are written or written again; who writes last decides who may see them."""
        owner = writer.agent_id if private else None
        written: dict[str, Planted] = {}
        for each in chunks:
            row = Planted(writer.tenant_id, repo, owner, each, secret_of(each))
            written.setdefault(row.id, row)
        self.update(written)

    def remove(self, writer: AgentIdentity, repo: str, ids: list[str]) -> list[str]:
        """Rows of one repository go, as far as the writer may see them; returns their ids."""
        gone = [
            key
            for key in ids
            if key in self
            and (self[key].tenant, self[key].repo) == (writer.tenant_id, repo)
            and sees(writer, self[key])
        ]
        for key in gone:
            del self[key]
        return gone


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
