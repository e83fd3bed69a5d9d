"""A process of :class:`adapters.parsers.pool.ParserPool`: batches in on one pipe, chunks out.

Reads pickled ``(Recipe, [ParseJob, ...])`` from standard input and answers each with a pickled list
of results, or with a ``ConfigurationError``, on standard output, until the input ends. Its
arguments are folders to import from.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys

from tenantkb.adapters.parsers.pool import extend_import_path, parse
from tenantkb.domain.errors import ConfigurationError
from tenantkb.ports.extraction import Parsed, Parser


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    gc.freeze()
    gc.set_threshold(200_000)  # trees make many objects and no cycles: an eighth of the time
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a parser prints is no answer

    extend_import_path(sys.argv[1:])
    parsers: dict[str, Parser] = {}
    while True:
        try:
            recipe, jobs = pickle.load(sys.stdin.buffer)  # noqa: S301 # our own parent process
        except EOFError:
            return
        key = repr(recipe)
        answer: list[Parsed] | ConfigurationError
        try:
            if key not in parsers:
                parsers[key] = recipe.make()
            answer = [parse(parsers[key], job) for job in jobs]
        except ConfigurationError as error:  # what this process imports may not be what that does
            answer = error
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main()
