"""A few kills of the crash matrix; all of them are ``make crash``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.matrix import compiler, run

JOBS = ("sync", "sync as private", "delete", "push")


@pytest.mark.skipif(compiler() is None, reason="no C compiler makes the library that kills")
def test_after_kill_9_the_same_command_finishes_the_job(tmp_path: Path) -> None:
    """Fails: rows are lost, doubled or wrong, or somebody has to repair something."""
    tallies = run("sqlite", 8, tmp_path, jobs=JOBS)
    assert [tally.job for tally in tallies] == list(JOBS)
    for tally in tallies:
        assert tally.events > 100
        assert (tally.kills, tally.finished, tally.told) == (2, 0, 0)
        assert tally.wrong == []
