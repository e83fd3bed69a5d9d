"""The store in memory is held to the ports."""

from __future__ import annotations

from tenantkb.testing import EngineSuite
from tests.conformance import stores


class TestMemory(stores.Memory, EngineSuite):
    pass
