"""Parsing in worker processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantkb.adapters.parsers import pool as pool_module
from tenantkb.adapters.parsers.pool import ParserPool
from tenantkb.adapters.runtime.plugins import Recipe
from tenantkb.domain.errors import ConfigurationError, UnparsableFileError
from tenantkb.ports.extraction import ParseJob

SOURCE_PARSER = Recipe("tenantkb.adapters.parsers.source_parser:SourceParser")


def jobs(count: int) -> list[ParseJob]:
    texts = ["class A {\n    m() { return 'é' }\n}\n", "let = ;", "const x = 1;\n" * 50]
    return [ParseJob(texts[i % 3], f"src/{i}.mjs", {"type": "src"}) for i in range(count)]


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
    monkeypatch.setattr(pool_module, "_SERIAL_CHARACTERS", 2_000)
    monkeypatch.setattr(pool_module, "_BATCH_CHARACTERS", 1_000)
    expected = outcomes(1, 120)
    assert outcomes(workers, 120) == expected
    assert len(expected) == 120
    assert any(isinstance(result, str) for _, result in expected)


def test_an_abandoned_run_ends_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_SERIAL_CHARACTERS", 0)
    monkeypatch.setattr(pool_module, "_BATCH_CHARACTERS", 1_000)
    with ParserPool(2) as pool:
        next(pool.parse(SOURCE_PARSER, iter(jobs(120))))
        processes = [worker._process for worker in pool._workers]
        assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)


def test_a_worker_that_dies_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_SERIAL_CHARACTERS", 0)
    with ParserPool(1) as pool:
        pool._count = 2  # one would not be another process
        results = pool.parse(SOURCE_PARSER, iter([ParseJob("x" * 300_000, "a")] * 4))
        next(results)
        for worker in pool._workers:
            worker._process.kill()
            worker._process.wait()
        with pytest.raises(ChildProcessError, match="code -9; with workers = 1"):
            list(results)


def test_what_a_worker_cannot_import_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here_alone.py").write_text(
        "class Empty:\n    def parse(self, content, path, **hints):\n        return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pool_module, "_SERIAL_CHARACTERS", 0)
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
    monkeypatch.setattr(pool_module, "_SERIAL_CHARACTERS", 0)
    assert len(outcomes(2, 3)) == 3
