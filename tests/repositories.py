"""Real git repositories for tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


@frozen
class Repository:
    """A checkout with a branch ``main``."""

    folder: Path

    @classmethod
    def initialised(cls, folder: Path) -> Repository:
        folder.mkdir()
        repository = cls(folder)
        repository.git("init", "--quiet", "--initial-branch=main")
        return repository

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, changes: Mapping[str, str | None]) -> str:
        """Write files, delete those that map to None, commit; returns the commit's full id."""
        for name, text in changes.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, files: Mapping[str, str]) -> str:
        """Commit exactly these files."""
        for name in self.git("ls-files", "-z").split("\0")[:-1]:
            (self.folder / name).unlink()
        return self.commit(files)

    def rename(self, old: str, new: str) -> None:
        target = self.folder / new
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / old).rename(target)
