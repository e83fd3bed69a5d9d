"""The suite walks every facade that there is, and none can be added without it."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import inspect

from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.testing.fail_closed.facades import (
    DIAGNOSING,
    OPERATED,
    PUSHING,
    REACHING_NO_ROWS,
    READERS,
    SIGNALLED,
    WRITERS,
    discovered,
)
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.world import World


class Discovery(Worlds):
    """What the tables hold."""

    def test_every_attribute_of_the_knowledge_base_is_in_one_table(self) -> None:
        """Fails: a facade is new. Add it to one of the tables in facades.py, and test it there."""
        tables = (READERS, WRITERS, PUSHING, SIGNALLED, DIAGNOSING, OPERATED, REACHING_NO_ROWS)
        tabled = [name for table in tables for name in table]
        assert sorted(tabled) == sorted(discovered())

    def test_nothing_else_of_the_knowledge_base_can_be_called(self, empty_world: World) -> None:
        """Fails: a facade is a method, which the tables are not held to."""
        public = {
            name
            for name, _ in inspect.getmembers(KnowledgeBase, inspect.isfunction)
            if not name.startswith("_")
        }
        assert public == {"close"}
        for name in discovered():
            assert callable(getattr(empty_world.knowledge_base, name))
