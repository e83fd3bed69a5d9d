"""What all sources share."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Final

import orjson
from attrs import define, evolve, field, frozen

from tenantkb.adapters.parsers.js_text import decode
from tenantkb.adapters.runtime.code_mark import code_mark
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.domain.canonical import FINGERPRINT_KEYS, stringify
from tenantkb.domain.errors import ConfigurationError, ParsingLimitError, UnparsableFileError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import (
    Block,
    BlockStream,
    ChunkRecord,
    CreateHash,
    FileStatus,
    KeptFile,
    Parsed,
    ParseJob,
    Workspace,
    WriteStream,
)


class _PathSource(ABC):
    """A source whose paths can be configured.

    Attributes:
        default_paths: What is read where the workspace configures no path for this source.
    """

    default_paths: ClassVar[Any]

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.paths = self.default_paths if workspace.paths is None else self._configured()

    def _configured(self) -> Any:
        """The configured paths, in the shape of :attr:`default_paths`.

        A text alone is a list of one, or the ``root`` of a table that has one.

        Raises:
            ConfigurationError: they have another shape, which iteration would not notice in a text.
        """
        default, given = getattr(self, "default_paths", None), self.workspace.paths
        if isinstance(given, str) and isinstance(default, tuple):
            return (given,)
        if isinstance(given, str) and isinstance(default, Mapping) and "root" in default:
            return {"root": given}
        wanted = next((name for kind, name in _SHAPES if isinstance(default, kind)), "")
        fits = {
            "text": isinstance(given, str),
            "a list of texts": _are_texts(given),
            "a table": isinstance(given, Mapping),
        }
        if not fits.get(wanted, True):
            raise ConfigurationError(f"source_paths: expected {wanted}, not {given!r}")
        return given

    def table(self) -> dict[str, Any]:
        """The keys of :attr:`default_paths` with their configured values.

        Raises:
            ConfigurationError: there is no such key, or its value is not of the default's type.
        """
        for key, value in self.paths.items():
            place = f"source_paths.{type(self).__name__}.{key}"
            if key not in self.default_paths:
                known = ", ".join(self.default_paths)
                raise ConfigurationError(f"{place}: there is no such key; there are {known}")
            kind = type(self.default_paths[key])
            if not (_are_texts(value) if kind is tuple else type(value) is kind):
                wanted = dict(_SHAPES)[kind]
                raise ConfigurationError(f"{place}: expected {wanted}, not {value!r}")
        return {**self.default_paths, **self.paths}


class ChunkSource(_PathSource):
    """A source that yields its chunks one by one and writes each as one line."""

    def parsed(self, parser: str, jobs: Iterable[ParseJob]) -> Iterator[ChunkRecord]:
        """The chunks of files that a parser cuts; one that it cannot cut is reported."""
        for job, parsed in self.workspace.parse_all(parser, jobs):
            if isinstance(parsed, UnparsableFileError):
                found = Diagnostic(job.path, "cannot be parsed", Severity.WARNING, str(parsed))
                self.workspace.report(found)
            else:
                yield from parsed

    @abstractmethod
    def chunks(self) -> Iterator[ChunkRecord]:
        """All chunks, without ``hash``, keys in the order in which they are to be written."""

    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        """See :meth:`ports.extraction.Source.extract`."""
        count = 0
        for chunk in self.chunks():
            chunk["hash"] = create_hash(chunk)
            write_stream.write(_line(chunk))
            count += 1
        return count


@frozen
class SourceFile:
    """A file that has chunks of its own.

    Attributes:
        folder: Reads it.
        file: Its path.
        parser: The registered name of the parser that cuts it; ``None`` where the source itself
            does.
        hints: Everything but path and content that its chunks depend on, as values of JSON; what a
            parser is told.
    """

    folder: SourceFolder
    file: str | Path
    parser: str | None = None
    hints: Mapping[str, Any] = field(factory=dict)


@define
class _Opened:
    """A file on its way: read, unless what it gave is kept.

    Attributes:
        before: What was told while it was looked for, which is no word on the file.
        key: Stands for all that its lines depend on but its content; ``None`` where they are not
            kept.
        told: What was told of it.
    """

    source: SourceFile
    path: str
    before: list[Diagnostic]
    key: str | None
    status: FileStatus | None = None
    digest: str = ""
    kept: KeptFile | None = None
    text: str | None = None
    told: list[Diagnostic] = field(factory=list)


class FileSource(_PathSource):
    """A source whose chunks each come from one file, so that they need not be made again.

    What is in the workspace is looked for at each run. The chunks of a file are made again where
    its content has changed or anything else that they depend on, of which there is nothing but its
    :class:`SourceFile`, the parser and the code. A source that somebody derives from one of ours is
    run each time: its code may depend on more.

    Attributes:
        stand_ins: Registered names of the parsers that :meth:`parsed` uses.
    """

    stand_ins: ClassVar[tuple[str, ...]] = ()

    def __init__(self, workspace: Workspace) -> None:
        self._report = workspace.report
        self._told: list[Diagnostic] | None = None
        self._last_hints: tuple[Mapping[str, Any], str] = ({}, "")
        super().__init__(evolve(workspace, report=self._note))

    @abstractmethod
    def files(self) -> Iterator[SourceFile]:
        """The files, in the order of their chunks."""

    def text(self, source: SourceFile, data: bytes) -> str | None:
        """The text of a file; ``None`` where it is left out, with a diagnostic."""
        return decode(data)

    def cut(self, source: SourceFile, path: str, text: str) -> Iterable[ChunkRecord]:
        """The chunks, without ``hash``, of a file for which no parser is named.

        Args:
            source: The file.
            path: Relative to the workspace.
            text: All of it.
        """
        raise NotImplementedError

    def parsed(self, job: ParseJob, parsed: Parsed) -> Iterable[ChunkRecord]:
        """The chunks of a file that its parser has cut, or could not; then that is reported."""
        if not isinstance(parsed, UnparsableFileError):
            return parsed
        found = Diagnostic(job.path, "cannot be parsed", Severity.WARNING, str(parsed))
        self.workspace.report(found)
        return ()

    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        """See :meth:`ports.extraction.Source.extract`."""
        count = 0
        last: list[Diagnostic] = []
        blocks = write_stream if isinstance(write_stream, BlockStream) else None
        for opened, chunks in self._made(create_hash(_EXAMPLE), last):
            block = self._kept_block(opened, blocks)
            if block is None:
                block = self._block(opened, chunks, create_hash)
            for found in (*opened.before, *opened.told):
                self._report(found)
            if blocks is not None:
                blocks.write_block(block)
            else:
                for line in (block.text or "").split("\n")[:-1]:
                    write_stream.write(f"{line}\n")
            count += block.lines
        for found in last:
            self._report(found)
        return count

    def _kept_block(self, opened: _Opened, stream: BlockStream | None) -> Block | None:
        cache = self.workspace.cache
        if opened.kept is None or opened.key is None or cache is None:
            return None
        block = opened.kept.block
        if stream is None or not stream.knows(block.digest):
            text = cache.text(opened.key)
            if text is None:
                return None
            block = evolve(block, text=text)
        opened.told += opened.kept.diagnostics
        return block

    def _block(
        self, opened: _Opened, chunks: Iterable[ChunkRecord], create_hash: CreateHash
    ) -> Block:
        """Make the lines of a file, and keep them unless another run may give others."""
        lines = []
        with self._telling(opened.told):
            for chunk in chunks:
                chunk["hash"] = create_hash(chunk)
                lines.append(_line(chunk))
        text = "".join(lines)
        block = Block(hashlib.sha256(text.encode()).hexdigest(), len(lines), text)
        cache = self.workspace.cache
        if cache is not None and opened.key is not None and opened.status is not None:
            cache.keep(opened.key, opened.status, opened.digest, block, tuple(opened.told))
        return block

    def _made(
        self, hash_mark: str, last: list[Diagnostic]
    ) -> Iterator[tuple[_Opened, Iterable[ChunkRecord]]]:
        """Every file with its chunks, in order; they are not made before they are asked for.

        Args:
            hash_mark: What tells the functions that make hashes from one another.
            last: Takes what is told behind the last file.
        """
        is_ours = type(self).__module__.startswith("tenantkb.")
        mark = f"{code_mark()} {type(self).__name__} {hash_mark}" if is_ours else None
        for parser, files in groupby(self._found(last), lambda found: found[0].parser):
            opened = (self._open(source, told, mark) for source, told in files)
            if parser is None:
                yield from ((each, self._cut(each)) for each in opened)
            else:
                yield from self._parsed_in_order(parser, opened)

    def _found(self, last: list[Diagnostic]) -> Iterator[tuple[SourceFile, list[Diagnostic]]]:
        """Every file, and what was told while it was looked for.

        How far one looks ahead depends on what is kept; what is told, and when, must not.
        """
        files = self.files()
        while True:
            told: list[Diagnostic] = []
            try:
                with self._telling(told):
                    source = next(files, None)
            except BaseException:
                for found in told:
                    self._report(found)
                raise
            if source is None:
                last += told
                return
            yield source, told

    def _parsed_in_order(
        self, parser: str, files: Iterable[_Opened]
    ) -> Iterator[tuple[_Opened, Iterable[ChunkRecord]]]:
        waiting: deque[_Opened] = deque()

        def jobs() -> Iterator[ParseJob]:
            for opened in files:
                waiting.append(opened)
                if opened.text is not None:
                    yield ParseJob(opened.text, opened.path, opened.source.hints)

        for job, parsed in self.workspace.parse_all(parser, jobs()):
            while waiting[0].text is None:
                yield waiting[0], self._parsed_alone(parser, waiting.popleft())
            opened = waiting.popleft()
            yield opened, self._taken(opened, job, parsed)
        while waiting:
            yield waiting[0], self._parsed_alone(parser, waiting.popleft())

    def _parsed_alone(self, parser: str, opened: _Opened) -> Iterator[ChunkRecord]:
        """The chunks of a file that has not been parsed: if any, what is kept of it is damaged."""
        if opened.kept is not None:
            self._read(opened)
        if opened.text is not None:
            job = ParseJob(opened.text, opened.path, opened.source.hints)
            for _, parsed in self.workspace.parse_all(parser, [job]):
                yield from self._taken(opened, job, parsed)

    def _taken(self, opened: _Opened, job: ParseJob, parsed: Parsed) -> Iterator[ChunkRecord]:
        if isinstance(parsed, ParsingLimitError):
            opened.key = None
        yield from self.parsed(job, parsed)

    def _cut(self, opened: _Opened) -> Iterator[ChunkRecord]:
        if opened.kept is not None:
            self._read(opened)  # what is kept is damaged
        if opened.text is not None:
            yield from self.cut(opened.source, opened.path, opened.text)

    def _open(self, source: SourceFile, before: list[Diagnostic], mark: str | None) -> _Opened:
        path = source.folder.relative(source.file)
        opened = _Opened(source, path, before, self._key(source, path, mark))
        source.folder.advance()
        with self._telling(opened.told):
            found = source.folder.status(source.file)
        if found is None:
            opened.key = None
            return opened
        opened.status = FileStatus(
            found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )
        cache = self.workspace.cache
        if cache is not None and opened.key is not None:
            opened.kept = cache.find(opened.key, opened.status)
        if opened.kept is None:
            self._read(opened)
        return opened

    def _read(self, opened: _Opened) -> None:
        """Read a file; of one that is not known by its status, what it gave may be kept as well."""
        cache = self.workspace.cache
        with self._telling(opened.told):
            data = opened.source.folder.content(opened.source.file)
            if data is None:
                opened.key = None
                return
            if cache is not None and opened.key is not None and opened.status is not None:
                opened.digest = hashlib.sha256(data).hexdigest()
                if opened.kept is None:
                    opened.kept = cache.find_content(opened.key, opened.status, opened.digest)
                    if opened.kept is not None:
                        return
            opened.text = self.text(opened.source, data)

    def _key(self, source: SourceFile, path: str, mark: str | None) -> str | None:
        if mark is None or self.workspace.cache is None:
            return None
        parsers = self.stand_ins
        if source.parser is not None:
            parsers = (self.workspace.parser_of(path, source.parser), *parsers)
        marks = [self.workspace.parser_mark(parser) for parser in parsers]
        if None in marks:
            return None
        if source.hints is not self._last_hints[0]:  # many files have the same
            self._last_hints = source.hints, _digest(stringify(source.hints))
        return _digest(mark, path, repr(marks), self._last_hints[1])

    def _note(self, found: Diagnostic) -> None:
        """Take a diagnostic: what belongs to a file is told with its chunks."""
        if self._told is None:
            self._report(found)
        else:
            self._told.append(found)

    @contextmanager
    def _telling(self, told: list[Diagnostic]) -> Iterator[None]:
        before, self._told = self._told, told
        try:
            yield
        finally:
            self._told = before


_EXAMPLE: Final = {key: key for key in FINGERPRINT_KEYS}
"""A chunk whose hash shows by what rule, and for which owner, hashes are made."""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


_SHAPES: Final = (
    (str, "text"),
    (tuple, "a list of texts"),
    (Mapping, "a table"),
    (int, "a whole number"),
)
_SAME_IN_ORJSON: Final = {str, int, bool, type(None)}
_ORJSON_OPTIONS: Final = orjson.OPT_STRICT_INTEGER | orjson.OPT_APPEND_NEWLINE


def _line(chunk: ChunkRecord) -> str:
    """The chunk as ``JSON.stringify`` writes it, and a newline.

    orjson writes strings, integers and booleans as JavaScript does, several times as fast as
    :func:`stringify`. What it would write otherwise it refuses: lone surrogates and, in its strict
    mode, integers that a double cannot hold.
    """
    if _SAME_IN_ORJSON.issuperset(map(type, chunk.values())):
        with suppress(orjson.JSONEncodeError):
            return orjson.dumps(chunk, option=_ORJSON_OPTIONS).decode()
    return stringify(chunk) + "\n"


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
