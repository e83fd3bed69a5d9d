"""What ``NOTICE.md`` says of other packages is what these say of themselves."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from safetensors import safe_open

from tests.packaging.building import ROOT

NOTICE = (ROOT / "NOTICE.md").read_text("utf-8")
GRAMMARS = re.findall(r"^\| `(tree-sitter[\w-]*)` \| (\S+) \| (.+) \|$", NOTICE, re.MULTILINE)
"""Package, licence and copyright of each grammar."""


def licence_file(package: Distribution) -> str:
    [file] = [file for file in package.files or () if file.name == "LICENSE"]
    return Path(str(package.locate_file(file))).read_text("utf-8")


def test_every_grammar_that_is_depended_on_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {Requirement(each).name for each in project["dependencies"]}
    named = [package for package, _, _ in GRAMMARS]
    assert sorted(each for each in needed if each.startswith("tree-sitter")) == sorted(named)
    assert needed & {"wordllama", "quickjs-ng", "pystemmer", "pyuca"} == {
        name.lower()
        for name in ("wordllama", "quickjs-ng", "PyStemmer", "pyuca")
        if f"`{name}`" in NOTICE
    }


@pytest.mark.parametrize(("package", "licence", "copyrights"), GRAMMARS)
def test_a_grammars_licence_and_copyright_are_its_own(
    package: str, licence: str, copyrights: str
) -> None:
    found = distribution(package)
    told = [
        each
        for key in ("License-Expression", "License", "Classifier")
        for each in found.metadata.get_all(key, [])
    ]
    assert [
        each for each in told if each in (licence, f"License :: OSI Approved :: {licence} License")
    ]
    text = licence_file(found)
    for holder in copyrights.removesuffix(".").split("; "):
        assert f"Copyright (c) {holder.removeprefix('© ')}" in text


def test_where_the_default_vectors_come_from_is_what_their_package_says() -> None:
    package = distribution("wordllama")
    manual = re.sub(r"\s+", " ", package.read_text("METADATA") or "")
    notice = re.sub(r"\s+", " ", NOTICE)
    quoted = re.findall(r'"([^"]{30,})"', notice.partition("## The extra")[0])
    assert len(quoted) == 2
    assert [quote for quote in quoted if quote not in manual] == []
    folder = Path(str(package.locate_file("wordllama")))
    settings = tomllib.loads((folder / "config/train/l2_supercat.toml").read_text("utf-8"))
    assert f"`{settings['model']['hf_model_id']}`" in NOTICE
    with safe_open(folder / "weights/l2_supercat_256.safetensors", "numpy") as weights:
        rows, numbers = weights.get_slice("embedding.weight").get_shape()
        assert weights.metadata() is None  # no terms stand there
    assert f"({rows:,} vectors of {numbers} numbers)" in NOTICE
    assert f"({package.version};" in NOTICE
    terms = {
        file.name for file in package.files or () if re.search("licen|notice", file.name, re.I)
    }
    assert terms == {"LICENSE"}


def test_the_licences_of_engines_are_what_their_packages_say() -> None:
    assert "Copyright (c) 2026 Ganesh Viswanathan" in licence_file(distribution("quickjs-ng"))
    stemmer = licence_file(distribution("pystemmer"))
    assert "copyright (c) 2001-2006,\nDr Martin Porter and Richard Boulton" in stemmer
    assert "copyright (c) 2006, Richard Boulton" in stemmer
    collation = distribution("pyuca")
    assert collation.metadata["License"] == "MIT"
    assert not [file for file in collation.files or () if "licen" in file.name.lower()]
