"""Text as ``JSON.stringify`` writes it, and the content fingerprint made from it.

Fingerprints and row ids are SHA-256 digests of serialised objects. They have to agree with those
that the JavaScript system computed for the same content, so the serialisation follows ECMA-262,
sections 25.5.2 (JSON.stringify) and 6.1.6.1.20 (Number::toString): no white space, non-ASCII left
as it is, lone surrogates escaped, numbers in JavaScript's notation, keys in insertion order.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

FINGERPRINT_KEYS: Final = (
    "type",
    "name",
    "description",
    "content",
    "extends",
    "configType",
    "params",
    "returns",
)
"""The fields that decide a chunk's fingerprint, in the order in which they are serialised."""

_TEXT: Final = frozenset({str})
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_encode_string = json.JSONEncoder(ensure_ascii=False).encode
_encode_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def stringify(value: Any) -> str:
    """Serialise ``value`` as ``JSON.stringify`` would.

    Args:
        value: ``None``, booleans, numbers, strings, mappings with string keys, lists and tuples.

    Raises:
        TypeError: the value has no JSON form.
    """
    if isinstance(value, str):
        return _string(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value) if abs(value) <= _MAX_SAFE_INTEGER else _number(float(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        members = (f"{_string(key)}:{stringify(item)}" for key, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(stringify, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form")


def digest(values: Mapping[str, Any], keys: Iterable[str]) -> str:
    """SHA-256, in hex, of the JSON object of the named keys in this order, absent ones omitted."""
    picked = {key: values[key] for key in keys if key in values}
    # Python's own encoder writes strings as JavaScript does, and it does so in C.
    only_text = _TEXT.issuperset(map(type, picked.values()))
    text = _encode_text(picked) if only_text else stringify(picked)
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JavaScript escapes
        data = stringify(picked).encode()
    return hashlib.sha256(data).hexdigest()


def content_fingerprint(chunk: Mapping[str, Any]) -> str:
    """The fingerprint of an extracted chunk: :func:`digest` over :data:`FINGERPRINT_KEYS`.

    An empty string is present, not absent: ``"extends": ""`` takes part.
    """
    return digest(chunk, FINGERPRINT_KEYS)


_MAX_SAFE_INTEGER = 2**53 - 1


def _string(text: str) -> str:
    encoded = _encode_string(text)
    if text.isascii():
        return encoded
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def _number(value: float) -> str:
    """Number::toString for a finite double; Python's repr gives the same shortest digits."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent_text = repr(abs(value)).partition("e")
    integer, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    exponent = int(exponent_text or "0") + len(integer)
    digits = integer + fraction
    stripped = digits.lstrip("0")
    exponent -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    count = len(digits)
    if count <= exponent <= 21:
        return sign + digits + "0" * (exponent - count)
    if 0 < exponent <= 21:
        return f"{sign}{digits[:exponent]}.{digits[exponent:]}"
    if -6 < exponent <= 0:
        return f"{sign}0.{'0' * -exponent}{digits}"
    power = exponent - 1
    notation = f"e{'+' if power > 0 else '-'}{abs(power)}"
    point = f"{digits[0]}.{digits[1:]}" if count > 1 else digits
    return sign + point + notation
