"""Text as JavaScript sees it.

Chunks have to agree with those that JavaScript programs cut from the same files. Python and
ECMAScript differ in what counts as white space, in what ends a line, in the order of strings, and
in how values turn into text; every such rule that extraction needs has its one place here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tenantkb.domain.canonical import stringify

if TYPE_CHECKING:
    from pyuca import Collator

WHITE_SPACE: Final = (
    "\t\n\v\f\r \u00a0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
r"""ECMA-262 WhiteSpace and LineTerminator: what ``trim`` removes and ``\s`` matches."""

LINE_TERMINATORS: Final = "\n\r\u2028\u2029"
"""ECMA-262 LineTerminator: what ``.`` does not match, and what ``^`` and ``$`` heed with flag m."""

# Building blocks of `re` patterns. They capture nothing and need no flags.
SPACE: Final = f"[{WHITE_SPACE}]"
r"""``\s``"""
DOT: Final = f"[^{LINE_TERMINATORS}]"
"""``.`` without the flag s."""
LINE_START: Final = f"(?<![^{LINE_TERMINATORS}])"
"""``^`` with the flag m."""
LINE_END: Final = f"(?![^{LINE_TERMINATORS}])"
"""``$`` with the flag m."""


def decode(data: bytes) -> str:
    """UTF-8 as Node reads it: U+FFFD for what is malformed; a byte order mark stays."""
    return data.decode("utf-8", "replace")


def trim(text: str) -> str:
    """``String.prototype.trim``."""
    return text.strip(WHITE_SPACE)


def trim_end(text: str) -> str:
    """``String.prototype.trimEnd``."""
    return text.rstrip(WHITE_SPACE)


def split_before(pattern: re.Pattern[str], text: str) -> list[str]:
    """``text.split(/(?=pattern)/)``: cut before every match, without an empty first piece.

    Args:
        pattern: Never matches the empty string, nor across the start of another match.
        text: What to cut.
    """
    cuts = [match.start() for match in pattern.finditer(text) if match.start() > 0]
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def utf16_key(text: str) -> bytes:
    """Sort key for ``Array.prototype.sort``'s default order, by UTF-16 code units."""
    return text.encode("utf-16-be", "surrogatepass")


def locale_sorted(texts: Iterable[str]) -> list[str]:
    """Sort as ``String.prototype.localeCompare`` does under the root collation.

    Texts that collate as equal are put in the order of their bytes, as Node lists a directory.
    """
    texts = list(texts)
    if all(text.isascii() and text.isprintable() for text in texts):
        return sorted(texts, key=_ascii_collation_key)
    collate = _collator().sort_key
    return sorted(texts, key=lambda text: (collate(text), text.encode("utf-8", "surrogatepass")))


def is_truthy(value: Any) -> bool:
    """Whether a JSON value is truthy in JavaScript: empty lists and objects are."""
    return isinstance(value, list | Mapping) or (bool(value) and value == value)  # NaN is falsy


def to_string(value: Any) -> str:
    """A JSON value, or an aware UTC datetime, as a template literal renders it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return ",".join("" if item is None else to_string(item) for item in value)
    if isinstance(value, Mapping):
        return "[object Object]"
    if isinstance(value, datetime):
        return f"{value:%a %b %d} {value.year:04} {value:%H:%M:%S} GMT+0000 ({_UTC_NAME})"
    return stringify(value)


def parse_json(text: str) -> Any:
    """``JSON.parse``.

    Raises:
        ValueError: the text is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def to_json(value: Any) -> Any:
    """A JSON value, or an aware UTC datetime, as ``JSON.stringify`` is to see it.

    Dates become ISO strings, and the keys of objects that are array indices come first, in their
    numeric order, as in every JavaScript object.
    """
    if isinstance(value, datetime):
        milliseconds = value.microsecond // 1000
        return f"{value.year:04}-{value:%m-%dT%H:%M:%S}.{milliseconds:03}Z"
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        indices = sorted((key for key in value if _ARRAY_INDEX.fullmatch(key)), key=int)
        keys = [*indices, *(key for key in value if not _ARRAY_INDEX.fullmatch(key))]
        return {key: to_json(value[key]) for key in keys}
    return value


def identifier_name(text: str) -> str:
    """The name that an identifier stands for, its escapes resolved."""
    if "\\" not in text:
        return text
    return _IDENTIFIER_ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_IDENTIFIER_ESCAPE = re.compile(r"\\u(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{4}))")
_ARRAY_INDEX = re.compile("0|[1-9][0-9]{0,8}")
_UTC_NAME = "Coordinated Universal Time"
_ASCII_ORDER = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"
_ASCII_RANKS = {ord(" "): "\0"} | {ord(c): chr(rank) for rank, c in enumerate(_ASCII_ORDER, 1)}


def _ascii_collation_key(text: str) -> tuple[str, str]:
    """Root collation of printable ASCII: letters without case first, then lower case first."""
    return text.lower().translate(_ASCII_RANKS), text.swapcase()


@cache
def _collator() -> Collator:
    from pyuca import Collator  # its table takes a while to load, and few workspaces need it

    return Collator()
