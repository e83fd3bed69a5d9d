"""Source code of many languages, by definitions."""

from __future__ import annotations

import importlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Final

from attrs import define, evolve, field, frozen
from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

from tenantkb.adapters.parsers.cutting import BoundedParser, Lines, Piece, Text, records
from tenantkb.adapters.parsers.languages import BY_SUFFIX, LanguageTable
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord

_VERSION: Final = "1.1.0"
_SMALL_CLASS_SHARE: Final = 4
_FRAGMENT_LETTERS: Final = 30
_DEEPEST_CLASS: Final = 16
_DEEPEST_NODE: Final = 256  # below tens of thousands a query takes minutes
_MOST_UNREADABLE: Final = 5_000
_LONGEST_NAME: Final = 200
_TEMPLATE_ARGUMENTS: Final = re.compile(r"<[^<>()]*>(?=\s*::)")
_BLANK_LINE: Final = re.compile(r"\n[^\S\n]*\n")


class _Place(Enum):
    """Where a piece goes: a fragment with the next one (HEAD) or with the one before (TAIL)."""

    OWN = "own"
    HEAD = "head"
    TAIL = "tail"


@define
class _Definition:
    """A class, a function, or the whole file, in characters."""

    start: int
    end: int
    kind: str
    name: str
    class_name: str | None
    extends: str | None = None
    name_start: int = -1
    members: list[_Definition] = field(factory=list)

    def piece(self, start: int, end: int, kind: str) -> Piece:
        """A part of the definition, or all of it."""
        return Piece(start, end, kind, self.name, self.class_name, self.extends)


@frozen
class _Capture:
    """What one match of a query found, in characters."""

    start: int
    end: int
    is_class: bool
    name: str
    name_start: int
    owner: str | None
    extends: str | None


