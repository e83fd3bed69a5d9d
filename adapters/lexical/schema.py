"""The tables of rows and their postings, which the store in a SQLite file and the state file share.

A row has a *number*, which is given once and never again. Its upper bits are the number of the
row's label, so that everything of one label lies together, in every table. 1024 successive numbers
are a *block*, by which postings are kept.

What rows are selected by is in ``row``, which is narrow.
"""

from __future__ import annotations

from typing import Final

from tenantkb.domain import fields

LABEL_BITS: Final = 32
"""A number is ``label << 32 | position``: room for 2**32 rows under each of 2**27 labels."""

BLOCK_BITS: Final = 10
"""A block has room for 2**10 rows. In larger ones a term takes fewer reads, and a new row writes
more: it is added to records that are as much longer.
"""

RECORD_BITS: Final = 10
"""A block has 2**10 records of postings. A record's place is ``block << 10 | record``."""

COLUMNS: Final = {
    fields.TENANT_ID: "tenant_id",
    fields.REPO_SLUG: "repo_slug",
    fields.TYPE: "type",
    fields.KIND: "kind",
    fields.SOURCE_PATH: "source_path",
    fields.CLASS_NAME: "class_name",
}
"""Metadata fields that have a column of their own, null unless the value is text."""

SELECTED: Final = """
    (:tenant_id IS NULL OR row.tenant_id = :tenant_id)
    AND (:repo_slug IS NULL OR row.repo_slug = :repo_slug)
    AND (:type IS NULL OR row.type = :type)
    AND (:kind IS NULL OR row.kind = :kind)
    AND (:source_path IS NULL OR row.source_path = :source_path)
    AND (:class_name IS NULL OR row.class_name = :class_name)
"""
"""Whether a row has those values of :data:`COLUMNS` that are given."""

TOKENISER: Final = "tokeniser"
"""The setting that names what the postings were made by, if it was one thing, to the end; see
:func:`adapters.lexical.postings.made_by`.
"""

FORGET_POSTINGS: Final = (
    "DELETE FROM block",
    "DELETE FROM posting",
    f"UPDATE setting SET value = '' WHERE name = '{TOKENISER}'",  # noqa: S608 # a constant
)
"""Makes a file with postings of an earlier form one of which they have to be made anew."""

ROW_TABLES: Final = (
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    # generation: a random number, another one after every write to rows of the label.
    """
    CREATE TABLE label (
        number INTEGER PRIMARY KEY,
        label TEXT NOT NULL UNIQUE,
        next INTEGER NOT NULL,
        generation INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE row (
        number INTEGER PRIMARY KEY,
        label TEXT NOT NULL,
        id TEXT NOT NULL,
        tenant_id TEXT,
        repo_slug TEXT,
        type TEXT,
        kind TEXT,
        source_path TEXT,
        class_name TEXT,
        UNIQUE (label, id)
    )
    """,
    """
    CREATE TABLE row_count (
        label TEXT NOT NULL,
        tenant_id TEXT NOT NULL,
        repo_slug TEXT NOT NULL,
        rows INTEGER NOT NULL,
        PRIMARY KEY (label, tenant_id, repo_slug)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE block (block INTEGER PRIMARY KEY, lengths BLOB NOT NULL)",
    "CREATE TABLE posting (place INTEGER PRIMARY KEY, entries BLOB NOT NULL)",
)


def places_of(block: int) -> tuple[int, int]:
    """The range of the places of a block's records."""
    first = block << RECORD_BITS
    return first, first | ((1 << RECORD_BITS) - 1)


def first_and_last(label_number: int) -> tuple[int, int]:
    """The range of the numbers of a label's rows."""
    first = label_number << LABEL_BITS
    return first, first | ((1 << LABEL_BITS) - 1)
