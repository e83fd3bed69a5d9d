"""What all sources share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

import orjson

from tenantkb.domain.canonical import stringify
from tenantkb.domain.errors import ConfigurationError, UnparsableFileError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import ChunkRecord, CreateHash, ParseJob, Workspace, WriteStream


class ChunkSource(ABC):
    """A source that yields its chunks one by one and writes each as one line.

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
    if all(type(value) in _SAME_IN_ORJSON for value in chunk.values()):
        with suppress(orjson.JSONEncodeError):
            return orjson.dumps(chunk, option=_ORJSON_OPTIONS).decode()
    return stringify(chunk) + "\n"


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
