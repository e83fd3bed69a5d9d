"""Patterns that a caller gives for paths, as those of ``.gitignore`` (gitignore(5))."""

from __future__ import annotations

from collections.abc import Sequence, Set
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.paths import is_well_formed

LENGTH: Final = 512
"""Of a pattern, in characters."""

_MANY: Final = "**"


def require_glob(value: object) -> str:
    """Return ``value`` if it is a pattern for paths.

    ``*`` stands for any characters within a segment, ``?`` for one, ``[a-z]`` and ``[!a-z]`` for
    one of some or of all others; ``**`` for any number of segments, and at the end for one at
    least. A pattern without a slash but at its end is a name at any depth; one that ends with a
    slash is everything below a folder.

    Raises:
        InvalidInputError: it is no text of 1 to 512 characters, or nothing but slashes.
    """
    if not isinstance(value, str) or not is_well_formed(value) or not value.strip("/"):
        raise InvalidInputError("a pattern for paths is text with more than slashes")
    if len(value) > LENGTH:
        raise InvalidInputError(f"a pattern for paths has at most {LENGTH} characters")
    return value


@lru_cache(maxsize=2**14)
def matches(pattern: str, path: str) -> bool:
    """Whether a path is one that a pattern means, see :func:`require_glob`.

    Takes time in proportion to the product of their lengths at most. A file has many rows, each of
    which is asked about by a store and by the guard.
    """
    wanted = _segments(pattern)
    places = _reached({0}, wanted)  # in `wanted`, that the segments so far can have come to
    for segment in path.split("/"):
        following = set()
        for place in places - {len(wanted)}:
            if wanted[place] == _MANY:
                following |= {place, place + 1}
            elif fnmatchcase(segment, wanted[place]):
                following.add(place + 1)
        places = _reached(following, wanted)
    return len(wanted) in places


def _reached(places: Set[int], wanted: Sequence[str]) -> set[int]:
    """With the places behind a ``**`` that stands for no segment, which the last one never does."""
    reached = set(places)
    for place in range(min(places, default=len(wanted)), len(wanted) - 1):
        if place in reached and wanted[place] == _MANY:
            reached.add(place + 1)
    return reached


@lru_cache(maxsize=256)
def _segments(pattern: str) -> list[str]:
    segments = pattern.strip("/").split("/")
    if "/" not in pattern.rstrip("/"):
        segments.insert(0, _MANY)
    if pattern.endswith("/"):
        segments.append(_MANY)
    return segments
