"""Forged arguments and files through the command line, against the stores that it can open.

Not the store in memory: it is empty at the start of each command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from attrs import frozen

from tenantkb.adapters.cli.errors import EXIT_CODES
from tenantkb.adapters.cli.main import run, tenantkb
from tenantkb.domain.errors import ErrorKind
from tenantkb.domain.identity import AgentIdentity
from tenantkb.testing import Behind, MakeEngine, Stored
from tenantkb.testing.fail_closed.checks import untouched
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.forgeries import FORGED_STAMPS, FORGED_TENANTS, TEXTS
from tenantkb.testing.fail_closed.model import EVE, SHARED, chunk
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.world import TWIN, World, populate
from tests.conformance import stores

CLEAN = {0, 1, *EXIT_CODES.values()} - {EXIT_CODES[ErrorKind.INTERNAL]}
"""How a command may end: not by a fault of its own."""

OPERATORS = ("backup", "migrate", "repair")

WALKED: dict[str, dict[str, str]] = {
    "list": {},
    "query": {"text": "password"},
    "search": {"text": "password"},
    "context": {"text": "password"},
    "get": {"document_id": "0" * 64},
    "hierarchy": {},
    "status": {},
    "sync": {"workspace": "workspace", "repo": "new"},
    "embed": {"file": "chunks.jsonl", "repo": "new"},
    "delete": {"tombstones": "tombstones.json", "repo": "app"},
    "backup export": {"file": "backup"},
    "backup import": {"file": "backup", "confirm": "knowledge-base"},
    "backup truncate": {"confirm": "knowledge-base"},
    "migrate": {"source": "chroma:elsewhere"},
    "doctor": {},
    "repair": {},
    "init": {},
}
"""The commands that reach rows, with arguments that each one understands."""

READ_NO_ROWS: dict[str, str] = {
    "config": "prints settings and opens no store",
    "create": "extracts a workspace and opens no store",
    "mcp": "answers until its input ends; test_server.py walks its tools",
    "push": "asks a server, and opens no store",
    "schema": "prints a file of the package",
    "serve": "answers until it is stopped; test_server.py walks its tools and routes",
    "token": "makes keys and signs, and opens no store",
    "validate": "judges a file and opens no store",
}
"""The others, with the reason."""


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(tenantkb))


def test_every_command_is_walked_or_reads_no_rows() -> None:
    """Fails: a command is new. Add it to WALKED, or to READ_NO_ROWS with the reason."""
    assert WALKED.keys().isdisjoint(READ_NO_ROWS)
    assert set(COMMANDS) == {*WALKED, *READ_NO_ROWS}


@frozen
class Shell:
    """A store full of rows, which the command finds by its environment."""

    world: World
    before: Stored
    capsys: pytest.CaptureFixture[str]
    findings: Findings

    def run(self, who: AgentIdentity, name: str, *arguments: str) -> int:
        """The command answers ``who`` or refuses; it neither leaks nor crashes."""
        code = run([*name.split(), *arguments])
        printed = self.capsys.readouterr()
        self.findings.answers["tenantkb " + name] += 1
        assert code in CLEAN, printed.err
        leaked = self.world.leaked(who, printed.out + printed.err)
        self.findings.leaks += len(leaked)
        assert not leaked
        return code

    def written(self) -> Stored:
        """The rows that are new; those of others have to be as they were."""
        after = self.world.stored()
        others = {
            key: found for key, found in self.before.items() if found[0]["tenantId"] != "beta"
        }
        assert untouched(others, after)
        return {key: found for key, found in after.items() if key not in self.before}


def command_line(command: click.Command, given: dict[str, str]) -> list[str]:
    """The arguments of a command, the positional ones last."""
    options = [
        f"{parameter.opts[0]}={given[parameter.name]}"
        for parameter in command.params
        if parameter.name in given and isinstance(parameter, click.Option)
    ]
    positional = [
        given[parameter.name]
        for parameter in command.params
        if parameter.name in given and isinstance(parameter, click.Argument)
    ]
    return [*options, "--", *positional]


def forge_every_parameter(shell: Shell, every: int) -> None:
    """Run each walked command with a forged text in the place of each of its arguments.

    Args:
        shell: Where.
        every: Only every so many-th of the texts, from another one on at each parameter.
    """
    for name, valid in WALKED.items():
        command = COMMANDS[name]
        for number, parameter in enumerate(command.params):
            if getattr(parameter, "is_flag", False) or parameter.name in (None, "as", "caller"):
                continue
            for text in TEXTS[number % every :: every]:
                if is_path(parameter) and not can_be_a_path(text):
                    continue
                given = {**valid, str(parameter.name): text}
                code = shell.run(EVE, name, "--as=beta/ada", *command_line(command, given))
                assert code or not name.startswith(OPERATORS), "only an operator may do this"
    labels = {found[0]["access"] for found in shell.written().values()}
    assert labels <= {"team:beta", "private:beta:ada"}


def is_path(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.Path | click.File)


def can_be_a_path(text: str) -> bool:
    """An operating system hands over no other arguments."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def forge_callers(shell: Shell, every: int) -> None:
    """Run commands as somebody who bears a forged name."""
    stranger, colleague = AgentIdentity("nobody", "nobody"), AgentIdentity("acme", "nobody")
    for number, text in enumerate(TEXTS):
        honest = text in ("", "beta", SHARED)  # or no name at all
        if number % every == 0 and not honest:
            shell.run(stranger, "list", "--json", f"--as={text}")
        if number % every == every - 1:
            shell.run(colleague, "status", "--json", f"--as=acme/{text}")


