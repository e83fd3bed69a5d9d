"""Which parts of the suite run on which store in the fast tests; ``make fail-closed`` runs all."""

from __future__ import annotations

import pytest

from tenantkb.testing.plugin import store_of

IN_THE_FAST_TESTS = {"memory", "sqlite", "-"}
"""The stores that all cases run on there."""

ON_EVERY_STORE = {"3", "9", "10", "non-interference:", "congruence:", "threads:"}
"""The cases, by their first word, that run on the others even there."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("case")
        everywhere = marker is not None and marker.args[0].split(" ")[0] in ON_EVERY_STORE
        here = item.path.parent.name == "fail_closed"
        if here and not everywhere and store_of(item) not in IN_THE_FAST_TESTS:
            item.add_marker(pytest.mark.slow)
