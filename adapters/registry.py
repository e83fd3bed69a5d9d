"""Which sources and parsers an installation has."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final, Generic, TypeVar, cast

from attrs import evolve

from adapters.js_text import parse_json
from adapters.parsers.pool import ParserPool, parse
from adapters.sources.folder import SourceFolder
from domain.errors import ConfigurationError
from domain.extraction import Diagnostic, Severity
from ports.extraction import Parsed, ParseJob, Parser, Source, SourceFactory, Workspace

Factory = TypeVar("Factory", bound=Callable[..., Any])

DEFAULT_SOURCES: Final[Mapping[str, str]] = {
    "AdrSource": "adapters.sources.adr:AdrSource",
    "ApiSource": "adapters.sources.api:ApiSource",
    "ConceptSource": "adapters.sources.concept:ConceptSource",
    "DiscussionSource": "adapters.sources.archive:DiscussionSource",
    "LearningSource": "adapters.sources.learning:LearningSource",
    "PullRequestSource": "adapters.sources.archive:PullRequestSource",
    "ReleaseNotesSource": "adapters.sources.release_notes:ReleaseNotesSource",
    "SkillSource": "adapters.sources.skill:SkillSource",
    "TicketSource": "adapters.sources.archive:TicketSource",
    "TestSource": "adapters.sources.test:TestSource",
}
"""In extraction order."""

RAW_REPO_SOURCE: Final[Mapping[str, str]] = {
    "RawRepoSource": "adapters.sources.raw_repo:RawRepoSource",
}

DEFAULT_PARSERS: Final[Mapping[str, str]] = {
    "SourceParser": "adapters.parsers.source_parser:SourceParser",
    "TestParser": "adapters.parsers.test_parser:TestParser",
    "DocumentationParser": "adapters.parsers.documentation_parser:DocumentationParser",
}

HIERARCHY_PATH: Final = "docs/output/class-hierarchy.json"


class Registry(Generic[Factory]):
    """Factories by name, in order of registration.

    A factory is a callable or the text ``"package.module:name"`` of one, imported at first use.
    """

    def __init__(self, kind: str, entries: Mapping[str, Factory | str]) -> None:
        """Start with some entries.

        Args:
            kind: What the factories make, for messages.
            entries: Factories by name.
        """
        self._kind = kind
        self._entries = dict(entries)

    def register(self, name: str, factory: Factory | str, *, replace: bool = False) -> None:
        """Add a factory at the end, or with ``replace`` in the place of the one of this name.

        Raises:
            ConfigurationError: the name is taken and ``replace`` is not set.
        """
        if name in self._entries and not replace:
            raise ConfigurationError(
                f"there is a {self._kind} {name} already; pass replace=True to replace it"
            )
        self._entries[name] = factory

    def unregister(self, name: str) -> None:
        """Remove a factory.

        Raises:
            ConfigurationError: there is none of this name.
        """
        self.require(name)
        del self._entries[name]

    def names(self) -> list[str]:
        """Registered names, in order."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def require(self, name: str) -> None:
        """Check a name.

        Raises:
            ConfigurationError: there is none of this name; the message lists those there are.
        """
        if name not in self._entries:
            known = ", ".join(self._entries) or "none"
            raise ConfigurationError(f"there is no {self._kind} {name}; registered: {known}")

    def entry(self, name: str) -> Factory | str:
        """What was registered under a name.

        Raises:
            ConfigurationError: there is none of this name.
        """
        self.require(name)
        return self._entries[name]

    def factory(self, name: str) -> Factory:
        """The factory of a name, imported if need be.

        Raises:
            ConfigurationError: there is none of this name, or it cannot be imported.
        """
        factory = self.entry(name)
        if not isinstance(factory, str):
            return factory
        module_name, _, attribute = factory.partition(":")
        try:
            loaded = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                f"{self._kind} {name}: cannot load {factory!r}: {error}"
            ) from error
        if not callable(loaded):
            raise ConfigurationError(f"{self._kind} {name}: {factory!r} is not callable")
        return cast(Factory, loaded)


class WorkspaceSources:
    """The sources and parsers of an installation; a :class:`ports.extraction.SourceRegistry`.

    Attributes:
        sources: Called as ``factory(workspace)``.
        parsers: Called without arguments, once for each workspace.
    """

    def __init__(
        self,
        source_paths: Mapping[str, Any] | None = None,
        *,
        use_default_sources: bool = True,
        use_default_parsers: bool = True,
        raw_repo_source: bool = False,
        hierarchy_path: str = HIERARCHY_PATH,
        workers: int | None = None,
    ) -> None:
        """Register what comes with tenantkb.

        Args:
            source_paths: By source, what it reads instead of its default paths.
            use_default_sources: Register the ten default sources.
            use_default_parsers: Register the three default parsers.
            raw_repo_source: Register RawRepoSource, after the others.
            hierarchy_path: Where a workspace keeps its ``{className: parentClassName}``.
            workers: Processes that parse large workspaces; by default one a processor.
        """
        self._paths = dict(source_paths or {})
        self._hierarchy_path = hierarchy_path
        self._workers = workers
        self.sources: Registry[SourceFactory] = Registry(
            "source",
            {
                **(DEFAULT_SOURCES if use_default_sources else {}),
                **(RAW_REPO_SOURCE if raw_repo_source else {}),
            },
        )
        self.parsers: Registry[Callable[[], Parser]] = Registry(
            "parser", DEFAULT_PARSERS if use_default_parsers else {}
        )

    def names(self) -> list[str]:
        """See :meth:`ports.extraction.SourceRegistry.names`."""
        return self.sources.names()

    def build(
        self, workspace_root: Path, report: Callable[[Diagnostic], None]
    ) -> Iterator[tuple[str, Source]]:
        """See :meth:`ports.extraction.SourceRegistry.build`.

        Raises:
            ConfigurationError: paths are configured for a source that is not registered, or a
                factory cannot be loaded.
        """
        for name in self._paths:
            self.sources.require(name)

        @cache
        def parser(name: str) -> Parser:
            return self.parsers.factory(name)()

        with ParserPool(self._workers) as pool:

            def parse_all(name: str, jobs: Iterable[ParseJob]) -> Iterator[tuple[ParseJob, Parsed]]:
                parser(name)  # an error of the configuration is raised in this process
                factory = self.parsers.entry(name)
                if isinstance(factory, str):
                    return pool.parse(factory, jobs)
                return ((job, parse(parser(name), job)) for job in jobs)

            workspace = Workspace(workspace_root, report, parser, parse_all)
            workspace = evolve(workspace, hierarchy=self._hierarchy(workspace))
            for name in self.sources.names():
                paths = self._paths.get(name)
                yield name, self.sources.factory(name)(evolve(workspace, paths=paths))

    def _hierarchy(self, workspace: Workspace) -> Mapping[str, str]:
        """The class hierarchy; empty, with a notice, where there is none that can be read."""

        def note(found: Diagnostic) -> None:
            reason = f"{found.reason}: chunks will not say what a class extends"
            workspace.report(evolve(found, reason=reason, severity=Severity.NOTICE))

        configured = PurePosixPath(self._hierarchy_path)
        folder = SourceFolder(evolve(workspace, report=note), str(configured.parent))
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
