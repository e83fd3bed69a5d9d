"""Parsing in processes of its own, within limits.

What a file holds is not trusted: it may keep a parser busy for hours, take all memory, or end the
process by a fault in a grammar's C. So files are parsed by worker processes, and one that exceeds
a limit costs its worker and itself, nothing else. A worker has no store, none of this process's
environment that could hold a secret, and no sockets; it answers in JSON, since reading a pickle
would run what a worker that has been taken over puts there. Several workers also use all
processors, which threads cannot: a parser in C holds Python's interpreter lock.

They are plain subprocesses with pipes: unlike :mod:`multiprocessing` this neither forks a process
that may have threads, nor runs the caller's main module a second time.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Final, Self

import orjson
from attrs import frozen

from tenantkb.adapters.runtime.plugins import Recipe
from tenantkb.domain.errors import ConfigurationError, ParsingLimitError, UnparsableFileError
from tenantkb.domain.records import shown
from tenantkb.ports.extraction import Parsed, ParseJob, Parser

_BATCH_CHARACTERS: Final = 1 << 18
_BYTES_OF_CHARACTER: Final = 8  # as a text and as UTF-8; its tree takes more still
_ENVIRONMENT: Final = frozenset(
    {"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV"}
)
_ENVIRONMENT_OF: Final = ("DYLD_", "LC_", "PYTHON")


@frozen
class Limits:
    """What the parsing of one file may take.

    Attributes:
        seconds: Time, by the clock.
        bytes: Memory of the worker, all in all; where the system counts it, which macOS does not.
    """

    seconds: float = 10
    bytes: int = 1 << 30


class ParserPool:
    """Parses batches of files in worker processes and gives the results in order.

    Used as a context manager; the workers end with it, or with the process that started them.
    Behind its end, each call starts a worker of its own.

    Args:
        workers: Most processes; by default as many as this one may use processors. A second one is
            started only where there is more to parse than the first is given at a time.
        import_path: Folders that the workers import from, besides what is installed.
        limits: Past them a file has no chunks from its parser.
    """

    def __init__(
        self,
        workers: int | None = None,
        import_path: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self._count = workers or _processors()
        self._import_path = import_path
        self._limits = limits or Limits()
        self._idle: list[_Worker] = []
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._has_ended = True
        self._stop_idle()

    def parse(self, recipe: Recipe, jobs: Iterable[ParseJob]) -> Generator[tuple[ParseJob, Parsed]]:
        """Parse files by one parser.

        Args:
            recipe: Gives the parser, once in each process.
            jobs: Consumed a few batches ahead.

        Yields:
            Every job with its result, in order.

        Raises:
            ConfigurationError: a worker cannot make the parser.
            ChildProcessError: a worker does not come as far as to parse.
        """
        # A worker is sent a batch only when its last answer has been read, so that never both ends
        # of a pipe wait for each other to read.
        pending: deque[tuple[_Worker, list[ParseJob]]] = deque()
        try:
            for batch in _batches(iter(jobs)):
                finished = self._collected(pending) if len(pending) == self._count else []
                worker = self._idle.pop() if self._idle else self._started()
                pending.append((worker, batch))
                worker.send(recipe, batch)
                yield from finished
            while pending:
                yield from self._collected(pending)
        finally:
            for worker, _ in pending:  # in the middle of what nobody will read
                worker.stop()
            if self._has_ended:
                self._stop_idle()

    def _started(self) -> _Worker:
        return _Worker(self._import_path, self._limits)

    def _collected(
        self, pending: deque[tuple[_Worker, list[ParseJob]]]
    ) -> list[tuple[ParseJob, Parsed]]:
        worker, batch = pending[0]
        results = worker.results()
        pending.popleft()
        self._idle.append(worker)
        return list(zip(batch, results, strict=True))

    def _stop_idle(self) -> None:
        while self._idle:
            self._idle.pop().stop()


class _Worker:
    """One process of :mod:`adapters.parsers.worker`, and the next one where that is ended."""

    def __init__(self, import_path: Sequence[str], limits: Limits) -> None:
        self._limits = limits
        # -P: this process's working folder may be a workspace with packages of our names.
        self._command = [
            *(sys.executable, "-P", "-m", "tenantkb.adapters.parsers.worker"),
            *(str(limits.seconds), str(limits.bytes), *import_path),
        ]
        self._start()

    def _start(self) -> None:
        self._has_answered = False
        self._process = subprocess.Popen(  # noqa: S603 # folders as arguments of our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                name: value
                for name, value in os.environ.items()
                if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_OF)
            },
        )

    def send(self, recipe: Recipe, jobs: Sequence[ParseJob]) -> None:
        """Have files parsed; :meth:`results` gives what came of it."""
        most = self._limits.bytes // _BYTES_OF_CHARACTER
        self._results: dict[int, Parsed] = {
            index: ParsingLimitError(f"longer than {most:,} characters (parse_bytes)")
            for index, job in enumerate(jobs)
            if len(job.content) > most
        }
        self._request = recipe, jobs
        self._ask()

    def _ask(self) -> None:
        """Send all jobs of the request that have no result yet."""
        recipe, jobs = self._request
        self._asked = [index for index in range(len(jobs)) if index not in self._results]
        with suppress(BrokenPipeError):  # reading the answer tells that the process has ended
            pickle.dump(
                (recipe, [jobs[index] for index in self._asked]),
                self._pipe(self._process.stdin),
                pickle.HIGHEST_PROTOCOL,
            )
            self._pipe(self._process.stdin).flush()

    def results(self) -> list[Parsed]:
        """A result for each file, in order; one that ended the process has that as its result.

        Raises:
            ConfigurationError: the process cannot make the parser.
            ChildProcessError: it ended before it answered anything at all.
        """
        while True:
            reached, answer = self._answer()
            if isinstance(answer, dict):
                raise ConfigurationError(answer["configuration"])
            if isinstance(answer, list):
                for index, result in zip(self._asked, answer, strict=True):
                    self._results[index] = _parsed(result)
                return [self._results[index] for index in sorted(self._results)]
            code = self._process.wait()
            if not self._has_answered:
                raise ChildProcessError(f"a process that parses files ended with code {code}")
            if reached is not None:
                self._results[self._asked[reached]] = ParsingLimitError(self._reason(code))
            self.stop()
            self._start()
            self._ask()

    def _answer(self) -> tuple[int | None, Any]:
        """The number of the job that was begun last, and the answer unless the process ended."""
        reached = None
        for line in self._pipe(self._process.stdout):
            try:
                message = orjson.loads(line)
            except orjson.JSONDecodeError:  # see adapters.parsers.worker
                message = json.loads(line)
            self._has_answered = True
            if not isinstance(message, int):
                return reached, message
            reached = message
        return reached, None

    def _reason(self, code: int) -> str:
        if code == -signal.SIGALRM:
            return f"parsing takes more than {self._limits.seconds:g} s (parse_seconds)"
        ending = signal.Signals(-code).name if code < 0 else f"code {code}"
        mebibytes = self._limits.bytes >> 20
        return (
            f"parsing ends its process, with {ending}; it may take {mebibytes:,} MiB (parse_bytes)"
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


def _parsed(answer: Any) -> Parsed:
    """A result as the worker tells it: a list of chunks, a reason, or a reason at a limit."""
    if isinstance(answer, dict):
        return ParsingLimitError(answer["limit"])
    return UnparsableFileError(answer) if isinstance(answer, str) else answer


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
    except MemoryError:
        return ParsingLimitError("parsing takes more memory than it may (parse_bytes)")
    except (Exception, SystemExit) as error:
        return UnparsableFileError(f"the parser broke off: {type(error).__name__}: {error}")
    if wrong:
        return UnparsableFileError(f"the parser gave what is no JSON object: {shown(wrong[0])}")
    return chunks


_TEXT: Final = frozenset({str})
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        if _PLAIN.issuperset(map(type, value.values())) and _TEXT.issuperset(map(type, value)):
            return True  # nearly all chunks, without a call for each value
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
