"""The store in a SQLite file is held to the ports."""

from __future__ import annotations

from tenantkb.testing import EngineSuite
from tests.conformance import stores


class TestSqlite(stores.Sqlite, EngineSuite):
    pass
