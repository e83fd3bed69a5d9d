"""Patterns as in ``.gitignore``, read and matched byte by byte as git does (gitignore(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from attrs import frozen

_SPECIAL: Final = re.compile(rb"[*?\[\\]")
_ALL: Final = frozenset(range(256))
_IN_SEGMENT: Final = _ALL - {ord("/")}
_CLASSES: Final = {
    name: frozenset(byte for byte in range(128) if re.match(pattern, chr(byte)))
    for name, pattern in {
        b"alnum": "[0-9A-Za-z]",
        b"alpha": "[A-Za-z]",
        b"blank": "[ \t]",
        b"cntrl": r"[\x00-\x1f\x7f]",
        b"digit": "[0-9]",
        b"graph": "[!-~]",
        b"lower": "[a-z]",
        b"print": "[ -~]",
        b"punct": r"[!-/:-@\[-`{-~]",
        b"space": r"[ \t\n\v\f\r]",
        b"upper": "[A-Z]",
        b"xdigit": "[0-9A-Fa-f]",
    }.items()
}


@frozen
class _Token:
    """One step of a pattern.

    Attributes:
        bytes: What it stands for.
        repeats: Whether it stands for any number of them.
        jumps: How many tokens on a match may go without a byte of text.
    """

    bytes: frozenset[int]
    repeats: bool = False
    jumps: tuple[int, ...] = ()


_NEVER: Final = _Token(frozenset())
_ANY: Final = _Token(_ALL, repeats=True, jumps=(1,))


@frozen
class Pattern:
    """One line of a ``.gitignore``.

    Attributes:
        negated: Whether it takes in again what an earlier line leaves out.
        folders_only: Whether it is about folders alone.
        is_name: Whether it is about a name at any depth, and not about a path.
        literal: What it begins with, up to its first special character.
        suffix: What follows its only special character, a ``*`` at the beginning.
        glob: What follows ``literal``, if anything does.
    """

    negated: bool
    folders_only: bool
    is_name: bool
    literal: bytes
    suffix: bytes | None
    glob: tuple[_Token, ...] | None

    @classmethod
    def of(cls, line: bytes) -> Pattern:
        """The pattern in a line that is not blank and no comment."""
        negated, line = line.startswith(b"!"), line.removeprefix(b"!")
        folders_only, line = line.endswith(b"/"), line.removesuffix(b"/")
        is_name = b"/" not in line
        line = line.removeprefix(b"/")
        special = _SPECIAL.search(line)
        start = special.start() if special else len(line)
        suffix = line[1:] if is_name and line.startswith(b"*") else None
        if suffix is not None and _SPECIAL.search(suffix):
            suffix = None
        return cls(
            negated,
            folders_only,
            is_name,
            line[:start],
            suffix,
            tuple(_tokens(line[start:], is_name=is_name)) if special else None,
        )

    def matches(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether it is about a path, relative to the folder of the file that holds the line."""
        if self.folders_only and not is_folder:
            return False
        if self.is_name:
            path = path.rpartition(b"/")[2]
        if self.glob is None:
            return path == self.literal
        if self.suffix is not None:
            return path.endswith(self.suffix)
        return path.startswith(self.literal) and _match(self.glob, path[len(self.literal) :])


class Patterns:
    """The lines of one file.

    Args:
        lines: The lines, without their ends.
        fold: Whether ASCII letters count in either case, as with ``core.ignoreCase``.
    """

    def __init__(self, lines: Iterable[bytes], *, fold: bool = False) -> None:
        self._fold = fold
        self._patterns = [
            (number, Pattern.of(line.lower() if fold else line))
            for number, line in enumerate(lines)
            if line and not line.startswith(b"#")
        ]

    @classmethod
    def read(cls, data: bytes, *, fold: bool = False) -> Patterns:
        r"""The patterns of a file: a byte order mark is none of it; ``\n``, ``\r\n`` end a line."""
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        ended = (line.removesuffix(b"\r").partition(b"\0")[0] for line in lines)
        return cls(map(_without_blanks, ended), fold=fold)

    def decide(self, path: bytes, *, is_folder: bool) -> tuple[int, bool] | None:
        """Number and verdict, whether to leave it out, of the last line about a path, if any."""
        if self._fold:
            path = path.lower()
        for number, pattern in reversed(self._patterns):
            if pattern.matches(path, is_folder=is_folder):
                return number, not pattern.negated
        return None


