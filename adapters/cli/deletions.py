"""The command that deletes the rows of files that are gone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from tenantkb.adapters.cli.output import on_one_line
from tenantkb.adapters.cli.progress import ConsoleProgress
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    pass_session,
    reading,
)
from tenantkb.adapters.files.git import GitCheckout
from tenantkb.adapters.wire.objects import json_text
from tenantkb.application.writing.deletions import DeletionRequest, parse_signals
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext
from tenantkb.domain.deletion import DeletionPlan, DeletionSignal
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.records import printable
from tenantkb.domain.stamps import format_instant

_PATHS_SHOWN: Final = 50


@click.command("delete")
@click.option("--repo", metavar="SLUG", required=True, help="Repository that the signals are for.")
@click.option(
    "--tombstones",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help='JSON file {"deleted": …}: these files are gone.',
)
@click.option(
    "--manifest",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help='JSON file {"manifestSnapshot": …}: these files are all that there are.',
)
@click.option("--base", metavar="REV", help="Revision before the push: the last known head.")
@click.option("--head", metavar="REV", help="Revision after the push.")
@click.option(
    "--git",
    "checkout",
    type=click.Path(path_type=Path),
    help="Checkout that knows --base and --head; the folder that source paths are relative to.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and delete nothing.")
@click.option("--yes", is_flag=True, help="Delete rows however many they are.")
@common_options
@pass_session
def delete_command(
    session: Session,
    repo: str,
    tombstones: Path | None,
    manifest: Path | None,
    base: str | None,
    head: str | None,
    checkout: Path | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Delete the rows of files that are gone.

    Deletion signals tell which: any combination of --tombstones, --manifest and --base with --head
    is one push. A FILE may be - for standard input. --head without --base needs --manifest.
    """
    started = time.monotonic()
    history = GitCheckout(checkout) if checkout is not None else None
    document = {
        **_document("--tombstones", tombstones, "deleted"),
        **_document("--manifest", manifest, "manifestSnapshot"),
        **_revisions(base, head, history),
    }
    if not document:
        raise click.UsageError("Give --tombstones, --manifest, or --base and --head.")
    share = session.settings().sync.deletable_share
    with session.knowledge_base() as kb, ConsoleProgress(console(stderr=True)) as progress:
        context = session.authenticate(kb)
        request = DeletionRequest(repo, _signals(document, context))
        plan = kb.plan_deletions(context, request, history, progress)
        if not session.json:
            _print_plan(plan)
        deleted = 0
        if not dry_run:
            deleted = kb.apply_deletions(
                context, plan, progress, deletable_share=share, confirmed=yes
            )
    seconds = time.monotonic() - started
    if session.json:
        click.echo(json_text(_plan_object(plan, deleted, seconds, dry_run=dry_run)))
    else:
        verb = f"Would delete {plan.deleted:,}" if dry_run else f"Deleted {deleted:,}"
        console().print(
            f"{verb} rows in {seconds:.1f} s; {plan.kept:,} kept, {plan.unaffected:,} unaffected"
        )
    return 0


def _document(option: str, file: Path | None, key: str) -> dict[str, Any]:
    """The signal in a file; nothing where there is no file.

    Raises:
        InvalidInputError: the file is not a JSON object with this key alone.
    """
    if file is None:
        return {}
    try:
        with reading(file) as stream:
            document = json.loads(stream.read())
    except ValueError as error:
        raise InvalidInputError(f"{option}: expected JSON: {printable(str(error))}") from error
    except RecursionError as error:
        raise InvalidInputError(f"{option}: expected values that are nested less deeply") from error
    if not isinstance(document, dict) or document.keys() != {key}:
        raise InvalidInputError(
            f'{option}: expected {{"{key}": …}} and no other field; the other signals have options '
            "of their own"
        )
    return document


def _signals(document: dict[str, Any], context: TenantContext) -> tuple[DeletionSignal, ...]:
    try:
        return parse_signals(document, context)
    except RecursionError as error:
        raise InvalidInputError(
            "the deletion signals are not valid: expected values that are nested less deeply"
        ) from error


def _revisions(base: str | None, head: str | None, history: GitCheckout | None) -> dict[str, str]:
    """The boundary, with the commits that its revisions stand for at present."""
    given = {"baseRevision": base, "headRevision": head}
    if history is None and (base is not None or head is not None):
        raise click.UsageError("--base and --head need --git, which tells what they stand for.")
    if history is not None and head is None:
        raise click.UsageError("--git needs --head, and --base unless there is a --manifest.")
    return {
        key: history.commit(revision)
        for key, revision in given.items()
        if revision is not None and history is not None
    }


def _plan_object(
    plan: DeletionPlan, deleted: int, seconds: float, *, dry_run: bool
) -> dict[str, Any]:
    boundary, manifest = plan.signals.boundary, plan.signals.manifest
    return {
        fields.TENANT_ID: plan.tenant_id,
        fields.REPO_SLUG: plan.repo_slug,
        "deleted": plan.deleted if dry_run else deleted,
        "kept": plan.kept,
        "unaffected": plan.unaffected,
        "dryRun": dry_run,
        "seconds": round(seconds, 3),
        "headRevision": boundary and boundary.head,
        "manifestAt": manifest and format_instant(manifest.made_at),
        "paths": [
            {
                fields.SOURCE_PATH: path.source_path,
                "action": "delete" if path.verdict.deletes else "keep",
                "reason": path.verdict.value,
                "rows": path.rows,
            }
            for path in plan.paths
        ],
    }


def _print_plan(plan: DeletionPlan) -> None:
    """One line a path and verdict, the first of them."""
    terminal = console()
    for path in plan.paths[:_PATHS_SHOWN]:
        action, colour = ("delete", "red") if path.verdict.deletes else ("keep", "green")
        line = Text(f"{action:<6} ", style=colour)
        line.append(on_one_line(path.source_path), style="cyan")
        line.append(f"  {path.verdict.value}, {path.rows:,} rows")
        terminal.print(line, soft_wrap=True)
    if len(plan.paths) > _PATHS_SHOWN:
        terminal.print(f"and {len(plan.paths) - _PATHS_SHOWN:,} more paths (--json tells them all)")
