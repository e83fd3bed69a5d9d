"""Forged arguments and files through the command line, against the stores that it can open.

Not the store in memory: it is empty at the start of each command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from attrs import frozen

from tenantkb.adapters.cli.main import run, tenantkb
from tenantkb.adapters.cli.output import EXIT_CODES
from tenantkb.adapters.stores.chroma import ChromaStore
from tenantkb.domain.identity import AgentIdentity
from tests.conformance.stores import Places
from tests.fail_closed import raw
from tests.fail_closed.findings import Findings
from tests.fail_closed.forgeries import TEXTS
from tests.fail_closed.model import EVE, SHARED, chunk
from tests.fail_closed.test_cases import FORGED_STAMPS, FORGED_TENANTS
from tests.fail_closed.world import TWIN, World, populated

STORES = ["chroma-path", "chroma-server", "chroma-container"]
CLEAN = {0, 1, 2, *(code for _, code in EXIT_CODES)}

WALKED: dict[str, dict[str, str]] = {
    "list": {},
    "query": {"text": "password"},
    "get": {"document_id": "0" * 64},
    "hierarchy": {},
    "status": {},
    "sync": {"workspace": "workspace", "repo": "new"},
    "embed": {"file": "chunks.jsonl", "repo": "new"},
    "delete": {"tombstones": "tombstones.json", "repo": "app"},
    "backup export": {"file": "backup"},
    "backup import": {"file": "backup", "confirm": "knowledge-base"},
    "backup truncate": {"confirm": "knowledge-base"},
    "doctor": {},
    "repair": {},
    "init": {},
}
"""The commands that reach rows, with arguments that each one understands."""

READ_NO_ROWS: dict[str, str] = {
    "config": "prints settings and opens no store",
    "create": "extracts a workspace and opens no store",
    "schema": "prints a file of the package",
    "validate": "judges a file and opens no store",
}
"""The others, with the reason."""


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name."""
    for name, command in group.commands.items():
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
    open: Callable[[], ChromaStore]
    before: dict[str, raw.RawRow]
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

    def written(self) -> dict[str, raw.RawRow]:
        """The rows that are new; those of others have to be as they were."""
        with closing(self.open()) as store:
            after = raw.stored(store)
        others = {
            key: found for key, found in self.before.items() if found[0]["tenantId"] != "beta"
        }
        assert {key: after.get(key) for key in others} == others
        return {key: found for key, found in after.items() if key not in self.before}


