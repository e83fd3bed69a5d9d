"""Where identities come from."""

from __future__ import annotations

from typing import Protocol

from tenantkb.domain.identity import AgentIdentity


class IdentityProvider(Protocol):
    """Authenticates a caller."""

    def authenticate(
        self, credential: str | None = None, tenant_id: str | None = None
    ) -> AgentIdentity:
        """Tell who is calling.

        Args:
            tenant_id: The tenant that the caller wants to act for; never more than a wish.
            credential: What the transport received as proof, such as a signed token; ``None`` where
                the provider has another source (the operator's own machine).

        Raises:
            AuthenticationError: the caller is not known, or the proof does not hold.
            AccessDeniedError: it proves that the caller is another tenant's.
        """
        ...
