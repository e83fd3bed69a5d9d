"""Signed tokens, with real keys, for tests of what authenticates by them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ec

from tenantkb.adapters.configuration.settings import IdentitySettings
from tenantkb.domain.identity import AgentIdentity

ISSUER, AUDIENCE = "https://issuer.example", "tenantkb"


@frozen
class Signer:
    """A key, and the file with its public part.

    Attributes:
        file: Where the public keys are.
        name: What tokens call the key.
        key: The key.
    """

    file: Path
    name: str = "current"
    key: ec.EllipticCurvePrivateKey = field(
        factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    def publish(self, others: Iterable[Signer] = ()) -> None:
        """Have the file hold this key and those of others, and no more."""
        keys = [
            {
                **jwt.algorithms.ECAlgorithm.to_jwk(each.key.public_key(), as_dict=True),
                "kid": each.name,
                "alg": "ES256",
                "use": "sig",
            }
            for each in (self, *others)
        ]
        self.file.write_text(json.dumps({"keys": keys}))

    def settings(self) -> IdentitySettings:
        """What accepts its tokens."""
        return IdentitySettings(
            kind="token", keys=self.file, issuer=ISSUER, audience=AUDIENCE, algorithm="ES256"
        )

    def token(self, who: AgentIdentity, now: datetime, **changes: Any) -> str:
        """A token of somebody that holds for a month."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": who.agent_id,
            "exp": int((now + timedelta(days=30)).timestamp()),
            "tenant": who.tenant_id,
            "roles": sorted(role.value for role in who.roles),
            **changes,
        }
        return jwt.encode(claims, self.key, "ES256", headers={"kid": self.name})
