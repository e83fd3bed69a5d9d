"""Callers, scopes, rows and vectors for the tests of stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from attrs import define, evolve

from tenantkb.domain.context import OperatorScope, ReadScope, TenantContext, WriteScope
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import FieldValue, StampedRow, stamped_row
from tenantkb.domain.stamps import SharedNamespace, Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Engine, RawRow, Vector

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
NAMESPACE = SharedNamespace()
PROFILE = EmbedderProfile("test-embedder", 4)


@define
class StoppedClock:
    """A clock that stands still until it is set."""

    instant: datetime = NOW

    def now(self) -> datetime:
        return self.instant


@define
class Passing:
    """Progress that sets a clock: at each phase it is so many seconds after :data:`NOW`."""

    clock: StoppedClock
    seconds: float

    def expect(self, steps: int) -> None:
        """Nothing happens."""

    def phase(self, name: str, total: int | None = None) -> None:
        self.clock.instant = NOW + timedelta(seconds=self.seconds)

    def advance(self, steps: int = 1) -> None:
        """Nothing passes."""


def identity(tenant: str, agent: str = "ada") -> AgentIdentity:
    """A member of a tenant; of the shared one, a curator."""
    shared = tenant == NAMESPACE.tenant_id
    return AgentIdentity(tenant, agent, frozenset({Role.CURATOR if shared else Role.AGENT}))


def context(tenant: str, agent: str = "ada") -> TenantContext:
    """A member's standing."""
    return TenantContext.admit(identity(tenant, agent), NAMESPACE, NOW)


def reading(tenant: str, agent: str = "ada") -> ReadScope:
    """What a member reads."""
    return context(tenant, agent).reading()


def writing(
    tenant: str = "acme",
    agent: str = "ada",
    repo: str = "app",
    visibility: Visibility = Visibility.TEAM,
    namespace: SharedNamespace = NAMESPACE,
) -> WriteScope:
    """What a member writes."""
    standing = TenantContext.admit(identity(tenant, agent), namespace, NOW)
    return standing.writing(repo, visibility)


def operating(*roles: Role) -> OperatorScope:
    """What an operator, who may have more roles, reaches."""
    olga = AgentIdentity("ops", "olga", frozenset({Role.OPERATOR, *roles}))
    return TenantContext.admit(olga, NAMESPACE, NOW).operating()


def row(scope: WriteScope, name: str, **fields: object) -> StampedRow:
    """A row of a scope, of a chunk with this name and these fields."""
    chunk = {"type": "guide", "name": name, "content": f"text of {name}", "source": "a.md"}
    return stamped_row({**chunk, **fields}, scope, RootKind.BARE_REPO)


def rows(scope: WriteScope, count: int, **fields: object) -> list[StampedRow]:
    """So many different rows of a scope."""
    return [row(scope, f"n{number:05}", **fields) for number in range(count)]


def raw(stamped: StampedRow) -> RawRow:
    """A sound row as an engine gets it."""
    return RawRow(stamped.stamp.label, stamped.id, stamped.metadata())


def keyed(scope: WriteScope, row_id: str, **fields: FieldValue) -> RawRow:
    """A sound row of a scope, as an engine gets it, with an id and fields of one's choice."""
    made = row(scope, "any")
    return raw(evolve(made, id=ChunkId(row_id), fields={**made.fields, **fields}))


def unit(*numbers: float) -> Vector:
    """A vector of this direction and of length 1."""
    vector = np.array(numbers, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def vectors(count: int, seed: int = 0, dimension: int = PROFILE.dimension) -> Vectors:
    """Unit vectors of random directions, the same ones for the same seed."""
    drawn = np.random.default_rng(seed).normal(size=(count, dimension))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def fill(engine: Engine, written: list[RawRow], given: Vectors | None = None) -> None:
    """Bind an engine and put rows into it."""
    engine.bind(PROFILE)
    engine.put(written, vectors(len(written)) if given is None else given, exact=False)
