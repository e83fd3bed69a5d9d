"""Parsing on all processors.

A parser in C holds Python's interpreter lock, so threads gain nothing and files are parsed by
worker processes. They are plain subprocesses with pipes: unlike :mod:`multiprocessing` this neither
forks a process that may have threads, nor runs the caller's main module a second time.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Final, Self

from tenantkb.adapters.runtime.plugins import Recipe
from tenantkb.domain.errors import ConfigurationError, UnparsableFileError
from tenantkb.domain.records import shown
from tenantkb.ports.extraction import Parsed, ParseJob, Parser

_SERIAL_CHARACTERS: Final = 1 << 19
"""What is parsed in this process before it is worth to start others: it takes as long as that."""

_BATCH_CHARACTERS: Final = 1 << 18


class ParserPool:
    """Parses batches of files in worker processes and gives the results in order.

    Used as a context manager; the workers end with it, or with the process that started them.
    Behind its end everything is parsed in this process.

    Args:
        workers: Number of processes; by default as many as this one may use processors. With one,
            everything is parsed in this process.
        import_path: Folders that the workers import from, besides what is installed.
    """

    def __init__(self, workers: int | None = None, import_path: Sequence[str] = ()) -> None:
        self._count = workers or _processors()
        self._import_path = import_path
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self._count = 1

    def parse(self, recipe: Recipe, jobs: Iterable[ParseJob]) -> Iterator[tuple[ParseJob, Parsed]]:
        """Parse files by one parser.

        Args:
            recipe: Gives the parser, once in each process.
            jobs: Consumed a few batches ahead.

        Yields:
            Every job with its result, in order.
        """
        jobs = iter(jobs)
        parser: Parser = recipe.make()
        parsed = 0
        while self._count == 1 or parsed < _SERIAL_CHARACTERS:
            job = next(jobs, None)
            if job is None:
                return
            yield job, parse(parser, job)
            parsed += len(job.content)
        yield from self._parse_in_workers(recipe, _batches(jobs))

    def _parse_in_workers(
        self, recipe: Recipe, batches: Iterator[list[ParseJob]]
    ) -> Iterator[tuple[ParseJob, Parsed]]:
        # A worker is sent a batch only when its last answer has been read, so that never both ends
        # of a pipe wait for each other to read.
        if not self._workers:
            self._workers = [_Worker(self._import_path) for _ in range(self._count)]
        pending: deque[tuple[_Worker, list[ParseJob]]] = deque()
        for worker, batch in zip(self._workers, batches, strict=False):
            worker.send((recipe, batch))
            pending.append((worker, batch))
        while pending:
            worker, batch = pending.popleft()
            results = worker.receive()
            for following in batches:
                worker.send((recipe, following))
                pending.append((worker, following))
                break
            yield from zip(batch, results, strict=True)


class _Worker:
    """One process of :mod:`adapters.parsers.worker`."""

    def __init__(self, import_path: Sequence[str]) -> None:
        # -P: this process's working folder may be a workspace with packages of our names.
        self._process = subprocess.Popen(  # noqa: S603 # folders as arguments of our own module
            [sys.executable, "-P", "-m", "tenantkb.adapters.parsers.worker", *import_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def send(self, request: object) -> None:
        try:
            pickle.dump(request, self._pipe(self._process.stdin), pickle.HIGHEST_PROTOCOL)
            self._pipe(self._process.stdin).flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> list[Parsed]:
        try:
            results: list[Parsed] | ConfigurationError = pickle.load(  # noqa: S301 # our own process
                self._pipe(self._process.stdout)
            )
        except EOFError:
            raise self._ended() from None
        if isinstance(results, ConfigurationError):
            raise results
        return results

    def _ended(self) -> ChildProcessError:
        return ChildProcessError(
            f"a process that parses files ended with code {self._process.wait()}; "
            "with workers = 1 there is none but this"
        )

    def stop(self) -> None:
        with suppress(BrokenPipeError):
            self._pipe(self._process.stdin).close()
        self._process.kill()  # it may be in the middle of an answer that nobody will read
        self._pipe(self._process.stdout).close()
        self._process.wait()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise ValueError("the worker was started without pipes")
        return pipe


def extend_import_path(folders: Iterable[str]) -> None:
    """Let this process import from folders, behind everything else: they hide no module."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def parse(parser: Parser, job: ParseJob) -> Parsed:
    """The chunks of one file, or why there are none; a parser that fails costs this file only."""
    try:
        chunks = list(parser.parse(job.content, job.path, **job.hints))
        wrong = [chunk for chunk in chunks if not (isinstance(chunk, dict) and _is_json(chunk))]
    except UnparsableFileError as error:
        return error
    except (Exception, SystemExit) as error:
        return UnparsableFileError(f"the parser broke off: {type(error).__name__}: {error}")
    if wrong:
        return UnparsableFileError(f"the parser gave what is no JSON object: {shown(wrong[0])}")
    return chunks


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | float)


def _batches(jobs: Iterator[ParseJob]) -> Iterator[list[ParseJob]]:
    for first in jobs:
        batch, size = [first], len(first.content)
        while size < _BATCH_CHARACTERS and (job := next(jobs, None)) is not None:
            batch.append(job)
            size += len(job.content)
        yield batch


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
