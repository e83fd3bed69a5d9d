"""JSON lines as a client may send them: a line that cannot be read costs that line only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, Final, NoReturn

from tenantkb.domain.records import Unreadable, printable

LINE_LENGTH: Final = 16 * 2**20
"""The most bytes of one line."""


def read_records(stream: BinaryIO, line_length: int = LINE_LENGTH) -> Iterator[tuple[int, object]]:
    """Every line that is not blank: its number, from 1, and its JSON value or why there is none.

    Args:
        stream: UTF-8. Read line by line, never held.
        line_length: The most bytes of one line, its line feed included.
    """
    number = 0
    while line := stream.readline(line_length + 1):
        number += 1
        if len(line) > line_length:
            while line and not line.endswith(b"\n"):
                line = stream.readline(line_length)
            yield number, Unreadable(f"expected a line of at most {line_length:,} bytes")
        elif not line.isspace():
            yield number, _record(line)


def _record(line: bytes) -> object:
    try:
        return json.loads(line.rstrip(b"\r\n").decode(), parse_constant=_no_constant)
    except UnicodeDecodeError:
        return Unreadable("expected UTF-8")
    except json.JSONDecodeError as error:
        return Unreadable(f"expected JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return Unreadable(f"expected JSON: {printable(str(error))}")
    except RecursionError:
        return Unreadable("expected values that are nested less deeply")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"there is no number {name}")
