"""What others do changes nothing for a tenant, not by a byte; nor does the choice of the store."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantkb.adapters.state.sqlite import MemoryState
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.rows import Criteria, read_row
from tenantkb.ports.engine import Lexical, RawRow, Vector
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.actions import (
    POOL,
    Action,
    actions,
    actions_that_do_not_concern,
)
from tenantkb.testing.fail_closed.facades import READERS, Request, plain
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import (
    ADA,
    BOB,
    CORPUS,
    EVE,
    PEOPLE,
    SHARED,
    Planted,
    chunk,
    secret_of,
)
from tenantkb.testing.fail_closed.suite import NewWorld, Worlds, few, many
from tenantkb.testing.fail_closed.world import World, metadata_of, populate, visibility_of
from tenantkb.testing.fixtures import Stored
from tenantkb.testing.wrappers import WrappedEngine

REQUESTS: Final = (
    Request(),
    Request(limit=3),
    Request(limit=3, offset=2),
    Request(text="common words", criteria=Criteria(repo_slug="app")),
    Request(criteria=Criteria(type="nothing")),
    Request(text=" ", limit=0, offset=-1),
)
"""Lists, pages, questions, and errors."""


def _either(*values: str) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(values)


_random_requests = st.lists(
    st.builds(
        Request,
        text=st.sampled_from(["common words", "deploy the worker", "Deployment", "\0", ""]),
        limit=st.integers(1, 6) | st.just(1000),
        offset=st.integers(0, 4),
        criteria=st.builds(
            Criteria,
            type=_either("guide", "nothing"),
            kind=_either("section", "guide"),
            repo_slug=_either("app", "lib", CORPUS, "notes", "beta"),
            source_path=_either(*{str(each["source"]) for each in POOL}, "docs"),
            class_name=_either("Class.common", "Class.secret-0-0.", "Base.common"),
        ),
    ),
    max_size=4,
)
_others_actions = st.lists(actions_that_do_not_concern(ADA.tenant_id), min_size=2, max_size=5)
_anybodys_actions = st.lists(actions(), min_size=2, max_size=5)

FUTURE: Final = [
    Planted(tenant, repo, owner, each).id
    for tenant, repo, owner in (
        ("beta", "app", None),
        ("beta", "lib", "ada"),
        (SHARED, "draft", "cora"),
        ("acme", "of-bob", "bob"),
    )
    for each in POOL
]
"""Ids that are of no row at first, and then may be of rows that the caller must not see."""

MANY: Final = 1050
"""More rows than a store may treat as few."""


class _BehindMemory:
    """Behind the back of the store in memory that others are compared with."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine

    def plant(self, row: RawRow, vector: Vector) -> None:
        self._engine.put([row], vector[np.newaxis], exact=True)

    def stored(self) -> Stored:
        return {
            RowKey(label, row_id): (metadata, vector.tobytes())
            for label, rows in self._engine.rows.items()
            for row_id, (metadata, vector) in rows.items()
        }


def fill(world: World, who: AgentIdentity, repo: str, size: int, *, private: bool = False) -> None:
    """Write many rows at once, past the use cases, with vectors of any direction."""
    owner = who.agent_id if private else None
    rows = []
    for number in range(size):
        made = chunk(f"secret-{who.tenant_id}-{repo}-{number}.")
        planted = Planted(who.tenant_id, repo, owner, made, secret_of(made))
        world.model.add(planted)
        rows.append(read_row(ChunkId(planted.id), metadata_of(planted)))
    dimension = world.app.embedder.profile.dimension
    drawn = np.random.default_rng(size).normal(size=(size, dimension))
    scope = world.context(who).writing(repo, visibility_of(private=private))
    world.store.bind(world.app.embedder.profile)
    vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    world.store.upsert(scope, rows, vectors)


