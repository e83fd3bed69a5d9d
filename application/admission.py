"""From a credential to a context: the only way into the application."""

from __future__ import annotations

from attrs import frozen

from tenantkb.domain.context import TenantContext
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.ports.clock import Clock
from tenantkb.ports.identity import IdentityProvider


@frozen
class Authenticate:
    """Tell who is calling, and give the caller its standing.

    Attributes:
        identities: Authenticates.
        namespace: The shared namespace of the installation.
        clock: Tells the instant of the admission.
    """

    identities: IdentityProvider
    namespace: SharedNamespace
    clock: Clock

    def __call__(
        self, credential: str | None = None, tenant_id: str | None = None
    ) -> TenantContext:
        """The context of one request.

        Args:
            credential: What the transport received as proof, such as a signed token; ``None`` where
                the identity provider has another source.
            tenant_id: The tenant that the caller wants to act for, where it may be several.

        Raises:
            AuthenticationError: the caller is not known, or the proof does not hold or no longer.
            AccessDeniedError: the caller is another tenant's, or bears the shared tenant and is no
                curator.
        """
        identity = self.identities.authenticate(credential, tenant_id)
        return TenantContext.admit(identity, self.namespace, self.clock.now())
