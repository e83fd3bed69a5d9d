"""The body of a request as a file, for code in another thread that reads it line by line."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import BinaryIO, cast

from anyio import from_thread


class _Body(io.RawIOBase):
    """Asks for more of a body when it is read, and not before: whoever sends has to wait."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            more = from_thread.run(self._next)
            if more is None:
                return 0
            self._left = more
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    async def _next(self) -> bytes | None:
        return await anext(self._body, None)


def as_file(body: AsyncIterator[bytes]) -> BinaryIO:
    """A body as a file; to be read in a worker thread of the event loop that it belongs to."""
    return cast(BinaryIO, io.BufferedReader(_Body(body), 1 << 16))
