"""Trees of valid modules, also where tree-sitter's grammar of JavaScript is behind the standard.

What the grammar takes otherwise than ECMA-262 has it is written so that both agree, byte for byte
as long as before, and parsed again. Offsets therefore count the text as it was. The rules rest on
the text being valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

LANGUAGE: Final = Language(tree_sitter_javascript.language())

_GAP: Final = r"(?:\s|//[^\n]*\n|/\*(?:[^*]|\*(?!/))*+\*/)"
_LONE_CARRIAGE_RETURN: Final = re.compile(rb"\r(?!\n)")

# Words that the grammar cuts off from what follows behind a line break. Each begins with a literal,
# the fast way through a text. A generator behind "get" or "set" does not belong to it; a second
# "static" is the name of a member.
_CUT_OFF: Final = [
    re.compile(pattern.encode())
    for pattern in (
        rf"let({_GAP}++)",
        rf"get({_GAP}++)(?!\*)",
        rf"set({_GAP}++)(?!\*)",
        rf"static({_GAP}++)(?:static\b)?",
    )
]

# An arrow function with a body ends a statement at a line break, whatever follows.
_BODY_THAT_COULD_GO_ON: Final = re.compile(
    rf"\}}(?:[^\S\n]|//[^\n]*|/\*(?:[^*\n]|\*(?!/))*+\*/)*+\n{_GAP}*+(?:[(\[`+-]|/(?![/*]))".encode()
)
_LEFT_PLACES: Final = {
    "call_expression": "function",
    "binary_expression": "left",
    "subscript_expression": "object",
}
"""The field that what stands on the left has in an expression."""

_ERRORS: Final = Query(LANGUAGE, "(ERROR) @x")

# As a name "using" has no name behind it on its line, or a word that joins expressions. The pattern
# begins with a literal as well.
_USING_AS_NAME: Final = re.compile(
    rb"using(?<=\busing)(?=[^\S\n]*+(?:[^\w$\\\s\x80-\xff]|\n|\Z|(?:in|of|as|instanceof)\b))"
)
_CLAUSE: Final = re.compile(
    rf"\b(?:import|export){_GAP}*+(?:[\w$]++{_GAP}*+,{_GAP}*+)?+"
    rf"(?:\{{[^{{}}]*+\}}|\*{_GAP}*+as{_GAP}++[\w$]++)".encode()
)
_KEYWORD: Final = re.compile(
    rb"\b(?:break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|export|"
    rb"extends|false|finally|for|function|if|import|in|instanceof|new|null|return|super|switch|"
    rb"this|throw|true|try|typeof|var|void|while|with|yield)\b"
)
_EXPORT_ATTRIBUTES: Final = re.compile(
    rf"\bexport{_GAP}*+(?:\*(?:{_GAP}*+as{_GAP}++[\w$]++)?+|\{{[^{{}}]*+\}}){_GAP}*+from{_GAP}*+"
    rf"(?:'[^'\n]*+'|\"[^\"\n]*+\"){_GAP}*+(with{_GAP}*+\{{[^{{}}]*+\}})".encode()
)
_TARGET_IN_PARENTHESES: Final = re.compile(rb"(?<=[\[,:.])\s*(\()[^()]*(\))")
_MALFORMED_ESCAPE: Final = re.compile(
    rb"\\(?:(?P<sign>(?!u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]+\}|x[0-9a-fA-F]{2})[ux])|.)", re.DOTALL
)
_REST_OF_LINE: Final = re.compile(rb"(?:[^\S\n]|//[^\n]*|/\*[^\n]*?\*/)*+(\n)")


def tree_of(source: bytes) -> Tree:
    """The tree of a valid module.

    It may have errors all the same, where the grammar has a gap that is not known here.

    Args:
        source: The module in UTF-8, without NUL, which ends a text for the grammar.
    """
    written = bytearray(_LONE_CARRIAGE_RETURN.sub(b"\n", source))
    for match in _USING_AS_NAME.finditer(source):
        written[match.start()] = ord("U")
    tree = _parse(written)
    before = bytes(written)
    _join_what_is_cut_off(written, tree)
    _end_arrows(written, tree)
    if tree.root_node.has_error:
        _close_gaps(written, tree)
    return tree if written == before else _parse(written)


def export_attributes(root: Node, source: bytes) -> Iterator[int]:
    """Where a module exports from another with attributes, which its tree does not show."""
    for match in _EXPORT_ATTRIBUTES.finditer(source):
        word = root.descendant_for_byte_range(match.start(), match.start() + len("export"))
        if word is not None and word.type == "export":
            yield match.start(1)


def _parse(source: bytearray) -> Tree:
    return Parser(LANGUAGE).parse(bytes(source))


def _join_what_is_cut_off(written: bytearray, tree: Tree) -> None:
    """Blank the line break behind a ``let`` that was taken for a variable, or a word like it."""
    source = bytes(written)
    for pattern in _CUT_OFF:
        for match in pattern.finditer(source):
            if b"\n" not in match[1]:
                continue
            word = (match.start(), match.start(1))
            node = tree.root_node.descendant_for_byte_range(*word)
            if node is not None and node.byte_range == word and _is_cut_off(node, source):
                written[slice(*match.span(1))] = b" " * len(match[1])


def _is_cut_off(word: Node, source: bytes) -> bool:
    """Whether ``let`` was taken for a variable, or another word for a field of a class."""
    if source.startswith(b"let", word.start_byte):
        return word.type == "identifier"
    parent = word.parent
    is_field = parent is not None and parent.type == "field_definition"
    return is_field and word.type == "property_identifier"


def _end_arrows(written: bytearray, tree: Tree) -> None:
    for match in _BODY_THAT_COULD_GO_ON.finditer(bytes(written)):
        end = match.start() + 1
        brace = tree.root_node.descendant_for_byte_range(match.start(), end)
        if brace is not None and _goes_on(brace):
            _end_line_with_semicolon(written, end)


def _goes_on(brace: Node) -> bool:
    """Whether a brace ends an arrow function that was taken for a part of what follows."""
    body = brace.parent
    arrow = None if body is None else body.parent
    whole = None if arrow is None else arrow.parent
    if arrow is None or whole is None or arrow.type != "arrow_function" or brace.type != "}":
        return False
    place = _LEFT_PLACES.get(whole.type)
    return place is not None and whole.child_by_field_name(place) == arrow


def _end_line_with_semicolon(written: bytearray, end: int) -> None:
    if match := _REST_OF_LINE.match(written, end):
        written[match.start(1)] = ord(";")


def _close_gaps(written: bytearray, tree: Tree) -> None:
    source = bytes(written)
    for clause in _CLAUSE.finditer(source):
        for word in _KEYWORD.finditer(source, clause.start() + len("import"), clause.end()):
            written[word.start()] = ord("_")
    for match in _EXPORT_ATTRIBUTES.finditer(source):
        written[slice(*match.span(1))] = b" " * len(match[1])
    for match in _MALFORMED_ESCAPE.finditer(source):
        if match["sign"]:
            written[match.start()] = ord("_")
    for error in _outermost_errors(tree):
        for match in _TARGET_IN_PARENTHESES.finditer(source, *error.byte_range):
            written[match.start(1)] = written[match.start(2)] = ord(" ")
        if error.parent is not None and error.parent.type == "class_body":
            _end_line_with_semicolon(written, error.end_byte)


def _outermost_errors(tree: Tree) -> Iterator[Node]:
    end = -1
    for error in QueryCursor(_ERRORS).captures(tree.root_node).get("x", []):
        if error.start_byte >= end:
            end = error.end_byte
            yield error
