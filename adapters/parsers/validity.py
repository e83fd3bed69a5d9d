"""Whether a text is an ECMAScript module, as the compiler of QuickJS judges it.

A verdict is needed of every rule of the standard, and a tolerant tree gives none. The compiler is
asked for one and never runs what it compiles: every module gets an import more, which cannot be
resolved, so a valid one ends before its first statement with an error of its own.

What the compiler judges otherwise than the reference's parser, acorn 8, is listed in ADR 3 and
counted by ``python -m benchmarks.modules``.
"""

from __future__ import annotations

import re
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
    context = quickjs.Context()
    context.set_memory_limit(_BYTES)
    context.set_max_stack_size(_STACK_BYTES)
    try:
        context.module(_PREFIX + text)
    except quickjs.JSException as error:
        told = str(error)
    else:
        raise AssertionError("the compiler resolved what cannot be")
    if told.startswith(_VALID):
        return
    place = _PLACE.search(told)
    kind, _, reason = told.partition("\n")[0].partition(": ")
    line = f"line {place[1]}: " if place else ""
    if kind != "SyntaxError" or _LIMIT.search(_QUOTED.sub("", reason)):
        raise UnparsableFileError(f"{line}no verdict whether this is a module: {printable(told)}")
    raise UnparsableFileError(f"{line}{printable(reason)}")
