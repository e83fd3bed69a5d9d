"""The tables of a store: those of rows and postings, and what else belongs to a row.

Metadata and vectors are in tables of their own, so that a selection reads none of them. They are by
the row's number: the vectors of a label are one range of pages.
"""

from __future__ import annotations

from typing import Final

from tenantkb.adapters.lexical.schema import FORGET_POSTINGS, ROW_TABLES
from tenantkb.adapters.state.database import Format
from tenantkb.adapters.state.sqlite import INGESTION_TABLE, INVENTORY_TABLES, STATE_TABLES

FILE: Final = "store.sqlite3"

EMBEDDER_NAME: Final = "embedder.name"
EMBEDDER_DIMENSION: Final = "embedder.dimension"
ID_SCHEME: Final = "ids"

STORE_FILE: Final = Format(
    application_id=0x746B6265,
    version=2,
    tables=(
        *ROW_TABLES,
        "CREATE INDEX row_by_id ON row (id, label)",
        "CREATE TABLE content (number INTEGER PRIMARY KEY, metadata TEXT NOT NULL)",
        "CREATE TABLE vector (number INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
        *STATE_TABLES,
        *INVENTORY_TABLES,
    ),
    upgrades={1: (INGESTION_TABLE, *INVENTORY_TABLES, *FORGET_POSTINGS)},
)
