"""Any repository, one chunk a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final

from tenantkb.adapters.parsers.js_text import trim
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.adapters.sources.repository import RepositoryFiles
from tenantkb.adapters.sources.texts import BINARY, decoded
from tenantkb.domain import fields
from tenantkb.domain.extraction import Severity
from tenantkb.ports.extraction import ChunkRecord

_BINARY: Final = (
    ".7z",
    ".avif",
    ".bin",
    ".bmp",
    ".bz2",
    ".class",
    ".dmg",
    ".eot",
    ".exe",
    ".gif",
    ".gz",
    ".ico",
    ".jar",
    ".jpeg",
    ".jpg",
    ".lockb",
    ".mov",
    ".mp3",
    ".mp4",
    ".otf",
    ".pdf",
    ".png",
    ".sqlite",
    ".tar",
    ".tgz",
    ".ttf",
    ".wasm",
    ".webm",
    ".webp",
    ".woff",
    ".woff2",
    ".zip",
)
_GENERATED: Final = (
    ".git",
    ".neo-ai-data",
    "coverage",
    "dist",
    "docs/output",
    "node_modules",
    "package-lock.json",
    "playwright-report",
    "resources/examples",
    "resources/fonts",
    "resources/images",
    "test-results",
    "yarn.lock",
)

_TOLD: Final = ("parserId", "parserVersion", fields.ROOT_KIND, "kind", "type")
"""Settings that each chunk repeats, in this order."""


class RawRepoSource(FileSource):
    """One chunk for each text file of a repository that has none of the other sources' shapes.

    What git ignores is left out.

    ``paths`` is the folder to walk, or a mapping with any of the keys of :attr:`default_paths`. An
    entry of ``excludePaths`` is a name that may occur anywhere in a path, or some consecutive parts
    of one, or ``<folder>/**``, or ``**/<end of a path>``. An empty ``includeExtensions`` includes
    all. A file that a parser is configured for is cut by it.
    """

    default_paths: ClassVar[Mapping[str, Any]] = {
        "root": ".",
        "includeExtensions": (),
        "excludeExtensions": _BINARY,
        "excludePaths": _GENERATED,
        "kind": "doc-section",
        "type": "raw",
        "parserId": "raw-text",
        "parserVersion": "1.0.0",
        fields.ROOT_KIND: "external-source",
    }

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        settings = self.table()
        included = _extensions(settings["includeExtensions"])
        excluded = _extensions(settings["excludeExtensions"])
        patterns = [_relative(pattern) for pattern in settings["excludePaths"]]
        folder = SourceFolder(self.workspace, settings["root"])

        if not folder.exists():
            return
        told = {key: settings[key] for key in _TOLD}
        repository = RepositoryFiles(folder)

        def skip(path: str, is_folder: bool) -> bool:
            relative = folder.relative(path)
            return (
                any(_matches(relative, pattern) for pattern in patterns if pattern)
                or repository.excludes(path, is_folder=is_folder)
                or not folder.names_a_source(path)
            )

        for file in folder.expected(folder.walk(skip)):
            path = folder.relative(file)
            extension = PurePosixPath(path).suffix.lower()
            if extension in excluded:
                folder.fail(file, BINARY, Severity.SKIPPED, "by its extension")
                continue
            if included and extension not in included:
                continue
            if parser := self.workspace.parser_of(path, ""):
                yield SourceFile(folder, file, parser)
            else:
                yield SourceFile(folder, file, hints=told)

    def text(self, source: SourceFile, data: bytes) -> str:
        """See :meth:`FileSource.text`."""
        return decoded(data)

    def cut(self, source: SourceFile, path: str, text: str) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.cut`."""
        yield {
            "schemaVersion": "1.0.0",
            fields.SOURCE_PATH: path,
            "source": path,
            "content": text,
            "hashInputs": [
                "kind",
                "name",
                "content",
                fields.SOURCE_PATH,
                "parserId",
                "parserVersion",
            ],
            **source.hints,
            "name": path,
        }


def _extensions(values: Iterable[str]) -> set[str]:
    cleaned = (trim(value).lower() for value in values)
    return {value if value.startswith(".") else f".{value}" for value in cleaned if value}


def _relative(pattern: str) -> str:
    return pattern.replace("\\", "/").removeprefix("./").rstrip("/")


def _matches(path: str, pattern: str) -> bool:
    if pattern.endswith("/**"):
        return f"{path}/".startswith(pattern.removesuffix("**"))
    if pattern.startswith("**/"):
        return f"/{path}".endswith(pattern.removeprefix("**"))
    return f"/{pattern}/" in f"/{path}/"
