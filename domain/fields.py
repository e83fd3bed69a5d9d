"""The names of the metadata fields that rules speak of, each spelt once.

Stored rows, extracted chunks, backups and submitted records share them; they are part of the
published contracts. Fields that no rule of the domain looks at have no name here.
"""

from __future__ import annotations

from typing import Final

# Whose a row is, and who may read it: written by the server alone.
TENANT_ID: Final = "tenantId"
REPO_SLUG: Final = "repoSlug"
VISIBILITY: Final = "visibility"
ORIGIN: Final = "originAgentIdentity"
INGESTED_AT: Final = "ingestedAt"
ACCESS: Final = "access"

# Where it comes from.
ROOT_KIND: Final = "rootKind"
SOURCE_PATH: Final = "sourcePath"
SOURCE: Final = "source"
"""A chunk's path before it is a row; rows have :data:`SOURCE_PATH`."""

# What it says.
ID: Final = "id"
HASH: Final = "hash"
TYPE: Final = "type"
KIND: Final = "kind"
NAME: Final = "name"
CONTENT: Final = "content"
DESCRIPTION: Final = "description"
CLASS_NAME: Final = "className"
EXTENDS: Final = "extends"
LINE_START: Final = "line_start"
LINE_END: Final = "line_end"
EMBEDDING: Final = "embedding"
DOCUMENT: Final = "document"
HASH_INPUTS: Final = "hashInputs"

STAMP: Final = frozenset({TENANT_ID, REPO_SLUG, VISIBILITY, ORIGIN, INGESTED_AT, ACCESS})
"""The fields that only the server writes."""

PATH: Final = frozenset({ROOT_KIND, SOURCE_PATH})
"""The fields that, with tenant and repository, tell where a row comes from."""
