"""The workflows of a hosted CI parse, run what exists, and give away no more than they must."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packaging.building import ROOT
from tests.packaging.release import objections, package_version

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

workflows = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def parsed(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(loaded, dict)
    return {"on" if key is True else key: value for key, value in loaded.items()}  # YAML 1.1


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in parsed(path)["jobs"].values() for step in job["steps"]]


def is_there(command: str) -> bool:
    """Whether a command is one of this repository."""
    match shlex.split(command):
        case ["make", target, *variables]:
            return target in TARGETS and all(
                re.match(r"[A-Z]+=", variable) for variable in variables
            )
        case ["bash", script]:
            return os.access(ROOT / script, os.X_OK)
    return False


def test_there_are_a_workflow_for_changes_and_one_for_releases() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "release"]


@workflows
def test_a_workflow_runs_only_what_exists(path: Path) -> None:
    commands = [
        line for step in steps(path) if "run" in step for line in step["run"].strip().split("\n")
    ]
    assert commands
    assert [command for command in commands if not is_there(command)] == []


def test_what_does_not_exist_is_found() -> None:
    wrong = ["make nothing", "bash .ci/none", "pip install x", "make lint; curl x", "make lint x"]
    assert not [command for command in wrong if is_there(command)]


@workflows
def test_actions_are_pinned_to_a_major_version(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [
        each for each in used if not re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v1)", each)
    ] == []
    assert all(("uses" in step) != ("run" in step) for step in steps(path))


@workflows
def test_a_workflow_may_read_the_repository_and_knows_no_secret(path: Path) -> None:
    workflow = parsed(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets" not in path.read_text("utf-8")
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_only_the_step_that_publishes_proves_who_it_is_and_runs_nothing_of_ours() -> None:
    jobs = parsed(ROOT / ".github/workflows/release.yml")["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    publish = jobs["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    assert publish["environment"] == "pypi"
    assert not [step for step in publish["steps"] if "run" in step]
    there, here = jobs["build"]["steps"][-1]["with"], publish["steps"][0]["with"]
    assert (there["name"], there["path"]) == (here["name"], here["path"]) == ("dist", "dist/")


def test_ci_runs_the_versions_of_python_that_the_package_names() -> None:
    matrix = parsed(ROOT / ".github/workflows/ci.yml")["jobs"]["ci"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    prefix = "Programming Language :: Python :: "
    named = [each.removeprefix(prefix) for each in project["classifiers"] if prefix in each]
    assert matrix["python"] == named
    assert project["requires-python"] == f">={named[0]}"


def test_the_changelog_tells_of_the_version_of_the_package() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    version = package_version()
    assert re.search(
        rf"^## {re.escape(version)} - \d{{4}}-\d{{2}}-\d{{2}}$", changelog, re.MULTILINE
    )


def test_a_release_needs_its_own_heading_and_tag() -> None:
    told = "# Changelog\n\n## 1.2.0 - 2026-01-31\n\n## 1.1.0 - 2025-01-31\n"
    assert objections(told, "1.2.0") == objections(told, "1.2.0", "v1.2.0") == []
    assert len(objections(told, "1.1.0", "v1.2.0")) == 2
    assert objections("## Unreleased\n\n" + told, "1.2.0") == [
        "the changelog begins with Unreleased, not with 1.2.0 and its date"
    ]
    assert objections("", "1.2.0") != []
