"""By what is told whether the code that makes chunks and rows is the same as it was."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Final

_PARTS: Final = (
    "domain",
    "ports",
    "application/writing",
    "adapters/parsers",
    "adapters/runtime",
    "adapters/sources",
)


@cache
def code_mark() -> str:
    """Another text for another version of Python, of this program, or of any installed package.

    Which of the packages take part is not asked: few are ever installed between two runs. Our own
    code is told by size and time of its files, as it may be under development.
    """
    digest = hashlib.sha256(sys.version.encode())
    for part in _PARTS:
        with os.scandir(Path(__file__).parents[2] / part) as entries:
            for entry in sorted(entries, key=attrgetter("name")):
                if entry.name.endswith(".py"):
                    found = entry.stat()
                    told = f"{part}/{entry.name} {found.st_size} {found.st_mtime_ns}\n"
                    digest.update(told.encode())
    for folder in filter(os.path.isdir, sys.path):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=attrgetter("name")):
                if entry.name.endswith(".dist-info"):  # whose name ends with the version
                    digest.update(f"{entry.name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