class CommandLine(Worlds):
    """The command line in front of a store; a subclass says how the command finds it."""

    @pytest.fixture
    def settings(self, tmp_path: Path, make_engine: MakeEngine) -> dict[str, str]:
        """The settings of the store, by name."""
        raise NotImplementedError

    @pytest.fixture
    def shell(
        self,
        settings: dict[str, str],
        make_engine: MakeEngine,
        behind: Behind,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        findings: Findings,
    ) -> Shell:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TENANTKB_EMBEDDER_KIND", "hashing")
        for name, value in settings.items():
            monkeypatch.setenv(f"TENANTKB_STORE_{name}", value)
        notes = tmp_path / "workspace" / ".github" / "RELEASE_NOTES"
        notes.mkdir(parents=True)
        (notes / "v1.md").write_text("# Deployment")
        (tmp_path / "chunks.jsonl").write_text(json.dumps(TWIN))
        gone = [{"repoSlug": "app", "sourcePath": TWIN["source"]}]
        (tmp_path / "tombstones.json").write_text(json.dumps({"deleted": gone}))
        with closing(make_engine()) as engine:
            world = populate(World.around(engine, behind, tmp_path / "world"))
            before = world.stored()
        return Shell(world, before, capsys, findings)

    @pytest.mark.case("forged arguments")
    def test_forged_arguments_of_every_command_show_and_change_nothing_of_others(
        self, shell: Shell
    ) -> None:
        """Fails: an argument is more than a text to compare with, or ends in a traceback."""
        forge_every_parameter(shell, every=7)

    @pytest.mark.slow
    @pytest.mark.case("forged arguments")
    def test_all_forged_arguments_of_every_command_show_and_change_nothing_of_others(
        self, shell: Shell
    ) -> None:
        """Fails: as above."""
        forge_every_parameter(shell, every=4)

    @pytest.mark.case("forged arguments")
    def test_forged_numbers_are_refused_or_show_nothing_of_others(self, shell: Shell) -> None:
        """Fails: a number out of range reaches a store."""
        for digits in ("0", "-1", "1e3", "9" * 40, "１", "beta"):
            for option in ("limit", "offset"):
                shell.run(EVE, "list", "--json", "--as=beta/ada", f"--{option}={digits}")
            shell.run(EVE, "query", "password", "--json", "--as=beta/ada", f"--limit={digits}")

    @pytest.mark.case("forged identity")
    def test_a_forged_caller_sees_what_everybody_sees_at_most(self, shell: Shell) -> None:
        """Fails: a caller's name is repaired or taken for a similar one."""
        forge_callers(shell, every=3)

    @pytest.mark.slow
    @pytest.mark.case("forged identity")
    def test_any_forged_caller_sees_what_everybody_sees_at_most(self, shell: Shell) -> None:
        """Fails: as above."""
        forge_callers(shell, every=1)

    @pytest.mark.case("1 forged tenantId")
    def test_forged_records_belong_to_the_caller_of_the_command(
        self, shell: Shell, tmp_path: Path
    ) -> None:
        """Fails: a stored row bears another stamp than the caller's."""
        claims = [*({"tenantId": value} for value in FORGED_TENANTS), *FORGED_STAMPS]
        records = [
            {**chunk(f"secret-claim-{number}."), **claim} for number, claim in enumerate(claims)
        ]
        for start in range(0, len(records), 20):
            lines = map(json.dumps, records[start : start + 20])
            (tmp_path / "forged.jsonl").write_text("\n".join(lines))
            arguments = "--as=beta/ada", "--repo=forged", "forged.jsonl"
            assert shell.run(EVE, "embed", *arguments) == 0
        written = [found[0] for found in shell.written().values()]
        assert len(written) == len(records)
        assert {(row["tenantId"], row["repoSlug"], row["access"]) for row in written} == {
            ("beta", "forged", "team:beta")
        }


class TestCommandOnSqlite(stores.Sqlite, CommandLine):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, str]:
        return {"KIND": "sqlite", "PATH": str(tmp_path / "store")}


class TestCommandOnChromaPath(stores.ChromaPath, CommandLine):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, str]:
        return {"KIND": "chroma", "PATH": str(tmp_path / "store")}


class _OnAServer(CommandLine):
    @pytest.fixture
    def settings(self, behind: stores.BehindChroma, tmp_path: Path) -> dict[str, str]:
        host, port = behind.engine.place.removeprefix("http://").split(":")
        return {
            "KIND": "chroma-http",
            "HOST": host,
            "PORT": port,
            "PATH": str(tmp_path / "state"),
            "COLLECTION": behind.engine._name,
        }


class TestCommandOnChromaServer(_OnAServer, stores.ChromaServer):
    pass


class TestCommandOnChromaContainer(_OnAServer, stores.ChromaContainer):
    pass