class CodeParser(BoundedParser):
    """Cuts a file into its functions, methods and classes, and the code around them.

    A class longer than a quarter of the bound becomes a ``class-context`` (its head, fields and
    documentation) and its members, a shorter one is whole. Comments directly above a definition
    belong to it. What says next to nothing goes with a neighbour: a bare class head with the first
    member, a closing brace or a ruler between two definitions with the one before. What the grammar
    does not understand is between definitions like everything else, so syntax errors cost nothing
    but precision.

    For ``max_characters`` see :class:`~adapters.parsers.cutting.BoundedParser`.
    """

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        """Chunks of kind ``function``, ``method``, ``class``, their context and the module's.

        Raises:
            UnparsableFileError: ``path`` has no suffix of a known language, or the text has syntax
                errors and not one definition.
        """
        language = BY_SUFFIX.get(PurePosixPath(path).suffix.lower())
        if language is None:
            raise UnparsableFileError("its suffix is of no known language")
        limit = self._bound(hints)
        text = Text(content)
        module = _module(text.plain, path, language)
        pieces = _joined(_pieces(text.plain, module, limit // _SMALL_CLASS_SHARE))
        return records(
            text,
            path,
            pieces,
            parser_id=f"code-{language.name}",
            parser_version=_VERSION,
            chunk_type="code",
            max_characters=limit,
        )


@cache
def _grammar(language: LanguageTable) -> tuple[Parser, Query]:
    module = importlib.import_module(language.module)
    grammar = Language(getattr(module, language.function)())
    return Parser(grammar), Query(grammar, language.query)


def _module(text: str, path: str, language: LanguageTable) -> _Definition:
    """The definitions of a file as a tree."""
    parser, query = _grammar(language)
    source = text.encode("utf-8", "replace")
    if language.macros is not None:
        source = _without(language.macros, source)
    tree = parser.parse(source)
    if _is_unreadable(tree):
        raise UnparsableFileError("too long a run of syntax errors")
    captures, leads = _captured(tree, query, source)
    if not captures and tree.root_node.has_error:
        raise UnparsableFileError("syntax errors, and no definition found")
    module = _Definition(0, len(text), "module", path, None)
    stack = [module]
    for capture in captures:
        while capture.start >= stack[-1].end and len(stack) > 1:
            stack.pop()
        parent = stack[-1]
        if parent.kind in ("function", "method") or parent.name_start == capture.name_start:
            continue
        scope = capture.owner or parent.class_name
        name = f"{scope}.{capture.name}" if scope else capture.name
        if capture.is_class:
            found = _Definition(capture.start, capture.end, "class", name, name, capture.extends)
        else:
            kind = "method" if scope else "function"
            extends = None if capture.owner else parent.extends
            found = _Definition(capture.start, capture.end, kind, name, scope, extends)
        found.name_start = capture.name_start
        if len(stack) <= _DEEPEST_CLASS:
            parent.members.append(found)
            stack.append(found)
    _align(text, module, Lines(text), leads)
    return module


def _without(macros: re.Pattern[bytes], source: bytes) -> bytes:
    """The source with the first group of each match blank, so that offsets and lines stay."""
    shown = bytearray(source)
    for match in macros.finditer(source):
        shown[slice(*match.span(1))] = re.sub(rb"[^\n]", b" ", match[1])
    return bytes(shown)


def _is_unreadable(tree: Tree) -> bool:
    """Whether an error holds so many tokens that a query, quadratic in them, would take long."""
    pending = [tree.root_node] if tree.root_node.has_error else []
    while pending:
        node = pending.pop()
        if node.is_error and node.child_count > _MOST_UNREADABLE:
            return True
        pending += [child for child in node.children if child.has_error]
    return False


def _captured(
    tree: Tree, query: Query, source: bytes
) -> tuple[list[_Capture], list[tuple[int, int]]]:
    """The definitions, outer ones first, and what may belong to the next one, in order."""
    nodes = []
    leads = []
    parents: dict[int, str] = {}
    cursor = QueryCursor(query)
    cursor.set_max_start_depth(_DEEPEST_NODE)
    for _, captures in cursor.matches(tree.root_node):
        if "lead" in captures:
            leads += captures["lead"]
        elif "extends" in captures:
            name_start = captures["name"][0].start_byte
            parent = _text(source, captures["extends"]).partition("<")[0]
            parents.setdefault(name_start, _qualified(parent))
        else:
            nodes.append(captures)
    offsets = {offset for lead in leads for offset in lead.byte_range}
    for captures in nodes:
        offsets.update(
            offset for group in captures.values() for node in group for offset in node.byte_range
        )
    position = _positions(source, offsets)
    found = []
    for captures in nodes:
        outer = (captures.get("class") or captures["function"])[0]
        name = captures["name"][0]
        text = _text(source, captures["name"])
        owner = _text(source, captures.get("owner", []))
        if "class" not in captures and not owner:  # Class::method, outside of its class
            owner, _, text = text.rpartition("::")
        if _qualified(text):
            found.append(
                _Capture(
                    position[outer.start_byte],
                    position[outer.end_byte],
                    "class" in captures,
                    _qualified(text),
                    position[name.start_byte],
                    _qualified(owner) or None,
                    parents.get(name.start_byte),
                )
            )
    found.sort(key=lambda each: (each.start, -each.end, not each.is_class))
    lead_spans = [(position[lead.start_byte], position[lead.end_byte]) for lead in leads]
    return found, sorted(lead_spans)


def _positions(source: bytes, offsets: Iterable[int]) -> dict[int, int]:
    """The character at each of some byte offsets."""
    if source.isascii():
        return {offset: offset for offset in offsets}
    positions = {}
    known = count = 0
    for offset in sorted(offsets):
        count += len(source[known:offset].decode(errors="ignore"))
        positions[offset] = count
        known = offset
    return positions


def _text(source: bytes, nodes: list[Node]) -> str:
    """The text of the first node on one line, without arguments of templates in a scope."""
    text = source[nodes[0].start_byte : nodes[0].end_byte].decode(errors="ignore") if nodes else ""
    if nodes and nodes[0].type == "string":  # a key of an object
        text = text[1:-1]
    return " ".join(_TEMPLATE_ARGUMENTS.sub("", text).split())


def _qualified(name: str) -> str:
    """A name with dots between its parts."""
    return name.replace("::", ".").replace("\\", ".").strip(". ")[:_LONGEST_NAME]


def _align(text: str, owner: _Definition, lines: Lines, leads: list[tuple[int, int]]) -> None:
    """Let members take in what precedes them and the rest of their lines, disjoint and in order."""
    position = owner.start
    limits = [*(member.start for member in owner.members), owner.end][1:]
    for member, limit in zip(owner.members, limits, strict=True):
        member.start = max(position, _with_leads(text, member.start, lines, leads))
        member.end = max(member.start, min(member.end, owner.end))
        if member.end > member.start:
            member.end = max(member.end, min(lines.end(member.end - 1, len(text)), limit))
        position = member.end
        _align(text, member, lines, leads)


def _with_leads(text: str, start: int, lines: Lines, leads: list[tuple[int, int]]) -> int:
    """Where the comments directly above a definition begin, or else its line."""
    line = lines.start(start)
    start = start if text[line:start].strip() else line
    for index in range(bisect_left(leads, (start, 0)) - 1, -1, -1):
        lead_start, lead_end = leads[index]
        line = lines.start(lead_start)
        between = text[lead_end:start]
        if text[line:lead_start].strip() or between.strip() or _BLANK_LINE.search(between):
            break
        start = line
    return start


def _pieces(text: str, owner: _Definition, small_class: int) -> Iterator[tuple[Piece, _Place]]:
    """A module or a large class in pieces that follow each other without gaps."""
    context = f"{owner.kind}-context"
    position = owner.start
    place = _Place.HEAD

    def between(end: int) -> tuple[Piece, _Place]:
        said = sum(map(str.isalnum, text[position:end]))
        if owner.kind == "class" and position == owner.start:  # the members say this as well
            said -= len(owner.name) + len(owner.extends or "")
        is_fragment = said < _FRAGMENT_LETTERS and owner.members
        return owner.piece(position, end, context), place if is_fragment else _Place.OWN

    for member in owner.members:
        yield between(member.start)
        if member.members and member.end - member.start > small_class:
            yield from _pieces(text, member, small_class)
        else:
            yield member.piece(member.start, member.end, member.kind), _Place.OWN
        position = member.end
        place = _Place.TAIL
    yield between(owner.end)


def _joined(pieces: Iterable[tuple[Piece, _Place]]) -> Iterator[Piece]:
    """The pieces, fragments joined to their neighbours."""
    last: Piece | None = None
    head: int | None = None
    for piece, place in pieces:
        if place is _Place.HEAD:
            head = piece.start if head is None else head
        elif place is _Place.TAIL and last is not None:
            last = evolve(last, end=piece.end)
        else:
            if last is not None:
                yield last
            last = piece if head is None else evolve(piece, start=head)
            head = None
    if last is not None:
        yield last
