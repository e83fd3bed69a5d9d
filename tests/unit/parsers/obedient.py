"""A parser that misbehaves as it is told, for worker processes."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from tenantkb.ports.extraction import ChunkRecord

MEBIBYTES = 1 << 20


class Obedient:
    """Does what the text says, and gives one chunk."""

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        told: object = path
        match content:
            case "sleep":
                time.sleep(60)
            case "spin":
                while True:
                    pass
            case "take memory":
                told = len(bytearray(900 * MEBIBYTES))
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "leave":
                os._exit(3)
            case "connect":
                socket.socket()
            case "environment":
                told = sorted(os.environ)
            case "files":
                told = [file.name for file in Path("/dev/fd").iterdir() if int(file.name) > 2]
            case "interpreter":
                told = os.getpid()
            case "surrogate":
                told = "\ud800 \x00 é"
            case "print":
                print("[]", flush=True)
        return [{"kind": "text", "told": told}]
