"""Which stores an installation can have: a table, and what installed packages offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tenantkb.adapters.configuration.settings import StateSettings, StoreSettings, state_path
from tenantkb.adapters.runtime.plugins import Factories
from tenantkb.ports.engine import Engine

BUILT_IN: Final[Mapping[str, str]] = {
    "sqlite": "tenantkb.adapters.stores.sqlite:open_engine",
    "memory": "tenantkb.adapters.stores.memory:open_engine",
}
"""By kind, where the factory is. It is called with the settings and gives an engine."""

WITH_STATE: Final[Mapping[str, str]] = {
    "chroma": "tenantkb.adapters.stores.chroma:open_path",
    "chroma-http": "tenantkb.adapters.stores.chroma:open_server",
}
"""The same, of those that keep something in the installation's state file: they are told of it."""

ENTRY_POINTS: Final = "tenantkb.stores"

_DEFAULT: Final = StateSettings()


def open_engine(settings: StoreSettings, state: StateSettings = _DEFAULT) -> Engine:
    """The engine of the configured kind. Nothing is opened before it is used.

    Args:
        settings: Of the store.
        state: Of the installation's state.

    Raises:
        ConfigurationError: there is no such kind (the message lists those there are), it cannot be
            imported, or it does not take its settings.
    """
    stores = Factories("store", BUILT_IN)
    told = {"state": state_path(settings, state.path)}
    for kind, factory in WITH_STATE.items():
        stores.register(kind, factory, told)
    stores.register_entry_points(ENTRY_POINTS)
    engine: Engine = stores.make(settings.kind, settings)
    return engine
