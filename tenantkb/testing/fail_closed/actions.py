"""Random writes by many people, as data: for the laws over any sequence of them."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from typing import Any, Final

from attrs import evolve, frozen
from hypothesis import strategies as st

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.rows import StampedRow
from tenantkb.testing.fail_closed.model import (
    ADA,
    BOB,
    CORA,
    CORPUS,
    EVE,
    Chunk,
    Planted,
    chunk,
)
from tenantkb.testing.fail_closed.world import TWIN, World, visibility_of

WRITERS: Final = (ADA, BOB, EVE, CORA)
REPOS: Final = ("app", "lib", CORPUS)
KINDS: Final = ("sync", "sync", "embed", "embed", "move", "delete", "gone", "manifest", "restore")

_OTHER_CLASS: Final = {"className": "Class.common", "extends": "Base.common"}
POOL: Final[tuple[Chunk, ...]] = (
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
        return self._delete(world, chunks) if self.kind == "delete" else self._move(world)

    @property
    def _owner(self) -> str | None:
        return self.who.agent_id if self.private else None

    def _delete(self, world: World, chunks: list[Chunk]) -> int:
        """Delete by addresses whatever the writer may delete, but for some chunks' rows."""
        kept = {Planted(self.who.tenant_id, self.repo, None, each).key for each in chunks}
        doomed = [key for key in world.addresses() if key not in kept]
        scope = world.context(self.who).writing(self.repo)
        deleted = world.store.delete(scope, doomed)
        assert deleted == len(world.model.remove(self.who, self.repo, doomed))
        return deleted

    def _move(self, world: World) -> int:
        """Give the repository's visible rows another audience, past the use cases."""
        visibility = visibility_of(private=self.private)
        scope = world.context(self.who).writing(self.repo, visibility)
        moves: dict[RowKey, tuple[RowKey, StampedRow]] = {}
        merged = []
        for row in world.store.scan(scope):
            if row.stamp.label != scope.label:
                planted = world.model.pop(row.key).seen_as(self._owner)
                world.model.add(planted)
                moved = evolve(row, id=ChunkId(planted.id), stamp=scope.stamp())
                if moved.key in moves:  # in the corpus, one team row stands for several paths
                    merged.append(moves[moved.key][0])
                moves[moved.key] = row.key, moved
        world.store.delete(scope, merged)
        world.store.move(scope, list(moves.values()))
        return len(moves)

    def _restore(self, world: World, chunks: list[Chunk]) -> None:
        """Rows come in as from a backup, where there is none at their address yet."""
        for each in chunks:
            row = Planted(self.who.tenant_id, self.repo, self._owner, each)
            if row.key not in world.model:
                world.restore(row)


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
