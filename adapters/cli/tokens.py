"""Keys and tokens for development. In production an identity provider makes them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from tenantkb.adapters.cli.errors import cannot
from tenantkb.adapters.cli.session import Session, common_options, pass_session
from tenantkb.adapters.wire.objects import json_text
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import Role, require_agent_id, require_tenant_id

ISSUER: Final = "urn:tenantkb:for-development-only"
AUDIENCE: Final = "tenantkb"

_PRIVATE: Final = "FOR-DEVELOPMENT-ONLY.pem"
_PUBLIC: Final = "keys.json"
_KEY_ID: Final = "for-development-only"
_BITS: Final = 2048
_SETTINGS: Final = """\
Made keys for development: whoever has the folder can be anybody. The settings that trust them:

[identity]
kind = "token"
keys = "{keys}"
issuer = "{issuer}"
audience = "{audience}"
"""


@click.command("token")
@click.argument("caller", metavar="TENANT/AGENT")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in Role if role is not Role.AGENT]),
    help="A role besides agent; may be repeated.",
)
@click.option("--hours", type=click.FloatRange(0, 24 * 365), default=8, show_default=True)
@click.option(
    "--keys",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tenantkb/development-keys"),
    show_default=True,
    help="Folder of the keys, which are made if there are none.",
)
@common_options
@pass_session
def token_command(
    session: Session, caller: str, roles: tuple[str, ...], hours: float, folder: Path
) -> int:
    """Make a token for development.

    It is one that a server accepts whose identity.keys are those of the folder. In production
    tokens come from an identity provider, whose public keys alone the server has.
    """
    import jwt

    tenant, _, agent = caller.partition("/")
    if not agent:
        raise InvalidInputError("a caller is TENANT/AGENT")
    try:
        is_new = not (folder / _PRIVATE).exists()
        if is_new:
            _make_keys(folder)
        key = (folder / _PRIVATE).read_bytes()
    except OSError as error:
        raise cannot("write keys in", folder, error) from error
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": require_agent_id(agent),
        "tenant": require_tenant_id(tenant),
        "roles": list(roles),
        "iat": now,
        "exp": now + timedelta(hours=hours),
    }
    made = jwt.encode(claims, key, algorithm="RS256", headers={"kid": _KEY_ID})
    if session.json:
        told = {"token": made, "keys": str(folder / _PUBLIC), "issuer": ISSUER}
        click.echo(json_text(told | {"audience": AUDIENCE}))
        return 0
    if is_new:
        keys = (folder / _PUBLIC).resolve()
        click.echo(_SETTINGS.format(keys=keys, issuer=ISSUER, audience=AUDIENCE), err=True)
    click.echo(made)
    return 0


def _make_keys(folder: Path) -> None:
    """A private key, which only the user may read, and the set of its public one (RFC 7517)."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )
    from jwt.algorithms import RSAAlgorithm

    key = generate_private_key(public_exponent=65537, key_size=_BITS)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / _PUBLIC).write_text(
        json_text({"keys": [public | {"kid": _KEY_ID, "use": "sig", "alg": "RS256"}]})
    )
    opened = os.open(folder / _PRIVATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "wb") as stream:  # the last, so that a broken-off run begins anew
        stream.write(text)
