"""List what an identity may read."""

from __future__ import annotations

from itertools import islice
from typing import Final

from attrs import frozen

from tenantkb.application.reading.base import ReadUseCase
from tenantkb.domain.documents import Document
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria

_MAXIMUM: Final = 2**31 - 1
"""Of a limit or an offset: more than a collection holds, and few enough for an index."""


@frozen
class ListDocuments(ReadUseCase):
    """The readable chunks, page by page."""

    def __call__(
        self,
        identity: AgentIdentity | None,
        *,
        limit: int = 100,
        offset: int = 0,
        criteria: Criteria = ANY,
    ) -> list[Document]:
        """Documents ``offset`` to ``offset + limit`` by ascending id.

        The order does not depend on what other tenants write. The offset counts documents that the
        caller may read: what is withheld leaves no gap.

        Raises:
            AuthenticationError: no valid identity.
            InvalidInputError: ``limit`` is not within 1 to 2,147,483,647, or ``offset`` not within
                0 to 2,147,483,647.
        """
        scope = self._scope(identity)
        for value, minimum, name in ((limit, 1, "limit"), (offset, 0, "offset")):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not minimum <= value <= _MAXIMUM:
                raise InvalidInputError(
                    f"the {name} is a whole number from {minimum} to {_MAXIMUM:,}"
                )
        readable = self._scan(scope, criteria)
        return [Document.of(row) for row in islice(readable, offset, offset + limit)]
