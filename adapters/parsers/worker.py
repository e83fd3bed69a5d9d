"""A process of :class:`adapters.parsers.pool.ParserPool`: batches in on one pipe, chunks out.

Reads pickled ``(Recipe, [ParseJob, ...])`` from standard input until that ends. To each it answers
in lines of JSON on standard output: the number of every job that it begins, then a list with the
chunks of each job, or the reason why there are none, as ``{"limit": reason}`` where it is a limit;
or else ``{"configuration": reason}``. Its arguments are the seconds and bytes that a file may take,
and folders to import from.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import resource
import signal
import sys
from typing import BinaryIO

import orjson

from tenantkb.adapters.parsers.pool import extend_import_path, parse
from tenantkb.domain.errors import ConfigurationError, ParsingLimitError, UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord, ParseJob, Parser


def main() -> None:
    """Answer until the input ends."""
    seconds, size, *folders = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    gc.freeze()
    gc.set_threshold(200_000)  # trees make many objects and no cycles: an eighth of the time
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a parser prints is no answer

    extend_import_path(folders)
    _confine(int(size))
    parsers: dict[str, Parser] = {}
    while True:
        try:
            recipe, jobs = pickle.load(sys.stdin.buffer)  # noqa: S301 # our own parent process
        except EOFError:
            return
        key = repr(recipe)
        try:
            if key not in parsers:
                parsers[key] = recipe.make()
        except (Exception, SystemExit) as error:
            reason = f"parser {recipe.factory} cannot be made: {type(error).__name__}: {error}"
            if isinstance(error, ConfigurationError):
                reason = str(error)
            _tell(answers, {"configuration": reason})
            continue
        results = []
        for number, job in enumerate(jobs):
            _tell(answers, number)
            results.append(_result(parsers[key], job, float(seconds)))
        _tell(answers, results)


def _confine(size: int) -> None:
    """Let nothing that a file makes a parser do reach beyond this process, or leave a trace."""
    # The alarm of the kernel ends the process also in C code, and when the parent has been killed.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    for limit, wanted in ((resource.RLIMIT_DATA, size), (resource.RLIMIT_CORE, 0)):
        _, most = resource.getrlimit(limit)
        allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(limit, (allowed, allowed))
    sys.addaudithook(_refuse_sockets)


def _refuse_sockets(event: str, _: object) -> None:
    if event.startswith("socket."):
        raise PermissionError("a parser has no network")


def _result(
    parser: Parser, job: ParseJob, seconds: float
) -> list[ChunkRecord] | str | dict[str, str]:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    parsed = parse(parser, job)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if isinstance(parsed, ParsingLimitError):
        return {"limit": str(parsed)}
    return str(parsed) if isinstance(parsed, UnparsableFileError) else parsed


def _tell(answers: BinaryIO, message: object) -> None:
    try:
        line = orjson.dumps(message)
    except orjson.JSONEncodeError:  # a lone surrogate, or an integer of more than 64 bits
        line = json.dumps(message, separators=(",", ":")).encode()
    answers.write(line + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
