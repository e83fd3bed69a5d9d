"""Rows, vectors and selections for the tests of single engines."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from tenantkb.domain.context import TenantContext, WriteScope
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import stamped_row
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import SharedNamespace, Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Engine, RawRow, Vector

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
PROFILE = EmbedderProfile("test-embedder", 4)


def context(tenant: str, agent: str = "ada") -> TenantContext:
    namespace = SharedNamespace()
    role = Role.CURATOR if tenant == namespace.tenant_id else Role.AGENT
    return TenantContext.admit(AgentIdentity(tenant, agent, frozenset({role})), namespace, NOW)


def writing(
    tenant: str = "acme",
    agent: str = "ada",
    repo: str = "app",
    visibility: Visibility = Visibility.TEAM,
) -> WriteScope:
    return context(tenant, agent).writing(repo, visibility)


def readable(tenant: str = "acme", agent: str = "ada", **equalities: str) -> Selection:
    return Selection(context(tenant, agent).reading().labels, equalities)


def row(scope: WriteScope, name: str, **fields: object) -> RawRow:
    chunk = {"type": "guide", "name": name, "content": f"text of {name}", "source": "a.md"}
    made = stamped_row({**chunk, **fields}, scope, RootKind.BARE_REPO)
    return RawRow(made.stamp.label, made.id, made.metadata())


def rows(scope: WriteScope, count: int, **fields: object) -> list[RawRow]:
    return [row(scope, f"n{number:05}", **fields) for number in range(count)]


def in_order(some: list[RawRow]) -> list[RawRow]:
    return sorted(some, key=lambda each: (each.id, each.label))


def unit(*numbers: float) -> Vector:
    vector = np.array(numbers, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def vectors(count: int, seed: int = 0, dimension: int = PROFILE.dimension) -> Vectors:
    drawn = np.random.default_rng(seed).normal(size=(count, dimension))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def put(engine: Engine, written: list[RawRow], seed: int = 0) -> None:
    engine.bind(PROFILE)
    engine.put(written, vectors(len(written), seed), exact=False)
