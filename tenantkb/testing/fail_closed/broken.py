"""Broken filters and checks: nothing leaks while one of the two stands, and the suite sees it."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import pytest

from tenantkb.domain.identity import AgentIdentity
from tenantkb.testing.fail_closed import checks
from tenantkb.testing.fail_closed.facades import READERS, Reader
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import ADA, EVE, PEOPLE, Planted, chunk
from tenantkb.testing.fail_closed.sabotage import NOTICED, SABOTAGES, no_second_check
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.tampering import plant
from tenantkb.testing.fail_closed.world import World, metadata_of

EACH_SABOTAGE = pytest.mark.parametrize("sabotage", SABOTAGES)


def turns_red(
    check: checks.Check, world: World, reader: Reader, who: AgentIdentity, provoked: Findings
) -> bool:
    """Whether one of the suite's own checks fails for this caller."""
    try:
        check(world, provoked, reader, who)
    except (AssertionError, KeyError, TypeError):
        return True
    return False


def shows_rows(reader: Reader) -> bool:
    """Whether a leak shows in what an answer says, and not in its counts alone."""
    return reader.name != "status"


class Sabotage(Worlds):
    """Case 10 of the specification."""

    @pytest.mark.case("10 sabotage")
    @EACH_SABOTAGE
    def test_with_a_broken_filter_nothing_leaks_and_the_suite_is_red(
        self, world: World, findings: Findings, sabotage: str
    ) -> None:
        """Fails: a facade hands on rows past the guard, or nobody notices the filter."""
        for reader in READERS.values():
            for who in PEOPLE:
                broken = world.through(SABOTAGES[sabotage](world.app.engine))
                assert turns_red(checks.sees_exactly_its_rows, broken, reader, who, findings)
                assert findings.leaks == 0
                assert broken.faults() > 0 or sabotage not in NOTICED
                findings.caught[reader.name] += 1

    @pytest.mark.case("10 sabotage")
    @EACH_SABOTAGE
    def test_with_a_broken_filter_and_no_second_check_the_suite_sees_the_leak(
        self, world: World, findings: Findings, sabotage: str
    ) -> None:
        """Fails: the suite's eyes are bad: rows of others were answered and it found none."""
        broken = world.through(SABOTAGES[sabotage](world.app.engine))
        for reader in READERS.values():
            for who in PEOPLE:
                provoked = Findings()
                with no_second_check():
                    assert turns_red(checks.sees_exactly_its_rows, broken, reader, who, provoked)
                assert provoked.leaks > 0 or not shows_rows(reader)
                findings.caught[reader.name] += 1

    @pytest.mark.case("10 sabotage")
    def test_without_the_second_check_the_suite_sees_misplaced_rows(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: misplaced rows are caught by the filter alone, so nobody tests the check."""
        for tenant, label in (("beta", "team:acme"), ("acme", "team:beta")):
            row = Planted(tenant, "app", None, chunk(f"secret-misplaced-{tenant}."))
            plant(world, row, metadata_of(row), label)
        # A store filters by where a row lies, or by the label among its metadata.
        for reader in READERS.values():
            for who in (ADA, EVE):
                if shows_rows(reader):
                    assert not turns_red(checks.sees_its_rows, world, reader, who, Findings())
        seen = []
        for reader in READERS.values():
            with no_second_check():
                red = [
                    turns_red(checks.sees_its_rows, world, reader, who, Findings())
                    for who in (ADA, EVE)
                ]
            if any(red):
                seen.append(reader.name)
                findings.caught[reader.name] += 1
        assert set(seen) >= {"query", "list", "get", "hierarchy"}
