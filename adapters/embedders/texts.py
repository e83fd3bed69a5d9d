"""What the embedders do to text before a model sees it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

HUMPS_VERSION = "humps1"
"""Goes into the profile name of every embedder whose vectors depend on :func:`split_humps`."""

WORDS_VERSION = "words1"
"""The same for :func:`weighted_words`."""

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+|\d+")

T = TypeVar("T")


def split_humps(text: str) -> str:
    """``text`` with a space at every hump: ``afterSetValue`` becomes ``after Set Value``.

    A model of words meets few identifiers in training, and most of the words that they are made of.
    """
    return _HUMP.sub(" ", text)


def weighted_words(text: str) -> dict[str, float]:
    """The words of a text of prose or code, in order of first occurrence, each with its weight.

    Identifiers are cut at their humps, underscores and digits, and letter case is dropped, so that
    ``afterSetValue`` and "after the value is set" share words. The weight is
    ``1 + ln(occurrences)``, the usual sublinear term frequency: a loop variable does not drown the
    one word that matters.
    """
    plain = split_humps(unicodedata.normalize("NFKC", text)).casefold()
    return {word: 1 + math.log(count) for word, count in Counter(_WORD.findall(plain)).items()}


def well_formed(text: str) -> str:
    """``text`` with every lone surrogate, which no UTF-8 can hold, replaced by ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")


def batches(
    items: Iterable[T], *, count: int, size: int, measure: Callable[[T], int]
) -> Iterator[list[T]]:
    """Group neighbours into batches of at most ``count`` items and ``size`` units in all.

    An item that exceeds ``size`` by itself makes a batch of its own.

    Args:
        items: Consumed lazily, at most one batch ahead.
        count: Most items in a batch, at least 1.
        size: Most units in a batch, as ``measure`` counts them.
        measure: The size of one item.
    """
    batch: list[T] = []
    used = 0
    for item in items:
        needed = measure(item)
        if batch and (len(batch) == count or used + needed > size):
            yield batch
            batch, used = [], 0
        batch.append(item)
        used += needed
    if batch:
        yield batch
