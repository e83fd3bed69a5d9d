"""Chroma, in this process and behind HTTP, is held to the ports."""

from __future__ import annotations

import pytest

from tenantkb.testing import EngineSuite
from tests.conformance import stores


class TestChromaPath(stores.ChromaPath, EngineSuite):
    pass


@pytest.mark.slow
class TestChromaByIndex(stores.ChromaByIndex, EngineSuite):
    pass


class TestChromaServer(stores.ChromaServer, EngineSuite):
    pass


class TestChromaContainer(stores.ChromaContainer, EngineSuite):
    pass
