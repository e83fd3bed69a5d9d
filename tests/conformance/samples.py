"""Identities, scopes, rows and vectors for the tests of stores."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import Row, stamped_row
from tenantkb.domain.tenancy import ReadScope, Tenancy, Visibility, WriteScope
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import VectorStore

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
TENANCY = Tenancy()
PROFILE = EmbedderProfile("test-embedder", 4)


def identity(tenant: str, agent: str = "ada") -> AgentIdentity:
    shared = tenant == TENANCY.shared_tenant
    return AgentIdentity(tenant, agent, frozenset({Role.CURATOR if shared else Role.AGENT}))


def reading(tenant: str, agent: str = "ada") -> ReadScope:
    return ReadScope.of(identity(tenant, agent), TENANCY, NOW)


def writing(
    tenant: str,
    agent: str = "ada",
    repo: str = "app",
    visibility: Visibility = Visibility.TEAM,
) -> WriteScope:
    return WriteScope.of(
        identity(tenant, agent), TENANCY, NOW, repo_slug=repo, visibility=visibility
    )


def row(scope: WriteScope, name: str, **fields: object) -> Row:
    chunk = {"type": "guide", "name": name, "content": f"text of {name}", "source": "a.md"}
    return stamped_row({**chunk, **fields}, scope, RootKind.BARE_REPO, NOW)


def rows(scope: WriteScope, count: int, **fields: object) -> list[Row]:
    return [row(scope, f"n{number:05}", **fields) for number in range(count)]


def unit(*numbers: float) -> Vectors:
    vector = np.array(numbers, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def vectors(count: int, seed: int = 0, dimension: int = PROFILE.dimension) -> Vectors:
    drawn = np.random.default_rng(seed).normal(size=(count, dimension))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def put(store: VectorStore, scope: WriteScope, written: list[Row]) -> None:
    store.bind(PROFILE)
    store.upsert(scope, written, vectors(len(written)))
