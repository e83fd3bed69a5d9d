"""What the commands share: their common options, the composed application, output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import attrs
import click
from rich.console import Console

from adapters.config import Settings, load
from adapters.container import Container
from domain.errors import InvalidInputError
from domain.tenancy import Visibility

F = TypeVar("F", bound=Callable[..., Any])


@attrs.define
class Session:
    """What one invocation of the command shares.

    Attributes:
        config: File given with ``--config``.
        caller: ``TENANT[/AGENT]`` given with ``--as``.
        debug: Whether tracebacks are shown.
        json: Whether machines read the output.
    """

    config: Path | None = None
    caller: str | None = None
    debug: bool = False
    json: bool = False

    @contextmanager
    def container(self) -> Iterator[Container]:
        """The composed application; its store is closed at the end."""
        container = Container(settings=self.settings())
        try:
            yield container
        finally:
            container.shutdown_resources()

    def settings(self) -> Settings:
        """The settings in force, ``--as`` included."""
        settings = load(os.environ, Path.cwd(), self.config)
        if self.caller is None:
            return settings
        tenant, _, agent = self.caller.partition("/")
        identity = attrs.evolve(settings.identity, tenant=tenant)
        if agent:
            identity = attrs.evolve(identity, agent=agent)
        return attrs.evolve(settings, identity=identity)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Keep an option in the session, whether it stands before the command's name or behind it."""

    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            setattr(context.ensure_object(Session), name, value)

    return callback


def common_options(command: F) -> F:
    for option in (
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_remember("debug"),
            help="Show tracebacks and log lines.",
        ),
        click.option(
            "--as",
            metavar="TENANT[/AGENT]",
            expose_value=False,
            callback=_remember("caller"),
            help="Who calls; default: TENANTKB_TENANT and TENANTKB_AGENT, or the configuration.",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            expose_value=False,
            callback=_remember("config"),
            help="Configuration file; default: TENANTKB_CONFIG, or tenantkb.toml in this folder.",
        ),
    ):
        command = option(command)
    return command


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_remember("json"),
    help="Print one JSON object.",
)
visibility_option = click.option(
    "--visibility",
    type=click.Choice([visibility.value for visibility in Visibility]),
    default=Visibility.TEAM.value,
    show_default=True,
    help="Who may read what is written: the whole tenant, or the caller alone.",
)
workspace_argument = click.argument("workspace", type=click.Path(path_type=Path))
pass_session = click.make_pass_decorator(Session, ensure=True)


def console(*, stderr: bool = False) -> Console:
    """Lines as wide as the terminal; elsewhere wide enough that no table cell is folded."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 200)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes its name only when it is complete; ``-`` is standard output."""
    if str(path) == "-":
        with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
