"""An identity from a signed token: what a transport that others reach authenticates with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jwt

from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConfigurationError,
    InvalidInputError,
)
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.ports.clock import Clock

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
                     "ES512", "EdDSA")  # fmt: skip
"""Signatures that a verifier can check without being able to make them."""

TOKEN_LENGTH: Final = 16 * 2**10
"""Of a token, in characters: what is longer is refused before anything of it is parsed."""

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

    def authenticate(
        self, credential: str | None = None, tenant_id: str | None = None
    ) -> AgentIdentity:
        if not isinstance(credential, str) or not credential:
            raise AuthenticationError("there is no token")
        if len(credential) > TOKEN_LENGTH:
            raise AuthenticationError(f"a token has at most {TOKEN_LENGTH:,} characters")
        keys = self._read_keys()
        try:
            # The library would judge exp, nbf and iat by the system's clock: required here, judged
            # below.
            claims = jwt.decode(
                credential,
                key=_named(keys, jwt.get_unverified_header(credential).get("kid")),
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
        except (jwt.PyJWTError, ValueError, TypeError) as error:  # it raises the others as well
            raise AuthenticationError(f"the token is not accepted: {error}") from error
        identity = self._identity(claims)
        self._require_current(claims, identity)
        if tenant_id not in (None, identity.tenant_id):
            raise AccessDeniedError(
                f"the caller is of tenant {identity.tenant_id}, and acts for no other"
            )
        return identity

    def _read_keys(self) -> list[tuple[str | None, Any]]:
        """The keys that make signatures of the pinned algorithm, each with its ``kid``.

        A set may hold others, of another kind or for encryption. A key in PEM goes by no name.
        """
        try:
            text = self._keys.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the keys in {self._keys}: {error}") from error
        try:
            if self._keys.suffix in (".json", ".jwks"):
                keys = list(_keys_of(json.loads(text), self._algorithm))
            else:
                algorithm = jwt.get_algorithm_by_name(self._algorithm)
                keys = [(None, algorithm.prepare_key(text))]
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise ConfigurationError(f"{self._keys} is no key and no JWK set: {error}") from error
        if not keys:
            raise ConfigurationError(f"{self._keys} has no key for {self._algorithm}")
        if any(hasattr(key, "private_bytes") for _, key in keys):
            raise ConfigurationError(f"{self._keys} holds a private key, which only a signer needs")
        return keys

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
        latest = (now + self._leeway).timestamp()
        if "nbf" in claims and not _seconds(claims, "nbf") <= latest:  # NaN is never reached
            raise AuthenticationError("the token is not accepted: it is not valid yet")


def _keys_of(document: Any, algorithm: str) -> Iterator[tuple[str | None, Any]]:
    """The keys of a JWK set that are for signatures of this algorithm, each with its ``kid``."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise jwt.PyJWKSetError("expected an object with a list of keys")
    for entry in document["keys"]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        if entry.get("alg", algorithm) == algorithm:
            with suppress(jwt.PyJWTError):  # a key of another type
                yield entry.get("kid"), jwt.PyJWK(entry, algorithm).key


def _named(keys: list[tuple[str | None, Any]], name: str | None) -> Any:
    """The key that a token names by ``kid``; the only one there is, if one of the two has none."""
    nameless = name is None or [kid for kid, _ in keys] == [None]
    found = [key for kid, key in keys if nameless or kid == name]
    if len(found) != 1:
        raise AuthenticationError("the token is not accepted: it names no known key")
    return found[0]


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AuthenticationError(f"the token is not accepted: malformed {name}")
    return value
