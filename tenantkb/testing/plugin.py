"""A pytest plugin: the marks of the suites, and the matrix of what the fail-closed suite has seen.

Load it with ``pytest_plugins = ["tenantkb.testing.plugin"]`` in the ``conftest.py`` at the root of
your tests; ``--matrix`` prints the matrix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any, Final

import pytest
from attrs import define, field

from tenantkb.testing.fail_closed.facades import READERS
from tenantkb.testing.fail_closed.findings import FINDINGS, Findings

_MARKS: Final = (
    "case(name, facade=None): which rule of tenancy a test is of",
    "slow: long runs; leave them out with -m 'not slow'",
)


@define
class _Cell:
    """One facade, one case, one store."""

    answers: int = 0
    caught: int = 0
    outcomes: set[str] = field(factory=set)

    def __str__(self) -> str:
        if "failed" in self.outcomes:
            return "LEAK OR FAULT"
        if "passed" not in self.outcomes:
            return "skipped"
        return f"{self.answers or ''}{f' {self.caught} caught' if self.caught else ''}".strip()


@define
class _Matrix:
    """What a run has found, by (case, facade) and store."""

    cells: dict[tuple[str, str], dict[str, _Cell]] = field(factory=dict)
    leaks: int = 0
    wanted: Counter[str] = field(factory=Counter)
    found: Counter[str] = field(factory=Counter)

    def add(self, item: pytest.Item, outcome: str) -> None:
        """Take one finished test."""
        findings: Findings = item.stash.get(FINDINGS, Findings())
        marker = item.get_closest_marker("case")
        if marker is None:
            return
        params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        named = params.get("writer") or marker.kwargs.get("facade")
        for facade in {*findings.answers, *findings.caught} or [named or next(iter(READERS))]:
            row = self.cells.setdefault((marker.args[0], facade), {})
            cell = row.setdefault(store_of(item), _Cell())
            cell.answers += findings.answers[facade]
            cell.caught += findings.caught[facade]
            cell.outcomes.add(outcome)
        self.leaks += findings.leaks
        self.wanted.update(findings.wanted)
        self.found.update(findings.found)


_MATRIX = pytest.StashKey[_Matrix]()


def store_of(item: pytest.Item) -> str:
    """The store that a test is about; ``-`` for one that is about none."""
    return str(getattr(getattr(item, "cls", None), "store", "") or "-")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", action="store_true", help="print facade x case x store")


def pytest_configure(config: pytest.Config) -> None:
    for mark in _MARKS:
        config.addinivalue_line("markers", mark)
    config.stash[_MATRIX] = _Matrix()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.skipped or report.failed:
        item.config.stash[_MATRIX].add(item, report.outcome)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A leak fails the run, even if the test that counted it has swallowed its own error."""
    if session.config.stash[_MATRIX].leaks and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    matrix = config.stash[_MATRIX]
    if not config.getoption("matrix", False):
        return
    write = terminalreporter.write_line
    stores = list(dict.fromkeys(store for row in matrix.cells.values() for store in row))
    last_case = None
    write("\nAnswers checked, by case, facade and store")
    write(f"{'':<34}" + "".join(f"{name:>21}" for name in stores))
    for (case, facade), row in sorted(matrix.cells.items(), key=lambda entry: _order(*entry[0])):
        if case != last_case:
            write(case)
            last_case = case
        write(f"    {facade:<30}" + "".join(f"{row.get(name, '')!s:>21}" for name in stores))
    cells = [cell for row in matrix.cells.values() for cell in row.values()]
    answers, caught = sum(cell.answers for cell in cells), sum(cell.caught for cell in cells)
    for when, wanted in sorted(matrix.wanted.items()):
        write(f"recall where the store approximates, {when}: {matrix.found[when] / wanted:.3f}")
    write(f"sabotage: {caught:,} broken filters and checks turned the suite red, as they must")
    write(f"{answers:,} answers checked, {matrix.leaks:,} leaks")


def _order(case: str, facade: str) -> tuple[int, str, str]:
    number = case.split(" ")[0]
    return (int(number) if number.isdigit() else 99, case, facade)
