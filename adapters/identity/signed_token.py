"""An identity from a signed token: what a transport that others reach authenticates with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jwt

from domain.errors import AuthenticationError, ConfigurationError, InvalidInputError
from domain.identity import AgentIdentity, Role
from ports.clock import Clock

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
                     "ES512", "EdDSA")  # fmt: skip
"""Signatures that a verifier can check without being able to make them."""

_REQUIRED_CLAIMS: Final = ("iss", "aud", "exp", "sub")


class SignedTokenIdentityProvider:
    """Implements :class:`ports.identity.IdentityProvider` over JSON Web Tokens (RFC 7519).

    Issuer, audience, expiry and one algorithm are pinned, as RFC 8725 asks: what the token says of
    its own algorithm decides nothing. The agent is the claim ``sub``; tenant and roles are the
    claims named at construction. A token that lacks one of them, or bears a malformed one, is
    refused whole.

    The key file is read at every authentication, so that a rotated key counts at once and a key
    that was taken out stops counting.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        keys: Path,
        issuer: str,
        audience: str,
        algorithm: str,
        tenant_claim: str = "tenant",
        roles_claim: str = "roles",
        leeway: timedelta = timedelta(0),
    ) -> None:
        """Check the settings; the keys are read later.

        Args:
            clock: Judges the expiry.
            keys: A JWK set (RFC 7517, ``*.json`` or ``*.jwks``) or one public key in PEM.
            issuer: The only accepted ``iss``.
            audience: Must be among the token's ``aud``.
            algorithm: The only accepted signature, one of :data:`ALGORITHMS`.
            tenant_claim: Name of the claim with the tenant id.
            roles_claim: Name of the claim with a list of roles; a token without it is an agent's.
            leeway: How long after its expiry a token still counts.

        Raises:
            ConfigurationError: a setting is empty, or the algorithm is not asymmetric.
        """
        if algorithm not in ALGORITHMS:
            raise ConfigurationError(
                f"the algorithm is one of {', '.join(ALGORITHMS)}, not {algorithm!r}"
            )
        if not issuer or not audience:
            raise ConfigurationError("a signed token needs an issuer and an audience to expect")
        self._clock = clock
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithm = algorithm
        self._tenant_claim = tenant_claim
        self._roles_claim = roles_claim
        self._leeway = leeway

    def authenticate(self, credential: str | None = None) -> AgentIdentity:
        if not isinstance(credential, str) or not credential:
            raise AuthenticationError("there is no token")
        try:
            # The library would judge exp, nbf and iat by the system's clock: required here, judged
            # below.
            claims = jwt.decode(
                credential,
                key=self._key(credential),
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={
                    "require": list(_REQUIRED_CLAIMS),
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise AuthenticationError(f"the token is not accepted: {error}") from error
        identity = self._identity(claims)
        self._require_current(claims, identity)
        return identity

    def _key(self, token: str) -> Any:
        """The key that the token names by ``kid``; the only one there is, if it names none."""
        try:
            text = self._keys.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the keys in {self._keys}: {error}") from error
        if self._keys.suffix not in (".json", ".jwks"):
            return text
        try:
            keys = jwt.PyJWKSet.from_json(text).keys
        except (jwt.PyJWTError, ValueError) as error:
            raise ConfigurationError(f"{self._keys} is not a JWK set: {error}") from error
        name = jwt.get_unverified_header(token).get("kid")
        found = [key for key in keys if key.key_id == name] if name is not None else keys
        if len(found) != 1:
            raise AuthenticationError("the token is not accepted: it names no known key")
        return found[0].key

    def _identity(self, claims: dict[str, Any]) -> AgentIdentity:
        roles = claims.get(self._roles_claim, [])
        known = {role.value: role for role in Role}
        if not isinstance(roles, list) or not all(
            isinstance(role, str) and role in known for role in roles
        ):
            raise AuthenticationError(f"the token is not accepted: malformed {self._roles_claim}")
        try:
            return AgentIdentity(
                tenant_id=claims[self._tenant_claim],
                agent_id=claims["sub"],
                roles=frozenset({Role.AGENT, *(known[role] for role in roles)}),
                expires_at=datetime.fromtimestamp(_seconds(claims, "exp"), UTC) + self._leeway,
            )
        except (KeyError, InvalidInputError, OverflowError, OSError, ValueError) as error:
            raise AuthenticationError(f"the token is not accepted: {error}") from error

    def _require_current(self, claims: dict[str, Any], identity: AgentIdentity) -> None:
        now = self._clock.now()
        if identity.expires_at is None or identity.expires_at <= now:
            raise AuthenticationError("the token is not accepted: it has expired")
        if "nbf" in claims and _seconds(claims, "nbf") > (now + self._leeway).timestamp():
            raise AuthenticationError("the token is not accepted: it is not valid yet")


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AuthenticationError(f"the token is not accepted: malformed {name}")
    return value
