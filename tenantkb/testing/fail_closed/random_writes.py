"""Whatever many tenants do in any order, everybody sees exactly the model's rows."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tenantkb.application.operating.backup import RestoreMode
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.actions import Action, actions
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import OPA, Model
from tenantkb.testing.fail_closed.suite import NewWorld, Worlds
from tenantkb.testing.fail_closed.world import COLLECTION


class _Tenants(RuleBasedStateMachine):
    """A world that people write to; each run of the machine has a subclass of its own."""

    new_world: ClassVar[NewWorld]
    findings: ClassVar[Findings]

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).new_world()
        self.backup: Model | None = None
        """What the last backup holds."""

    @rule(action=actions())
    def act(self, action: Action) -> None:
        """Somebody writes, writes again, deletes or restores."""
        action.run(self.world)

    @rule()
    @precondition(lambda self: self.world.model)
    def back_up(self) -> None:
        """The operator exports all rows."""
        self.backup = Model(self.world.model)
        path = self.world.folder / "backup"
        assert self.world.export(self.world.context(OPA), path) == len(self.backup)

    @rule(mode=st.sampled_from(RestoreMode))
    @precondition(lambda self: self.backup is not None)
    def restore_the_backup(self, mode: RestoreMode) -> None:
        """The operator imports them again, with what was written since or in its place."""
        assert self.backup is not None
        self.world.import_(self.world.context(OPA), self.world.folder / "backup", mode)
        if mode is RestoreMode.REPLACE:
            self.world.model.clear()
        self.world.model.update(self.backup)

    @rule()
    @precondition(lambda self: self.backup is not None)
    def truncate(self) -> None:
        """The operator empties the collection, having made a backup."""
        truncated = self.world.knowledge_base.truncate(self.world.context(OPA), COLLECTION)
        assert truncated == len(self.world.model)
        self.world.model.clear()

    @invariant()
    def the_store_holds_the_model(self) -> None:
        """Nobody's row is lost, shadowed or doubled."""
        if self.world.store.profile() is not None:
            assert set(self.world.stored()) == set(self.world.model)

    @invariant()
    def everybody_sees_exactly_their_rows(self) -> None:
        """Through every facade."""
        checks.everybody_sees_exactly_their_rows(self.world, self.findings)


def _run(new_world: NewWorld, findings: Findings, examples: int, steps: int) -> None:
    machine: type[_Tenants] = type(
        "Tenants", (_Tenants,), {"new_world": staticmethod(new_world), "findings": findings}
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class RandomWrites(Worlds):
    """Case 9 of the specification.

    Attributes:
        random_runs: How many runs of how many steps a store is put through.
        long_runs: The same, in the slow tests.
    """

    random_runs: ClassVar[tuple[int, int]] = (3, 5)
    long_runs: ClassVar[tuple[int, int]] = (4, 12)

    @pytest.mark.case("9 random writes, every identity, every facade")
    def test_everybody_sees_the_models_rows_after_every_step(
        self, new_world: NewWorld, findings: Findings
    ) -> None:
        """Fails: the printed steps lead to a leak or a hole."""
        _run(new_world, findings, *self.random_runs)

    @pytest.mark.slow
    @pytest.mark.case("9 random writes, every identity, every facade")
    def test_everybody_sees_the_models_rows_in_long_runs(
        self, new_world: NewWorld, findings: Findings
    ) -> None:
        """Fails: the printed steps lead to a leak or a hole."""
        _run(new_world, findings, *self.long_runs)
