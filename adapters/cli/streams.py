"""Standard streams as the commands rely on them, whatever a process was started with."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from tenantkb.adapters.cli.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare() -> None:
    """Make the standard streams of this process usable.

    Texts are UTF-8, whatever the locale: JSON is, and so are the paths and texts of repositories. A
    process whose locale has another encoding for file names starts anew without that.

    A stream that is closed is opened in the wrong direction, so that using it fails as on a closed
    one, and no file that is opened later takes its number and what is printed.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 # itself
    for number, wrong in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, wrong), True)  # gets the lowest free number
    sys.stdout = _text(_StandardOutput(1, "wb", closefd=False), by_line=os.isatty(1))
    sys.stderr = _text(_StandardError(2, "wb", closefd=False), by_line=True)


def discard(*numbers: int) -> None:
    """Let what is still to be written to standard streams vanish: they take no more."""
    for number in numbers:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


class ClosedPipe(BaseException):
    """Nobody reads a standard stream any more: SIGPIPE, if Python did not ignore it.

    It is no error, so that nothing on the way takes it for one that it knows.
    """


def _text(stream: io.FileIO, *, by_line: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=by_line,
    )


class _StandardOutput(io.FileIO):
    """Tells its errors from those of all other files."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as error:
            raise OutputError(f"cannot write standard output: {error.strerror}") from error


class _StandardError(io.FileIO):
    """Loses what cannot be written: no job is broken off because nobody can be told of it."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError:
            return memoryview(data).nbytes
