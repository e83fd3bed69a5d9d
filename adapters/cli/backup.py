"""The commands ``tenantkb backup …``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tenantkb.adapters.cli.output import json_text
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    json_option,
    pass_session,
)
from tenantkb.adapters.files.backups import manifest_object, manifest_path
from tenantkb.application.operating.backup import ImportReport, ImportRequest, RestoreMode
from tenantkb.domain.backup import Adoption, Manifest

file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group("backup")
@common_options
def backup() -> None:
    """Export, restore and truncate the rows of all tenants, as an operator."""


@backup.command("export")
@file_argument
@json_option
@common_options
@pass_session
def export_command(session: Session, file: Path) -> int:
    """Write all rows to FILE, and what it holds to FILE.manifest.json."""
    started = time.monotonic()
    with session.container() as container, ConsoleProgress(console(stderr=True)) as progress:
        caller = session.authenticate(container)
        manifest = container.export_backup()(caller, file, progress)
    seconds = time.monotonic() - started
    if session.json:
        click.echo(json_text(export_object(file, manifest, seconds)))
    else:
        print_export(console(), file, manifest, seconds)
    return 0


@backup.command("import")
@file_argument
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in RestoreMode]),
    default=RestoreMode.MERGE.value,
    show_default=True,
    help="Keep the stored rows that FILE does not hold, or delete them.",
)
@click.option("--confirm", metavar="COLLECTION", help="The collection whose rows are replaced.")
@click.option(
    "--adopt",
    metavar="TENANT/REPO",
    help="Give rows without a well-formed stamp to this repository, readable by its whole tenant; "
    "without it they are refused.",
)
@json_option
@common_options
@pass_session
def import_command(
    session: Session, file: Path, mode: str, confirm: str | None, adopt: str | None
) -> int:
    """Restore the rows of FILE: all of them, or none if one is not valid.

    Rows keep their ids, stamps and embeddings. What is stored already is left alone, so after an
    interruption the same command finishes the job.
    """
    started = time.monotonic()
    request = ImportRequest(file, RestoreMode(mode), confirm, _adoption(adopt))
    with session.container() as container, ConsoleProgress(console(stderr=True)) as progress:
        caller = session.authenticate(container)
        report = container.import_backup()(caller, request, progress)
    seconds = time.monotonic() - started
    if session.json:
        click.echo(json_text(import_object(report, seconds)))
    else:
        print_import(console(), report, seconds)
    return 0


@backup.command("truncate")
@click.option("--confirm", metavar="COLLECTION", help="The collection whose rows are deleted.")
@json_option
@common_options
@pass_session
def truncate_command(session: Session, confirm: str | None) -> int:
    """Delete all rows of all tenants, and forget the embedder."""
    with session.container() as container:
        caller = session.authenticate(container)
        deleted = container.truncate_collection()(caller, confirm)
    if session.json:
        click.echo(json_text({"collection": confirm, "deleted": deleted}))
    else:
        console().print(f"Done: {deleted:,} rows of {confirm} deleted", highlight=False)
    return 0


def export_object(file: Path, manifest: Manifest, seconds: float) -> dict[str, Any]:
    """A finished export: its manifest, and where it lies."""
    return {
        **manifest_object(manifest),
        "file": str(file),
        "manifest": str(manifest_path(file)),
        "seconds": round(seconds, 3),
    }


def import_object(report: ImportReport, seconds: float) -> dict[str, Any]:
    """A restore's report."""
    return {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
        "adopted": report.adopted,
        "verified": report.verified,
        "seconds": round(seconds, 3),
    }


def print_export(terminal: Console, file: Path, manifest: Manifest, seconds: float) -> None:
    """A finished export, for people."""
    terminal.print(f"{manifest.records:,} rows in {file} in {seconds:.1f} s", soft_wrap=True)
    for tenant, records in manifest.tenants.items():
        terminal.print(f"  {tenant}: {records:,}")
    if manifest.unstamped:
        terminal.print(
            f"[yellow]{manifest.unstamped:,} without a well-formed stamp[/yellow]: "
            "they can be restored by --adopt alone"
        )
    terminal.print(f"SHA-256 {manifest.sha256}")


def print_import(terminal: Console, report: ImportReport, seconds: float) -> None:
    """A restore's summary, for people."""
    verb = "Done" if report.added + report.updated + report.deleted else "Nothing to do"
    terminal.print(
        f"{verb}: {report.added:,} added, {report.updated:,} updated, "
        f"{report.unchanged:,} unchanged, {report.deleted:,} deleted in {seconds:.1f} s"
    )
    if report.adopted:
        terminal.print(f"{report.adopted:,} adopted: rows of the backup without a stamp")
    if not report.verified:
        terminal.print("[yellow]not verified[/yellow]: no manifest lies beside the backup")


def _adoption(text: str | None) -> Adoption | None:
    if text is None:
        return None
    tenant, slash, repo = text.partition("/")
    if not slash:
        raise click.BadParameter(f"expected TENANT/REPO, not {text!r}", param_hint="--adopt")
    return Adoption(tenant, repo)
