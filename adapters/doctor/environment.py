"""Checks of what surrounds the application: the interpreter, packages, configuration, folders."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Final

from tenantkb.adapters.configuration.loading import DEFAULT, Setting
from tenantkb.adapters.configuration.settings import Settings, WorkspaceSettings
from tenantkb.adapters.parsers.pool import extend_import_path
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.domain.checks import Check, State
from tenantkb.domain.errors import ConfigurationError

_PACKAGE: Final = "tenantkb"
_SHOWN: Final = ("tenantkb", "chromadb", "wordllama", "onnx", "onnxruntime")

_STALE: Final = 3600
"""Seconds after which nobody goes on with a draft: every writer writes all the time."""

_DRAFT: Final = re.compile(r"\..+\.(?:part|\d+)|tenantkb\.writer\.\d+", re.ASCII)
"""What a file is called before it is complete: an export, a ``create``, a writer's record."""


def check_python(name: str) -> Check:
    """Whether this interpreter is one that the package is made for."""
    from packaging.specifiers import SpecifierSet

    found = ".".join(map(str, sys.version_info[:3]))
    wanted = SpecifierSet(metadata(_PACKAGE)["Requires-Python"])
    told = f"{found}, {sys.executable}"
    if wanted.contains(found, prereleases=True):
        return Check(name, State.OK, told)
    remedy = f"Install tenantkb into an environment with Python {wanted}."
    return Check(name, State.ERROR, f"{told}, which is not {wanted}", remedy)


def check_packages(name: str, embedder: str) -> Check:
    """Whether the packages in force are those that the metadata of tenantkb ask for.

    Args:
        name: The check's name.
        embedder: Kind of the configured one; an extra of this name counts.
    """
    from packaging.requirements import Requirement

    found = {_PACKAGE: version(_PACKAGE)}
    wrong: dict[str, str] = {}
    for requirement in map(Requirement, requires(_PACKAGE) or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": embedder}):
            continue
        try:
            found[requirement.name] = version(requirement.name)
        except PackageNotFoundError:
            wrong[f"{requirement.name}{requirement.specifier}"] = "not installed"
            continue
        if not requirement.specifier.contains(found[requirement.name], prereleases=True):
            wrong[f"{requirement.name}{requirement.specifier}"] = found[requirement.name]
    if wrong:
        remedy = f"Run `{shlex.join([sys.executable, '-m', 'pip', 'install', *wrong])}`."
        finding = ", ".join(f"{wanted} is wanted: {there}" for wanted, there in wrong.items())
        return Check(name, State.ERROR, finding, remedy)
    told = ", ".join(f"{each} {found[each]}" for each in _SHOWN if each in found)
    return Check(name, State.OK, f"{told}; all {len(found)} within their ranges")


def check_configuration(name: str, in_force: Iterator[Setting]) -> Check:
    """Which file and variables the settings in force come from."""
    origins = sorted({setting.origin for setting in in_force} - {DEFAULT})
    return Check(name, State.OK, ", ".join(origins) or "the defaults; no file and no variable")


def check_extensions(settings: Settings, name: str) -> Check:
    """Whether all sources and parsers can be made, and patterns and paths name registered ones.

    It runs the code that they name, as a synchronisation does.
    """
    extend_import_path(map(str, settings.import_path))
    wrong: list[str] = []
    sources, parsers = set(), set()
    for place, reading, folder in _readings(settings):
        try:
            registry = WorkspaceSources(reading, import_path=settings.import_path, workers=1)
            sources |= {source for source, _ in registry.build(folder, lambda _: None)}
            for parser in registry.parsers.names():
                registry.parsers.make(parser)
                parsers.add(parser)
        except (ConfigurationError, SystemExit) as error:  # a module may end the program
            wrong.append(f"{place}{error}")
    if wrong:
        remedy = (
            "Correct custom_sources, custom_parsers, parser_patterns, source_paths or import_path, "
            "or reinstall the package that offers the source or parser."
        )
        return Check(name, State.ERROR, "; ".join(dict.fromkeys(wrong)), remedy)
    finding = f"{len(sources)} sources and {len(parsers)} parsers can be loaded"
    return Check(name, State.OK, finding)


def _readings(settings: Settings) -> Iterator[tuple[str, WorkspaceSettings, Path]]:
    """Every way in which workspaces are read: where it is configured, how, and a folder."""
    yield "", settings, Path.cwd()
    for index, repository in enumerate(settings.repositories):
        yield f"repositories[{index}]: ", repository, repository.workspace


def check_workspaces(settings: Settings, name: str) -> Check:
    """Whether the configured repositories are there."""
    missing = [
        f"repositories[{index}].workspace {repository.workspace}"
        for index, repository in enumerate(settings.repositories)
        if not os.access(repository.workspace, os.R_OK | os.X_OK)
        or not repository.workspace.is_dir()
    ]
    if missing:
        remedy = "Check these repositories out there, or correct their `workspace`."
        finding = f"not a folder that can be read: {', '.join(missing)}"
        return Check(name, State.ERROR, finding, remedy)
    return Check(name, State.OK, f"{len(settings.repositories)} configured repositories")


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.glob("*") if file.is_file())


def check_leftovers(settings: Settings, name: str) -> Check:
    """Whether killed commands have left drafts in the folder of the store or in this one."""
    now = time.time()
    drafts = [
        file
        for folder in (settings.store.path, Path.cwd())
        for file in sorted(_files(folder))
        if _DRAFT.fullmatch(file.name)
        and _is_abandoned(file, now, ours=file.parent == settings.store.path)
    ]
    if drafts:
        finding = f"drafts that nobody has written to for an hour: {', '.join(map(str, drafts))}"
        return Check(
            name, State.WARNING, finding, f"Run `{shlex.join(['rm', *map(str, drafts)])}`."
        )
    return Check(name, State.OK, "no half-written files of earlier commands")


def _is_abandoned(file: Path, now: float, *, ours: bool) -> bool:
    """Whether nobody writes to a draft any more, and it is not another program's of such a name."""
    try:
        if now - file.stat().st_mtime <= _STALE:
            return False
        with file.open("rb") as stream:
            return ours or stream.read(1) in (b"", b"{")
    except OSError:  # gone by now, or not ours to read
        return False


SETTINGS_CHECKS: Final[Mapping[str, tuple[Callable[[Settings, str], Check], str]]] = {
    "extensions": (check_extensions, "Correct what the message names."),
    "workspaces": (check_workspaces, "Correct the `workspace` of the configured repositories."),
    "leftovers": (check_leftovers, "Let this user read store.path and the current folder."),
}
"""The checks that valid settings are enough for, by name, with what to do if one breaks off."""
