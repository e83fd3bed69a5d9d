"""List what a caller may read."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from itertools import islice
from typing import Final

from attrs import frozen

from tenantkb.application.reading.arguments import require_whole_number
from tenantkb.domain.context import TenantContext, require_context
from tenantkb.domain.documents import Document
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.ports.store import ReadingStore

LIMIT_MAXIMUM: Final = 10_000
"""Of a page, and of an offset: whoever wants more follows the cursor."""


@frozen
class Page:
    """A part of a list.

    Attributes:
        documents: By ascending id.
        cursor: Where the next page begins, opaque; ``None`` where there is no more.
    """

    documents: list[Document]
    cursor: str | None


@frozen
class ListDocuments:
    """The readable chunks, page by page.

    Attributes:
        store: Where the rows lie.
    """

    store: ReadingStore

    def __call__(
        self,
        context: TenantContext,
        *,
        limit: int = 100,
        cursor: str | None = None,
        offset: int = 0,
        criteria: Criteria = ANY,
    ) -> Page:
        """The next ``limit`` documents by ascending id.

        The order does not depend on what other tenants write, and what is withheld leaves no gap.

        Args:
            context: The caller's standing.
            limit: How many, 1 to 10,000.
            cursor: Of the page before; from the beginning without one.
            offset: How many to leave out from there, 0 to 10,000. It costs what it leaves out.
            criteria: What the chunks have to be.

        Raises:
            AuthenticationError: no valid standing.
            InvalidInputError: an argument has another form.
            StoreError: the store failed.
        """
        scope = require_context(context).reading()
        require_whole_number("limit", limit, 1, LIMIT_MAXIMUM)
        require_whole_number("offset", offset, 0, LIMIT_MAXIMUM)
        after = None if cursor is None else _place(cursor)
        rows = self.store.scan(scope, criteria, after)
        found = list(islice(rows, offset, offset + limit + 1))
        more = len(found) > limit
        return Page(
            [Document.of(row) for row in found[:limit]],
            _cursor(found[limit - 1].key) if more else None,
        )


def _cursor(last: RowKey) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.id, last.label]).encode()).decode()


def _place(cursor: object) -> RowKey:
    """Where a cursor points to; a forged one, to another place in what the caller may read."""
    if isinstance(cursor, str):
        with suppress(ValueError, TypeError, RecursionError):
            row_id, label = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
            if isinstance(label, str):
                return RowKey(label, ChunkId.parse(row_id))
    raise InvalidInputError("that is no cursor of a list: begin without one")
