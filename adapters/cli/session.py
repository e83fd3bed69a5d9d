"""What the commands share: their common options, the composed application, output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import attrs
import click
from rich.console import Console

from tenantkb.adapters.configuration.loading import load
from tenantkb.adapters.configuration.settings import Settings
from tenantkb.adapters.container import Container
from tenantkb.domain.errors import AccessDeniedError, AuthenticationError, InvalidInputError
from tenantkb.domain.identity import AgentIdentity

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
        settings = load(*self.sources())
        if self.caller is None:
            return settings
        if settings.identity.kind != "static":
            raise AuthenticationError("the token tells who calls: --as cannot")
        identity = attrs.evolve(settings.identity, tenant=self.tenant)
        if self.agent:
            identity = attrs.evolve(identity, agent=self.agent)
        return attrs.evolve(settings, identity=identity)

    @property
    def tenant(self) -> str | None:
        """The tenant given with ``--as``."""
        return None if self.caller is None else self.caller.partition("/")[0]

    @property
    def agent(self) -> str | None:
        """The agent given with ``--as``."""
        return None if self.caller is None else self.caller.partition("/")[2] or None

    def sources(self) -> tuple[Mapping[str, str], Path, Path | None]:
        """Where settings come from, see :func:`adapters.configuration.loading.load`."""
        return os.environ, Path.cwd(), self.config

    def authenticate(self, container: Container, tenant: str | None = None) -> AgentIdentity:
        """Who calls.

        Args:
            container: The composed application.
            tenant: The tenant that the configuration names for what is about to be done.

        Raises:
            AuthenticationError: the proof does not hold.
            AccessDeniedError: it proves that the caller is another tenant's.
        """
        settings = container.settings().identity
        if tenant is not None and settings.kind == "static":
            settings = attrs.evolve(settings, tenant=tenant)
        caller: AgentIdentity = container.identity(settings=settings).authenticate(settings.token)
        if tenant not in (None, caller.tenant_id):
            raise AccessDeniedError(f"the caller is of tenant {caller.tenant_id}, not of {tenant}")
        return caller


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
pass_session = click.make_pass_decorator(Session, ensure=True)


def console(*, stderr: bool = False) -> Console:
    """Lines as wide as the terminal; elsewhere wide enough that no table cell is folded."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 200)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes its name only when it is complete; ``-`` is standard output.

    Devices and pipes, such as ``/dev/null``, are written to, and symbolic links followed.
    """
    if str(path) == "-":
        with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="\n") as stream:
                yield stream
        else:
            with _draft(path.resolve()) as stream:
                yield stream
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _draft(path: Path) -> Iterator[TextIO]:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
