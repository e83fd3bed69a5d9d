"""Records that clients submit: what cannot be read, what is wrong, and how to show either."""

from __future__ import annotations

import reprlib
from typing import Final

from attrs import frozen

_LENGTH: Final = 200
_TAIL: Final = 80


@frozen
class Unreadable:
    """Stands for a record that could not be read, so that those after it are still judged.

    Attributes:
        reason: What was expected, for a person.
    """

    reason: str


@frozen
class RecordProblem:
    """Why a record is refused.

    Attributes:
        line: Number of the record in its submission, from 1; in a file, of the line.
        pointer: The place in the record, as a JSON Pointer (RFC 6901); ``""`` is all of it.
        reason: What was expected, for a person. Printable ASCII where it shows submitted values.
    """

    line: int
    pointer: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}{self.pointer and ' ' + self.pointer}: {self.reason}"


def pointer(*tokens: str | int) -> str:
    """A JSON Pointer (RFC 6901); a name that a client made up is shortened and made printable."""
    names = (shown(str(token))[1:-1] for token in tokens)
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def _shortener() -> reprlib.Repr:
    shortener = reprlib.Repr()
    shortener.maxlevel = 3
    shortener.maxstring = shortener.maxlong = shortener.maxother = 80
    return shortener


_SHORTENER: Final = _shortener()


def shown(value: object) -> str:
    """Any value as short printable text, see :func:`printable`."""
    return printable(_SHORTENER.repr(value))


def printable(text: str) -> str:
    """``text`` as at most 200 printable ASCII characters, for messages and logs.

    What a client sends can neither begin a line of its own nor steer a terminal there, and a
    look-alike letter shows as the code point that it is.
    """
    ends = text if len(text) <= _LENGTH else text[:_LENGTH] + text[-_LENGTH:]
    escaped = "".join(
        character if " " <= character <= "~" else ascii(character)[1:-1] for character in ends
    )
    if len(escaped) <= _LENGTH:
        return escaped
    return f"{escaped[: _LENGTH - _TAIL - 3]}...{escaped[-_TAIL:]}"
