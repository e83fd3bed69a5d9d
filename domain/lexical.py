"""What a row says to the lexical arm of a search: its terms, field by field.

Stores keep these as postings beside the row. Whatever they hold was made here, under the name
:data:`TOKENISER`; a store that remembers another name makes its postings anew from its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tenantkb.domain import fields
from tenantkb.domain.tokens import STEMMER, token_counts

TOKENISER: Final[str] = f"tenantkb-1+{STEMMER}"
"""Name and version of what :func:`counts_of` does; it changes whenever any row's terms would."""

Frequencies = tuple[int, int, int]
"""How often a term occurs in the fields name, path and content; also lengths of these, in
tokens.
"""


class Counts(NamedTuple):
    """How often each term occurs, field by field; see :func:`counts_of`."""

    name: Mapping[str, int]
    path: Mapping[str, int]
    content: Mapping[str, int]


def counts_of(metadata: Mapping[str, Any]) -> Counts:
    """Count the terms of a row in the fields *name*, *path* and *content*.

    - *name*: the name, and the class unless the name holds it: a question that names a class is
      about its members, whose own names need not say it.
    - *path*: the source path.
    - *content*: the content, and the description unless the content holds it.

    What a damaged row lacks, or holds as anything but text, is empty.
    """
    return Counts(
        token_counts(_joined(metadata, fields.NAME, fields.CLASS_NAME)),
        token_counts(_text(metadata, fields.SOURCE_PATH)),
        token_counts(_joined(metadata, fields.CONTENT, fields.DESCRIPTION)),
    )


def terms_of(metadata: Mapping[str, Any]) -> dict[str, Frequencies]:
    """The same by term: each with its frequencies in the three fields."""
    name, path, content = counts_of(metadata)
    return {
        term: (name.get(term, 0), path.get(term, 0), content.get(term, 0))
        for term in {**name, **path, **content}
    }


def field_lengths(terms: Mapping[str, Frequencies]) -> Frequencies:
    """The lengths of a row's three fields, in tokens, from its :func:`terms_of`."""
    name, path, content = zip(*terms.values(), strict=True) if terms else ((), (), ())
    return sum(name), sum(path), sum(content)


def frequencies_in(
    rows: Sequence[Mapping[str, Frequencies]], terms: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Tabulate the frequencies of some terms, shape ``(rows, terms, 3)``.

    Args:
        rows: Terms of rows, see :func:`terms_of`.
        terms: Distinct ones, in any order.
    """
    found = [[row.get(term, (0, 0, 0)) for term in terms] for row in rows]
    return np.array(found, np.int64).reshape(len(rows), len(terms), 3)


def _joined(metadata: Mapping[str, Any], key: str, other: str) -> str:
    text, addition = _text(metadata, key), _text(metadata, other)
    return text if addition in text else f"{text}\n{addition}"


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""