class NonInterference(Worlds):
    """Answers depend on what the caller may read, and on nothing else."""

    def view(
        self,
        world: World,
        findings: Findings,
        who: AgentIdentity,
        ids: Sequence[str],
        requests: Sequence[Request] = REQUESTS,
    ) -> dict[str, str]:
        """Everything that one caller can find out, as text, by facade and request."""
        seen = {}
        exact = self.is_exact(len(world.model.seen_by(who)))
        for reader in READERS.values():
            for number, request in enumerate(requests):
                if number and not reader.takes - {"ids"}:
                    continue
                if not exact and "text" in reader.takes and request.limit > 0:
                    continue
                answer = world.ask(findings, reader, who, attrs.evolve(request, ids=ids))
                seen[f"{reader.name} {number}"] = json.dumps(plain(answer))
        return seen

    def others_change_nothing(
        self, world: World, findings: Findings, drawn: Sequence[Action]
    ) -> None:
        """Ada asks before and after others have done something."""
        ids = [*world.ids(), *FUTURE]
        query = READERS["query"]
        exact = self.is_exact(len(world.model.seen_by(ADA)))
        before = self.view(world, findings, ADA, ids)
        all_before = world.ask(findings, query, ADA)
        best_before = world.ask(findings, query, ADA, Request(limit=3))
        for action in drawn:
            action.run(world)
        assert self.view(world, findings, ADA, ids) == before
        best_after = world.ask(findings, query, ADA, Request(limit=3))
        if not exact:
            checks.count_recall(findings, "before others wrote", all_before[:3], best_before)
            checks.count_recall(findings, "after others wrote", all_before[:3], best_after)

    def others_law(self, new_world: NewWorld, findings: Findings, how: settings) -> None:
        """See the tests below."""

        @how
        @given(_others_actions)
        def law(drawn: list[Action]) -> None:
            self.others_change_nothing(populate(new_world()), findings, drawn)

        law()

    def congruence_law(
        self, new_world: NewWorld, folder: Path, findings: Findings, how: settings
    ) -> None:
        """See the tests below."""

        @how
        @given(_anybodys_actions, _random_requests)
        def law(drawn: list[Action], asked: list[Request]) -> None:
            memory = MemoryEngine()
            state = MemoryState(wait=10)
            behind = _BehindMemory(memory)
            other_world = new_world()
            lexical = isinstance(other_world.app.engine, Lexical)
            engine = memory if lexical else WrappedEngine(memory)
            worlds = [
                World.around(engine, behind, folder / uuid4().hex, state=state),
                other_world,
            ]
            for action in drawn:
                one, other = (action.run(world) for world in worlds)
                assert one == other
            ids = worlds[0].ids()
            requests = [*REQUESTS, *asked]
            for who in PEOPLE:
                first, second = (self.view(each, findings, who, ids, requests) for each in worlds)
                assert second
                assert first == second

        law()

    @pytest.mark.case("non-interference: others change nothing by a byte")
    def test_what_others_do_changes_nothing_for_a_tenant(
        self, new_world: NewWorld, findings: Findings
    ) -> None:
        """Fails: a count, a page, a score or an error depends on rows of others."""
        self.others_law(new_world, findings, few)

    @pytest.mark.slow
    @pytest.mark.case("non-interference: others change nothing by a byte")
    def test_what_others_do_changes_nothing_for_a_tenant_in_many_tries(
        self, new_world: NewWorld, findings: Findings
    ) -> None:
        """Fails: as above."""
        self.others_law(new_world, findings, many)

    @pytest.mark.case("non-interference: others change nothing by a byte")
    def test_what_others_write_changes_nothing_beyond_a_thousand_rows(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: the store becomes inexact, or slower to be right, where others have many rows.

        Where it searches the caller's own rows exactly, its answers, their order and their scores
        stay the same by the byte, be the caller's rows few or many.
        """
        for mine in (0, MANY):
            fill(world, ADA, f"mine-{mine}", mine)
            ids = [*world.ids()[::50], "0" * 64]
            questions = [Request(text="deploy the worker", limit=limit) for limit in (1, 10, 200)]
            requests = [*REQUESTS, *questions]
            before = self.view(world, findings, ADA, ids, requests)
            assert len(before) > len(requests)
            for who, private in ((EVE, False), (BOB, True), (EVE, True)):
                fill(world, who, f"others-{mine}-{private}", MANY, private=private)
            assert self.view(world, findings, ADA, ids, requests) == before

    @pytest.mark.case("congruence: every store answers as the one in memory")
    def test_every_store_answers_as_the_one_in_memory(
        self, new_world: NewWorld, tmp_path: Path, findings: Findings
    ) -> None:
        """Fails: the printed actions give two answers; ports/store.py says which is right."""
        self.congruence_law(new_world, tmp_path, findings, few)

    @pytest.mark.slow
    @pytest.mark.case("congruence: every store answers as the one in memory")
    def test_every_store_answers_as_the_one_in_memory_in_many_tries(
        self, new_world: NewWorld, tmp_path: Path, findings: Findings
    ) -> None:
        """Fails: as above."""
        self.congruence_law(new_world, tmp_path, findings, many)
