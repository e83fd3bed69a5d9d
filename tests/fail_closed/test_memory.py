"""No row leaves the store in memory for whom it does not belong to."""

from __future__ import annotations

from tenantkb.testing import FailClosedSuite
from tests.conformance import stores


class TestMemory(stores.Memory, FailClosedSuite):
    random_runs = 20, 8
    long_runs = 20, 20
