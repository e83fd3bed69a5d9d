"""Standard streams that are closed, full or read by nobody, odd locales, and hostile nesting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Installation, Outcome

Shell = Callable[..., Outcome]


@pytest.fixture
def filled(tenantkb: Installation, notes: Callable[[int], Path]) -> Installation:
    tenantkb.environment["TENANTKB_EMBEDDER_KIND"] = "hashing"  # it takes no time to load
    assert tenantkb("sync", notes(3)).code == 0
    return tenantkb


@pytest.mark.parametrize(
    "command", ["list", "list --json", "get {id}", "config", "doctor", "--help", "create {golden}"]
)
def test_a_command_whose_output_nobody_reads_ends_without_a_word(
    filled: Installation, shell: Shell, golden: Path, command: str
) -> None:
    """As SIGPIPE ends `git log | head -1`."""
    [first] = filled("list", "--limit", "1", "--json").json["documents"]
    written = command.format(golden=golden, id=first["id"])
    done = shell(f"(sleep 0.1; exec tenantkb {written}) | true; exit ${{PIPESTATUS[0]}}")
    assert (done.code, done.errors.removeprefix("Extracting\n")) == (141, "")


def test_a_job_whose_messages_nobody_reads_ends_so_too(
    tenantkb: Installation, shell: Shell, golden: Path
) -> None:
    done = shell(f"(sleep 0.1; exec tenantkb sync {golden} 2>&1) | true; exit ${{PIPESTATUS[0]}}")
    assert (done.code, done.errors) == (141, "")


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")],
)
@pytest.mark.parametrize("command", ["list", "list --json", "--help", "schema", "create {golden}"])
def test_output_that_cannot_be_written_is_told(
    filled: Installation, shell: Shell, golden: Path, command: str, stream: str, reason: str
) -> None:
    done = shell(f"tenantkb {command.format(golden=golden)} {stream}")
    assert done.code == 4
    told = done.errors.removeprefix("Extracting\n")
    assert told == f"tenantkb: cannot write standard output: {reason} [KB_OUTPUT]\n"


@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_no_job_is_broken_off_because_nobody_can_be_told_of_it(
    tenantkb: Installation, shell: Shell, golden: Path, stream: str
) -> None:
    done = shell(f"tenantkb sync {golden} --json {stream}")
    assert (done.code, done.json["added"]) == (0, 200)
    assert shell(f"tenantkb get missing {stream}").code == 7


def test_no_file_takes_the_place_of_a_closed_stream(
    filled: Installation, shell: Shell, tmp_path: Path
) -> None:
    """Fails: what is printed lands in a file that was opened under a stream's number."""
    exported = "tenantkb backup export out.jsonl <&- >&- 2>&-"
    assert shell(exported, TENANTKB_ROLES="operator").code == 4
    lines = (filled.folder / "out.jsonl").read_text().rstrip("\n").split("\n")
    assert len(lines) == 3
    assert all(json.loads(line)["id"] for line in lines)


def test_a_closed_standard_input_is_an_error_that_says_so(
    tenantkb: Installation, shell: Shell
) -> None:
    for command in ("validate -", "embed - --repo app", "delete --repo app --manifest -"):
        done = shell(f"tenantkb {command} <&-")
        assert done.code == 2
        assert "cannot read standard input: it is closed [KB_INVALID_INPUT]" in done.errors


def test_a_full_disk_is_called_one(tenantkb: Installation, shell: Shell, golden: Path) -> None:
    done = tenantkb("create", golden, "-o", "/dev/full", "--json")
    assert (done.code, done.json["error"]["code"]) == (4, "KB_STORE_FULL")
    assert "No space left on device" in done.errors


@pytest.mark.parametrize("utf8", ["0", "1"])
@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_texts_and_paths_are_utf_8_in_every_locale(
    tenantkb: Installation, shell: Shell, utf8: str, locale: str
) -> None:
    folder = tenantkb.folder / "Grüße" / ".github" / "RELEASE_NOTES"
    folder.mkdir(parents=True)
    (folder / "v1-ä.md").write_text("Ünïcode 👋")
    variables = {"LC_ALL": locale, "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    assert shell("tenantkb sync Grüße --repo grüße", **variables).code == 0
    [found] = shell("tenantkb query 'Ünïcode 👋' --content --json", **variables).json["results"]
    assert found["sourcePath"] == ".github/RELEASE_NOTES/v1-ä.md"
    assert (found["repoSlug"], found["content"]) == ("grüße", "Ünïcode 👋")
    printed = shell("tenantkb query 'Ünïcode 👋'", **variables)
    assert (printed.code, printed.errors) == (0, "")
    assert "v1-ä.md" in printed.output


@pytest.mark.parametrize("depth", [400, 100_000])
def test_values_that_are_nested_deeply_are_refused(tenantkb: Installation, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for name, text in (
        ("deleted", f'{{"deleted": {nested}}}'),
        ("manifest", f'{{"manifestSnapshot": {{"repoSlug": "a", "pathsAfterPush": [{nested}]}}}}'),
        ("chunk", f'{{"type": "a", "name": "a", "content": "a", "source": "a", "z": {nested}}}'),
    ):
        (tenantkb.folder / name).write_text(text)
    for code, *arguments in (
        (2, "delete", "--repo", "a", "--tombstones", "deleted"),
        (2, "delete", "--repo", "a", "--manifest", "manifest"),
        (2, "embed", "chunk", "--repo", "a"),
        (1, "validate", "chunk"),
    ):
        done = tenantkb(*map(str, arguments))
        assert done.code == code, done
        assert "expected" in done.errors + done.output