def _without_blanks(line: bytes) -> bytes:
    """A line without the spaces that it ends with, unless a back-slash quotes them."""
    kept = at = 0
    while at < len(line):
        quoted = line[at : at + 1] == b"\\"
        kept = kept if line[at : at + 1] == b" " else at + 1 + quoted
        at += 1 + quoted
    return line[:kept]


@cache
def _tokens(glob: bytes, *, is_name: bool) -> list[_Token]:
    """What a pattern's text stands for; ``**`` between slashes stands for several segments."""
    found: list[_Token] = []
    at = 0
    while at < len(glob):
        byte = glob[at : at + 1]
        if byte == b"*":
            end = at
            while glob[end : end + 1] == b"*":
                end += 1
            alone = not is_name and end - at > 1 and glob[at - 1 : at] in (b"", b"/")
            following = glob[end:]
            if alone and following.startswith(b"/"):
                found += [_Token(frozenset(), jumps=(1, 3)), _ANY, _Token(frozenset(b"/"))]
                end += 1
            elif alone and (not following or following.startswith(b"\\/")):
                found.append(_ANY)
            else:
                found.append(_Token(_IN_SEGMENT, repeats=True, jumps=(1,)))
            at = end
        elif byte == b"?":
            found.append(_Token(_IN_SEGMENT))
            at += 1
        elif byte == b"[":
            members, at = _bracket(glob, at + 1)
            found.append(_NEVER if members is None else _Token(members & _IN_SEGMENT))
        elif byte == b"\\":
            found.append(_Token(frozenset(glob[at + 1 : at + 2])))
            at += 2
        else:
            found.append(_Token(frozenset(byte)))
            at += 1
    return found


def _bracket(glob: bytes, at: int) -> tuple[frozenset[int] | None, int]:
    """The bytes that ``[…]`` stands for, ``None`` where it does not end, and the place behind."""
    negated = glob[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    first, before = True, None
    while first or glob[at : at + 1] != b"]":
        first = False
        if at >= len(glob):
            return None, len(glob)
        if glob.startswith(b"[:", at) and (end := glob.find(b"]", at + 2)) >= 0:
            if glob[end - 1 : end] == b":" and end - 1 >= at + 2:
                named = _CLASSES.get(glob[at + 2 : end - 1])
                if named is None:
                    return None, len(glob)
                members |= named
                at, before = end + 1, None
                continue
        elif glob.startswith(b"[:", at):
            return None, len(glob)
        is_range = glob[at] == ord("-") and before is not None
        is_range = is_range and glob[at + 1 : at + 2] not in (b"", b"]")
        at += is_range
        at += glob[at] == ord("\\")
        if at >= len(glob):
            return None, len(glob)
        if is_range and before is not None:
            members |= set(range(before, glob[at] + 1))
            before = None
        else:
            members.add(glob[at])
            before = glob[at]
        at += 1
    return frozenset(_ALL - members if negated else members), at + 1


def _match(glob: tuple[_Token, ...], text: bytes) -> bool:
    """Whether a pattern stands for a whole text; in time of the product of their lengths."""
    places = _reached({0}, glob)
    for byte in text:
        following = set()
        for place in places:
            if place < len(glob) and byte in glob[place].bytes:
                following.add(place if glob[place].repeats else place + 1)
        if not following:
            return False
        places = _reached(following, glob)
    return len(glob) in places


def _reached(places: set[int], glob: tuple[_Token, ...]) -> set[int]:
    """With the places behind tokens that may be left out."""
    pending = list(places)
    while pending:
        place = pending.pop()
        for jump in glob[place].jumps if place < len(glob) else ():
            if place + jump not in places:
                places.add(place + jump)
                pending.append(place + jump)
    return places
