"""The commands that set up and show the configuration."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final, Literal

import attrs
import click

from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    pass_session,
    replacing,
)
from tenantkb.adapters.configuration.loading import FILE_NAME, Setting, configuration_file, explain
from tenantkb.adapters.configuration.settings import TenancySettings
from tenantkb.adapters.files.git import GitCheckout
from tenantkb.adapters.files.git_config import CheckoutPlace
from tenantkb.adapters.wire.objects import json_text, sync_object
from tenantkb.domain import fields
from tenantkb.domain.errors import ConfigurationError, InvalidInputError

_NEO: Final = "neo.mjs"
_OWNER_AND_NAME: Final = re.compile(r"[:/]([^/:]+)/([^/]+?)(?:\.git)?/?$")
_FILE: Final = """\
# Settings of tenantkb. `tenantkb config` prints those that are in force and where each comes from.

[identity]
{identity}

# [store]  # without it: a file of this machine
# kind = "chroma-http"  # a Chroma server that several machines share
# host = "127.0.0.1"
# port = 8000

# [embedder]  # without it: a small model that comes with tenantkb and needs no network
# kind = "openai"  # or any server with an OpenAI-compatible endpoint, such as Ollama
# base_url = "http://127.0.0.1:11434/v1"
# model = "nomic-embed-text"
# dimension = 768

# `tenantkb sync --all` synchronises each of these
{repositories}"""
_REPOSITORY: Final = """\
[[repositories]]
repo = {repo}
workspace = {workspace}
{reading}"""
_TENANT: Final = "# whose rows this machine reads and writes: the id of your team"
_NEO_WORKSPACE: Final = """\
# The default sources read it: it is Neo.mjs, or made with it.
# source_paths.ApiSource = { "src" = "src", "apps" = "app" }  # folders, and their chunks' type
"""
_OTHER_WORKSPACE: Final = """\
root_kind = "bare-repo"
use_default_sources = false  # they read workspaces of Neo.mjs
code_source = true  # every text file that git does not ignore, cut by its syntax
# source_paths.CodeSource = { excludePaths = ["tests/data/"] }
"""


@click.command("config")
@common_options
@pass_session
def config_command(session: Session) -> int:
    """Print the settings and where they come from.

    Every setting that is in force, whether from a file, a variable, an option or by default.
    """
    session.settings()  # which refuses an --as that is not in force
    told = {
        "identity.tenant": session.tenant,
        "identity.agent": session.agent,
    }
    settings = [
        Setting(setting.key, told[setting.key], "--as") if told.get(setting.key) else setting
        for setting in explain(*session.sources())
    ]
    if session.json:
        rows = [
            {"key": setting.key, "value": setting.value, "origin": setting.origin}
            for setting in settings
        ]
        click.echo(json_text({"settings": rows}))
        return 0
    from rich.table import Table
    from rich.text import Text

    table = Table("Setting", "Value", "Origin", box=None, pad_edge=False)
    for setting in settings:
        value = json.dumps(setting.value, ensure_ascii=False, default=str)
        table.add_row(Text(setting.key), Text(value), Text(setting.origin))
    console().print(table)
    return 0


@click.command("init")
@common_options
@pass_session
def init_command(session: Session) -> int:
    """Write a tenantkb.toml for this folder.

    It is one for the repository in the folder, or else for all those right below it, of one tenant;
    what `sync` would do with it is told.
    """
    from tenantkb.adapters.cli.output import print_sync
    from tenantkb.adapters.cli.progress import ConsoleProgress
    from tenantkb.adapters.cli.sync import synchronised

    folder = Path.cwd()
    if (file := configuration_file(*session.sources())) is not None:
        raise InvalidInputError(f"there are settings already, in {file}")
    settings = session.settings()
    tenants: list[str] = []
    repositories: dict[str, str] = {}
    for workspace in _workspaces(folder):
        neo = _neo(workspace)
        tenant, repo = _names(workspace, settings.tenancy)
        if neo == "itself":
            tenant, repo = settings.tenancy.shared_tenant, settings.tenancy.shared_repo
        if repo in repositories:  # another checkout of it
            repo = _slug(f"{repo}/{workspace.name}")
        tenants.append(tenant)
        repositories[repo] = _REPOSITORY.format(
            repo=json.dumps(repo),
            workspace=json.dumps("." if workspace == folder else workspace.name),
            reading=_NEO_WORKSPACE if neo else _OTHER_WORKSPACE,
        )
    [(tenant, _)] = Counter(tenants).most_common(1)
    with replacing(folder / FILE_NAME) as stream:
        stream.write(
            _FILE.format(
                identity="# the token of TENANTKB_TOKEN tells who calls"
                if settings.identity.kind == "token"
                else f"tenant = {json.dumps(settings.identity.tenant or tenant)}  {_TENANT}",
                repositories="\n".join(repositories.values()),
            )
        )
    if not session.json:
        command = "sync ." if len(repositories) == 1 else "sync --all"
        click.echo(f"Wrote {FILE_NAME}. `tenantkb {command}` does what it says; it would find:")
    here = attrs.evolve(session)  # what is in force from now on
    planned = []
    with here.knowledge_base() as kb, ConsoleProgress(console(stderr=True)) as progress:
        for target in here.settings().repositories:
            started = time.monotonic()
            report = synchronised(here, kb, target, progress, dry_run=True, confirmed=True)
            seconds = time.monotonic() - started
            planned.append({fields.REPO_SLUG: target.repo, **sync_object(report, seconds)})
            if not session.json:
                click.echo(target.repo)
                print_sync(console(), report, seconds)
    if session.json:
        told = {"file": str(folder / FILE_NAME), "sync": planned[0], "repositories": planned}
        click.echo(json_text(told))
    return 0


def _workspaces(folder: Path) -> list[Path]:
    """The folder; or the checkouts right below it, if it is in none itself and there are any."""
    if CheckoutPlace.around(folder) is not None:
        return [folder]
    below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
    return [each for each in below if CheckoutPlace.at(each) is not None] or [folder]


def _neo(folder: Path) -> Literal["itself", "made with it"] | None:
    """Whether a folder is a workspace of Neo.mjs, as its package tells."""
    try:
        package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        if package.get("name") == _NEO:
            return "itself"
        needs = {*package.get("dependencies", ()), *package.get("devDependencies", ())}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None
    return "made with it" if _NEO in needs else None


def _names(folder: Path, tenancy: TenancySettings) -> tuple[str, str]:
    """A tenant and a repository, as the git remote ``origin`` names them, or else the folder."""
    try:
        origin = GitCheckout(folder).origin()
    except ConfigurationError:  # no git on this machine
        origin = None
    found = _OWNER_AND_NAME.search(origin or "")
    owner, repo = (found[1], f"{found[1]}/{found[2]}") if found else (folder.name, folder.name)
    tenant = re.sub(r"[^a-z0-9]+", "-", owner.lower())[:64].strip("-")
    if tenant in ("", tenancy.shared_tenant):  # nobody becomes the shared corpus's curator so
        tenant = "my-team"
    return tenant, _slug(repo)


def _slug(name: str) -> str:
    return re.sub(r"[^!-~]+", "-", name)[-256:].strip("-") or "main"
