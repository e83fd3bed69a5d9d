"""ECMAScript modules: a strict syntax tree, exact text, line numbers and literal values.

Whether a text is a module is the verdict of :mod:`adapters.parsers.validity`; its tree is that of
:mod:`adapters.parsers.grammar_gaps`. Text is cut out of the UTF-8 bytes that the tree's offsets
count, so no arithmetic on code points or UTF-16 units is needed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final
from typing import Literal as OneOf

from attrs import frozen
from tree_sitter import Node

from tenantkb.adapters.parsers.editions import newer_than_2022
from tenantkb.adapters.parsers.grammar_gaps import tree_of
from tenantkb.adapters.parsers.js_text import identifier_name, to_string
from tenantkb.adapters.parsers.validity import require_module
from tenantkb.domain.errors import UnparsableFileError

Edition = OneOf["2022", "latest"]
"""An edition of ECMAScript; ``latest`` has import attributes and ``using``, for example."""

_NUL_STAND_IN: Final = "\x01"
"""Valid and invalid where NUL is, which parsers in C take for the end of a text."""

_LINE_TERMINATOR = re.compile(b"\r\n?|\n|\xe2\x80[\xa8\xa9]")
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
        judged = self._source.decode().replace("\0", _NUL_STAND_IN)
        require_module(judged)
        self._tree = tree_of(judged.encode())
        self.root = self._tree.root_node
        self._line_starts = _line_starts(self._source)
        newer = newer_than_2022(self.root, self._source) if edition == "2022" else None
        if newer is not None:
            offset, what = newer
            raise UnparsableFileError(
                f"line {self.line(offset)}: {what}: newer than ECMAScript 2022"
            )

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

    def field_end(self, node: Node) -> int:
        """The offset behind a class field, the semicolon that closes it included.

        The tree makes that semicolon a sibling of the field, ECMAScript a part of it.
        """
        sibling = node.next_sibling
        while sibling is not None and sibling.type == "comment":
            sibling = sibling.next_sibling
        is_closed = sibling is not None and self.text(sibling) == ";"  # not a line break's
        return sibling.end_byte if sibling is not None and is_closed else node.end_byte

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
