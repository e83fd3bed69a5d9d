"""Fixtures of the suite, and the matrix that ``make fail-closed`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from attrs import define, field

from tenantkb.ports.store import VectorStore
from tests.conformance.stores import STORES, MakeStore, Places, places
from tests.fail_closed.facades import READERS, Reader
from tests.fail_closed.findings import FINDINGS, Findings
from tests.fail_closed.world import World, populated

__all__ = ["places"]  # fixture


@pytest.fixture(params=STORES)
def store_name(request: pytest.FixtureRequest) -> str:
    """Each store of the conformance suite in turn."""
    return str(request.param)


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each reading facade in turn."""
    return READERS[request.param]


@pytest.fixture
def make_store(store_name: str, places: Places) -> MakeStore:
    """Opens one store: the same data at every call, empty at the first one."""
    made: MakeStore = STORES[store_name](places)
    return made


@pytest.fixture
def store(make_store: MakeStore) -> Iterator[VectorStore]:
    """An empty store."""
    with closing(make_store()) as opened:
        yield opened


@pytest.fixture
def world(store: VectorStore, tmp_path: Path) -> World:
    """A populated world of the test's own."""
    return populated(store, tmp_path / "world")


MakeWorld = Callable[[VectorStore, Path], World]
SharedWorlds = Callable[[str, MakeWorld], World]


@pytest.fixture(scope="session")
def shared_worlds(
    places: Places, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedWorlds]:
    """Worlds that tests share because they only read: one a store and way of making it."""
    made: dict[tuple[str, MakeWorld], World] = {}
    with ExitStack() as stack:

        def get(store_name: str, make: MakeWorld) -> World:
            if (store_name, make) not in made:
                store = stack.enter_context(closing(STORES[store_name](places)()))
                folder = tmp_path_factory.mktemp("worlds") / uuid4().hex
                made[store_name, make] = make(store, folder)
            return made[store_name, make]

        yield get


@pytest.fixture
def shared_world(store_name: str, shared_worlds: SharedWorlds) -> World:
    """A populated world that nobody writes to."""
    return shared_worlds(store_name, populated)


@pytest.fixture
def findings(request: pytest.FixtureRequest) -> Findings:
    """Where a test counts what it has looked at."""
    found: Findings = request.node.stash.setdefault(FINDINGS, Findings())
    return found


@define
class Cell:
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
class Matrix:
    """What the run has found, by (case, facade) and store."""

    cells: dict[tuple[str, str], dict[str, Cell]] = field(factory=dict)
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
        store = _store_of(item)
        named = params.get("reader") or params.get("writer") or marker.kwargs.get("facade")
        for facade in [named] if named else (findings.answers or READERS):
            row = self.cells.setdefault((marker.args[0], facade), {})
            cell = row.setdefault(store, Cell())
            cell.answers += findings.answers[facade]
            cell.caught += findings.caught[facade]
            cell.outcomes.add(outcome)
        self.leaks += findings.leaks
        self.wanted.update(findings.wanted)
        self.found.update(findings.found)


_MATRIX = pytest.StashKey[Matrix]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", action="store_true", help="print facade x case x store")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(name, facade=None): which rule of the list this is")
    config.stash[_MATRIX] = Matrix()


IN_THE_FAST_TESTS = {"memory", "chroma-path"}
"""The stores that all cases run on there; ``make fail-closed`` runs them on every store."""

ON_EVERY_STORE = {"3", "9", "10", "non-interference:", "congruence:"}
"""The cases, by their first word, that run on the others even there."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        store, marker = _store_of(item), item.get_closest_marker("case")
        everywhere = marker is not None and marker.args[0].split(" ")[0] in ON_EVERY_STORE
        if store in STORES and store not in IN_THE_FAST_TESTS and not everywhere:
            item.add_marker(pytest.mark.slow)


def _store_of(item: pytest.Item) -> str:
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return str(params.get("store_name", "-"))


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
    stores = [*STORES, "-"]
    stores = [name for name in stores if any(name in row for row in matrix.cells.values())]
    last_case = None
    write("\nAnswers checked, by case, facade and store")
    write(f"{'':<34}" + "".join(f"{name:>21}" for name in stores))
    for (case, facade), row in sorted(matrix.cells.items(), key=lambda entry: _order(entry[0][0])):
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


def _order(case: str) -> tuple[int, str]:
    number = case.split(" ")[0]
    return (int(number) if number.isdigit() else 99, case)
