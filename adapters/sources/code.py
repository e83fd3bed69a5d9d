"""Any repository: code by definitions, prose by headings, everything else by lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from tenantkb.adapters.parsers.cutting import MAX_CHARACTERS, MIN_CHARACTERS
from tenantkb.adapters.parsers.languages import BY_SUFFIX
from tenantkb.adapters.parsers.prose_parser import MARKDOWN, RESTRUCTURED_TEXT
from tenantkb.adapters.sources.base import ChunkSource
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.adapters.sources.gitignore import GitIgnore, rules
from tenantkb.domain.errors import ConfigurationError, UnparsableFileError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import ChunkRecord, ParseJob

PARSERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(sorted(BY_SUFFIX), "CodeParser"),
    **dict.fromkeys(sorted(MARKDOWN | RESTRUCTURED_TEXT), "ProseParser"),
}
"""The parser by suffix, in lower case, of files for which none is configured."""

_LINES: Final = "LineParser"
"""Takes all other files, and those that their parser cannot read."""

_VERSION_CONTROL: Final = (".bzr", ".git", ".hg", ".jj", ".svn")
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
ALWAYS_EXCLUDED: Final = (
    *(*_VERSION_CONTROL, *_VENDORED, *_GENERATED, *_SECRETS, *_MEDIA_AND_BINARIES),
)
"""Patterns as in ``.gitignore``, matched in lower case."""

_NUL_SEARCHED: Final = 8_000  # where git looks for the NUL that tells a binary file
_HEAD: Final = 1_000
_LONG_LINES: Final = 1_000
_GENERATED_HEAD: Final = re.compile(
    r"(?i:code generated\b.*\bdo not edit|\bauto-?generated\b.*\bdo not (?:edit|modify))"
    r"|[@]generated\b"
)


class CodeSource(ChunkSource):
    """The chunks of every text file that a repository does not ignore.

    Left out are what ``.gitignore`` files name, :data:`ALWAYS_EXCLUDED`, files with a NUL byte near
    their beginning, files whose head says that they are generated, and minified code or data:
    more than 8,000 characters in lines of more than 1,000 on average; all that silently. Files
    beyond ``maxBytes`` are left out with a warning.

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

    def chunks(self) -> Iterator[ChunkRecord]:
        """See :meth:`ChunkSource.chunks`."""
        settings = self._settings()
        folder = SourceFolder(self.workspace, settings["root"])
        if not folder.exists():
            return
        files: dict[str, list[str]] = {}
        for file in self._files(folder, settings["excludePaths"]):
            usual = PARSERS.get(Path(file).suffix.lower(), _LINES)
            parser = self.workspace.parser_of(folder.relative(file), usual)
            files.setdefault(parser, []).append(file)
        hints = {"max_characters": settings["maxCharacters"]}
        for parser in sorted(files):
            jobs = (
                ParseJob(text, folder.relative(file), hints)
                for file in files[parser]
                if (text := _text(folder, file, settings["maxBytes"])) is not None
            )
            for job, parsed in self.workspace.parse_all(parser, jobs):
                if not isinstance(parsed, UnparsableFileError):
                    yield from parsed
                    continue
                reason = f"cut by lines: {parsed}"
                self.workspace.report(Diagnostic(job.path, reason, Severity.NOTICE))
                yield from self.workspace.parser(_LINES).parse(job.content, job.path, **hints)

    def _settings(self) -> Mapping[str, Any]:
        settings = self.table()
        if settings["maxCharacters"] < MIN_CHARACTERS:
            raise ConfigurationError(f"CodeSource: maxCharacters is at least {MIN_CHARACTERS}")
        return settings

    def _files(self, folder: SourceFolder, excluded: tuple[str, ...]) -> Iterator[str]:
        ignored = GitIgnore(folder, self.workspace.root.absolute())
        always = rules(ALWAYS_EXCLUDED)
        configured = rules(excluded)

        def skip(path: str, *, is_folder: bool = True) -> bool:
            relative = folder.relative(path) + "/" * is_folder
            decided = configured.check_file(relative).include
            left_out = always.match_file(relative.lower()) if decided is None else decided
            return left_out or ignored.excludes(path, is_folder=is_folder)

        return (file for file in folder.walk(skip) if not skip(file, is_folder=False))


def _text(folder: SourceFolder, file: str, max_bytes: int) -> str | None:
    """The text of a file, or ``None`` for one that is left out."""
    try:
        size = Path(file).stat().st_size
    except OSError:  # reading it tells what is wrong
        size = 0
    if size > max_bytes:
        folder.fail(file, f"larger than {max_bytes:,} bytes (maxBytes)", Severity.WARNING)
        return None
    text = folder.read(file)
    return None if text is None or _is_no_source(text) else text


def _is_no_source(text: str) -> bool:
    is_binary = "\0" in text[:_NUL_SEARCHED]
    is_minified = len(text) > max(_NUL_SEARCHED, _LONG_LINES * (text.count("\n") + 1))
    return is_binary or is_minified or _GENERATED_HEAD.search(text[:_HEAD]) is not None
