"""What all parts of the fail-closed suite have in common: the worlds they look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from tenantkb.adapters.state.sqlite import MemoryState
from tenantkb.domain.context import TenantContext
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.ports.engine import Engine
from tenantkb.testing.fail_closed.findings import FINDINGS, Findings
from tenantkb.testing.fail_closed.model import SHARED
from tenantkb.testing.fail_closed.world import World, populate
from tenantkb.testing.fixtures import Behind, StoreSuite
from tenantkb.testing.samples import NOW

NewWorld = Callable[[], World]
"""Makes a world in a store that is emptied for it."""

few = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


class Worlds(StoreSuite):
    """Base of the parts."""

    @pytest.fixture
    def findings(self, request: pytest.FixtureRequest) -> Findings:
        """Where a test counts what it has looked at."""
        found: Findings = request.node.stash.setdefault(FINDINGS, Findings())
        return found

    @pytest.fixture
    def empty_world(self, engine: Engine, behind: Behind, tmp_path: Path) -> World:
        """An application around an empty store."""
        return World.around(engine, behind, tmp_path / "world")

    @pytest.fixture
    def world(self, empty_world: World) -> World:
        """A populated world."""
        return populate(empty_world)

    @pytest.fixture
    def new_world(self, engine: Engine, behind: Behind, tmp_path: Path) -> NewWorld:
        """For tests that need many worlds, one after the other."""

        def make() -> World:
            engine.truncate()
            state = MemoryState(wait=10)
            return World.around(engine, behind, tmp_path / uuid4().hex, state=state)

        return make


NOBODIES: dict[str, Any] = {
    "no identity": None,
    "expired": AgentIdentity("acme", "ada", expires_at=NOW),
    "shared tenant without curator": AgentIdentity(SHARED, "ada"),
    "shared tenant as operator": AgentIdentity(SHARED, "ada", frozenset({Role.OPERATOR})),
    "a claim": {"tenant_id": "acme", "agent_id": "ada", "roles": ["curator"]},
    "a name": "acme/ada",
    "a pair": ("acme", "ada"),
    "true": True,
}
"""What an identity provider must never give, and gives nobody a context."""


class _Claiming:
    """Has everything that a context has, and has not been authenticated."""

    def __init__(self, context: TenantContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def no_contexts(world: World, who: AgentIdentity) -> dict[str, Any]:
    """What callers may pass as a context, having none; by what it is."""
    context = world.context(who)
    subclass = type("Context", (TenantContext,), {})
    inherited: Any = object.__new__(subclass)
    for name in ("identity", "namespace", "admitted_at", "_seal"):
        object.__setattr__(inherited, name, getattr(context, name))
    return {
        "nothing": None,
        "an identity": who,
        "a read scope": context.reading(),
        "a write scope": context.writing("app"),
        "a claim": {"identity": who, "tenantId": who.tenant_id},
        "a name": f"{who.tenant_id}/{who.agent_id}",
        "the class": TenantContext,
        "a likeness": _Claiming(context),
        "a subclass": inherited,
        "true": True,
    }
