"""Text to tokens: the one tokeniser of stores, questions and snippets.

A *word* is a run of letters, digits, underscores and combining marks. It is split into its *parts*
at underscores, at humps (``HTMLParser`` into ``HTML`` and ``Parser``) and between letters and
digits; a word of several parts is a token as a whole as well, its underscores left out, so that
``maxSize``, ``max_size`` and ``MAX_SIZE`` are one. What looks like a file name is a token too.

Text is compared as NFKC and case-folded (Unicode Standard Annex 31, *NFKC_Casefold*): ``Straße`` is
``STRASSE``, and full-width forms are the plain ones. Every part and every whole is stemmed by
Porter's English algorithm (Snowball, *english*). Wholes are stemmed because a name that is typed in
lower case cannot be told from a word: ``getmatches`` has to become what ``getMatches`` became.

Chinese, Japanese and Korean text, which is written without spaces or with suffixes, becomes
overlapping bigrams; a character that stands alone is a token.

Which characters are letters is the interpreter's Unicode version's; it differs between versions
only for characters that were assigned lately.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from operator import add
from typing import Final

from Stemmer import Stemmer, version

STEMMER: Final = f"snowball-english-{version()}"
"""The algorithm and its version; another version may give other stems."""

_LENGTH: Final = 128
"""A word counts as its first so many characters: base64 and minified data have no end of a word."""

_CACHED_WORDS: Final = 2**16

_CJK_RUN: Final = re.compile(
    "["
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Hiragana and Katakana
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "]+"
)


class _Words(dict[int, str]):
    """A table for :meth:`str.translate` that leaves nothing but words; faster than a pattern.

    Marks belong to words, and to what they stand on: many scripts would be cut at them.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        mark = unicodedata.category(character).startswith("M")
        word = mark or character.isalnum() or character == "_" or _CJK_RUN.match(character)
        self[code] = character if word else " "
        return self[code]


_WORDS: Final = _Words()
_ASCII_WORDS: Final = "".join(_WORDS[code] for code in range(128))
"""The same for text in ASCII, four times as fast again."""

_EXTENSION: Final = re.compile(r"\.[a-z][a-z0-9]{0,3}(?![\w(-]|\.\w)", re.ASCII)
_NO_FILE_NAME: Final = re.compile(r"[^\w.-]")
_PART: Final = re.compile(r"U+(?!l)|U?l+|d+")
"""A part of a word, in the word's :func:`_shape`."""


def token_counts(text: str) -> dict[str, int]:
    """Every token of a text with how often it occurs, in about the order of the text."""
    return Counter(tokens_of(text))


def tokens_of(text: str) -> Iterator[str]:
    """Every token of a text, as often as it occurs, in about the order of the text.

    The time is proportional to the text's length, and a token short, whatever is in the text.
    """
    bigrams: list[str] = []
    if text.isascii():
        words = text.translate(_ASCII_WORDS).split()
    else:
        text = unicodedata.normalize("NFKC", text)
        words = []
        for word in text.translate(_WORDS).split():
            if word.isascii() or not (runs := _CJK_RUN.findall(word)):
                words.append(word)
                continue
            for run in runs:
                bigrams += map(add, run, run[1:]) if len(run) > 1 else run
            words += _CJK_RUN.sub(" ", word).split()
    parts = chain.from_iterable(map(_tokens, [word[:_LENGTH] for word in words]))
    return chain(bigrams, parts, _file_names(text) if "." in text else ())


@lru_cache(maxsize=_CACHED_WORDS)
def _tokens(word: str) -> tuple[str, ...]:
    """A word's parts, and the word as a whole if that is none of them."""
    parts = [word[slice(*part.span())] for part in _PART.finditer(_shape(word))]
    wholes = ["".join(parts)] if len(parts) > 1 else []
    return tuple(_stemmed(_folded(token)) for token in parts + wholes)


def _shape(word: str) -> str:
    """Its characters by class: ``U`` upper case, ``d`` digit, ``_``, and ``l`` for other letters.

    A combining mark is of the class of what it stands on, and of none where it stands on nothing.
    """
    shape = ""
    for each in word:
        if each.isupper():
            shape += "U"
        elif each.isdecimal():
            shape += "d"
        elif each == "_":
            shape += "_"
        else:
            shape += "l" if each.isalnum() else shape[-1:] or " "
    return shape


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text.casefold())


def _stemmed(word: str) -> str:
    # A stemmer must not be shared between threads. To make one is cheap, and words are cached.
    stem: str = Stemmer("english", 0).stemWord(word)
    return stem


def _file_names(text: str) -> Iterator[str]:
    """``guard.py`` and ``Base.mjs``, wherever they stand.

    They are told by their end, of at most four lower-case letters. So are a few other names with
    dots that are no calls, at the cost of a token.
    """
    for match in _EXTENSION.finditer(text):
        before = text[max(0, match.start() - _LENGTH) : match.start()]
        if stem := _NO_FILE_NAME.split(before)[-1].lstrip(".-"):
            yield _folded(stem + match[0])
