"""Tests for stores that others write.

:class:`EngineSuite` holds a store to the ports, :class:`FailClosedSuite` the whole application
around it to the rules of tenancy. Both need two fixtures, see :class:`StoreSuite`, and the extra
``testing``; the page "Write a store" shows how they are used. :mod:`tenantkb.testing.plugin` prints
what the second one has looked at.
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("congruence", "engine", "fail_closed", "guarded", "primitives")
    )
)

from tenantkb.testing.engine import EngineSuite  # noqa: E402 # after what rewrites its asserts
from tenantkb.testing.fail_closed import FailClosedSuite  # noqa: E402
from tenantkb.testing.fixtures import Behind, MakeEngine, Stored, StoreSuite  # noqa: E402

__all__ = ["Behind", "EngineSuite", "FailClosedSuite", "MakeEngine", "StoreSuite", "Stored"]
