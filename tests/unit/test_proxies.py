"""By which proxy an embedding service is reached, with real proxies on the loopback interface."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.embedders.openai import OpenAIEmbedder
from tenantkb.adapters.embedders.proxies import is_loopback, proxy_of
from tenantkb.domain.errors import ConfigurationError, EmbedderError
from tests.embedding_server import DIMENSION, EmbeddingServer, embedding_server

ELSEWHERE = "http://embeddings.invalid/v1"
"""A name that no resolver knows (RFC 6761, section 6.4): only a proxy can answer for it."""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def embed(base_url: str, **settings: Any) -> None:
    with closing(
        OpenAIEmbedder(
            model="m", dimension=DIMENSION, base_url=base_url, first_wait_seconds=0.001, **settings
        )
    ) as embedder:
        np.testing.assert_allclose(
            embedder.embed(["one"]), HashingEmbedder(DIMENSION).embed(["one"]), atol=1e-7
        )


@contextmanager
def socks_proxy(server: EmbeddingServer) -> Iterator[tuple[str, list[bytes]]]:
    """A SOCKS5 proxy (RFC 1928) that leads to the server, whatever it is asked for."""
    asked: list[bytes] = []
    port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])

    def serve(listener: socket.socket) -> None:
        inbound, _ = listener.accept()
        with inbound, socket.create_connection(("127.0.0.1", port)) as outbound:
            inbound.recv(3)  # version 5, one method, no authentication
            inbound.sendall(b"\x05\x00")
            asked.append(inbound.recv(300))
            inbound.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            back = Thread(target=copy, args=(outbound, inbound))
            back.start()
            copy(inbound, outbound)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, args=(listener,))
        thread.start()
        yield f"socks5://127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def nobody() -> str:
    """An address of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("scheme", ["socks5://", "http://", ""])
def test_a_loopback_address_is_reached_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, scheme + nobody())
    with embedding_server() as server:
        embed(server.base_url)


def test_a_socks_proxy_carries_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    with embedding_server() as server, socks_proxy(server) as (address, asked):
        monkeypatch.setenv("ALL_PROXY", address)
        embed(ELSEWHERE)
    assert b"embeddings.invalid" in asked[0]


def test_without_its_package_a_socks_proxy_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hunter2@127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"^ALL_PROXY .*tenantkb\[socks\].*NO_PROXY") as e:
        embed(ELSEWHERE)
    assert "hunter2" not in str(e.value)


@pytest.mark.parametrize("address", ["socks4://127.0.0.1:9", "ftp://127.0.0.1", "http://[::1"])
def test_a_variable_that_names_no_proxy_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("https_proxy", address)
    with pytest.raises(ConfigurationError, match=r"^https_proxy names no proxy's address"):
        embed("https://embeddings.invalid/v1")


def test_a_proxy_that_is_not_there_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", nobody())  # without a scheme, as curl takes it
    with pytest.raises(EmbedderError, match="through the proxy that HTTP_PROXY names: ConnectErr"):
        embed(ELSEWHERE, attempts=1)


def test_what_no_proxy_names_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org,.invalid")
    assert proxy_of(httpx.URL(ELSEWHERE)) is None
    assert proxy_of(httpx.URL("http://embeddings.example/v1")) is not None


def test_the_variable_of_the_scheme_counts_before_the_one_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://a:1")
    monkeypatch.setenv("https_proxy", "http://b:2")
    found = [proxy_of(httpx.URL(f"{scheme}://x.example")) for scheme in ("http", "https")]
    assert [(each.address, each.origin) for each in found if each] == [
        ("http://a:1", "ALL_PROXY"),
        ("http://b:2", "https_proxy"),
    ]


@given(st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_all_of_the_loopback_network_is_this_machine(address: object) -> None:
    assert is_loopback(str(address))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("ollama.localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", True),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("128.0.0.1", False),
        ("192.168.0.1", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
