"""Front matter of Markdown files: the rules of gray-matter 4, the values of js-yaml 3."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml
from yaml.composer import Composer
from yaml.events import AliasEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from tenantkb.adapters.parsers.js_text import LINE_START, SPACE, parse_json, to_string, trim

_DELIMITER = "---"
_COMMENT = re.compile(rf"{LINE_START}{SPACE}*#[^\n]+")
_LINE_BREAK = re.compile("\r?\n")
_MAX_ALIASES: Final = 50
"""Aliases can stand for aliases: without a limit, a page of YAML unfolds to gigabytes."""


class FrontMatterError(ValueError):
    """The front matter of a file cannot be read; the message says why, in one line."""


def split_front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    """Part a file into its front matter and its body.

    YAML and JSON are read; a language whose front matter is a program is refused.

    Returns:
        The values of the front matter, empty where it is no mapping, and the text after it. Dates
        are aware UTC datetimes.

    Raises:
        FrontMatterError: the front matter is malformed, or in another language.
    """
    text = text.removeprefix("\ufeff")
    if not text.startswith(_DELIMITER) or text.startswith("-", len(_DELIMITER)):
        return {}, text
    text = text.removeprefix(_DELIMITER)
    line_break = _LINE_BREAK.search(text)
    language = text[: line_break.start()] if line_break else text[:-1]
    if trim(language):
        text = text.removeprefix(language)
    block, closed, body = text.partition("\n" + _DELIMITER)
    if closed:
        body = body.removeprefix("\r").removeprefix("\n")
    if not trim(_COMMENT.sub("", block)):
        return {}, body
    data = _parse(trim(language), block)
    return data if isinstance(data, Mapping) else {}, body


def _parse(language: str, block: str) -> Any:
    try:
        if language.lower() in ("", "yaml", "yml"):
            return _load_yaml(block)
        if language == "json":
            return parse_json(block)
    except FrontMatterError:
        raise
    except yaml.MarkedYAMLError as error:
        raise FrontMatterError(f"front matter: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise FrontMatterError(f"front matter: {reason}") from error
    raise FrontMatterError(f"front matter in {language!r}: only YAML and JSON are read")


def _load_yaml(block: str) -> Any:
    """The value of one YAML document.

    The scanner follows YAML 1.1 and ends lines at three characters that are text in YAML 1.2, so
    these are replaced for its eyes by characters that the block does not contain.
    """
    breaks = [character for character in "\x85\u2028\u2029" if character in block]
    unused = (c for c in map(chr, range(0xE000, 0xF900)) if c not in block)
    restored = dict(zip(unused, breaks, strict=False))
    for stand_in, character in restored.items():
        block = block.replace(character, stand_in)
    composer = _Composer(block if block.endswith(("\n", "\r")) else f"{block}\n")
    node = composer.get_single_node()
    return None if node is None else _Builder(restored).build(node)


class _Composer(Reader, Scanner, Parser, Composer, BaseResolver):
    """Parses YAML to nodes; a plain scalar without a tag gets the tag :data:`_PLAIN`."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._aliases = 0

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0]:
            return _PLAIN
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # types-PyYAML

    def scan_to_next_token(self) -> None:
        """Tabs separate tokens in YAML 1.2; only the indentation has to be made of spaces."""
        super().scan_to_next_token()
        while self.column and self.peek() == "\t":
            self.forward()
            super().scan_to_next_token()

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> Any:
        """Tabs may occur within a plain scalar as well."""
        length = 0
        while self.peek(length) in " \t":
            length += 1
        space = self.prefix(length)
        if "\t" not in space:
            return super().scan_plain_spaces(indent, start_mark)
        self.forward(length)
        return super().scan_plain_spaces(indent, start_mark) or [space]

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML
        if isinstance(event, ScalarEvent) and event.tag == "!":
            event.tag = "tag:yaml.org,2002:str"
        if isinstance(event, AliasEvent):
            self._aliases += 1
            if self._aliases > _MAX_ALIASES:
                raise FrontMatterError("front matter: too many aliases")
        return super().compose_node(parent, index)


