"""Commands, measured."""

from __future__ import annotations

import os
import subprocess
import time

from attrs import frozen


@frozen
class Run:
    """One process: what it took and what it printed."""

    seconds: float
    megabytes: float
    output: str


def measured(arguments: list[str], environment: dict[str, str]) -> Run:
    """Run a command to its end; peak memory is that of its largest process."""
    started = time.perf_counter()
    with subprocess.Popen(
        arguments,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}: {output}")
    return Run(time.perf_counter() - started, usage.ru_maxrss / 1024, output)
