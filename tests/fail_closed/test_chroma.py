"""No row leaves Chroma, wherever it runs, for whom it does not belong to."""

from __future__ import annotations

import pytest

from tenantkb.testing import FailClosedSuite
from tests.conformance import stores


class TestChromaPath(stores.ChromaPath, FailClosedSuite):
    pass


@pytest.mark.slow
class TestChromaByIndex(stores.ChromaByIndex, FailClosedSuite):
    pass


@pytest.mark.slow
class TestChromaServer(stores.ChromaServer, FailClosedSuite):
    pass


class TestChromaContainer(stores.ChromaContainer, FailClosedSuite):
    pass
