"""From the files of a workspace to chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

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
        hierarchy: ``{className: parentClassName}`` of the workspace, may be empty.
        parser: Gives a parser by its registered name; raises ``ConfigurationError`` for an unknown
            one.
        parse_all: Parses many files at once, on all processors where that pays.
        parser_of: The name of the parser that is configured for files like the one at a path, else
            the given name.
        report: Takes every file that was skipped, with the reason.
        progress: A step is one file.
    """

    root: Path
    report: Callable[[Diagnostic], None]
    parser: Callable[[str], Parser]
    parse_all: ParseAll
    parser_of: Callable[[str, str], str]
    progress: Progress = SILENT
    paths: Any = None
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
    ) -> Iterator[tuple[str, Source]]:
        """Every source, with its name, bound to one workspace, in extraction order."""
        ...
