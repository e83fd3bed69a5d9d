"""Deletion signals around any store: what goes, what stays, and what an interruption leaves."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest
from attrs import field, frozen

from tenantkb.application.writing.deletions import DeletionRequest, parse_signals
from tenantkb.domain.deletion import DeletionPlan, KnownState
from tenantkb.domain.errors import PlanOutdatedError, StoreError
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import format_instant
from tenantkb.ports.engine import RawRow
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import ADA, BOB, CORA, EVE, Planted, chunk
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.tampering import REMOVED, altered
from tenantkb.testing.fail_closed.world import World, manifest, metadata_of, tombstones
from tenantkb.testing.samples import NOW
from tenantkb.testing.wrappers import WrappedEngine

FILES: Final = tuple(f"docs/{name}.md" for name in "abcdefgh")


@frozen
class History:
    """A version control system that knows one answer and notes what it is asked."""

    deleted: frozenset[str] = frozenset()
    asked: list[tuple[str, str]] = field(factory=list)

    def between(self, base: str, head: str) -> frozenset[str]:
        self.asked.append((base, head))
        return self.deleted


@frozen
class Interrupted(WrappedEngine):
    """A store during whose deletions something happens.

    Attributes:
        happens: Called before each deletion.
    """

    happens: Callable[[], None]

    def delete(self, keys: Sequence[RowKey]) -> int:
        self.happens()
        return self.inner.delete(keys)


@frozen
class Leaking(WrappedEngine):
    """A store that answers one row of somebody else's with each scan.

    Attributes:
        foreign: That row.
    """

    foreign: RawRow

    def scan(self, selection: Selection, after: RowKey | None = None) -> Iterator[RawRow]:
        yield self.foreign
        yield from self.inner.scan(selection, after)


def plan(world: World, signals: dict[str, Any], history: History | None = None) -> DeletionPlan:
    """What signals of Ada's for the repository ``app`` would do."""
    context = world.context(ADA)
    request = DeletionRequest("app", parse_signals(signals, context))
    return world.knowledge_base.plan_deletions(context, request, history)


def apply(world: World, made: DeletionPlan) -> int:
    """Carry out a plan of Ada's."""
    context = world.context(ADA)
    return world.knowledge_base.apply_deletions(context, made, confirmed=True)


def push(world: World, signals: dict[str, Any], history: History | None = None) -> int:
    """Plan and apply."""
    return apply(world, plan(world, signals, history))


def paths(world: World, tenant: str = "acme", repo: str = "app") -> list[str]:
    """The paths of the rows that are stored of a repository."""
    return sorted(
        metadata["sourcePath"]
        for metadata, _ in world.stored().values()
        if (metadata["tenantId"], metadata["repoSlug"]) == (tenant, repo)
    )


def boundary(base: str | None, head: str) -> dict[str, Any]:
    """The signal that the history went on."""
    return {"headRevision": head} if base is None else {"baseRevision": base, "headRevision": head}


