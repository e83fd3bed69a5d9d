"""A checkout's files and history, from git itself."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from tenantkb.domain.errors import ConfigurationError, InvalidInputError
from tenantkb.domain.paths import require_source_path
from tenantkb.domain.records import printable

_PLACES: Final = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_PREFIX"}
)
"""Git sets these for its hooks; they outweigh the folder that a command is told to work in."""

_HARMLESS: Final = (
    *("--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
)
"""A checkout's own configuration may name programs; these outweigh it, so that none is run."""

_OFFLINE: Final = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
"""A partial clone would fetch what it lacks, by a program that its configuration may name."""

_PATIENCE: Final = 300.0
"""Seconds; what git opens may be a pipe that nobody writes to."""

_SUBMODULE: Final = b"160000 "
_FILE: Final = b"100"
"""How the mode of a regular file begins; those of links and submodules begin otherwise."""

_HEAD_FIELDS: Final = 3
_PIECE: Final = 1 << 16

_COMMIT: Final = re.compile(rb"[0-9a-f]{40,64}\n")
"""What git answers for one commit; for ``^main``, the absence of one, it answers more."""


@frozen
class Listing:
    """What git takes to be in a folder of a checkout; paths are relative to it.

    Attributes:
        files: Tracked files, whether they are there or not, and those that it does not ignore.
        submodules: Folders that hold a commit of another repository.
        nested: Folders that hold another repository, or another checkout of this one, and are no
            submodule.
        is_ignored: Whether it ignores the folder itself.
    """

    files: frozenset[str]
    submodules: frozenset[str]
    nested: frozenset[str]
    is_ignored: bool


