"""The commands ``tenantkb backup …``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    pass_session,
)
from tenantkb.adapters.files.backups import manifest_object, manifest_path
from tenantkb.adapters.wire.objects import json_text
from tenantkb.application.operating.backup import RestoreMode, RestoreReport, RestoreRequest
from tenantkb.domain.backup import Adoption, Manifest
from tenantkb.domain.ids import IdScheme

file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group("backup")
@common_options
def backup() -> None:
    """Export, restore and truncate all rows.

    Those of all tenants, which takes an operator.
    """


@backup.command("export")
@file_argument
@click.option(
    "--for",
    "target",
    type=click.Choice([IdScheme.NEO13.value]),
    help="Write what the JavaScript system imports, from its release 13.1.0 on: its ids and its "
    "fields. Private rows are left out.",
)
@common_options
@pass_session
def export_command(session: Session, file: Path, target: str | None) -> int:
    """Write all rows to FILE, and what it holds to FILE.manifest.json."""
    started = time.monotonic()
    with session.knowledge_base() as kb, ConsoleProgress(console(stderr=True)) as progress:
        javascript = target is not None
        manifest = kb.export(session.authenticate(kb), file, progress, javascript=javascript)
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
@click.option(
    "--foreign-ids",
    is_flag=True,
    help="Take rows whose id is not derived from them, as those of other systems.",
)
@common_options
@pass_session
def import_command(
    session: Session,
    file: Path,
    mode: str,
    confirm: str | None,
    adopt: str | None,
    foreign_ids: bool,
) -> int:
    """Restore the rows of FILE, all of them or none.

    Rows keep their stamps and embeddings. What is stored already is left alone, so after an
    interruption the same command finishes the job.
    """
    started = time.monotonic()
    request = RestoreRequest(
        file, RestoreMode(mode), confirm, _adoption(adopt), foreign_ids=foreign_ids
    )
    with session.knowledge_base() as kb, ConsoleProgress(console(stderr=True)) as progress:
        report = kb.restore(session.authenticate(kb), request, progress)
    seconds = time.monotonic() - started
    if session.json:
        click.echo(json_text(import_object(report, seconds)))
    else:
        print_import(console(), report, seconds)
    return 0


@backup.command("truncate")
@click.option("--confirm", metavar="COLLECTION", help="The collection whose rows are deleted.")
@common_options
@pass_session
def truncate_command(session: Session, confirm: str | None) -> int:
    """Delete all rows of all tenants, and forget the embedder."""
    with session.knowledge_base() as kb:
        deleted = kb.truncate(session.authenticate(kb), confirm)
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
        "leftOut": {"private": manifest.private, "underived": manifest.underived},
        "seconds": round(seconds, 3),
    }


def import_object(report: RestoreReport, seconds: float) -> dict[str, Any]:
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
    if manifest.foreign_ids:
        terminal.print(f"{manifest.foreign_ids:,} with ids of another system")
    if manifest.private:
        terminal.print(
            f"{manifest.private:,} private rows left out, which have no counterpart there"
        )
    if manifest.underived:
        terminal.print(f"{manifest.underived:,} left out: no id can be derived of them")
    terminal.print(f"SHA-256 {manifest.sha256}")


def print_import(terminal: Console, report: RestoreReport, seconds: float) -> None:
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
