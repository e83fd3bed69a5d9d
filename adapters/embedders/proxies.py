"""By which proxy an address is reached: what the environment says, and when it has no say."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpx
from attrs import field, frozen

from tenantkb.domain.errors import ConfigurationError

_SOCKS: Final = "socks"
_SYSTEM: Final = "the system's settings"


@frozen
class Proxy:
    """A proxy, and who says that it is to be used.

    Attributes:
        address: Its URL, which may hold a password.
        origin: The name of the environment variable.
    """

    address: str = field(repr=False)
    origin: str


def proxy_of(url: httpx.URL) -> Proxy | None:
    """The proxy for ``url``, by the variables that curl reads; none for a loopback address.

    Nothing but this machine answers there (RFC 6890; RFC 6761, section 6.3), whatever is set for
    the world outside.
    """
    if is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    for scheme in (url.scheme, "all"):
        if address := proxies.get(scheme):
            wanted = f"{scheme}_proxy"
            named = (name for name in (wanted, wanted.upper()) if os.environ.get(name))
            return Proxy(address if "://" in address else f"http://{address}", next(named, _SYSTEM))
    return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    name = host.rstrip(".").lower()
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def transport(proxy: Proxy | None) -> httpx.HTTPTransport:
    """What carries requests, by this proxy or by none.

    Raises:
        ConfigurationError: the proxy cannot be used; names the variable and what to do.
    """
    try:
        return httpx.HTTPTransport(proxy=None if proxy is None else proxy.address)
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        if proxy is None:
            raise
        if isinstance(error, ImportError):
            reason = "a SOCKS proxy, which takes a package: pip install 'tenantkb[socks]'"
        else:
            reason = "no proxy's address: expected http://, https:// or socks5://, host and port"
        raise ConfigurationError(
            f"{proxy.origin} names {reason}; or name the server in NO_PROXY"
        ) from None
