"""Any repository: code by definitions, prose by headings, everything else by lines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
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
from tenantkb.ports.extraction import ChunkRecord, Parsed, ParseJob, Workspace

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

_SENT_AT_A_TIME: Final = 1 << 22
"""Characters of sent files that are held, so that those of one parser are parsed together."""

_FILE: Final = 1024
"""Characters that a file counts for besides its own: of a million empty files few are held."""


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

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._always = _patterns(line for lines in ALWAYS_EXCLUDED.values() for line in lines)

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        settings = self._settings()
        folder = SourceFolder(self.workspace, settings["root"])
        if not folder.exists():
            return
        files: dict[str, list[str]] = {}
        for file in folder.expected(self._files(folder, settings["excludePaths"])):
            files.setdefault(self._parser(folder.relative(file)), []).append(file)
        hints = {"max_characters": settings["maxCharacters"]}
        for parser in sorted(files):
            for file in files[parser]:
                if not self._is_too_large_there(folder, file, settings["maxBytes"]):
                    yield SourceFile(folder, file, parser, hints)

    def text(self, source: SourceFile, data: bytes) -> str | None:
        """See :meth:`FileSource.text`."""
        return self._text(source.folder.relative(source.file), data)

    def parsed(self, job: ParseJob, parsed: Parsed) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.parsed`."""
        if not isinstance(parsed, UnparsableFileError):
            return parsed
        self._tell(job.path, "cut by lines", Severity.NOTICE, str(parsed))
        text, _ = without_endless_lines(job.content)  # of what is no notebook after all
        return self.workspace.parser(_LINES).parse(text, job.path, **job.hints)

    def sent(self, files: Iterable[ParseJob]) -> Iterator[tuple[str, list[ChunkRecord]]]:
        """Cut files that are not in the workspace, see :meth:`ports.extraction.FileParser.parse`.

        They are left out for the same reasons as files of a repository, but for what git ignores:
        whoever sends a file means it.
        """
        settings = self._settings()
        excluded = _patterns(settings["excludePaths"])
        hints = {"max_characters": settings["maxCharacters"]}
        for batch in _batches(files):
            jobs: dict[str, list[ParseJob]] = {}
            for file in batch:
                text = self._text_of_sent(file, excluded, settings["maxBytes"])
                if text is None:
                    yield file.path, []
                else:
                    job = ParseJob(text, file.path, hints)
                    jobs.setdefault(self._parser(file.path), []).append(job)
            for parser in sorted(jobs):
                for job, parsed in self.workspace.parse_all(parser, jobs[parser]):
                    yield job.path, list(self.parsed(job, parsed))

    def _parser(self, path: str) -> str:
        usual = PARSERS.get(Path(path).suffix.lower(), _LINES)
        return self.workspace.parser_of(path, usual)

    def _settings(self) -> Mapping[str, Any]:
        settings = self.table()
        if settings["maxCharacters"] < MIN_CHARACTERS:
            raise ConfigurationError(f"CodeSource: maxCharacters is at least {MIN_CHARACTERS}")
        return settings

    def _files(self, folder: SourceFolder, excluded: tuple[str, ...]) -> Iterator[str]:
        repository = RepositoryFiles(folder)
        configured = _patterns(excluded)

        def skip(path: str, is_folder: bool) -> bool:
            relative = folder.relative(path)
            reason = self._exclusion(configured, relative, is_folder=is_folder)
            if reason == "" or repository.excludes(path, is_folder=is_folder):
                return True
            if reason is not None:
                folder.fail(path, reason, Severity.SKIPPED, "by its name")
                return True
            return not folder.names_a_source(path)

        return folder.walk(skip)

    def _exclusion(self, configured: Patterns, path: str, *, is_folder: bool) -> str | None:
        """Why a file or folder is left out by its name; ``""`` for what needs no word.

        Args:
            configured: What the settings exclude, or take in.
            path: Relative to the root of the workspace. Its folders are not left out.
            is_folder: Whether it is a folder's.
        """
        decided = configured.decide(os.fsencode(path), is_folder=is_folder)
        if decided is not None:
            return "" if decided[1] else None
        usual = self._always.decide(os.fsencode(path.lower()), is_folder=is_folder)
        return _REASONS[usual[0]] if usual is not None and usual[1] else None

    def _is_too_large_there(self, folder: SourceFolder, file: str, max_bytes: int) -> bool:
        """Whether a file of the workspace is left out unread."""
        try:
            size = Path(file).stat().st_size
        except OSError:  # reading it tells what is wrong
            size = 0
        return self._is_too_large(folder.relative(file), size, max_bytes)

    def _text_of_sent(self, file: ParseJob, configured: Patterns, max_bytes: int) -> str | None:
        """The text of a file that was sent, or ``None`` for one that is left out."""
        *folders, _ = accumulate(file.path.split("/"), "{}/{}".format)
        for path, is_folder in (*((each, True) for each in folders), (file.path, False)):
            reason = self._exclusion(configured, path, is_folder=is_folder)
            if reason is not None:
                self._tell(file.path, reason or "excluded", Severity.SKIPPED, "by its name")
                return None
        data = file.content.encode("utf-8", "surrogatepass")
        if self._is_too_large(file.path, len(data), max_bytes):
            return None
        return self._text(file.path, data)

    def _is_too_large(self, path: str, size: int, max_bytes: int) -> bool:
        limit = max_bytes * _NOTEBOOK_FACTOR if _is_notebook(path) else max_bytes
        if size > limit:
            detail = f"more than {limit:,} bytes (maxBytes)"
            self._tell(path, "too large", Severity.SKIPPED, detail)
        return size > limit

    def _text(self, path: str, data: bytes) -> str | None:
        """What a file says, or ``None`` where that is no source of knowledge."""
        text = decoded(data)
        if _is_notebook(path):
            return text
        is_prose = PARSERS.get(Path(path).suffix.lower()) == "ProseParser"
        if (reason := reason_to_skip(text, is_prose=is_prose)) is not None:
            self._tell(path, reason, Severity.SKIPPED)
            return None
        shortened, cut = without_endless_lines(text)
        if cut:
            detail = f"{cut:,} of more than {ENDLESS:,} characters"
            self._tell(path, "endless lines cut short", Severity.NOTICE, detail)
        return shortened

    def _tell(self, path: str, reason: str, severity: Severity, detail: str = "") -> None:
        self.workspace.report(Diagnostic(path, reason, severity, detail))


def _patterns(lines: Iterable[str]) -> Patterns:
    return Patterns(map(os.fsencode, lines))


def _is_notebook(path: str) -> bool:
    return path.lower().endswith(NOTEBOOK)


def _batches(files: Iterable[ParseJob]) -> Iterator[list[ParseJob]]:
    batch, size = list[ParseJob](), 0
    for file in files:
        batch.append(file)
        size += len(file.content) + _FILE
        if size >= _SENT_AT_A_TIME:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
