"""The table of imports in ``docs/architecture.md``.

``python -m tests.packaging.import_table`` writes it anew; a test says where it is out of date.
"""

from __future__ import annotations

import re
import sys
from typing import Final

import grimp

from tests.packaging.building import ROOT

PAGE: Final = ROOT / "docs" / "architecture.md"
_TABLE: Final = re.compile(r"(?<=<!-- imports -->\n).*?(?=<!-- /imports -->)", re.DOTALL)
_WHOLE: Final = ("domain", "ports", "schemas", "testing")
"""Parts of the package that are one row; of the others, each folder is."""


def table() -> str:
    """What imports what, from the inside out: our own packages, then those of others."""
    graph = grimp.build_graph(
        "tenantkb",
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )
    own: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    for module in graph.modules:
        if (package := _package(module)) is None:
            continue
        mine, foreign = own.setdefault(package, set()), others.setdefault(package, set())
        for imported in graph.find_modules_directly_imported_by(module):
            if (target := _package(imported)) is not None:
                mine |= {target} - {package}
            elif imported not in sys.stdlib_module_names and imported != "tenantkb":
                foreign.add(imported)
    lines = ["| package | imports | of others |", "|---|---|---|"]
    lines += [
        f"| `{package}` | {_listed(own[package])} | {_listed(others[package])} |"
        for package in sorted(own, key=_place)
        if own[package] or others[package]
    ]
    return "\n".join(lines) + "\n"


def printed() -> str:
    """The table as it stands in the page."""
    found = _TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    return found[0]


def _package(module: str) -> str | None:
    """The row that a module belongs to; ``None`` for the package's own front, and for others."""
    package, _, inside = module.partition(".")
    if package != "tenantkb" or not inside:
        return None
    parts = inside.split(".")
    return parts[0] if parts[0] in _WHOLE else ".".join(parts[:2])


def _place(package: str) -> tuple[int, str]:
    layers = ("domain", "ports", "schemas", "application", "adapters", "testing")
    return layers.index(package.partition(".")[0]), package


def _listed(packages: set[str]) -> str:
    """Names, those of one layer together: ``adapters.{files, state}``."""
    layers: dict[str, list[str]] = {}
    for name in sorted(packages, key=lambda each: _place(each) if "." in each else (-1, each)):
        layer, _, part = name.partition(".")
        layers.setdefault(layer, []).append(part)
    return ", ".join(
        f"{layer}.{{{', '.join(filter(None, parts))}}}" if any(parts) else layer
        for layer, parts in layers.items()
    )


if __name__ == "__main__":
    PAGE.write_text(
        _TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8"
    )
