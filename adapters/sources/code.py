"""Any repository: code by definitions, prose by headings, everything else by lines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from tenantkb.adapters.parsers.cutting import MAX_CHARACTERS, MIN_CHARACTERS
from tenantkb.adapters.parsers.languages import BY_SUFFIX
from tenantkb.adapters.parsers.notebook_parser import NOTEBOOK
from tenantkb.adapters.parsers.prose_parser import MARKDOWN, RESTRUCTURED_TEXT
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.adapters.sources.gitignore import Patterns
from tenantkb.adapters.sources.repository import RepositoryFiles
from tenantkb.adapters.sources.texts import (
    BINARY,
    ENDLESS,
    GENERATED,
    decoded,
    reason_to_skip,
    without_endless_lines,
)
from tenantkb.domain.errors import ConfigurationError, UnparsableFileError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import ChunkRecord, Parsed, ParseJob

PARSERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(sorted(BY_SUFFIX), "CodeParser"),
    **dict.fromkeys(sorted(MARKDOWN | RESTRUCTURED_TEXT), "ProseParser"),
    NOTEBOOK: "NotebookParser",
}
"""The parser by suffix, in lower case, of files for which none is configured."""

_LINES: Final = "LineParser"
"""Takes all other files, and those that their parser cannot read."""

_VENDORED: Final = (
    *("bower_components", "node_modules", "site-packages", "third_party", "third-party"),
    *("/vendor", "vendor/bundle", "vendor/github.com", ".venv", ".tox", ".nox", ".yarn"),
)
_GENERATED: Final = (
    *("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".gradle", "*.egg-info"),
    *("dist", "htmlcov", "lcov-report", "*.min.css", "*.min.js", "*.map", "*.snap"),
    *(
        "*.designer.cs",
        "*.pb.cc",
        "*.pb.go",
        "*.pb.h",
        "*_pb2.py",
        "*_pb2.pyi",
        "*_pb2_grpc.py",
        "*.g.cs",
    ),
    *("cargo.lock", "composer.lock", "gemfile.lock", "go.sum", "npm-shrinkwrap.json"),
    *("package-lock.json", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "yarn.lock"),
)
_SECRETS: Final = (
    *(".env", ".env.*", "!.env.example", ".netrc", ".npmrc", ".pypirc", "id_ed25519", "id_rsa"),
    *("*.jks", "*.key", "*.keystore", "*.p12", "*.pem", "*.pfx", "tenantkb.toml"),
)
_MEDIA_AND_BINARIES: Final = (
    *("*.7z", "*.a", "*.avif", "*.bin", "*.bmp", "*.bz2", "*.class", "*.db", "*.dll", "*.dmg"),
    *("*.dylib", "*.ear", "*.eot", "*.exe", "*.gif", "*.gmo", "*.gz", "*.ico", "*.icns", "*.jar"),
    *("*.jpeg", "*.jpg", "*.lib", "*.lockb", "*.mo", "*.mov", "*.mp3", "*.mp4", "*.o", "*.obj"),
    *("*.ogg", "*.onnx", "*.otf", "*.pdb", "*.pdf", "*.png", "*.pyc", "*.so", "*.sqlite"),
    *("*.sqlite3", "*.svg", "*.tar", "*.tgz", "*.tif", "*.tiff", "*.ttf", "*.wasm", "*.wav"),
    *("*.war", "*.webm", "*.webp", "*.whl", "*.woff", "*.woff2", "*.xz", "*.zip", "*.zst"),
)
ALWAYS_EXCLUDED: Final[Mapping[str, tuple[str, ...]]] = {
    "": (".bzr", ".git", ".hg", ".jj", ".svn"),
    "vendored": _VENDORED,
    GENERATED: _GENERATED,
    "secret": _SECRETS,
    BINARY: _MEDIA_AND_BINARIES,
}
"""Patterns as in ``.gitignore``, matched in lower case, by the reason that is told."""

_REASONS: Final = [reason for reason, lines in ALWAYS_EXCLUDED.items() for _ in lines]
_NOTEBOOK_FACTOR: Final = 16
"""How much larger than other files a notebook may be: most of it are pictures, which are left."""


class CodeSource(FileSource):
    """The chunks of every text file that a repository does not ignore.

    Left out are, without a word, what git ignores and what ``excludePaths`` names; and with their
    reason :data:`ALWAYS_EXCLUDED`, what :mod:`adapters.sources.texts` takes for no source, and
    files beyond ``maxBytes``.

    ``paths`` is the folder to walk, or a mapping with any of the keys of :attr:`default_paths`:
    ``root``; ``excludePaths``, further patterns as in ``.gitignore``, which with ``!`` take in what
    is always left out; ``maxCharacters``, the bound of a chunk's content; ``maxBytes``.
    """

    default_paths: ClassVar[Mapping[str, Any]] = {
        "root": ".",
        "excludePaths": (),
        "maxCharacters": MAX_CHARACTERS,
        "maxBytes": 1 << 20,
    }
    stand_ins: ClassVar[tuple[str, ...]] = (_LINES,)

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        settings = self._settings()
        folder = SourceFolder(self.workspace, settings["root"])
        if not folder.exists():
            return
        files: dict[str, list[str]] = {}
        for file in folder.expected(self._files(folder, settings["excludePaths"])):
            usual = PARSERS.get(Path(file).suffix.lower(), _LINES)
            parser = self.workspace.parser_of(folder.relative(file), usual)
            files.setdefault(parser, []).append(file)
        hints = {"max_characters": settings["maxCharacters"]}
        for parser in sorted(files):
            for file in files[parser]:
                if not _is_too_large(folder, file, settings["maxBytes"]):
                    yield SourceFile(folder, file, parser, hints)

    def text(self, source: SourceFile, data: bytes) -> str | None:
        """See :meth:`FileSource.text`."""
        text = decoded(data)
        suffix = Path(source.file).suffix.lower()
        if suffix == NOTEBOOK:
            return text
        is_prose = PARSERS.get(suffix) == "ProseParser"
        if (reason := reason_to_skip(text, is_prose=is_prose)) is not None:
            source.folder.fail(source.file, reason, Severity.SKIPPED)
            return None
        shortened, cut = without_endless_lines(text)
        if cut:
            detail = f"{cut:,} of more than {ENDLESS:,} characters"
            source.folder.fail(source.file, "endless lines cut short", Severity.NOTICE, detail)
        return shortened

    def parsed(self, job: ParseJob, parsed: Parsed) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.parsed`."""
        if not isinstance(parsed, UnparsableFileError):
            return parsed
        found = Diagnostic(job.path, "cut by lines", Severity.NOTICE, str(parsed))
        self.workspace.report(found)
        text, _ = without_endless_lines(job.content)  # of what is no notebook after all
        return self.workspace.parser(_LINES).parse(text, job.path, **job.hints)

    def _settings(self) -> Mapping[str, Any]:
        settings = self.table()
        if settings["maxCharacters"] < MIN_CHARACTERS:
            raise ConfigurationError(f"CodeSource: maxCharacters is at least {MIN_CHARACTERS}")
        return settings

    def _files(self, folder: SourceFolder, excluded: tuple[str, ...]) -> Iterator[str]:
        repository = RepositoryFiles(folder)
        always = _patterns(line for lines in ALWAYS_EXCLUDED.values() for line in lines)
        configured = _patterns(excluded)

        def skip(path: str, is_folder: bool) -> bool:
            relative = folder.relative(path)
            decided = configured.decide(os.fsencode(relative), is_folder=is_folder)
            if decided is not None and decided[1]:
                return True
            if repository.excludes(path, is_folder=is_folder):
                return True
            usual = always.decide(os.fsencode(relative.lower()), is_folder=is_folder)
            if decided is None and usual is not None and usual[1]:
                if reason := _REASONS[usual[0]]:
                    folder.fail(path, reason, Severity.SKIPPED, "by its name")
                return True
            return not folder.names_a_source(path)

        return folder.walk(skip)


def _patterns(lines: Iterable[str]) -> Patterns:
    return Patterns(map(os.fsencode, lines))


def _is_too_large(folder: SourceFolder, file: str, max_bytes: int) -> bool:
    """Whether a file is left out unread."""
    limit = max_bytes * (_NOTEBOOK_FACTOR if file.lower().endswith(NOTEBOOK) else 1)
    try:
        size = Path(file).stat().st_size
    except OSError:  # reading it tells what is wrong
        size = 0
    if size > limit:
        detail = f"more than {limit:,} bytes (maxBytes)"
        folder.fail(file, "too large", Severity.SKIPPED, detail)
    return size > limit
