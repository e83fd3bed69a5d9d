"""Whatever many tenants do in any order, everybody sees exactly the model's rows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from uuid import uuid4

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
from tests.conformance.stores import STORES, MakeStore, Places
from tests.fail_closed import checks, raw
from tests.fail_closed.actions import Action, actions
from tests.fail_closed.facades import READERS
from tests.fail_closed.findings import Findings
from tests.fail_closed.model import GIL, Model
from tests.fail_closed.world import World


class Tenants(RuleBasedStateMachine):
    """A world that people write to; each subclass has a store of its own."""

    make_store: MakeStore
    folder: Path
    findings: Findings

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).make_store()
        self.world = World.around(self.store, self.folder / uuid4().hex)
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
        assert self.world.export(GIL, self.world.folder / "backup") == len(self.backup)

    @rule(mode=st.sampled_from(RestoreMode))
    @precondition(lambda self: self.backup is not None)
    def restore_the_backup(self, mode: RestoreMode) -> None:
        """The operator imports them again, with what was written since or in its place."""
        assert self.backup is not None
        self.world.import_(GIL, self.world.folder / "backup", mode)
        if mode is RestoreMode.REPLACE:
            self.world.model.clear()
        self.world.model.update(self.backup)

    @rule()
    @precondition(lambda self: self.backup is not None)
    def truncate(self) -> None:
        """The operator empties the collection, having made a backup."""
        assert self.world.truncate(GIL) == len(self.world.model)
        self.world.model.clear()

    @invariant()
    def the_store_holds_the_model(self) -> None:
        """Nobody's row is lost, shadowed or doubled."""
        if self.store.profile() is not None:
            assert set(raw.stored(self.store)) == set(self.world.model)

    @invariant()
    def everybody_sees_exactly_their_rows(self) -> None:
        """Through every facade."""
        for reader in READERS.values():
            checks.everybody_sees_exactly_their_rows(self.world, self.findings, reader)

    def teardown(self) -> None:
        self.store.close()


def run(
    store_name: str, places: Places, folder: Path, findings: Findings, examples: int, steps: int
) -> None:
    """Run the machine against one store."""

    class Machine(Tenants):
        pass

    Machine.make_store = staticmethod(lambda: STORES[store_name](places)())
    Machine.folder, Machine.findings = folder, findings
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.case("9 random writes, every identity, every facade")
def test_everybody_sees_the_models_rows_after_every_step(
    store_name: str, places: Places, tmp_path: Path, findings: Findings
) -> None:
    """Fails: the printed steps lead to a leak or a hole."""
    with closing(STORES[store_name](places)()):  # skips here where there is no such store
        examples, steps = (20, 8) if store_name == "memory" else (3, 5)
        run(store_name, places, tmp_path, findings, examples, steps)


@pytest.mark.slow
@pytest.mark.case("9 random writes, every identity, every facade")
def test_everybody_sees_the_models_rows_in_long_runs(
    store_name: str, places: Places, tmp_path: Path, findings: Findings
) -> None:
    """Fails: the printed steps lead to a leak or a hole."""
    with closing(STORES[store_name](places)()):
        examples, steps = (20, 20) if store_name == "memory" else (4, 12)
        run(store_name, places, tmp_path, findings, examples, steps)
