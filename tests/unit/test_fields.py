"""The metadata fields that rules speak of have their names in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantkb.domain import fields

ROOT = Path(__file__).parents[2]
LAYERS = ("domain", "ports", "application", "adapters", "schemas")
SPELT_ONCE = fields.STAMP | fields.PATH
HOME = ROOT / "domain" / "fields.py"


def spelt(path: Path) -> Iterator[str]:
    """The names that stand as literals in a file, each with its place."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in SPELT_ONCE:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"


@pytest.mark.parametrize("layer", LAYERS)
def test_the_name_of_a_field_is_spelt_once(layer: str) -> None:
    files = [path for path in sorted((ROOT / layer).rglob("*.py")) if path != HOME]
    assert files
    assert [place for path in files for place in spelt(path)] == []


def test_the_one_place_spells_all_of_them() -> None:
    found = [place.rpartition(" ")[2] for place in spelt(HOME)]
    assert sorted(found) == sorted(SPELT_ONCE)
    assert {
        "tenantId",
        "repoSlug",
        "visibility",
        "originAgentIdentity",
        "ingestedAt",
        "access",
        "rootKind",
        "sourcePath",
    } == SPELT_ONCE
