"""Identity providers: configuration, and signed tokens with real keys."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from attrs import define
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tenantkb.adapters.identity.signed_token import TOKEN_LENGTH, SignedTokenIdentityProvider
from tenantkb.adapters.identity.static import StaticIdentityProvider
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConfigurationError,
    InvalidInputError,
)
from tenantkb.domain.identity import AgentIdentity, Role, require_agent_id, require_tenant_id
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.testing.samples import NOW

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048).public_key()
ISSUER, AUDIENCE = "https://issuer.example", "tenantkb"


@define
class FixedClock:
    instant: datetime = NOW

    def now(self) -> datetime:
        return self.instant


def jwk(key: ec.EllipticCurvePrivateKey, name: str) -> dict[str, Any]:
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": name, "alg": "ES256", "use": "sig"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    useless = [
        {**jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True), "kid": "of-another-kind"},
        {**jwk(KEY, "for-encryption"), "use": "enc"},
        {**jwk(KEY, "for-es512"), "alg": "ES512"},
    ]
    file.write_text(json.dumps({"keys": [jwk(KEY, "new"), jwk(OTHER_KEY, "old"), *useless]}))
    return file


def provider(keys: Path, **changes: Any) -> SignedTokenIdentityProvider:
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "algorithm": "ES256", **changes}
    return SignedTokenIdentityProvider(FixedClock(), keys=keys, **settings)


def token(key: Any = KEY, algorithm: str = "ES256", kid: str | None = "new", **changes: Any) -> str:
    claims = {
        "iss": ISSUER,
        "aud": [AUDIENCE, "another"],
        "sub": "ada",
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
        "tenant": "acme",
        "roles": ["agent", "curator"],
        **changes,
    }
    present = {name: value for name, value in claims.items() if value is not ...}
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(present, key, algorithm, headers=headers)


def test_a_good_token_gives_its_identity(keys: Path) -> None:
    assert provider(keys).authenticate(token()) == AgentIdentity(
        "acme", "ada", frozenset({Role.AGENT, Role.CURATOR}), NOW + timedelta(minutes=5)
    )
    assert provider(keys).authenticate(token(OTHER_KEY, kid="old", roles=...)).roles == {Role.AGENT}


def test_a_single_key_in_pem_serves_as_well(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(
        KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    assert provider(file).authenticate(token(kid=None)).tenant_id == "acme"
    with pytest.raises(AuthenticationError):
        provider(file).authenticate(token(OTHER_KEY, kid=None))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": ...},
        {"aud": "another"},
        {"aud": ...},
        {"exp": ...},
        {"exp": int(NOW.timestamp())},
        {"exp": int(NOW.timestamp()) - 3600},
        {"exp": True},
        {"exp": 1e300},
        {"nbf": int(NOW.timestamp()) + 60},
        {"nbf": "soon"},
        {"nbf": float("nan")},
        {"sub": ...},
        {"sub": ""},
        {"tenant": ...},
        {"tenant": None},
        {"tenant": "ACME"},
        {"tenant": ["acme"]},
        {"tenant": "acme "},
        {"roles": "operator"},
        {"roles": ["root"]},
        {"roles": [["operator"]]},
        {"roles": None},
        {"kid": "unknown"},
        {"kid": "of-another-kind"},
        {"kid": "for-encryption"},
        {"kid": "for-es512"},
        {"kid": None},
        {"key": OTHER_KEY},
    ],
)
def test_a_token_with_anything_wrong_is_refused(keys: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationError):
        provider(keys).authenticate(token(**changes))


def test_the_algorithm_is_the_configured_one_whatever_the_token_says(keys: Path) -> None:
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _, payload, _ = token().split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"new","typ":"JWT"}').rstrip(b"=")
    signed = header + b"." + payload.encode()
    confused = base64.urlsafe_b64encode(hmac.digest(public, signed, "sha256")).rstrip(b"=")
    for forged in (
        token(None, "none"),
        (signed + b"." + confused).decode(),
        token(rsa.generate_private_key(65537, 2048), "RS256"),
    ):
        with pytest.raises(AuthenticationError):
            provider(keys).authenticate(forged)


@pytest.mark.parametrize("credential", [None, "", "x", "a.b.c", "é.é.é", "\udc80.a.b", 7])
def test_what_is_no_token_is_refused(keys: Path, credential: Any) -> None:
    with pytest.raises(AuthenticationError):
        provider(keys).authenticate(credential)


def test_a_token_that_is_too_long_is_refused_before_anything_of_it_is_parsed(keys: Path) -> None:
    longest = token(filler="")
    longest = token(filler="x" * ((TOKEN_LENGTH - len(longest)) * 3 // 4))
    assert TOKEN_LENGTH - 8 < len(longest) <= TOKEN_LENGTH == 16_384
    assert provider(keys).authenticate(longest).tenant_id == "acme"
    keys.unlink()  # whoever looked at the token would look for its key
    with pytest.raises(AuthenticationError, match="16,384 characters"):
        provider(keys).authenticate(longest + "x" * 8)


def test_the_tenant_that_a_caller_wishes_is_the_tokens_or_refused(keys: Path) -> None:
    assert provider(keys).authenticate(token(), "acme").tenant_id == "acme"
    for other in ("beta", "neo-shared", "", "ACME"):
        with pytest.raises(AccessDeniedError):
            provider(keys).authenticate(token(), other)


def test_a_key_that_is_taken_out_stops_counting(keys: Path) -> None:
    authenticate = provider(keys).authenticate
    authenticate(token())
    keys.write_text(json.dumps({"keys": [jwk(OTHER_KEY, "old")]}))
    with pytest.raises(AuthenticationError):
        authenticate(token())


def test_the_leeway_prolongs_a_token_and_its_identity(keys: Path) -> None:
    expired = token(exp=int(NOW.timestamp()) - 10)
    identity = provider(keys, leeway=timedelta(seconds=30)).authenticate(expired)
    assert identity.expires_at == NOW + timedelta(seconds=20)


@pytest.mark.parametrize(
    "changes", [{"algorithm": "HS256"}, {"algorithm": "none"}, {"issuer": ""}, {"audience": ""}]
)
def test_weak_settings_are_refused(keys: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        provider(keys, **changes)


def test_unreadable_keys_are_the_operators_fault_not_the_callers(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        provider(tmp_path / "none.json").authenticate(token())
    for name, text in (
        ("bad.json", "{"),
        ("bad.json", "[]"),
        ("bad.json", '{"keys": 7}'),
        ("bad.json", '{"keys": [7, {"kty": "EC"}, {"kty": "oct", "k": "c2VjcmV0"}]}'),
        ("bad.json", "[" * 100_000),
        ("bad.json", json.dumps({"keys": [jwt.algorithms.ECAlgorithm.to_jwk(KEY, as_dict=True)]})),
        ("bad.pem", "secret"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigurationError):
            provider(tmp_path / name).authenticate(token())


def test_with_nothing_configured_the_caller_curates_the_shared_corpus() -> None:
    identity = StaticIdentityProvider(SharedNamespace()).authenticate()
    assert identity.tenant_id == "neo-shared"
    assert Role.CURATOR in identity.roles


def test_a_configured_tenant_is_no_curator() -> None:
    identity = StaticIdentityProvider(SharedNamespace(), "acme", "ada").authenticate()
    assert identity == AgentIdentity("acme", "ada", frozenset({Role.AGENT}))


def test_who_can_configure_the_machine_acts_for_any_tenant() -> None:
    authenticate = StaticIdentityProvider(SharedNamespace(), "acme", "ada").authenticate
    assert authenticate(tenant_id="beta") == AgentIdentity("beta", "ada")
    assert authenticate(tenant_id="neo-shared").roles == {Role.AGENT, Role.CURATOR}
    with pytest.raises(InvalidInputError):
        authenticate(tenant_id="BETA")


def test_configuration_takes_no_proof() -> None:
    with pytest.raises(AuthenticationError):
        StaticIdentityProvider(SharedNamespace()).authenticate("token")


@pytest.mark.parametrize("good", ["a", "7", "a-b", "a--b", "a" * 64, "neo-shared"])
def test_tenant_ids(good: str) -> None:
    assert require_tenant_id(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "-a",
        "a-",
        "A",
        "a_b",
        "a.b",
        "a" * 65,
        " a",
        "a\n",
        "а",
        "ａ",
        "a\0",
        None,
        7,
        ["a"],
        b"a",
    ],
)
def test_what_is_no_tenant_id(bad: object) -> None:
    with pytest.raises(InvalidInputError):
        require_tenant_id(bad)


@pytest.mark.parametrize("good", ["a", "a" * 256, "Ada Lovelace", "ada:bob", "ä"])
def test_agent_ids(good: str) -> None:
    assert require_agent_id(good) == good


@pytest.mark.parametrize("bad", ["", " a", "a ", "a\n", "a\0", "a" * 257, "\ud800", None, 7])
def test_what_is_no_agent_id(bad: object) -> None:
    with pytest.raises(InvalidInputError):
        require_agent_id(bad)


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant_id": "ACME"},
        {"agent_id": ""},
        {"roles": {Role.OPERATOR}},
        {"roles": frozenset({"operator"})},
        {"roles": None},
        {"expires_at": NOW.replace(tzinfo=None)},
        {"expires_at": "2026-01-31T09:30:00Z"},
    ],
)
def test_an_identity_holds_nothing_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        AgentIdentity(**{"tenant_id": "acme", "agent_id": "ada", **changes})
