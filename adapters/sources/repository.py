"""The files that belong to a repository: those that git tracks, or does not ignore."""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path
from typing import Final, Protocol

from tenantkb.adapters.files.git import GitCheckout, Listing
from tenantkb.adapters.files.git_config import CheckoutPlace, read_small
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.adapters.sources.gitignore import Patterns
from tenantkb.domain.errors import ConfigurationError, InvalidInputError
from tenantkb.domain.extraction import Severity

_GIT: Final = ".git"


class _Reader(Protocol):
    """What belongs to one checkout, or to a folder that is in none; paths are absolute."""

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Whether it is ignored; asked about what lies in folders that are not."""
        ...

    def has_repository(self, path: str) -> bool:
        """Whether another repository belongs at a folder, which has rules of its own."""
        ...

    def is_foreign(self, path: str) -> bool:
        """Whether a folder is another checkout, which does not belong there."""
        ...


class RepositoryFiles:
    """Tells what to leave out, folder by folder from above, as :meth:`SourceFolder.walk` asks.

    Where there are git and a checkout, git is asked; elsewhere ``.gitignore`` files are read as git
    reads them, but for tracked files, which git alone knows. Submodules are read by their own
    rules, and so are checkouts below a folder that is in none. Any other checkout within a checkout
    is left out, with a notice. A folder that is ignored itself is read as if it were in none:
    whoever names it means it.
    """

    def __init__(self, folder: SourceFolder) -> None:
        self._folder = folder
        self._start = len(os.fspath(folder.path).rstrip("/"))
        self._real = os.path.realpath(folder.path).rstrip("/")
        self._readers = {self._real: self._reader(folder.path, self._real or "/")}

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Whether a file or folder, whose folders are not left out, is left out."""
        real = self._real + path[self._start :]
        above, _, name = real.rpartition("/")
        reader = self._readers[above]
        if name == _GIT or reader.excludes(real, is_folder=is_folder):
            return True
        if not is_folder:
            return False
        if reader.has_repository(real):
            if CheckoutPlace.at(Path(real)) is None:
                self._folder.fail(path, "the submodule is not checked out", Severity.WARNING)
                return True
            reader = self._reader(path, real)
        elif reader.is_foreign(real):
            reason = "left out: another checkout, and no submodule"
            self._folder.fail(path, reason, Severity.NOTICE)
            return True
        self._readers[real] = reader
        return False

    def _reader(self, path: str | Path, real: str) -> _Reader:
        folder = Path(real)
        place = CheckoutPlace.around(folder)
        if place is None:
            return _Read(folder, self._folder.workspace_root)
        reader: _Listed | _Read
        try:
            reader = _Listed(folder, GitCheckout(folder).listing())
        except (ConfigurationError, InvalidInputError) as error:
            reason = "read without git: tracked files count as ignored if they are named so"
            self._folder.fail(path, reason, Severity.NOTICE, str(error))
            reader = _Read(folder, place.root, place)
        if reader.is_ignored:
            reason = "read, although the repository around it ignores it"
            self._folder.fail(path, reason, Severity.NOTICE)
            return _Read(folder, folder)
        return reader


class _Listed:
    """As git lists them."""

    def __init__(self, folder: Path, listing: Listing) -> None:
        self._start = len(os.fspath(folder).rstrip("/")) + 1
        self._listing = listing
        self._folders = {
            above
            for paths in (listing.files, listing.submodules, listing.nested)
            for path in paths
            for above in accumulate(path.split("/"), "{}/{}".format)
        }
        self.is_ignored = listing.is_ignored

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        return path[self._start :] not in (self._folders if is_folder else self._listing.files)

    def has_repository(self, path: str) -> bool:
        return path[self._start :] in self._listing.submodules

    def is_foreign(self, path: str) -> bool:
        return path[self._start :] in self._listing.nested


class _Read:
    """As ``.gitignore`` files tell, those from the checkout's uppermost folder on.

    Args:
        folder: Where walking begins.
        root: The uppermost folder above it whose ``.gitignore`` counts.
        place: The checkout that it lies in, if it lies in one.
    """

    def __init__(self, folder: Path, root: Path, place: CheckoutPlace | None = None) -> None:
        self._root = os.fspath(root if folder.is_relative_to(root) else folder)
        self._fold = place is not None and place.folds_case
        self._submodules = frozenset() if place is None else place.submodules()
        self._is_checkout = place is not None
        self._files: dict[str, Patterns] = {}
        self._everywhere = [
            Patterns.read(read_small(file), fold=self._fold)
            for file in (() if place is None else place.ignore_files())
        ]
        above = [os.fspath(each) for each in (folder, *folder.parents)]
        self.is_ignored = any(
            self.excludes(each, is_folder=True) for each in above[: above.index(self._root)]
        )

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        relative = b""
        below, folder = path, path
        while folder != self._root:
            folder, _, _ = below.rpartition("/")
            relative = os.fsencode(path[len(folder) + 1 :])
            below, folder = folder, folder or "/"
            found = self._patterns(folder).decide(relative, is_folder=is_folder)
            if found is not None:
                return found[1]
        decided = (each.decide(relative, is_folder=is_folder) for each in self._everywhere)
        return next((found[1] for found in decided if found is not None), False)

    def has_repository(self, path: str) -> bool:
        if self._is_checkout:
            return Path(path) in self._submodules
        return CheckoutPlace.at(Path(path)) is not None

    def is_foreign(self, path: str) -> bool:
        return self._is_checkout and CheckoutPlace.at(Path(path)) is not None

    def _patterns(self, folder: str) -> Patterns:
        if folder not in self._files:
            file = Path(folder, ".gitignore")
            data = b"" if file.is_symlink() else read_small(file)  # which git does not follow
            self._files[folder] = Patterns.read(data, fold=self._fold)
        return self._files[folder]
