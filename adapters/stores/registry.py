"""Which stores an installation can have: a table, and what installed packages offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.runtime.plugins import Factories
from tenantkb.ports.engine import Engine

BUILT_IN: Final[Mapping[str, str]] = {
    "sqlite": "tenantkb.adapters.stores.sqlite:open_engine",
    "chroma": "tenantkb.adapters.stores.chroma:open_path",
    "chroma-http": "tenantkb.adapters.stores.chroma:open_server",
    "memory": "tenantkb.adapters.stores.memory:open_engine",
}
"""By kind, where the factory is. It is called with the settings and gives an engine."""

ENTRY_POINTS: Final = "tenantkb.stores"


def open_engine(settings: StoreSettings) -> Engine:
    """The engine of the configured kind. Nothing is opened before it is used.

    Raises:
        ConfigurationError: there is no such kind (the message lists those there are), it cannot be
            imported, or it does not take its settings.
    """
    stores = Factories("store", BUILT_IN)
    stores.register_entry_points(ENTRY_POINTS)
    engine: Engine = stores.make(settings.kind, settings)
    return engine
