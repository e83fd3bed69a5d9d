"""Where identities come from."""

from __future__ import annotations

from typing import Protocol

from tenantkb.domain.identity import AgentIdentity


class IdentityProvider(Protocol):
    """Authenticates a caller."""

    def authenticate(self, credential: str | None = None) -> AgentIdentity:
        """Tell who is calling.

        Args:
            credential: What the transport received as proof, such as a signed token; ``None`` where
                the provider has another source (the operator's own machine).

        Raises:
            AuthenticationError: the caller is not known, or the proof does not hold.
        """
        ...
