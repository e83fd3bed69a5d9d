"""Syntax that is newer than ECMAScript 2022.

The compiler knows one edition, the latest. What an older one does not have is found in the tree of
a module that is valid by the latest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tree_sitter import Node, Query, QueryCursor

from tenantkb.adapters.parsers.grammar_gaps import LANGUAGE, export_attributes
from tenantkb.adapters.parsers.js_text import identifier_name

_NEWER: Final = {
    "#! line": "(hash_bang_line) @x",
    "import attributes": """
        [(import_attribute) @x
         (call_expression function: (import) arguments: (arguments "," @x))]""",
    "using declaration": '[(using_declaration) @x (for_in_statement "using" @x)]',
    "flag v of a regular expression": '((regex_flags) @x (#match? @x "v"))',
    "regular expression": "(regex_pattern) @x",
}
"""By what a diagnostic calls it, where it may be in a tree."""

_QUERY: Final = Query(
    LANGUAGE,
    "\n".join(p.replace("@x", f"@x{number}") for number, p in enumerate(_NEWER.values())),
)
_GROUP: Final = re.compile(
    r"\\.|\[(?:\\.|[^\]\\])*+\]"
    r"|\(\?(?:<(?P<name>[^=!>][^>]*)>|(?P<modifiers>[ims]+-?[ims]*|-[ims]*):)",
    re.DOTALL,
)


def newer_than_2022(root: Node, source: bytes) -> tuple[int, str] | None:
    """The first place of what ECMAScript 2022 does not have, and what it is.

    Names of Unicode properties, of which later editions know more, are not looked at.

    Args:
        root: The ``program`` node of a valid module.
        source: What its offsets count.
    """
    return min(_found(root, source), default=None)


def _found(root: Node, source: bytes) -> Iterator[tuple[int, str]]:
    for offset in export_attributes(root, source):
        yield offset, "import attributes"
    captures = QueryCursor(_QUERY).captures(root)
    for number, what in enumerate(_NEWER):
        for node in captures.get(f"x{number}", []):
            if node.type != "regex_pattern":
                yield node.start_byte, what
            elif found := _newer_group(source[node.start_byte : node.end_byte].decode()):
                yield node.start_byte, found


def _newer_group(pattern: str) -> str | None:
    names: set[str] = set()
    for group in _GROUP.finditer(pattern):
        if group["modifiers"]:
            return "modifiers in a regular expression"
        if group["name"]:
            name = identifier_name(group["name"])
            if name in names:
                return "group name that occurs twice in a regular expression"
            names.add(name)
    return None
