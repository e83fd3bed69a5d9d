"""Which sources and parsers an installation has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import evolve

from tenantkb.adapters.configuration.settings import FactorySettings, WorkspaceSettings
from tenantkb.adapters.parsers.js_text import parse_json
from tenantkb.adapters.parsers.pool import Limits, ParserPool, extend_import_path, parse
from tenantkb.adapters.runtime.plugins import Factories
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.domain.errors import ConfigurationError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import (
    ChunkRecord,
    FileCache,
    Parsed,
    ParseJob,
    Parser,
    Source,
    Workspace,
)
from tenantkb.ports.progress import SILENT, Progress

DEFAULT_SOURCES: Final[Mapping[str, str]] = {
    "AdrSource": "tenantkb.adapters.sources.adr:AdrSource",
    "ApiSource": "tenantkb.adapters.sources.api:ApiSource",
    "ConceptSource": "tenantkb.adapters.sources.concept:ConceptSource",
    "DiscussionSource": "tenantkb.adapters.sources.archive:DiscussionSource",
    "LearningSource": "tenantkb.adapters.sources.learning:LearningSource",
    "PullRequestSource": "tenantkb.adapters.sources.archive:PullRequestSource",
    "ReleaseNotesSource": "tenantkb.adapters.sources.release_notes:ReleaseNotesSource",
    "SkillSource": "tenantkb.adapters.sources.skill:SkillSource",
    "TicketSource": "tenantkb.adapters.sources.archive:TicketSource",
    "TestSource": "tenantkb.adapters.sources.unit_tests:TestSource",
}
"""In extraction order."""

DEFAULT_PARSERS: Final[Mapping[str, str]] = {
    "SourceParser": "tenantkb.adapters.parsers.source_parser:SourceParser",
    "TestParser": "tenantkb.adapters.parsers.unit_tests:TestParser",
    "DocumentationParser": "tenantkb.adapters.parsers.documentation_parser:DocumentationParser",
}

CODE_PARSERS: Final[Mapping[str, str]] = {
    "CodeParser": "tenantkb.adapters.parsers.code_parser:CodeParser",
    "ProseParser": "tenantkb.adapters.parsers.prose_parser:ProseParser",
    "NotebookParser": "tenantkb.adapters.parsers.notebook_parser:NotebookParser",
    "LineParser": "tenantkb.adapters.parsers.line_parser:LineParser",
}


class WorkspaceSources:
    """The sources and parsers of an installation.

    It is a :class:`ports.extraction.SourceRegistry` and a :class:`ports.extraction.FileParser`.

    Sources stand in the order in which they extract: the default ones; those of installed packages,
    by name; the configured ones, in the order of the file; last RawRepoSource and CodeSource, which
    take every file there is. Of the parsers, tenantkb's own come first.

    Attributes:
        sources: Called as ``factory(workspace, **options)``.
        parsers: Called as ``factory(**options)``, once for each workspace and process.
    """

    def __init__(
        self,
        settings: WorkspaceSettings | None = None,
        *,
        import_path: Iterable[Path] = (),
        workers: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Register what the settings name.

        Args:
            settings: How workspaces are read; by default with the default sources alone.
            import_path: Folders with modules that factories name, besides what is installed.
            workers: Most processes that parse a workspace; by default one a processor.
            limits: What the parsing of one file may take.

        Raises:
            ConfigurationError: a name is taken.
        """
        settings = settings or WorkspaceSettings()
        self._settings = settings
        self._import_path = [str(folder) for folder in import_path]
        self._workers = workers
        self._limits = limits
        self.sources = Factories("source", DEFAULT_SOURCES if settings.use_default_sources else {})
        self.parsers = Factories("parser", DEFAULT_PARSERS if settings.use_default_parsers else {})
        if settings.use_default_parsers or settings.code_source:
            for name, factory in CODE_PARSERS.items():
                self.parsers.register(name, factory)
        if settings.use_entry_points:
            self.sources.register_entry_points("tenantkb.sources")
            self.parsers.register_entry_points("tenantkb.parsers")
        _register(self.sources, settings.custom_sources)
        _register(self.parsers, settings.custom_parsers)
        if settings.raw_repo_source:
            self.sources.register(
                "RawRepoSource", "tenantkb.adapters.sources.raw_repo:RawRepoSource"
            )
        if settings.code_source:
            self.sources.register("CodeSource", "tenantkb.adapters.sources.code:CodeSource")

    def names(self) -> list[str]:
        """See :meth:`ports.extraction.SourceRegistry.names`."""
        return self.sources.names()

    def build(
        self,
        workspace_root: Path,
        report: Callable[[Diagnostic], None],
        progress: Progress = SILENT,
        cache: FileCache | None = None,
    ) -> Iterator[tuple[str, Source]]:
        """See :meth:`ports.extraction.SourceRegistry.build`.

        Raises:
            ConfigurationError: paths or patterns are configured for what is not registered, or a
                factory cannot be loaded.
        """
        _require_registered("source_paths", self.sources, self._settings.source_paths)
        _require_registered(
            "parser_patterns", self.parsers, self._settings.parser_patterns.values()
        )
        with self._workspace(workspace_root, report, progress) as bare:
            workspace = evolve(bare, hierarchy=self._hierarchy(bare), cache=cache)
            for name in self.sources.names():
                paths = self._settings.source_paths.get(name)
                yield name, self.sources.make(name, evolve(workspace, paths=paths))

    def parse(
        self, files: Iterable[ParseJob], report: Callable[[Diagnostic], None]
    ) -> Iterator[tuple[str, list[ChunkRecord]]]:
        """See :meth:`ports.extraction.FileParser.parse`: they are cut as CodeSource cuts files."""
        from tenantkb.adapters.sources.code import CodeSource

        paths = self._settings.source_paths.get(CodeSource.__name__)
        with self._workspace(Path(), report) as nowhere:
            yield from CodeSource(evolve(nowhere, paths=paths)).sent(files)

    @contextmanager
    def _workspace(
        self, root: Path, report: Callable[[Diagnostic], None], progress: Progress = SILENT
    ) -> Iterator[Workspace]:
        """What sources work with, and the processes that parse for them."""
        extend_import_path(self._import_path)

        @functools.cache
        def parser(name: str) -> Parser:
            made: Parser = self.parsers.make(name)
            return made

        with ParserPool(self._workers, self._import_path, self._limits) as pool:

            def parse_all(name: str, jobs: Iterable[ParseJob]) -> Iterator[tuple[ParseJob, Parsed]]:
                for chosen, alike in groupby(jobs, lambda job: self.parser_of(job.path, name)):
                    recipe = self.parsers.recipe(chosen)
                    if recipe.is_portable:
                        yield from pool.parse(recipe, alike)
                    else:
                        yield from ((job, parse(parser(chosen), job)) for job in alike)

            yield Workspace(
                root,
                report,
                parser,
                parse_all,
                self.parser_of,
                functools.cache(self._parser_mark),
                progress,
            )

    def parser_of(self, path: str, name: str) -> str:
        """The parser of a file: the first whose pattern matches, or else the one that is named."""
        lowered = path.lower()
        for pattern, chosen in self._settings.parser_patterns.items():
            part = lowered if "/" in pattern else lowered.rpartition("/")[2]
            if fnmatchcase(part, pattern.lower()):
                return chosen
        return name

    def _parser_mark(self, name: str) -> str | None:
        """See :attr:`ports.extraction.Workspace.parser_mark`; only our own parsers are known."""
        recipe = self.parsers.recipe(name)
        ours = isinstance(recipe.factory, str) and recipe.factory.startswith("tenantkb.")
        return repr(recipe) if ours else None

    def _hierarchy(self, workspace: Workspace) -> Mapping[str, str]:
        """The class hierarchy; empty, with a notice, where there is none that can be read."""

        def note(found: Diagnostic) -> None:
            if not self._settings.use_default_sources:  # nobody asks for it
                return
            reason = f"chunks will not say what a class extends: {found.reason}"
            workspace.report(evolve(found, reason=reason, severity=Severity.NOTICE))

        configured = PurePosixPath(self._settings.hierarchy_path)
        folder = SourceFolder(
            evolve(workspace, report=note, progress=SILENT), str(configured.parent)
        )
        path = folder.path / configured.name
        text = folder.read(path)
        if text is None:
            return {}
        try:
            hierarchy = parse_json(text.removeprefix("\ufeff"))
        except ValueError as error:
            folder.fail(path, f"not JSON: {error}")
            return {}
        if not isinstance(hierarchy, dict):
            folder.fail(path, "not a JSON object")
            return {}
        return hierarchy


def _register(factories: Factories, entries: Mapping[str, FactorySettings]) -> None:
    for name, entry in entries.items():
        factories.register(name, entry.factory, entry.options, replace=entry.replace)


def _require_registered(key: str, factories: Factories, names: Iterable[str]) -> None:
    try:
        for name in names:
            factories.recipe(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{key}: {error}") from error
