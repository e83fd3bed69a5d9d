"""Runs of the command in processes of their own, without the second that its imports take.

A fork server imports what the command imports, once; each run is a fork of it that calls the entry
point of the installed script. Tests that kill a run, pipe into one or look at a terminal start the
script itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

import tenantkb.adapters.container
import tenantkb.adapters.stores.sqlite  # noqa: F401 # for the server: they are what takes long
from tenantkb.adapters.cli.main import main

_TIMEOUT = 120.0
_context = get_context("forkserver")
_context.set_forkserver_preload([__name__])


def launch(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
    program: Callable[[], object] = main,
) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: Those behind its name.
        folder: Where it runs.
        environment: All its variables.
        output: Folder for what it writes, in the files ``out`` and ``err``.
        program: What is run in the place of the command, with the same arguments.
    """
    run = _context.Process(target=_run, args=(arguments, folder, environment, output, program))
    run.start()
    run.join(_TIMEOUT)
    if run.exitcode is None:
        run.kill()
        raise TimeoutError(f"{arguments} takes more than {_TIMEOUT:.0f} s")
    return run.exitcode


def _run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
    program: Callable[[], object],
) -> None:
    for number, name in ((0, os.devnull), (1, str(output / "out")), (2, str(output / "err"))):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[:] = ["tenantkb", *arguments]
    program()
