"""Random writes by many people, as data: for the laws over any sequence of them."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from hypothesis import strategies as st

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.tenancy import WriteScope
from tests.fail_closed.model import (
    ADA,
    BOB,
    CORA,
    CORPUS,
    EVE,
    Chunk,
    Planted,
    chunk,
)
from tests.fail_closed.world import TWIN, World, visibility_of

WRITERS = (ADA, BOB, EVE, CORA)
REPOS = ("app", "lib", CORPUS)
KINDS = ("sync", "sync", "embed", "embed", "restamp", "delete", "gone", "manifest", "restore")

_OTHER_CLASS = {"className": "Class.common", "extends": "Base.common"}
POOL: tuple[Chunk, ...] = (
    TWIN,
    {**TWIN, "source": "docs/other.md"},
    *(
        {**chunk(f"common {number}"), "content": f"common words {number}", **_OTHER_CLASS}
        for number in range(3)
    ),
)
"""Chunks that anybody may write, so that the same ones meet in many hands."""


@frozen
class Action:
    """One thing that somebody does."""

    kind: str
    who: AgentIdentity
    repo: str
    private: bool
    chunks: tuple[int, ...]

    def run(self, world: World) -> Any:
        """Do it to the application and to the model."""
        chunks = [POOL[number] for number in self.chunks]
        if self.kind == "sync":
            return world.sync(self.who, self.repo, chunks, private=self.private)
        if self.kind == "embed":
            return world.embed(self.who, self.repo, chunks, private=self.private)
        if self.kind == "restore":
            return self._restore(world, chunks)
        if self.kind in ("gone", "manifest"):
            paths = [str(each["source"]) for each in chunks]
            return world.signal(self.who, self.repo, paths, gone=self.kind == "gone")
        scope = WriteScope.of(
            self.who,
            world.app.container.tenancy(),
            world.app.container.clock().now(),
            repo_slug=self.repo,
            visibility=visibility_of(private=self.private),
        )
        if self.kind == "delete":
            ids = world.ids()
            kept = {Planted(self.who.tenant_id, self.repo, None, each).id for each in chunks}
            doomed = [key for key in ids if key not in kept]
            gone = world.model.remove(self.who, self.repo, doomed)
            deleted = world.store.delete(scope, doomed)
            assert deleted == len(gone)
            return deleted
        return self._restamp(world, scope)

    def _restamp(self, world: World, scope: WriteScope) -> None:
        """Give the repository's visible rows another audience, past the use cases."""
        stamp = scope.stamp(world.app.container.clock().now()).metadata()
        rows = []
        for row in world.store.scan(scope):
            fields = {key: row.metadata[key] for key in row.metadata if key not in _STAMPED}
            rows.append(type(row)(row.id, {**fields, **stamp}))
            planted = world.model[row.id]
            owner = self.who.agent_id if self.private else None
            world.model[row.id] = Planted(
                planted.tenant, planted.repo, owner, planted.chunk, planted.secret
            )
        world.store.restamp(scope, rows)

    def _restore(self, world: World, chunks: list[Chunk]) -> None:
        """Rows come in as from a backup, where there is none of their id yet."""
        owner = self.who.agent_id if self.private else None
        for each in chunks:
            row = Planted(self.who.tenant_id, self.repo, owner, each)
            if row.id not in world.model:
                world.restore(row)


_STAMPED = frozenset({"visibility", "originAgentIdentity", "access", "ingestedAt"})


def actions(
    people: tuple[AgentIdentity, ...] = WRITERS,
    repos: tuple[str, ...] = REPOS,
    private: st.SearchStrategy[bool] | None = None,
) -> st.SearchStrategy[Action]:
    """Whatever these people may do in these repositories."""
    return st.builds(
        Action,
        st.sampled_from(KINDS),
        st.sampled_from(people),
        st.sampled_from(repos),
        st.booleans() if private is None else private,
        st.lists(st.integers(0, len(POOL) - 1), max_size=4).map(tuple),
    )


def actions_that_do_not_concern(tenant: str) -> st.SearchStrategy[Action]:
    """What other tenants do, the curator's private work, and one colleague's private work."""
    assert tenant == ADA.tenant_id
    hidden = st.just(True)
    return st.one_of(
        actions((EVE,)),
        actions((CORA,), private=hidden, repos=("draft",)),
        actions((BOB,), private=hidden, repos=("of-bob",)),
    )