@pytest.fixture
def shell(
    store_name: str,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    findings: Findings,
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENANTKB_EMBEDDER_KIND", "hashing")
    monkeypatch.setenv("TENANTKB_STORE_PATH", str(tmp_path / "store"))
    collection = "knowledge-base"
    if store_name == "chroma-path":

        def open_store() -> ChromaStore:
            return ChromaStore.at_path(tmp_path / "store")
    else:
        address = places.server() if store_name == "chroma-server" else places.container()
        collection = f"command-{tmp_path.name}"
        monkeypatch.setenv("TENANTKB_STORE_KIND", "chroma-http")
        monkeypatch.setenv("TENANTKB_STORE_HOST", address.host)
        monkeypatch.setenv("TENANTKB_STORE_PORT", str(address.port))
        monkeypatch.setenv("TENANTKB_STORE_COLLECTION", collection)

        def open_store() -> ChromaStore:
            return ChromaStore.at_server(address.host, address.port, collection=collection)

    notes = tmp_path / "workspace" / ".github" / "RELEASE_NOTES"
    notes.mkdir(parents=True)
    (notes / "v1.md").write_text("# Deployment")
    (tmp_path / "chunks.jsonl").write_text(json.dumps(TWIN))
    gone = [{"repoSlug": "app", "sourcePath": TWIN["source"]}]
    (tmp_path / "tombstones.json").write_text(json.dumps({"deleted": gone}))
    with closing(open_store()) as store:
        world = populated(store, tmp_path / "world")
        return Shell(world, open_store, raw.stored(store), capsys, findings)


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
            if getattr(parameter, "is_flag", False) or parameter.name in (None, "as"):
                continue
            for text in TEXTS[number % every :: every]:
                if is_path(parameter) and not can_be_a_path(text):
                    continue
                given = {**valid, str(parameter.name): text}
                code = shell.run(EVE, name, "--as=beta/ada", *command_line(command, given))
                assert code or not name.startswith("backup"), "only an operator may do this"
    written = shell.written()
    assert {found[0]["access"] for found in written.values()} <= {"team:beta", "private:beta:ada"}


def is_path(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.Path | click.File)


def can_be_a_path(text: str) -> bool:
    """An operating system hands over no other arguments."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


@pytest.mark.case("forged arguments")
@pytest.mark.parametrize("store_name", STORES[:1])
def test_forged_arguments_of_every_command_show_and_change_nothing_of_others(shell: Shell) -> None:
    """Fails: an argument is more than a text to compare with, or ends in a traceback."""
    forge_every_parameter(shell, every=7)


@pytest.mark.slow
@pytest.mark.case("forged arguments")
@pytest.mark.parametrize("store_name", STORES)
def test_all_forged_arguments_of_every_command_show_and_change_nothing_of_others(
    shell: Shell,
) -> None:
    """Fails: as above."""
    forge_every_parameter(shell, every=4)


@pytest.mark.case("forged arguments")
@pytest.mark.parametrize("store_name", STORES)
def test_forged_numbers_are_refused_or_show_nothing_of_others(shell: Shell) -> None:
    """Fails: a number out of range reaches a store."""
    for digits in ("0", "-1", "1e3", "9" * 40, "１", "beta"):
        for option in ("limit", "offset"):
            shell.run(EVE, "list", "--json", "--as=beta/ada", f"--{option}={digits}")
        shell.run(EVE, "query", "password", "--json", "--as=beta/ada", f"--limit={digits}")


def forge_callers(shell: Shell, every: int) -> None:
    """Run commands as somebody who bears a forged name."""
    stranger, colleague = AgentIdentity("nobody", "nobody"), AgentIdentity("acme", "nobody")
    for number, text in enumerate(TEXTS):
        honest = text in ("", "beta", SHARED)  # or no name at all
        if number % every == 0 and not honest:
            shell.run(stranger, "list", "--json", f"--as={text}")
        if number % every == every - 1:
            shell.run(colleague, "status", "--json", f"--as=acme/{text}")


@pytest.mark.case("forged identity")
@pytest.mark.parametrize("store_name", STORES)
def test_a_forged_caller_sees_what_everybody_sees_at_most(shell: Shell) -> None:
    """Fails: a caller's name is repaired or taken for a similar one."""
    forge_callers(shell, every=3)


@pytest.mark.slow
@pytest.mark.case("forged identity")
@pytest.mark.parametrize("store_name", STORES)
def test_any_forged_caller_sees_what_everybody_sees_at_most(shell: Shell) -> None:
    """Fails: as above."""
    forge_callers(shell, every=1)


@pytest.mark.case("1 forged tenantId")
@pytest.mark.parametrize("store_name", STORES)
def test_forged_records_belong_to_the_caller_of_the_command(shell: Shell, tmp_path: Path) -> None:
    """Fails: a stored row bears another stamp than the caller's."""
    claims = [*({"tenantId": value} for value in FORGED_TENANTS), *FORGED_STAMPS]
    records = [{**chunk(f"secret-claim-{number}."), **claim} for number, claim in enumerate(claims)]
    for start in range(0, len(records), 20):  # few enough to be overwritten, not rejected
        lines = map(json.dumps, records[start : start + 20])
        (tmp_path / "forged.jsonl").write_text("\n".join(lines))
        arguments = "--as=beta/ada", "--repo=forged", "forged.jsonl"
        assert shell.run(EVE, "embed", *arguments) == 0
    written = [found[0] for found in shell.written().values()]
    assert len(written) == len(records)
    assert {(row["tenantId"], row["repoSlug"], row["access"]) for row in written} == {
        ("beta", "forged", "team:beta")
    }
