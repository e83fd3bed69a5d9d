"""A knowledge-base core that many tenants share.

:func:`open` gives a :class:`KnowledgeBase`, whose attributes are everything that can be done. The
names below are all that a service needs; what lies deeper is for those who extend tenantkb.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tenantkb.adapters.configuration.loading import load as load_settings
    from tenantkb.adapters.configuration.settings import (
        EmbedderSettings,
        IdentitySettings,
        Settings,
        StoreSettings,
    )
    from tenantkb.adapters.container import open_knowledge_base as open  # noqa: A004 # as files do
    from tenantkb.application.knowledge_base import KnowledgeBase
    from tenantkb.application.operating.backup import RestoreMode, RestoreRequest
    from tenantkb.application.reading.context import Citation, FilledContext
    from tenantkb.application.reading.documents import Page
    from tenantkb.application.reading.query import Answer
    from tenantkb.application.reading.search import FoundFile, FoundPassage
    from tenantkb.application.writing.deletions import DeletionRequest
    from tenantkb.application.writing.embed import EmbedRequest
    from tenantkb.application.writing.ingest import IngestReport, IngestRequest
    from tenantkb.application.writing.sync import SyncRequest
    from tenantkb.domain.backup import Adoption
    from tenantkb.domain.context import OperatorScope, ReadScope, TenantContext, WriteScope
    from tenantkb.domain.deletion import (
        DeletionSignal,
        ManifestSnapshot,
        RevisionBoundary,
        Tombstone,
    )
    from tenantkb.domain.documents import Document
    from tenantkb.domain.errors import ErrorKind, Remedy, TenantKbError
    from tenantkb.domain.identity import AgentIdentity, Role
    from tenantkb.domain.ids import ChunkId
    from tenantkb.domain.ingestion import IngestionState, IngestionStatus
    from tenantkb.domain.natures import Nature
    from tenantkb.domain.paths import PathIdentity, RootKind
    from tenantkb.domain.rows import Criteria, StampedRow
    from tenantkb.domain.stamps import SharedNamespace, Visibility

_HOMES: Final = {
    "Adoption": "domain.backup",
    "AgentIdentity": "domain.identity",
    "Answer": "application.reading.query",
    "ChunkId": "domain.ids",
    "Citation": "application.reading.context",
    "Criteria": "domain.rows",
    "DeletionRequest": "application.writing.deletions",
    "DeletionSignal": "domain.deletion",
    "Document": "domain.documents",
    "EmbedRequest": "application.writing.embed",
    "EmbedderSettings": "adapters.configuration.settings",
    "ErrorKind": "domain.errors",
    "FilledContext": "application.reading.context",
    "FoundFile": "application.reading.search",
    "FoundPassage": "application.reading.search",
    "IdentitySettings": "adapters.configuration.settings",
    "IngestReport": "application.writing.ingest",
    "IngestRequest": "application.writing.ingest",
    "IngestionState": "domain.ingestion",
    "IngestionStatus": "domain.ingestion",
    "KnowledgeBase": "application.knowledge_base",
    "ManifestSnapshot": "domain.deletion",
    "Nature": "domain.natures",
    "OperatorScope": "domain.context",
    "Page": "application.reading.documents",
    "PathIdentity": "domain.paths",
    "ReadScope": "domain.context",
    "Remedy": "domain.errors",
    "RestoreMode": "application.operating.backup",
    "RestoreRequest": "application.operating.backup",
    "RevisionBoundary": "domain.deletion",
    "Role": "domain.identity",
    "RootKind": "domain.paths",
    "Settings": "adapters.configuration.settings",
    "SharedNamespace": "domain.stamps",
    "StampedRow": "domain.rows",
    "StoreSettings": "adapters.configuration.settings",
    "SyncRequest": "application.writing.sync",
    "TenantContext": "domain.context",
    "TenantKbError": "domain.errors",
    "Tombstone": "domain.deletion",
    "Visibility": "domain.stamps",
    "WriteScope": "domain.context",
    "load_settings": "adapters.configuration.loading:load",
    "open": "adapters.container:open_knowledge_base",
}
"""Public names by the module that each is loaded from when it is first used (PEP 562)."""

__all__ = [  # spelt out, for type checkers
    "Adoption",
    "AgentIdentity",
    "Answer",
    "ChunkId",
    "Citation",
    "Criteria",
    "DeletionRequest",
    "DeletionSignal",
    "Document",
    "EmbedRequest",
    "EmbedderSettings",
    "ErrorKind",
    "FilledContext",
    "FoundFile",
    "FoundPassage",
    "IdentitySettings",
    "IngestReport",
    "IngestRequest",
    "IngestionState",
    "IngestionStatus",
    "KnowledgeBase",
    "ManifestSnapshot",
    "Nature",
    "OperatorScope",
    "Page",
    "PathIdentity",
    "ReadScope",
    "Remedy",
    "RestoreMode",
    "RestoreRequest",
    "RevisionBoundary",
    "Role",
    "RootKind",
    "Settings",
    "SharedNamespace",
    "StampedRow",
    "StoreSettings",
    "SyncRequest",
    "TenantContext",
    "TenantKbError",
    "Tombstone",
    "Visibility",
    "WriteScope",
    "load_settings",
    "open",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = home.partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