class Signals(Worlds):
    """Case 8 of the specification, where deletions are signalled."""

    @pytest.fixture
    def pushed(self, empty_world: World) -> World:
        """A world where everybody has a row for each file, and Ada has told what she has."""
        world = empty_world
        for who, repo, private in (
            (ADA, "app", False),
            (BOB, "app", True),
            (ADA, "other", False),
            (EVE, "app", False),
            (CORA, "app", False),
        ):
            rows = [chunk(f"of {who.agent_id} {path}", source=path) for path in FILES]
            world.embed(who, repo, rows, private=private)
        push(world, {**boundary(None, "1"), **manifest("app", list(FILES))})
        return world

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="apply_deletions")
    def test_three_signals_together_delete_what_they_say_and_nothing_of_others(
        self, pushed: World, findings: Findings
    ) -> None:
        """Fails: a deletion crosses its (tenant, repository, reader), or a signal does nothing."""
        before = pushed.stored()
        history = History(frozenset({FILES[0], FILES[1], "docs/never-stored.md"}))
        signals = {**boundary("1", "2"), **tombstones("app", FILES[2:3])}
        listed = manifest("app", [FILES[1], *FILES[3:7]])
        assert push(pushed, {**signals, **listed}, history) == 3
        assert history.asked == [("1", "2")]
        gone = {before[key][0]["sourcePath"]: key for key in before.keys() - pushed.stored().keys()}
        assert set(gone) == {FILES[0], FILES[2], FILES[7]}
        assert {key.label for key in gone.values()} == {"team:acme"}
        kept = {key: found for key, found in before.items() if key not in gone.values()}
        assert pushed.stored() == kept
        known = pushed.app.state.known("acme", "app")
        assert known.head == "2"
        findings.answers["apply_deletions"] += len(before)

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="apply_deletions")
    def test_age_decides_over_what_a_manifest_does_not_list(
        self, pushed: World, findings: Findings
    ) -> None:
        """Fails: the instant of a stored row is not read, or an unknown one is taken for old."""
        row = Planted("acme", "app", None, chunk("undated", source="docs/undated.md"))
        undated = altered(metadata_of(row), {"ingestedAt": REMOVED})
        pushed.behind.plant(
            RawRow(row.label, ChunkId(row.id), undated), pushed.vector(metadata_of(row))
        )
        pushed.embed(ADA, "app", [chunk("younger", source="docs/younger.md")])
        written = pushed.store.get(pushed.context(ADA).reading(), [ChunkId(row.id)])
        assert written[0].stamp.ingested_at is None
        pushed.app.state.replace_known("acme", "app", known_of(pushed), KnownState())
        early = manifest("app", [])
        early["manifestSnapshot"]["createdAt"] = format_instant(NOW)
        assert push(pushed, early) == 0
        young = next(
            metadata["ingestedAt"]
            for metadata, _ in pushed.stored().values()
            if metadata["sourcePath"] == "docs/younger.md"
        )
        between = manifest("app", [])
        between["manifestSnapshot"]["createdAt"] = young
        assert push(pushed, between) == len(FILES)
        assert paths(pushed) == sorted([*FILES, "docs/undated.md", "docs/younger.md"])  # Bob's
        assert push(pushed, tombstones("app", ["docs/undated.md", "docs/younger.md"])) == 2
        findings.answers["apply_deletions"] += 4

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="apply_deletions")
    def test_after_an_interruption_the_same_signals_finish_the_job(
        self, pushed: World, findings: Findings
    ) -> None:
        """Fails: the head moves before the last row is gone, and the rest is never deleted."""
        calls = iter([None, StoreError("the store went away")])

        def fail() -> None:
            if (error := next(calls, None)) is not None:
                raise error

        broken = pushed.through(Interrupted(pushed.app.engine, fail))
        history = History(frozenset(FILES[:5]))
        with pytest.raises(StoreError, match="went away"):
            apply(broken, plan(broken, boundary("1", "2"), history))
        assert known_of(pushed).head == "1"
        left = sum(path in FILES[:5] for path in paths(pushed)) - 5  # Bob's stay
        assert 0 < left < 5
        assert push(pushed, boundary("1", "2"), history) == left
        assert known_of(pushed).head == "2"
        assert push(pushed, boundary("1", "2"), history) == 0
        findings.answers["apply_deletions"] += 3

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="apply_deletions")
    def test_a_plan_that_was_overtaken_is_refused(self, pushed: World, findings: Findings) -> None:
        """Fails: the head goes back to an older one, or rows go that came back since."""
        before = pushed.stored()
        old = plan(pushed, boundary("1", "2"), History(frozenset(FILES[:1])))
        push(pushed, boundary("1", "3"), History())
        with pytest.raises(PlanOutdatedError):
            apply(pushed, old)
        assert known_of(pushed).head == "3"
        assert pushed.stored() == before
        findings.answers["apply_deletions"] += 1

    @pytest.mark.case("8 sync and deletion leave others as they were", facade="apply_deletions")
    def test_rows_are_judged_when_a_plan_is_applied(
        self, pushed: World, findings: Findings
    ) -> None:
        """Fails: a plan trusts the rows that it saw, not the store."""
        made = plan(pushed, manifest("app", list(FILES[:1])))
        pushed.embed(ADA, "app", [chunk("later", source="docs/later.md")])
        assert apply(pushed, made) == len(FILES) - 1
        assert paths(pushed) == sorted([*FILES, FILES[0], "docs/later.md"])
        findings.answers["apply_deletions"] += 1

    @pytest.mark.case("10 sabotage", facade="apply_deletions")
    def test_a_row_that_the_store_should_not_have_answered_is_counted_and_kept(
        self, pushed: World, findings: Findings
    ) -> None:
        """Fails: a deletion trusts the store's filter alone."""
        foreign = next(found for found, _ in pushed.app.engine.export() if "beta" in found.label)
        others = {key: found for key, found in pushed.stored().items() if key.label != "team:acme"}
        leaking = pushed.through(Leaking(pushed.app.engine, foreign))
        made = plan(leaking, manifest("app", []))
        assert apply(leaking, made) == len(FILES)
        assert leaking.faults() == 2  # once for the plan, once for its application
        assert checks.untouched(others, pushed.stored())
        findings.caught["apply_deletions"] += 1


def known_of(world: World) -> KnownState:
    """What is known of Ada's repository."""
    return world.app.state.known("acme", "app")
