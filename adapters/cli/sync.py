"""The commands that read workspaces: one writes their chunks to a file, one stores them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, NoReturn

import attrs
import click

from tenantkb.adapters.cli import output as show
from tenantkb.adapters.cli.errors import complain, error_object
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    pass_session,
    replacing,
    verbose_option,
)
from tenantkb.adapters.cli.watching import changes
from tenantkb.adapters.configuration.settings import (
    RepositorySettings,
    Settings,
    WorkspaceSettings,
    files_path,
    state_path,
)
from tenantkb.adapters.container import sources_of
from tenantkb.adapters.wire.objects import extraction_object, json_text, sync_object
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.writing.sync import SyncReport, SyncRequest
from tenantkb.domain import fields
from tenantkb.domain.errors import InvalidInputError, TenantKbError
from tenantkb.domain.paths import RootKind
from tenantkb.domain.stamps import Visibility

full_option = click.option(
    "--full", is_flag=True, help="Use nothing of what is known from earlier runs."
)


@click.command("create")
@click.argument("workspace", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("-"),
    help="File to write; default: standard output.",
)
@click.option("--strict", is_flag=True, help="Fail if a file could not be read.")
@full_option
@verbose_option
@common_options
@pass_session
def create_command(
    session: Session, workspace: Path, output: Path, strict: bool, full: bool
) -> int:
    """Extract WORKSPACE to JSON lines.

    One chunk a line. With --json, the report is a JSON object as well: on standard output, unless
    the chunks go there.
    """
    terminal = console(stderr=True)
    started = time.monotonic()
    settings = session.settings()
    entry = configured_at(settings, workspace, session.tenant, None)
    with session.knowledge_base() as kb, ConsoleProgress(terminal) as progress:
        progress.phase("Extracting")
        # Sources and parsers of the user's own may print.
        with replacing(output) as stream, redirect_stdout(sys.stderr):
            sources = sources_of(settings, entry)
            report = kb.create(workspace, stream, sources, progress, full=full)
    seconds = time.monotonic() - started
    if session.json:
        told = json_text(extraction_object(report, seconds))
        click.echo(told, err=str(output) == "-")
    else:
        show.print_diagnostics(terminal, report, verbose=session.verbose)
        terminal.print(f"{report.total:,} chunks in {seconds:.1f} s")
    return int(strict and not report.is_complete)


@click.command("sync")
@click.argument("workspace", type=click.Path(path_type=Path), required=False)
@click.option("--all", "every", is_flag=True, help="Synchronise every configured repository.")
@click.option(
    "--repo",
    metavar="SLUG",
    help="Repository to store the rows under; default: as configured for WORKSPACE, the shared "
    "corpus's for its curator, else the folder's name.",
)
@click.option(
    "--visibility",
    type=click.Choice([visibility.value for visibility in Visibility]),
    help="Who may read what is written, the whole tenant or the caller alone; default: as "
    "configured for WORKSPACE, else team.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--yes", is_flag=True, help="Delete stale rows however many they are.")
@full_option
@click.option(
    "--watch", is_flag=True, help="Go on until interrupted: synchronise whenever a file changes."
)
@verbose_option
@common_options
@pass_session
def sync_command(
    session: Session,
    workspace: Path | None,
    every: bool,
    repo: str | None,
    visibility: Literal["team", "private"] | None,
    dry_run: bool,
    yes: bool,
    full: bool,
    watch: bool,
) -> int:
    """Make the rows of a repository equal to WORKSPACE.

    With --all instead of WORKSPACE, each repository of the configuration is synchronised by itself;
    with --as or --repo, those of this tenant or name. One that fails keeps none of the others.
    With --watch and --json there is one object for each synchronisation, each on a line.
    """
    if every == (workspace is not None):
        raise click.UsageError("give either WORKSPACE or --all")
    settings = session.settings()
    with session.knowledge_base() as kb, ConsoleProgress(console(stderr=True)) as progress:

        def run(target: RepositorySettings) -> SyncReport:
            return synchronised(
                session,
                kb,
                target if visibility is None else attrs.evolve(target, visibility=visibility),
                progress,
                dry_run=dry_run,
                confirmed=yes,
                full=full,
            )

        if watch:
            targets = (
                _all(settings, session.tenant, repo)
                if workspace is None
                else [_target(session, kb, workspace, repo)]
            )
            return _follow(session, targets, run)
        if workspace is None:
            return _sync_each(session, _all(settings, session.tenant, repo), run)
        started = time.monotonic()
        report = run(_target(session, kb, workspace, repo))
    seconds = time.monotonic() - started
    _print(session, report, seconds)
    if session.json:
        click.echo(json_text(sync_object(report, seconds)))
    return int(not report.is_complete)


def synchronised(
    session: Session,
    kb: KnowledgeBase,
    target: RepositorySettings,
    progress: ConsoleProgress,
    *,
    dry_run: bool,
    confirmed: bool,
    full: bool = False,
) -> SyncReport:
    """Synchronise one repository; like :class:`application.writing.sync.Sync`."""
    request = SyncRequest(
        workspace=target.workspace,
        repo_slug=target.repo,
        root_kind=RootKind(target.root_kind),
        visibility=Visibility(target.visibility),
        dry_run=dry_run,
        deletable_share=session.settings().sync.deletable_share,
        confirmed=confirmed,
        sources=sources_of(session.settings(), target),
        full=full,
    )
    context = session.authenticate(kb, target.tenant)
    with redirect_stdout(sys.stderr):  # sources and parsers of the user's own may print
        return kb.sync(context, request, progress)


def _sync_each(
    session: Session,
    targets: list[RepositorySettings],
    run: Callable[[RepositorySettings], SyncReport],
) -> int:
    """Synchronise all, whatever becomes of each; the first failure's exit code, if there is one."""
    done = [_attempt(session, target, run) for target in targets]
    if session.json:
        click.echo(json_text({"repositories": [told for _, told in done]}))
    return next((code for code, _ in done if code), 0)