class GitCheckout:
    """Implements :class:`ports.history.DeletedPaths`.

    Args:
        folder: What source paths are relative to: the root of a checkout, a folder inside one, or
            a bare repository.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commit(self, revision: str) -> str:
        """The full id of the commit that a branch, tag or abbreviated id stands for at present.

        Raises:
            InvalidInputError: the folder is in no git repository, or that has no such commit.
            ConfigurationError: git is not installed.
        """
        done = self._git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        if done.returncode == 0 and _COMMIT.fullmatch(done.stdout):
            return done.stdout.decode().strip()
        if done.stderr:
            raise self._failed(done)
        raise InvalidInputError(
            f"{self._folder} has no commit {printable(revision)}; nothing was deleted. If its "
            "history was rewritten or cut off, send a manifest of all paths with the head alone"
        )

    def between(self, base: str, head: str) -> frozenset[str]:
        names = self._names(
            "diff-tree",
            "-r",
            "-z",
            "--name-only",
            "--no-renames",
            "--diff-filter=D",
            "--relative",
            self.commit(base),
            self.commit(head),
        )
        return frozenset(path for name in names if (path := _source_path(name)) is not None)

    def is_ancestor(self, base: str, head: str) -> bool:
        """Whether the history of ``head`` has ``base`` in it; not if the checkout lacks one."""
        return self._git("merge-base", "--is-ancestor", base, head).returncode == 0

    def changed(self, base: str, head: str) -> dict[str, str]:
        """The files that ``head`` has otherwise than ``base``, or has alone: their blobs by path.

        Both are full ids of commits, see :meth:`commit`. Links, submodules and names that no
        stored row can have are left out, as in :meth:`tree`.
        """
        fields = iter(
            self._names(
                *("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev"),
                *("--diff-filter=d", "--relative", base, head),
            )
        )
        return _blobs((entry.split()[1], entry.split()[3], next(fields)) for entry in fields)

    def tree(self, head: str) -> dict[str, str]:
        """All files of a commit: their blobs by path."""
        entries = (entry.partition(b"\t") for entry in self._names("ls-tree", "-r", "-z", head))
        return _blobs((what.split()[0], what.split()[2], name) for what, _, name in entries)

    def contents(self, blobs: Iterable[str], most: int) -> Iterator[bytes | None]:
        """What blobs hold, one after the other; ``None`` for one of more than ``most`` bytes.

        Raises:
            InvalidInputError: the checkout lacks one, as a partial clone may.
        """
        with self._started("cat-file", "--batch") as process:
            if process.stdin is None or process.stdout is None:
                raise InvalidInputError("git cannot be talked to")
            for blob in blobs:
                process.stdin.write(f"{blob}\n".encode())
                process.stdin.flush()
                head = process.stdout.readline().split()
                if len(head) != _HEAD_FIELDS or head[1] != b"blob":
                    raise InvalidInputError(f"{self._folder} lacks the content of {blob}")
                left = int(head[2])
                if left <= most:
                    yield process.stdout.read(left)
                else:
                    while left:
                        left -= len(process.stdout.read(min(left, _PIECE)))
                    yield None
                process.stdout.read(1)
            process.stdin.close()

    def listing(self) -> Listing:
        """The files that are tracked or not ignored, as git tells them.

        No program that the checkout names is run, and nothing is fetched.

        Raises:
            InvalidInputError: the folder is in no checkout, or git does not read it, as one of
                another user.
            ConfigurationError: git is not installed.
        """
        tracked = self._names("ls-files", "-z", "--stage")
        others = self._names("ls-files", "-z", "--others", "--exclude-standard")
        entries = [entry.partition(b"\t") for entry in tracked]
        files = {path for mode, _, path in entries if not mode.startswith(_SUBMODULE)}
        nested = {path for path in others if path.endswith(b"/")}
        return Listing(
            files=frozenset(map(os.fsdecode, files | set(others) - nested)),
            submodules=frozenset(
                os.fsdecode(path) for mode, _, path in entries if mode.startswith(_SUBMODULE)
            ),
            nested=frozenset(os.fsdecode(path.removesuffix(b"/")) for path in nested),
            is_ignored=not tracked and self._is_ignored(),
        )

    def _is_ignored(self) -> bool:
        """Whether a pattern is about the folder itself; the uppermost one is beyond patterns."""
        above = self._git("rev-parse", "--show-prefix").stdout.strip()
        return above != b"" and self._git("check-ignore", "--quiet", ".").returncode == 0

    def _names(self, *arguments: str) -> list[bytes]:
        """What a command prints, each ended by NUL."""
        done = self._git(*arguments)
        if done.returncode != 0:
            raise self._failed(done)
        return done.stdout.split(b"\0")[:-1]

    def origin(self) -> str | None:
        """The address of the remote of this name, if there is one.

        Raises:
            ConfigurationError: git is not installed.
        """
        done = self._git("config", "--get", "remote.origin.url")
        return done.stdout.decode(errors="replace").strip() or None

    def _command(self, *arguments: str) -> list[str]:
        return ["git", *_HARMLESS, "-C", str(self._folder), *arguments]

    @contextmanager
    def _started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that is talked to; ended with what is within."""
        try:
            process = subprocess.Popen(  # noqa: S603 # as in _git
                self._command(*arguments),
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise ConfigurationError(f"git cannot be run: {error.strerror}") from error
        with process:
            try:
                yield process
            finally:
                process.kill()

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(  # noqa: S603 # no shell; what a caller gives stands behind --end-of-options
                self._command(*arguments),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_PATIENCE,
            )
        except OSError as error:
            raise ConfigurationError(f"git cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise InvalidInputError(f"git did not answer within {_PATIENCE:.0f} seconds") from error

    def _failed(self, done: subprocess.CompletedProcess[bytes]) -> InvalidInputError:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        reason = printable(said.removeprefix("fatal: "))
        return InvalidInputError(f"git cannot read {self._folder}: {reason}")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _PLACES}
    return {**kept, **_OFFLINE, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def _blobs(entries: Iterable[tuple[bytes, bytes, bytes]]) -> dict[str, str]:
    """Blobs by source path, of entries with mode, blob and name; regular files alone."""
    return {
        path: blob.decode()
        for mode, blob, name in entries
        if mode.startswith(_FILE) and (path := _source_path(name)) is not None
    }


def _source_path(name: bytes) -> str | None:
    """A file's name as a source path; ``None`` for one that no stored row can have."""
    try:
        return require_source_path(name.decode())
    except (UnicodeDecodeError, InvalidInputError):
        return None
