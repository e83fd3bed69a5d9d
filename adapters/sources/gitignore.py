"""What a repository's ``.gitignore`` files leave out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pathspec import GitIgnoreSpec

from tenantkb.adapters.sources.folder import SourceFolder


class GitIgnore:
    """The rules of all ``.gitignore`` files from a folder downwards.

    As in git, the rule that stands last in the file that lies nearest decides. A folder that is
    left out has to be passed over by the caller: nothing below it can be taken in again.
    """

    def __init__(self, folder: SourceFolder, root: Path) -> None:
        """Bind the rules to files.

        Args:
            folder: Reads the files, and reports those that it cannot.
            root: The uppermost folder whose ``.gitignore`` counts.
        """
        self._folder = folder
        self._root = root
        self._rules = cache(self._read)

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Whether a file or folder, whose folders are not left out, is left out."""
        file = Path(path)
        for folder in file.parents:
            rules = self._rules(folder)
            if rules is not None:
                relative = file.relative_to(folder).as_posix() + "/" * is_folder
                included = rules.check_file(relative).include
                if included is not None:
                    return included
            if folder == self._root:
                break
        return False

    def _read(self, folder: Path) -> GitIgnoreSpec | None:
        file = folder / ".gitignore"
        text = self._folder.read(file) if os.path.lexists(file) else None
        return rules(text.splitlines()) if text else None


def rules(lines: Iterable[str]) -> GitIgnoreSpec:
    """The rules in some lines; lines that are no pattern say nothing, as in git."""
    return GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True
