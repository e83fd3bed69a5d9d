"""Broken filters and checks: nothing leaks while one of the two stands, and the suite sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from dependency_injector import providers

from tenantkb.application.reading.base import ReadUseCase
from tenantkb.domain.identity import AgentIdentity
from tests.fail_closed import checks
from tests.fail_closed.conftest import SharedWorlds
from tests.fail_closed.facades import Reader
from tests.fail_closed.findings import Findings
from tests.fail_closed.model import ADA, PEOPLE
from tests.fail_closed.sabotage import BROKEN_FILTERS, Babbler
from tests.fail_closed.test_tampered_rows import tampered
from tests.fail_closed.world import World

Check = Callable[[World, Findings, Reader, AgentIdentity], None]
SABOTAGES = [*BROKEN_FILTERS, "babbling"]


@contextmanager
def broken_store(sabotage: str, world: World) -> Iterator[None]:
    """No store filters as it should."""
    if sabotage == "babbling":
        with world.app.container.store.override(providers.Object(Babbler(world.store))):
            yield
    else:
        with pytest.MonkeyPatch.context() as patch:
            BROKEN_FILTERS[sabotage].install(patch)
            yield


@contextmanager
def no_second_check() -> Iterator[None]:
    """Every row that a store answers is handed on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReadUseCase, "_admit", lambda self, scope, row: True)
        yield


def turns_red(
    check: Check, world: World, reader: Reader, who: AgentIdentity, provoked: Findings
) -> bool:
    """Whether one of the suite's own checks fails for this caller."""
    try:
        check(world, provoked, reader, who)
    except (AssertionError, KeyError, TypeError):
        return True
    return False


@pytest.mark.case("10 sabotage")
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_with_a_broken_filter_nothing_leaks_and_the_suite_is_red_for_its_faults(
    shared_world: World, reader: Reader, findings: Findings, sabotage: str
) -> None:
    """Fails: a facade hands on rows without ReadUseCase._admit, or nobody notices the filter."""
    for who in PEOPLE:
        faults = shared_world.faults()
        with broken_store(sabotage, shared_world):
            assert turns_red(checks.sees_exactly_its_rows, shared_world, reader, who, findings)
        assert findings.leaks == 0
        assert shared_world.faults() > faults
        findings.caught[reader.name] += 1


@pytest.mark.case("10 sabotage")
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_with_a_broken_filter_and_no_second_check_the_suite_sees_the_leak(
    shared_world: World, reader: Reader, findings: Findings, sabotage: str
) -> None:
    """Fails: the suite's eyes are bad: rows of others were answered and it found none."""
    for who in PEOPLE:
        provoked = Findings()
        with broken_store(sabotage, shared_world), no_second_check():
            assert turns_red(checks.sees_exactly_its_rows, shared_world, reader, who, provoked)
        assert provoked.leaks > 0 or not shows_rows(reader)
        findings.caught[reader.name] += 1


def shows_rows(reader: Reader) -> bool:
    """Whether a leak shows in what an answer says, and not in its counts alone."""
    return reader.name != "Status"


@pytest.mark.case("10 sabotage")
def test_without_the_second_check_the_suite_sees_tampered_rows(
    store_name: str, shared_worlds: SharedWorlds, reader: Reader, findings: Findings
) -> None:
    """Fails: tampered rows are caught by the store's filter alone, so nobody tests the check."""
    world = shared_worlds(store_name, tampered)
    assert not turns_red(checks.sees_its_rows, world, reader, ADA, Findings())
    with no_second_check():
        assert turns_red(checks.sees_its_rows, world, reader, ADA, Findings())
    findings.caught[reader.name] += 1
