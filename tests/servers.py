"""Real servers for tests."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from attrs import frozen

CHROMA_IMAGE = os.environ.get(
    "TENANTKB_TEST_CHROMA_IMAGE", f"chromadb/chroma:{version('chromadb')}"
)
"""The image of the container; of the installed version, unless the environment says else."""

_START_SECONDS = 30


@frozen
class Address:
    """Where a server answers."""

    host: str
    port: int


@contextmanager
def chroma_process(folder: Path) -> Iterator[Address]:
    """A Chroma server of the installed package, on a free port of the loopback interface.

    ``chroma run`` exits with 0 where its port is taken, and somebody else's server would then
    answer: so a process that has ended is a failure, whatever answers.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", probe.getsockname()[1])
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder)]
    command += ["--host", address.host, "--port", str(address.port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(process, address, folder)
        yield address
    finally:
        process.terminate()
        process.wait(_START_SECONDS)


@contextmanager
def chroma_container() -> Iterator[Address]:
    """A Chroma server in a container; skips the test where no engine runs it."""
    with warnings.catch_warnings():
        # The module decorates with something that its own library has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        from docker.errors import DockerException  # type: ignore[import-untyped]  # has no stubs
        from testcontainers.community.chroma import ChromaContainer

    reason, container = "", None
    try:
        container = ChromaContainer(CHROMA_IMAGE)
    except DockerException as error:
        reason = f"no container engine answers: {error}"
    if container is None:
        with warnings.catch_warnings():
            # The failed client leaves its socket to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        pytest.skip(reason)
    with container:
        config = container.get_config()
        yield Address(config["host"], int(config["port"]))


def _wait_until_up(process: subprocess.Popen[bytes], address: Address, folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            url = f"http://{address.host}:{address.port}/api/v2/heartbeat"
            if httpx.get(url).is_success and process.poll() is None:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail(f"no Chroma server came up: {(folder / 'server.log').read_text()}")
