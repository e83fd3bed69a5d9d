"""Nearest readable rows to a text: what asking has in common, whatever is shown of the answer."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from tenantkb.application.reading.base import ReadUseCase, require_criteria
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.paths import is_well_formed
from tenantkb.domain.rows import Criteria, Match
from tenantkb.ports.embedding import Embedder

LIMIT_MAXIMUM: Final = 1_000
"""The most rows that one question is answered with."""


@frozen
class RankedReadUseCase(ReadUseCase):
    """Base of the use cases that rank by similarity.

    Attributes:
        embedder: The one that embedded the collection.
    """

    embedder: Embedder

    def _ranked(
        self, identity: AgentIdentity | None, text: str, limit: int, criteria: Criteria
    ) -> list[Match]:
        """The ``limit`` best rows that the identity may read, best first.

        Raises:
            AuthenticationError: no valid identity.
            InvalidInputError: the text is blank, or ``limit`` is not within 1 to 1,000.
            StoreMismatchError: the collection was embedded by another embedder.
        """
        scope = self._scope(identity)
        if not isinstance(text, str) or not text.strip() or not is_well_formed(text):
            raise InvalidInputError("a question needs some text")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LIMIT_MAXIMUM:
            raise InvalidInputError(f"the limit is a whole number from 1 to {LIMIT_MAXIMUM:,}")
        require_criteria(criteria)
        profile = self.store.profile()
        if profile is None:
            return []
        profile.require(self.embedder.profile)
        vector = self.embedder.embed([text])[0]
        matches = self.store.query(scope, vector, limit, criteria)
        return [match for match in matches if self._admit(scope, match.row)]
