"""What the commands share: their common options, the knowledge base, files and streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeVar

import attrs
import click

from tenantkb.adapters.cli.errors import cannot
from tenantkb.domain.errors import AuthenticationError, InvalidInputError

if TYPE_CHECKING:  # what a command imports is what it takes to start
    from rich.console import Console

    from tenantkb.adapters.configuration.settings import Settings
    from tenantkb.application.knowledge_base import KnowledgeBase
    from tenantkb.domain.context import TenantContext

F = TypeVar("F", bound=Callable[..., Any])


class Terminated(BaseException):
    """SIGTERM, raised wherever the program is, as Python does with SIGINT.

    What is open is closed on the way, and what is locked released.
    """


@attrs.define
class Session:
    """What one invocation of the command shares.

    Attributes:
        config: File given with ``--config``.
        caller: ``TENANT[/AGENT]`` given with ``--as``.
        debug: Whether tracebacks are shown.
        json: Whether machines read the output.
        verbose: Whether each file that was skipped is told.
    """

    config: Path | None = None
    caller: str | None = None
    debug: bool = False
    json: bool = False
    verbose: bool = False
    _settings: Settings | None = attrs.field(default=None, init=False, repr=False)

    def settings(self) -> Settings:
        """The settings in force, ``--as`` included; read once.

        Raises:
            ConfigurationError: they are not valid.
            AuthenticationError: a token tells who calls, and ``--as`` does as well.
        """
        if self._settings is None:
            self._settings = self._load()
        return self._settings

    @contextmanager
    def knowledge_base(
        self, settings: Settings | None = None, *, migrating: bool = False
    ) -> Iterator[KnowledgeBase]:
        """The knowledge base of the settings, by default of those in force; closed at the end."""
        from tenantkb.adapters.container import open_knowledge_base

        with open_knowledge_base(settings or self.settings(), migrating=migrating) as opened:
            yield opened

    def authenticate(
        self, knowledge_base: KnowledgeBase, tenant: str | None = None
    ) -> TenantContext:
        """Who calls.

        Args:
            knowledge_base: Where.
            tenant: The tenant that the configuration names for what is about to be done.

        Raises:
            AuthenticationError: the proof does not hold.
            AccessDeniedError: it proves that the caller is another tenant's.
        """
        return knowledge_base.authenticate(self.settings().identity.token, tenant)

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

    def _load(self) -> Settings:
        from tenantkb.adapters.configuration.loading import load

        settings = load(*self.sources())
        if self.caller is None:
            return settings
        if settings.identity.kind != "static":
            raise AuthenticationError("the token tells who calls: --as cannot")
        identity = attrs.evolve(settings.identity, tenant=self.tenant)
        if self.agent:
            identity = attrs.evolve(identity, agent=self.agent)
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
            help="Show where an error comes from.",
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
        click.option(
            "--json",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_remember("json"),
            help="Print one JSON object, an error too.",
        ),
    ):
        command = option(command)
    return command


verbose_option = click.option(
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_remember("verbose"),
    help="Tell each file that was skipped, and why.",
)

pass_session = click.make_pass_decorator(Session, ensure=True)


def console(*, stderr: bool = False) -> Console:
    """Lines as wide as the terminal; elsewhere wide enough that no table cell is folded."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 200)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file; ``-`` is standard input.

    Raises:
        InvalidInputError: it cannot be opened.
    """
    if str(path) == "-":
        if sys.stdin is None:
            raise InvalidInputError("cannot read standard input: it is closed")
        yield sys.stdin.buffer
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        raise cannot("read", path, error) from error
    with stream:
        yield stream


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes its name only when it is complete; ``-`` is standard output.

    Devices and pipes, such as ``/dev/null``, are written to, and symbolic links followed.
    """
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="\n") as stream:
                yield stream
        else:
            with _draft(path.resolve()) as stream:
                yield stream
    except OSError as error:
        raise cannot("write", path, error) from error


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
