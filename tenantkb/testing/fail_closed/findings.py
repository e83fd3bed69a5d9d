"""What a test of the suite has looked at, for the matrix."""

from __future__ import annotations

from collections import Counter

import pytest
from attrs import define, field

FINDINGS = pytest.StashKey["Findings"]()


@define
class Findings:
    """Counts of one test.

    Attributes:
        answers: Answers that were checked, by facade.
        leaks: Rows that somebody saw who must not.
        caught: By facade, sabotages that turned the suite's checks red, as they have to.
        wanted: Where a store approximates, the nearest neighbours, by when they were asked for.
        found: How many of these it found.
    """

    answers: Counter[str] = field(factory=Counter)
    leaks: int = 0
    caught: Counter[str] = field(factory=Counter)
    wanted: Counter[str] = field(factory=Counter)
    found: Counter[str] = field(factory=Counter)
