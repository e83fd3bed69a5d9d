"""The checks of what surrounds the application."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import requires, version
from pathlib import Path

import pytest

from tenantkb.adapters.configuration.loading import explain
from tenantkb.adapters.configuration.settings import (
    FactorySettings,
    RepositorySettings,
    Settings,
    StoreSettings,
)
from tenantkb.adapters.doctor.environment import (
    check_configuration,
    check_extensions,
    check_leftovers,
    check_packages,
    check_python,
    check_workspaces,
)
from tenantkb.domain.checks import Check, State


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts another tenantkb's metadata before those that are installed."""

    def claim(*lines: str) -> None:
        info = tmp_path / "site" / "tenantkb-9.9.dist-info"
        info.mkdir(parents=True)
        head = ("Metadata-Version: 2.4", "Name: tenantkb", "Version: 9.9")
        (info / "METADATA").write_text("\n".join([*head, *lines, "", ""]))
        monkeypatch.syspath_prepend(tmp_path / "site")

    return claim


def test_what_is_installed_here_is_what_the_metadata_ask_for() -> None:
    assert check_python("python").state is State.OK
    found = check_packages("packages", "wordllama")
    assert found.state is State.OK
    assert f"chromadb {version('chromadb')}" in found.finding
    plain = [each for each in requires("tenantkb") or () if "extra" not in each]
    assert found.finding.endswith(f"all {len(plain) + 1} within their ranges")


def test_another_python_is_an_error(claims: Callable[..., None]) -> None:
    claims("Requires-Python: >=3.99")
    found = check_python("python")
    assert found.state is State.ERROR
    assert "which is not >=3.99" in found.finding


def test_packages_that_are_missing_or_out_of_range_are_told_with_the_command_for_them(
    claims: Callable[..., None],
) -> None:
    claims("Requires-Dist: chromadb<1", "Requires-Dist: no-such-package>=2", "Requires-Dist: click")
    found = check_packages("packages", "wordllama")
    assert found.state is State.ERROR
    assert found.finding == (
        f"chromadb<1 is wanted: {version('chromadb')}, no-such-package>=2 is wanted: not installed"
    )
    assert found.remedy is not None
    assert found.remedy.endswith("-m pip install 'chromadb<1' 'no-such-package>=2'`.")


def test_the_packages_of_an_extra_count_for_the_embedder_of_that_name(
    claims: Callable[..., None],
) -> None:
    claims("Provides-Extra: minilm", 'Requires-Dist: no-such-package; extra == "minilm"')
    assert check_packages("packages", "wordllama").state is State.OK
    assert check_packages("packages", "minilm").state is State.ERROR


def test_the_configuration_tells_its_file_and_variables(tmp_path: Path) -> None:
    nothing = check_configuration("configuration", explain({}, tmp_path))
    assert nothing == Check("configuration", State.OK, "the defaults; no file and no variable")
    file = tmp_path / "tenantkb.toml"
    file.write_text('[store]\ncollection = "mine"')
    found = check_configuration("configuration", explain({"TENANTKB_TOKEN": "s3cret"}, tmp_path))
    assert found.finding == f"{file}, TENANTKB_TOKEN"


def extensions(settings: Settings) -> Check:
    return check_extensions(settings, "extensions")


def test_what_is_registered_by_default_can_be_loaded() -> None:
    found = extensions(Settings(code_source=True))
    assert found == Check("extensions", State.OK, "11 sources and 7 parsers can be loaded")


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ({"custom_sources": {"A": FactorySettings("no_such_module:A")}}, "no_such_module"),
        ({"custom_parsers": {"A": FactorySettings("pathlib:NoSuchName")}}, "NoSuchName"),
        (
            {"custom_parsers": {"A": FactorySettings("fractions:Fraction", {"x": 1})}},
            "cannot be made",
        ),
        ({"custom_parsers": {"TestParser": FactorySettings("pathlib:Path")}}, "already"),
        ({"parser_patterns": {"*.x": "NoSuchParser"}}, "there is no parser NoSuchParser"),
        ({"source_paths": {"NoSuchSource": "x"}}, "there is no source NoSuchSource"),
    ],
)
def test_sources_and_parsers_that_cannot_be_made_are_an_error(
    reading: dict[str, object], said: str, tmp_path: Path
) -> None:
    at_top = extensions(Settings(**reading))  # type: ignore[arg-type] # any of the keys
    assert at_top.state is State.ERROR
    assert said in at_top.finding
    entry = RepositorySettings(workspace=tmp_path, repo="app", **reading)  # type: ignore[arg-type] # as above
    of_a_repository = extensions(Settings(repositories=(entry,)))
    assert of_a_repository.finding.startswith("repositories[0]: ")
    assert said in of_a_repository.finding


def test_modules_are_found_on_the_import_path(tmp_path: Path) -> None:
    (tmp_path / "a_parser_of_ours.py").write_text("class Ours:\n    def parse(self): ...\n")
    custom = {"Ours": FactorySettings("a_parser_of_ours:Ours")}
    assert extensions(Settings(custom_parsers=custom)).state is State.ERROR
    found = extensions(Settings(custom_parsers=custom, import_path=(tmp_path,)))
    assert found.finding == "10 sources and 8 parsers can be loaded"


def test_a_module_that_ends_the_program_ends_the_check_alone(tmp_path: Path) -> None:
    (tmp_path / "a_parser_that_leaves.py").write_text("raise SystemExit(0)\n")
    custom = {"Leaves": FactorySettings("a_parser_that_leaves:Leaves")}
    found = extensions(Settings(custom_parsers=custom, import_path=(tmp_path,)))
    assert found.state is State.ERROR


def test_workspaces_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    entries = [
        RepositorySettings(workspace=tmp_path / name, repo=f"app{name}")
        for name in (".", "file", "none")
    ]
    assert check_workspaces(Settings(repositories=(entries[0],)), "workspaces").state is State.OK
    found = check_workspaces(Settings(repositories=tuple(entries)), "workspaces")
    assert found.state is State.ERROR
    assert found.finding == (
        f"not a folder that can be read: repositories[1].workspace {tmp_path}/file, "
        f"repositories[2].workspace {tmp_path}/none"
    )


def at(path: Path) -> Settings:
    return Settings(store=StoreSettings(path=path))


def test_old_drafts_are_told_and_only_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, here = tmp_path / "store", tmp_path / "here"
    for folder in (store, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    drafts = [store / "tenantkb.writer.123", here / ".out.jsonl.123", here / ".rows.part"]
    others = [store / "tenantkb.writer", store / "tenantkb.writer.lock", here / ".hidden",
              here / "rows.part", here / ".film.part"]  # fmt: skip
    for file in (*drafts, *others):
        file.write_text("{")
    (here / ".film.part").write_text("not JSON")
    assert check_leftovers(at(store), "leftovers").state is State.OK
    for file in (*drafts, *others):
        os.utime(file, (0, 0))
    found = check_leftovers(at(store), "leftovers")
    assert found.state is State.WARNING
    assert found.remedy == f"Run `rm {' '.join(map(str, drafts))}`."


def test_a_store_that_is_a_file_has_no_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").write_bytes(b"junk")
    assert check_leftovers(at(tmp_path / "store"), "leftovers").state is State.OK
