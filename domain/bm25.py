"""The lexical score: BM25 over the fields name, path and content.

It is the extension of BM25 to weighted fields by Robertson, Zaragoza and Taylor (*Simple BM25
Extension to Multiple Weighted Fields*, CIKM 2004) with a length normalisation for each field
(Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25 and Beyond*, 2009, section
3.6.2, "BM25F"): a term's frequencies are weighted and added up *before* they saturate, so that a
term in all three fields counts once, not thrice. ::

    norm[f] = 1 - b + b * length[f] / mean length[f]
    tf(t)   = sum over fields f of  weight[f] * frequency[t, f] / norm[f]
    idf(t)  = ln(1 + (N - df[t] + 0.5) / (df[t] + 0.5))
    score   = sum over terms t of  idf(t) * tf(t) / (k1 + tf(t))

The inverse document frequency is the one of Lucene: never negative. The factor ``k1 + 1`` is left
out; it changes no order and is gone once scores are normalised.

A score depends on the row, the question and the :class:`Statistics`, and on nothing else. The
statistics count the rows under the labels in scope, so no other tenant's rows change a score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from attrs import Attribute, field, frozen

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.lexical import Frequencies

WEIGHTS: Final = (5.0, 3.0, 1.0)
"""Of the fields name, path and content."""

B: Final = 0.75
"""How much a field's length counts, 0 (nothing) to below 1 (almost in proportion)."""

K1: Final = 4.0
"""Saturation: the weighted frequency with which a term counts half of what it can at most.

Larger than the usual 1.2, because frequencies are: the paper scales it with the weights.
"""

_WEIGHTS: Final = np.array(WEIGHTS)

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


def _lengths(_: object, __: Attribute[Frequencies], value: Frequencies) -> None:
    if min(value) < 0:
        raise InvalidInputError(f"the lengths of fields are at least 0, unlike {value}")


@frozen
class Statistics:
    """What is known of the rows in scope, whether or not they fulfil a question's filter.

    Integers, so that a sum over labels is exact whatever its order.

    Attributes:
        rows: How many there are.
        lengths: Of the fields name, path and content, in tokens, all rows together.
        document_frequencies: By term, in how many rows it occurs, in whatever field. Of the
            question's terms at least; a term that is missing occurs nowhere.

    Raises:
        InvalidInputError: a number is below zero, or a term occurs in more rows than there are.
    """

    rows: int
    lengths: Frequencies = field(validator=_lengths)
    document_frequencies: Mapping[str, int] = field(hash=False)

    @document_frequencies.validator
    def _possible(self, _: Attribute[Mapping[str, int]], value: Mapping[str, int]) -> None:
        if not all(0 <= count <= self.rows for count in value.values()):
            raise InvalidInputError(f"a term occurs in 0 to {self.rows} of {self.rows} rows")

    @classmethod
    def of(
        cls,
        rows: Sequence[Mapping[str, Frequencies]],
        lengths: Sequence[Frequencies],
        terms: Iterable[str],
    ) -> Self:
        """Count some rows.

        Args:
            rows: Terms of rows, see :func:`domain.lexical.terms_of`.
            lengths: Of as many, see :func:`domain.lexical.field_lengths`.
            terms: Those that are asked for.
        """
        name, path, content = (sum(each[column] for each in lengths) for column in range(3))
        occurrences = {term: sum(term in row for row in rows) for term in terms}
        return cls(len(rows), (name, path, content), occurrences)

    @classmethod
    def total(cls, parts: Iterable[Statistics]) -> Self:
        """The statistics of several labels' rows together; of none, those of no rows."""
        rows, name, path, content = 0, 0, 0, 0
        frequencies: Counter[str] = Counter()
        for part in parts:
            rows += part.rows
            name, path, content = map(add, (name, path, content), part.lengths)
            frequencies.update(part.document_frequencies)
        return cls(rows, (name, path, content), dict(frequencies))


@frozen(eq=False)
class Bm25:
    """Scores rows for one question. Made by :meth:`of`.

    Attributes:
        terms: The question's, distinct and sorted: the order of summation.
        idf: Their inverse document frequencies, in that order, each above 0.
        means: Shape ``(3,)``: the mean lengths of name, path and content, in tokens.
    """

    terms: tuple[str, ...]
    idf: tuple[float, ...]
    means: Floats

    @classmethod
    def of(cls, terms: Iterable[str], statistics: Statistics) -> Self:
        """Weigh a question's terms; that the question repeats one counts nothing."""
        rows = statistics.rows
        distinct = tuple(sorted(set(terms)))
        occurrences = (statistics.document_frequencies.get(term, 0) for term in distinct)
        idf = tuple(math.log(1 + (rows - count + 0.5) / (count + 0.5)) for count in occurrences)
        return cls(distinct, idf, np.array(statistics.lengths, np.float64) / max(1, rows))

    def scores(self, frequencies: Integers, lengths: Integers) -> Floats:
        """The scores of some rows, at least 0; 0 for a row that has none of the terms.

        A row's score is the same to the last bit wherever the same integers are given, whatever
        rows lie beside it, and never falls when a frequency grows and the lengths stay: terms are
        added in their order, and every operation rounds monotonically (hence ``1 + k1 / tf``).

        Args:
            frequencies: Shape ``(rows, terms, 3)``, terms in the order of :attr:`terms`; see
                :func:`domain.lexical.frequencies_in`.
            lengths: Shape ``(rows, 3)``, in tokens.

        Returns:
            Shape ``(rows,)``.
        """
        means = self.means[:, np.newaxis]
        relative = np.divide(lengths.T, means, out=np.ones(lengths.T.shape), where=means > 0)
        weights = _WEIGHTS[:, np.newaxis] / (1 - B + B * relative)
        totals = np.zeros(len(lengths))
        with np.errstate(divide="ignore"):  # a term that is missing: k1 / 0 is infinite, idf / it 0
            for index, idf in enumerate(self.idf):
                name, path, content = weights * frequencies[:, index].T
                totals += idf / (1 + K1 / (name + path + content))
        return totals