class _Builder:
    """Makes values from nodes with js-yaml's default safe schema."""

    def __init__(self, restored: Mapping[str, str]) -> None:
        self._restored = str.maketrans(dict(restored))
        self._built: dict[Node, Any] = {}

    def build(self, node: Node) -> Any:
        if node not in self._built:
            self._built[node] = self._construct(node)
        return self._built[node]

    def _construct(self, node: Node) -> Any:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, ScalarNode):
            return self._scalar(tag, node.value.translate(self._restored))
        if isinstance(node, SequenceNode) and tag in ("seq", "omap", "pairs"):
            items = [self.build(item) for item in node.value]
            return [list(*item.items()) for item in items] if tag == "pairs" else items
        if isinstance(node, MappingNode) and tag in ("map", "set"):
            return self._mapping(node)
        raise FrontMatterError(f"front matter: unknown tag {node.tag}")

    def _scalar(self, tag: str, text: str) -> Any:
        if tag == "str":
            return text
        if tag == _PLAIN and not text:
            return None
        for name, pattern, construct in _SCALARS:
            if tag in (name, _PLAIN) and pattern.fullmatch(text):
                return construct(text)
        if tag == _PLAIN:
            return text
        raise FrontMatterError(f"front matter: {text!r} is no {tag}")

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            value = self.build(value_node)
            if key_node.tag == _PLAIN and key_node.value == "<<":
                for mapping in value if isinstance(value, list) else [value]:
                    if not isinstance(mapping, Mapping):
                        raise FrontMatterError("front matter: only mappings can be merged")
                    merged = {**mapping, **merged}
                continue
            key = to_string(self.build(key_node))
            if key in own:
                raise FrontMatterError(f"front matter: the key {key!r} occurs twice")
            own[key] = value
        return {**merged, **own}


def _integer(text: str) -> float:
    sign, digits = _signed(text)
    if digits == "0":
        return 0
    base = {"0b": 2, "0x": 16}.get(digits[:2], 8 if digits.startswith("0") else 10)
    if ":" in digits:
        return sign * _sexagesimal(digits)
    return sign * int(digits, base)


def _float(text: str) -> float:
    sign, digits = _signed(text.lower())
    if digits in (".inf", ".nan"):
        return sign * float(digits[1:])
    return sign * (_sexagesimal(digits) if ":" in digits else float(digits))


def _signed(text: str) -> tuple[int, str]:
    return -1 if text.startswith("-") else 1, text.replace("_", "").lstrip("+-")


def _sexagesimal(digits: str) -> float:
    value = 0.0
    for part in digits.split(":"):
        value = value * 60 + float(part)
    return int(value) if value.is_integer() else value


def _timestamp(text: str) -> datetime:
    """An instant; months and days beyond the calendar run on, as in ``Date.UTC``."""
    match = _TIMESTAMP.fullmatch(f"{text}T00:00:00" if _DATE.fullmatch(text) else text)
    if match is None:
        raise FrontMatterError(f"front matter: {text!r} is no timestamp")
    year, month, day, hour, minute, second = (
        int(group or 0) for group in match.group(*range(1, 7))
    )
    year += 1900 if year < 100 else 0
    fraction = int((match["fraction"] or "")[:3].ljust(3, "0"))
    offset = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    years, month_index = divmod(month - 1, 12)
    return (
        datetime(year + years, month_index + 1, 1, tzinfo=UTC)
        + timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second, milliseconds=fraction)
        - (-offset if match["sign"] == "-" else offset)
    )


_PLAIN: Final = "?"
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9][0-9]?)-([0-9][0-9]?)(?:[Tt]|[ \t]+)"
    r"([0-9][0-9]?):([0-9][0-9]):([0-9][0-9])(?:\.(?P<fraction>[0-9]*))?"
    r"(?:[ \t]*(?:Z|(?P<sign>[-+])(?P<hours>[0-9][0-9]?)(?::(?P<minutes>[0-9][0-9]))?))?"
)
_SCALARS: Final[tuple[tuple[str, re.Pattern[str], Callable[[str], Any]], ...]] = (
    ("null", re.compile("~|null|Null|NULL"), lambda _: None),
    ("bool", re.compile("true|True|TRUE"), lambda _: True),
    ("bool", re.compile("false|False|FALSE"), lambda _: False),
    (
        "int",
        re.compile(
            "[-+]?(?:0|0b[01_]*[01]|0x[0-9a-fA-F_]*[0-9a-fA-F]|0[0-7_]*[0-7]"
            "|[1-9](?:[0-9_]*[0-9])?|[1-9][0-9_]*(?::[0-5]?[0-9])+)"
        ),
        _integer,
    ),
    (
        "float",
        re.compile(
            r"(?:[-+]?(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
            r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))(?<!_)"
        ),
        _float,
    ),
    ("timestamp", re.compile(f"{_DATE.pattern}|{_TIMESTAMP.pattern}"), _timestamp),
)
