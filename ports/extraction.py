"""From the files of a workspace to chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from attrs import field, frozen

from tenantkb.domain.errors import UnparsableFileError
from tenantkb.domain.extraction import Diagnostic
from tenantkb.ports.progress import SILENT, Progress

ChunkRecord = dict[str, Any]
"""One chunk as a JSON object: camelCase keys in the order in which they are to be written."""

CreateHash = Callable[[Mapping[str, Any]], str]
"""Gives a chunk's fingerprint, see :func:`domain.canonical.content_fingerprint`."""


class WriteStream(Protocol):
    """Where a source writes its lines."""

    def write(self, text: str, /) -> object:
        """Take one line of JSON with its newline.

        Raises:
            InvalidInputError: it is not one JSON object on one line.
        """
        ...


@frozen
class Block:
    """What a source has written of one file.

    Attributes:
        digest: SHA-256 of the text, in hexadecimal digits.
        lines: How many lines it has.
        text: Lines of JSON, each with its newline; ``None`` for whoever knows them by the digest.
    """

    digest: str
    lines: int
    text: str | None


@runtime_checkable
class BlockStream(WriteStream, Protocol):
    """A write stream that takes all lines of one file at once."""

    def knows(self, digest: str, /) -> bool:
        """Whether it takes the block with this digest without its text."""
        ...

    def write_block(self, block: Block, /) -> object:
        """Take a block; without its text only where it knows it.

        Raises:
            InvalidInputError: as for :meth:`WriteStream.write`.
        """
        ...


class FileStatus(NamedTuple):
    """By what a file is recognised without reading it.

    Attributes:
        inode: Its number on its device.
        size: Bytes.
        modified: When its content changed last, in nanoseconds since 1970.
        changed: The same of its content or whatever else is known of it: nothing sets it back.
    """

    inode: int
    size: int
    modified: int
    changed: int


@frozen
class KeptFile:
    """What an earlier extraction has made of a file.

    Attributes:
        block: Digest and number of its lines; the text is asked for when it is needed.
        diagnostics: What was told of it.
    """

    block: Block
    diagnostics: tuple[Diagnostic, ...]


class FileCache(Protocol):
    """What each file of one workspace gave when it was last extracted.

    A key stands for everything but the file's content that its lines depend on.
    """

    def find(self, key: str, status: FileStatus) -> KeptFile | None:
        """What is kept of a file that has not changed since: the same status, and an old one.

        A file may change twice within the resolution of its times, so that a status tells nothing
        that was new when it was noted (git: "racily clean").
        """
        ...

    def find_content(self, key: str, status: FileStatus, digest: str) -> KeptFile | None:
        """What is kept of a file with this content, SHA-256 in hexadecimal digits."""
        ...

    def text(self, key: str) -> str | None:
        """The lines of what was found; ``None`` where they are damaged."""
        ...

    def keep(
        self,
        key: str,
        status: FileStatus,
        digest: str,
        block: Block,
        diagnostics: tuple[Diagnostic, ...],
    ) -> None:
        """Keep what a file with this content gave; ``status`` is from before it was read."""
        ...


class FileCaches(Protocol):
    """The caches of an installation. That there is none, or none that can be used, is no error."""

    def open(self, *owner: str, root: Path, fresh: bool) -> AbstractContextManager[FileCache]:
        """The cache of one workspace; at the end, unless by an error, what was found or kept stays.

        Args:
            owner: Whose it is: nobody else's is ever looked at.
            root: The folder of the workspace.
            fresh: Whether what is there is not looked at.
        """
        ...


class Parser(Protocol):
    """Cuts the text of one file into chunks."""

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        """Cut ``content`` into chunks without ``hash``.

        Args:
            content: The decoded text of the file, a byte order mark included.
            path: Path relative to the workspace, forward slashes.
            hints: What the source knows beyond the text; a parser ignores the hints it has no use
                for.

        Raises:
            UnparsableFileError: the text is not of this parser's language.
        """
        ...


class Source(Protocol):
    """Finds one kind of content in a workspace and writes it as chunks."""

    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        """Write one line a chunk, ``hash`` as its last key, in a deterministic order.

        A file that cannot be used costs that file only: it is reported through
        :attr:`Workspace.report` and the source goes on.

        Returns:
            The number of lines written.
        """
        ...


@frozen
class ParseJob:
    """One file to parse: the arguments of :meth:`Parser.parse`."""

    content: str
    path: str
    hints: Mapping[str, Any] = field(factory=dict)


Parsed = list[ChunkRecord] | UnparsableFileError
"""The chunks of one file, or why there are none."""

ParseAll = Callable[[str, Iterable[ParseJob]], Iterator[tuple[ParseJob, Parsed]]]
"""Parses many files and gives each with its result, in order.

A file is parsed by the parser that is configured for files like it, else by the one of the given
registered name.
"""


@frozen
class Workspace:
    """What a source is given to work with.

    Attributes:
        root: The folder of the checkout.
        paths: This source's configured path or paths, or ``None`` for its own default.
        cache: What the workspace's files gave earlier.
        hierarchy: ``{className: parentClassName}`` of the workspace, may be empty.
        parser: Gives a parser by its registered name; raises ``ConfigurationError`` for an unknown
            one.
        parse_all: Parses many files at once, on all processors where that pays.
        parser_of: The name of the parser that is configured for files like the one at a path, else
            the given name.
        parser_mark: What distinguishes the results of the parser of a registered name from those of
            another one, or of the same with other options; ``None`` where that cannot be known.
        report: Takes every file that was skipped, with the reason.
        progress: A step is one file.
    """

    root: Path
    report: Callable[[Diagnostic], None]
    parser: Callable[[str], Parser]
    parse_all: ParseAll
    parser_of: Callable[[str, str], str]
    parser_mark: Callable[[str], str | None]
    progress: Progress = SILENT
    paths: Any = None
    cache: FileCache | None = None
    hierarchy: Mapping[str, str] = field(factory=dict)


SourceFactory = Callable[..., Source]
"""Called as ``factory(workspace, **options)``."""


class FileParser(Protocol):
    """Cuts files that somebody sends, as the installation would cut those of a repository."""

    def parse(
        self, files: Iterable[ParseJob], report: Callable[[Diagnostic], None]
    ) -> Iterator[tuple[str, list[ChunkRecord]]]:
        """Cut files into chunks without ``hash``, in processes of their own, within limits.

        Args:
            files: Each with its content as it is in the repository, and its path there, see
                :func:`domain.paths.require_source_path`. Read once; a bounded part of it is held.
            report: Takes what is left out on purpose, and what is not used to the full.

        Yields:
            Every path with its chunks, soon after it was read. What is left out has none.

        Raises:
            ConfigurationError: a parser is misconfigured.
        """
        ...


class SourceRegistry(Protocol):
    """The sources of an installation, in their order."""

    def names(self) -> list[str]:
        """Registered names in extraction order."""
        ...

    def build(
        self,
        workspace_root: Path,
        report: Callable[[Diagnostic], None],
        progress: Progress = SILENT,
        cache: FileCache | None = None,
    ) -> Iterator[tuple[str, Source]]:
        """Every source, with its name, bound to one workspace, in extraction order."""
        ...
