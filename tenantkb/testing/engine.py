"""The suite for stores: :mod:`ports.engine`, and behind the guard :mod:`ports.store`."""

from __future__ import annotations

from tenantkb.testing import guarded, primitives
from tenantkb.testing.congruence import Congruence


class EngineSuite(
    primitives.Binding,
    primitives.Selecting,
    primitives.Reading,
    primitives.Writing,
    primitives.Operating,
    primitives.Threads,
    primitives.Capabilities,
    guarded.Scopes,
    guarded.Binding,
    guarded.Isolation,
    guarded.Tampered,
    guarded.Reading,
    guarded.Writing,
    guarded.Operating,
    Congruence,
):
    """Every rule that an engine has to keep, by itself and behind the guard.

    A subclass names the store and provides the fixtures of :class:`~tenantkb.testing.StoreSuite`::

        class TestShelf(EngineSuite):
            @pytest.fixture
            def make_engine(self, tmp_path):
                return lambda: ShelfEngine(tmp_path / "shelf")

            @pytest.fixture
            def behind(self, tmp_path):
                return ShelfFiles(tmp_path / "shelf")

    The docstring of every test says what to do when it fails.
    """
