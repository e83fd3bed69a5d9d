"""A process of :class:`adapters.parsers.pool.ParserPool`: batches in on one pipe, chunks out.

Reads pickled ``(factory, [ParseJob, ...])`` from standard input and answers each with a pickled
list of results on standard output, until the input ends.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from functools import cache

from adapters.parsers.pool import load, parse
from ports.extraction import Parser


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    gc.freeze()
    gc.set_threshold(200_000)  # trees make many objects and no cycles: an eighth of the time
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a parser prints is no answer

    @cache
    def parser(factory: str) -> Parser:
        return load(factory)()

    while True:
        try:
            factory, jobs = pickle.load(sys.stdin.buffer)  # noqa: S301 # our own parent process
        except EOFError:
            return
        pickle.dump([parse(parser(factory), job) for job in jobs], answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main()
