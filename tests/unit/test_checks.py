"""A check's rule."""

from __future__ import annotations

import pytest

from tenantkb.domain.checks import Check, State, skipped


@pytest.mark.parametrize("state", State)
def test_there_is_a_remedy_unless_all_is_well(state: State) -> None:
    well = state is State.OK
    assert Check("x", state, "found", None if well else "do this").state is state
    with pytest.raises(ValueError, match="x: a remedy, unless all is well"):
        Check("x", state, "found", "do this" if well else None)


def test_a_skipped_check_names_the_one_it_waits_for() -> None:
    check = skipped("store.index", "store.lock")
    assert (check.name, check.state) == ("store.index", State.SKIPPED)
    assert check.remedy == "First do what store.lock says."
