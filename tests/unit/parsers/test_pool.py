"""Parsing in worker processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tenantkb.adapters.parsers import pool as pool_module
from tenantkb.adapters.parsers.pool import Limits, ParserPool
from tenantkb.adapters.runtime.plugins import Recipe
from tenantkb.domain.errors import ConfigurationError, UnparsableFileError
from tenantkb.ports.extraction import Parsed, ParseJob

SOURCE_PARSER = Recipe("tenantkb.adapters.parsers.source_parser:SourceParser")
CODE_PARSER = Recipe("tenantkb.adapters.parsers.code_parser:CodeParser")
MEBIBYTES = 1 << 20


OBEDIENT = Recipe("tests.unit.parsers.obedient:Obedient")


@pytest.fixture
def here(request: pytest.FixtureRequest) -> list[str]:
    """The folder that a worker imports this module from."""
    return [str(request.config.rootpath)]


def jobs(count: int) -> list[ParseJob]:
    texts = ["class A {\n    m() { return 'é' }\n}\n", "let = ;", "const x = 1;\n" * 50]
    return [ParseJob(texts[i % 3], f"src/{i}.mjs", {"type": "src"}) for i in range(count)]


def told(parsed: Parsed) -> object:
    return str(parsed) if isinstance(parsed, UnparsableFileError) else parsed[0]["told"]


def outcomes(workers: int, count: int) -> list[tuple[str, object]]:
    with ParserPool(workers) as pool:
        return [
            (job.path, str(parsed) if isinstance(parsed, UnparsableFileError) else parsed)
            for job, parsed in pool.parse(SOURCE_PARSER, iter(jobs(count)))
        ]


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_give_what_one_process_gives_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    expected = [
        (job.path, str(parsed) if isinstance(parsed, UnparsableFileError) else parsed)
        for job in jobs(120)
        for parsed in [pool_module.parse(SOURCE_PARSER.make(), job)]
    ]
    assert outcomes(1, 120) == expected
    monkeypatch.setattr(pool_module, "_BATCH_CHARACTERS", 1_000)
    assert outcomes(workers, 120) == expected
    assert any(isinstance(result, str) for _, result in expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_breaks_a_limit_costs_itself_alone(here: list[str], workers: int) -> None:
    orders = ["a", "spin", "b", "sleep", "crash", "take memory", "c", "leave", "", "d"]
    limits = Limits(seconds=1, bytes=256 * MEBIBYTES)
    with ParserPool(workers, here, limits) as pool:
        results = list(pool.parse(OBEDIENT, [ParseJob(order, order) for order in orders]))
    assert [job.path for job, _ in results] == orders
    assert [told(parsed) for _, parsed in results] == [
        "a",
        "parsing takes more than 1 s (parse_seconds)",
        "b",
        "parsing takes more than 1 s (parse_seconds)",
        "parsing ends its process, with SIGSEGV; it may take 256 MiB (parse_bytes)",
        "parsing takes more memory than it may (parse_bytes)",
        "c",
        "parsing ends its process, with code 3; it may take 256 MiB (parse_bytes)",
        "",
        "d",
    ]


def test_a_file_that_a_worker_could_not_even_read_is_not_sent(here: list[str]) -> None:
    with ParserPool(1, here, Limits(bytes=256 * MEBIBYTES)) as pool:
        long = ParseJob("x" * (33 * MEBIBYTES), "long")
        results = list(pool.parse(OBEDIENT, [ParseJob("a", "a"), long, ParseJob("b", "b")]))
    assert [told(parsed) for _, parsed in results] == [
        "a",
        "longer than 33,554,432 characters (parse_bytes)",
        "b",
    ]


def test_a_fault_in_a_grammar_costs_its_file_alone() -> None:
    nested = ParseJob("A<B," * 25_000, "nested.ts")
    with ParserPool(1) as pool:
        good = ParseJob("function f() { return 1 }", "a.ts")
        first, broken, last = (
            result for _, result in pool.parse(CODE_PARSER, [good, nested, good])
        )
    assert isinstance(broken, UnparsableFileError)
    assert first == last != []


def test_a_worker_has_nothing_of_this_process(
    here: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TENANTKB_TOKEN", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    with (tmp_path / "store").open("w") as store, ParserPool(1, here) as pool:
        os.set_inheritable(store.fileno(), True)
        orders = ("environment", "files", "connect", "interpreter")
        results = pool.parse(OBEDIENT, [ParseJob(order, order) for order in orders])
        environment, files, connection, process = (told(parsed) for _, parsed in results)
    assert isinstance(environment, list)
    assert "LC_ALL" in environment
    assert not {"TENANTKB_TOKEN", "PYTEST_CURRENT_TEST"} & set(environment)
    assert isinstance(files, list)
    assert len(files) <= 2  # the answers, and the listing itself
    assert connection == "the parser broke off: PermissionError: a parser has no network"
    assert process != os.getpid()


def test_an_answer_is_what_the_parser_gave_whatever_it_prints(here: list[str]) -> None:
    with ParserPool(1, here) as pool:
        orders = [ParseJob("print", "a"), ParseJob("surrogate", "b")]
        assert [told(parsed) for _, parsed in pool.parse(OBEDIENT, orders)] == [
            "a",
            "\ud800 \x00 é",
        ]


def test_an_abandoned_run_ends_its_workers_and_disturbs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "_BATCH_CHARACTERS", 1_000)
    started = []
    start = pool_module._Worker._start

    def noting(worker: pool_module._Worker) -> None:
        start(worker)
        started.append(worker._process)

    monkeypatch.setattr(pool_module._Worker, "_start", noting)
    with ParserPool(2) as pool:
        abandoned = pool.parse(SOURCE_PARSER, iter(jobs(120)))
        next(abandoned)
        assert len(started) == 2
        other = [job.path for job, _ in pool.parse(SOURCE_PARSER, iter(jobs(12)))]
        assert other == [job.path for job in jobs(12)]
        abandoned.close()
    behind = list(pool.parse(SOURCE_PARSER, iter(jobs(3))))
    assert len(behind) == 3
    assert len(started) > 2
    assert all(process.returncode is not None for process in started)


def test_a_worker_that_was_killed_while_idle_is_replaced() -> None:
    with ParserPool(1) as pool:
        list(pool.parse(SOURCE_PARSER, jobs(3)))
        (worker,) = pool._idle
        worker._process.kill()
        worker._process.wait()
        assert len(list(pool.parse(SOURCE_PARSER, jobs(3)))) == 3


def test_a_process_that_cannot_begin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with ParserPool(1) as pool, pytest.raises(ChildProcessError, match="ended with code 1"):
        list(pool.parse(SOURCE_PARSER, jobs(1)))


def test_what_a_worker_cannot_import_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here_alone.py").write_text(
        "class Empty:\n    def parse(self, content, path, **hints):\n        return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with (
        ParserPool(2) as pool,
        pytest.raises(ConfigurationError, match="its folder in import_path"),
    ):
        list(pool.parse(Recipe("here_alone:Empty"), iter(jobs(3))))


def test_packages_in_the_working_folder_do_not_shadow_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in ("domain", "adapters", "ports"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert len(outcomes(2, 3)) == 3
