"""The embedded store: rows, vectors, postings and the installation's state in one SQLite file."""

from __future__ import annotations

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.stores.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine", "open_engine"]


def open_engine(settings: StoreSettings) -> SqliteEngine:
    """The engine of the kind ``sqlite``; its one option, ``cache_bytes``, is memory for vectors."""
    return SqliteEngine(settings.path, wait=settings.wait, **settings.options)
