"""ECMAScript modules: a strict syntax tree, exact text, line numbers and literal values.

The tree is tree-sitter's, which recovers from errors; :class:`Module` makes a strict parser of it
with the help of :mod:`adapters.parsers.early_errors`. Text is cut out of the UTF-8 bytes that the
tree's offsets count, so no arithmetic on code points or UTF-16 units is needed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import tree_sitter_javascript
from attrs import frozen
from tree_sitter import Language, Node, Parser, Tree

from tenantkb.adapters.parsers.early_errors import EarlyErrors, Edition, identifier_name
from tenantkb.adapters.parsers.js_text import to_string
from tenantkb.domain.errors import UnparsableFileError

_LANGUAGE: Final = Language(tree_sitter_javascript.language())
_EARLY_ERRORS: Final = EarlyErrors(_LANGUAGE)

_LINE_TERMINATOR = re.compile(b"\r\n?|\n|\xe2\x80[\xa8\xa9]")
_GAP = r"((?:\s+|//[^\r\n]*|/\*(?:[^*]|\*(?!/))*\*/)++)"
# Words that the grammar cuts off from what follows behind a line break. Each begins with a literal,
# the fast way through a text. A generator behind "get" or "set" does not belong to it; a second
# "static" is the name of a member.
_CUT_OFF: Final = [
    re.compile(pattern.encode())
    for pattern in (
        rf"let{_GAP}",
        rf"get{_GAP}(?!\*)",
        rf"set{_GAP}(?!\*)",
        rf"static{_GAP}(?:static\b)?",
    )
]
_ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL
)
_SINGLE_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_LINE_CONTINUATIONS = {"\r\n", "\n", "\r", "\u2028", "\u2029"}
_COMMENTS = {"comment", "html_comment"}
_NAMED = {
    "identifier",
    "private_property_identifier",
    "property_identifier",
    "shorthand_property_identifier",
    "undefined",
}


@frozen
class Literal:
    """What a literal expression stands for.

    Attributes:
        value: A string (which may hold lone surrogates), number, boolean, or ``None`` for ``null``.
            A regular expression and a BigInt have no JSON form: theirs is :data:`NO_JSON`.
        text: The value converted to a string, as in a template.
    """

    value: object
    text: str


NO_JSON: Final = object()


class Module:
    """One module that is valid by the rules of the standard.

    Args:
        content: The decoded text.
        edition: The ECMAScript edition whose syntax is accepted.

    Attributes:
        root: The ``program`` node.

    Raises:
        UnparsableFileError: the text is no valid module of that edition; names the line.
    """

    def __init__(self, content: str, edition: Edition) -> None:
        self._source = content.encode("utf-8", "replace")
        self._tree = _parse(self._source)
        self.root = self._tree.root_node
        self._line_starts = _line_starts(self._source)
        error = _EARLY_ERRORS.first(self.root, self._source, edition)
        if error is not None:
            raise UnparsableFileError(f"line {self.line(error.offset)}: {error.reason}")

    @property
    def line_count(self) -> int:
        """The number of lines: one more than there are line terminators."""
        return len(self._line_starts) + 1

    def line(self, offset: int) -> int:
        """The line, from 1, of a byte offset. U+2028 and U+2029 end lines, too."""
        return bisect_right(self._line_starts, offset) + 1

    def slice(self, start: int, end: int) -> str:
        """The text between two byte offsets."""
        return self._source[start:end].decode()

    def text(self, node: Node) -> str:
        """The exact text of a node."""
        return self.slice(node.start_byte, node.end_byte)

    def name(self, node: Node | None) -> str | None:
        """The name of an identifier, escapes resolved and without ``#``; ``None`` for others.

        A computed key that consists of one identifier gives that identifier's name.
        """
        node = unwrap(node)
        if node is None:
            return None
        if node.type == "computed_property_name":
            return self.name(next(children(node)))
        return identifier_name(self.text(node)).removeprefix("#") if node.type in _NAMED else None

    def literal(self, node: Node | None) -> Literal | None:
        """The value of a literal; ``None`` for others, to which templates and ``-1`` belong."""
        node = unwrap(node)
        if node is None:
            return None
        text = self.text(node)
        match node.type:
            case "string":
                return _literal(_string_value(text[1:-1]))
            case "number" if text.endswith("n"):
                return Literal(NO_JSON, str(int(text[:-1].replace("_", ""), 0)))
            case "number":
                return _literal(_number_value(text.replace("_", "")))
            case "true" | "false":
                return _literal(node.type == "true")
            case "null":
                return _literal(None)
            case "regex":
                pattern, _, flags = text.rpartition("/")
                return Literal(NO_JSON, f"{pattern}/{''.join(sorted(flags))}")
            case _:
                return None


def _parse(source: bytes) -> Tree:
    """The tree of a module.

    The grammar ends a statement behind a ``let`` that a line break follows, as in old scripts where
    ``let`` was a name, and a class field behind such a ``static``, ``get`` or ``set``. Where that
    happened the line break is blanked out and the text parsed again; offsets do not change, and
    the tree's own line numbers are not used.
    """
    tree = Parser(_LANGUAGE).parse(source)
    blanked = bytearray(source)
    for pattern in _CUT_OFF:
        for match in pattern.finditer(source):
            if b"\n" not in match[1] and b"\r" not in match[1]:
                continue
            word = (match.start(), match.start(1))
            node = tree.root_node.descendant_for_byte_range(*word)
            if node is not None and node.byte_range == word and _is_cut_off(node, source):
                blanked[slice(*match.span(1))] = b" " * len(match[1])
    return tree if blanked == source else Parser(_LANGUAGE).parse(bytes(blanked))


def _is_cut_off(word: Node, source: bytes) -> bool:
    """Whether ``let`` was taken for a variable, or another word for a field of a class."""
    if source.startswith(b"let", word.start_byte):
        return word.type == "identifier"
    parent = word.parent
    is_field = parent is not None and parent.type == "field_definition"
    return is_field and word.type == "property_identifier"


def _line_starts(source: bytes) -> list[int]:
    """The offsets behind the line terminators."""
    if b"\xe2\x80\xa8" in source or b"\xe2\x80\xa9" in source:
        return [match.end() for match in _LINE_TERMINATOR.finditer(source)]
    ends = list(accumulate(map(len, source.splitlines(keepends=True))))
    return ends if source.endswith((b"\n", b"\r")) else ends[:-1]


def children(node: Node) -> Iterator[Node]:
    """The named children of a node, comments left out."""
    return (child for child in node.named_children if child.type not in _COMMENTS)


def unwrap(node: Node | None) -> Node | None:
    """The expression inside any number of parentheses."""
    while node is not None and node.type == "parenthesized_expression":
        node = next(children(node), None)
    return node


def end_with_semicolon(node: Node) -> int:
    """The offset behind a class field, the semicolon that closes it included.

    The tree makes that semicolon a sibling of the field, ECMAScript a part of it.
    """
    sibling = node.next_sibling
    while sibling is not None and sibling.type == "comment":
        sibling = sibling.next_sibling
    return sibling.end_byte if sibling is not None and sibling.type == ";" else node.end_byte


def statement_end(node: Node) -> int:
    """The offset behind a statement, without the comments that the tree leaves at its end."""
    return next(child for child in reversed(node.children) if child.type not in _COMMENTS).end_byte


def _literal(value: str | float | bool | None) -> Literal:
    return Literal(value, to_string(value))


def _string_value(raw: str) -> str:
    """What the text between the quotes stands for; two escaped surrogates make one character."""
    if "\\" not in raw:
        return raw
    units = _ESCAPE.sub(_unescape, raw).encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "surrogatepass")


def _unescape(match: re.Match[str]) -> str:
    if code := match[1] or match[2] or match[3]:
        return chr(int(code, 16))
    if match[4] in _LINE_CONTINUATIONS:
        return ""
    return _SINGLE_ESCAPES.get(match[4], match[4])


def _number_value(digits: str) -> float:
    if digits[:2].lower() in {"0x", "0o", "0b"}:
        return float(int(digits, 0))
    return float(digits)
