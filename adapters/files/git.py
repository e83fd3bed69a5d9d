"""A checkout's history, from git itself."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from tenantkb.domain.errors import ConfigurationError, InvalidInputError
from tenantkb.domain.paths import require_source_path
from tenantkb.domain.records import printable

_PLACES: Final = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_PREFIX"}
)
"""Git sets these for its hooks; they outweigh the folder that a command is told to work in."""

_COMMIT: Final = re.compile(rb"[0-9a-f]{40,64}\n")
"""What git answers for one commit; for ``^main``, the absence of one, it answers more."""


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
        done = self._git(
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
        if done.returncode != 0:
            raise self._failed(done)
        names = done.stdout.split(b"\0")[:-1]
        return frozenset(path for name in names if (path := _source_path(name)) is not None)

    def origin(self) -> str | None:
        """The address of the remote of this name, if there is one.

        Raises:
            ConfigurationError: git is not installed.
        """
        done = self._git("config", "--get", "remote.origin.url")
        return done.stdout.decode(errors="replace").strip() or None

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        environment = {name: value for name, value in os.environ.items() if name not in _PLACES}
        try:
            return subprocess.run(  # noqa: S603 # no shell; what a caller gives stands behind --end-of-options
                ["git", "-C", str(self._folder), *arguments],  # noqa: S607 # the user's own git
                env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise ConfigurationError(f"git cannot be run: {error.strerror}") from error

    def _failed(self, done: subprocess.CompletedProcess[bytes]) -> InvalidInputError:
        reason = printable(done.stderr.decode(errors="replace").strip().removeprefix("fatal: "))
        return InvalidInputError(f"git cannot read {self._folder}: {reason}; nothing was deleted")


def _source_path(name: bytes) -> str | None:
    """A file's name as a source path; ``None`` for one that no stored row can have."""
    try:
        return require_source_path(name.decode())
    except (UnicodeDecodeError, InvalidInputError):
        return None
