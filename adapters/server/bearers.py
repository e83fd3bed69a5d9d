"""Who sends a request over HTTP: a bearer token (RFC 6750), judged anew for each one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import structlog
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from pydantic import ConfigDict
from starlette.types import Scope

from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import AccessDeniedError, AuthenticationError

_logger = structlog.get_logger("tenantkb.server")


class Admitted(AccessToken):
    """A token that holds, with the standing that it gives."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    context: TenantContext


class Verifier:
    """Implements the SDK's ``TokenVerifier`` over the face.

    Args:
        authenticate: A token to a context.
    """

    def __init__(self, authenticate: Callable[[str], TenantContext]) -> None:
        self._authenticate = authenticate

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            context = self._authenticate(token)
        except (AuthenticationError, AccessDeniedError) as error:
            _logger.warning("token refused", reason=str(error))
            return None
        identity = context.identity
        return Admitted(
            token="",  # nobody needs it any more
            client_id=f"{identity.tenant_id}/{identity.agent_id}",
            subject=identity.agent_id,
            scopes=[],
            expires_at=None,  # the provider has judged it, and the guard judges it again
            claims={"iss": identity.tenant_id},  # with the subject, whose a session is
            context=context,
        )


def context_of(scope: Scope) -> TenantContext:
    """The standing of whoever sent the request of an ASGI scope.

    Raises:
        AuthenticationError: nobody whose token holds.
    """
    user: Any = scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        raise AuthenticationError("a bearer token is needed")
    return cast(Admitted, user.access_token).context


def request_id_of(scope: Scope) -> str:
    """The id under which the log tells of the request of an ASGI scope."""
    return str(scope.get("state", {}).get("request_id", ""))
