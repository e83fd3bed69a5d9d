"""No row leaves the store in a SQLite file for whom it does not belong to."""

from __future__ import annotations

from tenantkb.testing import FailClosedSuite
from tests.conformance import stores


class TestSqlite(stores.Sqlite, FailClosedSuite):
    random_runs = 10, 8
    long_runs = 20, 12
