"""Whether a text is an ECMAScript module, as the compiler of QuickJS judges it.

A verdict is needed of every rule of the standard, and a tolerant tree gives none. The compiler is
asked for one and never runs what it compiles: every module gets an import more, which cannot be
resolved, so a valid one ends before its first statement with an error of its own.

What the compiler judges otherwise than the reference's parser, acorn 8, is listed in ADR 3 and
counted by ``python -m benchmarks.modules``.
"""

from __future__ import annotations

import re
import threading
from typing import Final

import quickjs

from tenantkb.domain.errors import UnparsableFileError
from tenantkb.domain.records import printable

_UNRESOLVABLE: Final = "none:none"
_PREFIX: Final = f"import '{_UNRESOLVABLE}';"
_VALID: Final = f"ReferenceError: could not load module '{_UNRESOLVABLE}'"
_BYTES: Final = 1 << 29
_STACK_BYTES: Final = 4 << 20
"""Half of what a process has. acorn in Node ends at a depth that takes 2 MB here, and with 256 kB,
the compiler's own choice, a look ahead that runs out of stack makes an error of valid syntax."""

_TEXTS: Final = 16
"""That one compiler is given: it keeps what it has compiled, though nothing of it ever runs."""

_PLACE: Final = re.compile(r"\n +at <input>:(\d+)")
_QUOTED: Final = re.compile(r"'.*'", re.DOTALL)
_LIMIT: Final = re.compile(r"too (?:large|long|many)|overflow|out of memory", re.IGNORECASE)


def require_module(text: str) -> None:
    """Refuse what is no module of the latest edition.

    Args:
        text: Has no NUL, nor lone surrogates. May begin with a ``#!`` line.

    Raises:
        UnparsableFileError: it is none, or the compiler has no verdict since it meets a limit of
            its own. The message names the line where there is one.
    """
    if text.startswith("#!"):
        text = f"//{text[2:]}"  # the import before it would make it an error
    told = _compiled(text)
    if not told.startswith(_VALID) and not _is_verdict(told):
        _compilers.left = 0  # what is left of earlier texts takes some of what a compiler has
        told = _compiled(text)
    if told.startswith(_VALID):
        return
    place = _PLACE.search(told)
    line = f"line {place[1]}: " if place else ""
    if not _is_verdict(told):
        raise UnparsableFileError(f"{line}no verdict whether this is a module: {printable(told)}")
    raise UnparsableFileError(f"{line}{printable(_kind_and_reason(told)[1])}")


def _compiled(text: str) -> str:
    """What the compiler says of a text."""
    if _compilers.left == 0:
        _compilers.context = quickjs.Context()
        _compilers.context.set_memory_limit(_BYTES)
        _compilers.context.set_max_stack_size(_STACK_BYTES)
        _compilers.left = _TEXTS
    _compilers.left -= 1
    try:
        _compilers.context.module(_PREFIX + text)
    except quickjs.JSException as error:
        return str(error)
    raise AssertionError("the compiler resolved what cannot be")


def _is_verdict(told: str) -> bool:
    kind, reason = _kind_and_reason(told)
    return kind == "SyntaxError" and not _LIMIT.search(_QUOTED.sub("", reason))


def _kind_and_reason(told: str) -> tuple[str, str]:
    kind, _, reason = told.partition("\n")[0].partition(": ")
    return kind, reason


class _Compilers(threading.local):
    """The compiler of a thread, and for how many more texts it is used.

    To make one takes half as long as to compile a text.
    """

    left = 0
    context: quickjs.Context


_compilers: Final = _Compilers()