def _follow(
    session: Session,
    targets: list[RepositorySettings],
    run: Callable[[RepositorySettings], SyncReport],
) -> NoReturn:
    """Synchronise all, and then whatever changes, one after the other, until interrupted.

    What fails is told and tried again with the next change.
    """
    for target in targets:
        if not target.workspace.is_dir():
            raise InvalidInputError(f"the workspace {target.workspace} is not a folder")
    settings = session.settings()
    stored = settings.store, settings.state.path
    own = settings.store.path, state_path(*stored), files_path(*stored)
    for changed in changes([target.workspace for target in targets], [*filter(None, own)]):
        for target in targets:
            if target.workspace in changed:
                _, told = _attempt(session, target, run)
                if session.json:
                    _print_once(f"{json.dumps(told)}\n".encode())
    raise AssertionError("changes never end")


def _print_once(line: bytes) -> None:
    """Write to standard output past Python's buffer.

    Whoever has read a line may send a signal at once. What that breaks off while the buffer is
    being emptied would be written again at the end.
    """
    while line:
        line = line[os.write(sys.stdout.fileno(), line) :]


def _attempt(
    session: Session,
    target: RepositorySettings,
    run: Callable[[RepositorySettings], SyncReport],
) -> tuple[int, dict[str, Any]]:
    """Synchronise one of several, whatever becomes of it: the exit code, and what JSON tells."""
    started = time.monotonic()
    if not session.json:
        click.echo(f"{_name(target)}  {target.workspace}")
    told: dict[str, Any] = {fields.TENANT_ID: target.tenant, fields.REPO_SLUG: target.repo}
    try:
        report = run(target)
    except Exception as error:  # whatever it is, the others are synchronised
        if session.debug and not isinstance(error, TenantKbError):
            raise
        return complain(error), told | error_object(error)
    seconds = time.monotonic() - started
    _print(session, report, seconds)
    return int(not report.is_complete), told | sync_object(report, seconds)


def _print(session: Session, report: SyncReport, seconds: float) -> None:
    if not session.json:
        show.print_sync(console(), report, seconds, verbose=session.verbose)


def configured_at(
    settings: Settings, workspace: Path, tenant: str | None, repo: str | None
) -> RepositorySettings | None:
    """The configured repository whose workspace this is; what options say may tell which.

    Raises:
        InvalidInputError: there are several, and the options do not tell which is meant.
    """
    here = [
        entry for entry in settings.repositories if entry.workspace.resolve() == workspace.resolve()
    ]
    named = [entry for entry in here if _is_named(entry, tenant, repo)]
    found = named or here
    if len(found) > 1:
        names = ", ".join(map(_name, found))
        raise InvalidInputError(f"{workspace} is configured for {names}: tell which by --repo")
    return found[0] if found else None


def _target(
    session: Session, kb: KnowledgeBase, workspace: Path, repo: str | None
) -> RepositorySettings:
    """What is to be synchronised: what options say, else what is configured, else the usual."""
    settings = session.settings()
    entry = configured_at(settings, workspace, session.tenant, repo)
    if entry is not None:
        tenant = entry.tenant if session.tenant is None else session.tenant
        return attrs.evolve(entry, workspace=workspace, tenant=tenant, repo=repo or entry.repo)
    if repo is None:
        tenant = session.authenticate(kb).identity.tenant_id
        shared = tenant == settings.tenancy.shared_tenant
        repo = settings.tenancy.shared_repo if shared else workspace.resolve().name
    reading = {
        attribute.name: getattr(settings, attribute.name)
        for attribute in attrs.fields(WorkspaceSettings)
    }
    return RepositorySettings(workspace=workspace, repo=repo, **reading)


def _all(settings: Settings, tenant: str | None, repo: str | None) -> list[RepositorySettings]:
    if not settings.repositories:
        raise InvalidInputError(
            "no repositories are configured here: give --config, or let `tenantkb init` begin a "
            "tenantkb.toml"
        )
    found = [entry for entry in settings.repositories if _is_named(entry, tenant, repo)]
    if not found:
        names = ", ".join(map(_name, settings.repositories))
        raise InvalidInputError(f"no such repository is configured; configured: {names}")
    return found


def _is_named(entry: RepositorySettings, tenant: str | None, repo: str | None) -> bool:
    return tenant in (None, entry.tenant) and repo in (None, entry.repo)


def _name(entry: RepositorySettings) -> str:
    return f"{entry.tenant}:{entry.repo}" if entry.tenant else entry.repo
