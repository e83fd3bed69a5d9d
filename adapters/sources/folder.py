"""The files that a source may read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tenantkb.adapters.parsers.js_text import decode, locale_sorted
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import Workspace


class SourceFolder:
    """One configured folder of a workspace, and nothing outside it.

    What cannot be listed or read is reported to the workspace and left out; no method raises
    ``OSError``. A symbolic link that leads out of the folder is such a case, unless ``leave`` is
    set.
    """

    def __init__(self, workspace: Workspace, configured: str, *, leave: bool = False) -> None:
        """Bind a folder.

        Args:
            workspace: What the source was given.
            configured: Path of the folder, relative to the root of the workspace.
            leave: Follow symbolic links wherever they lead.
        """
        self._report = workspace.report
        self._root = workspace.root.absolute()
        self._leave = leave
        self.path = Path(os.path.normpath(self._root / configured))
        self._real = Path(os.path.realpath(self.path))

    def exists(self) -> bool:
        """Whether the folder is there; one that a link puts outside the workspace is reported."""
        if not os.path.lexists(self.path):
            return False
        if not self._real.exists():
            self.fail(self.path, "the link leads nowhere")
            return False
        inside = self.path.is_relative_to(self._root)
        if inside and not self._leave and not self._real.is_relative_to(self._root.resolve()):
            self.fail(self.path, "the link leads out of the workspace")
            return False
        return True

    def holds(self, path: str | Path) -> bool:
        """Whether ``path``, which has no ``..`` in it, lies below this folder."""
        return Path(path).is_relative_to(self.path)

    def relative(self, path: str | Path) -> str:
        """``path`` relative to the root of the workspace, as chunks and diagnostics name it."""
        return os.path.relpath(path, self._root)

    def fail(self, path: str | Path, reason: str, severity: Severity = Severity.FAILURE) -> None:
        """Report that the file at ``path`` is left out."""
        shown = decode(os.fsencode(self.relative(path)))
        self._report(Diagnostic(shown, reason, severity))

    def read(self, path: str | Path) -> str | None:
        """The decoded text of a file, or ``None`` where it had to be reported."""
        file = Path(path)
        try:
            if file.is_symlink() and not self._may_follow(file):
                return None
            if file.stat() and not file.is_file():  # opening a named pipe would wait for ever
                self.fail(file, "not a file")
                return None
            return decode(file.read_bytes())
        except OSError as error:
            self.fail(file, error.strerror or "cannot be read")
            return None

    def children(self, folder: str | Path | None = None) -> dict[str, os.DirEntry[str]]:
        """The entries of a folder by name, in no particular order."""
        folder = Path(folder or self.path)
        entries = {}
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    if _is_text(entry.name):
                        entries[entry.name] = entry
                    else:
                        self.fail(entry.path, "the file name is not UTF-8")
        except OSError as error:
            self.fail(folder, error.strerror or "cannot be listed")
        return entries

    def walk(self, skip: Callable[[str], bool] | None = None) -> Iterator[str]:
        """Paths of all files below, depth first, each folder in the order of ``localeCompare``.

        Symbolic links are passed over.

        Args:
            skip: Told the path of a folder, whether to leave it out; by default none is.
        """
        pending: list[os.DirEntry[str] | Path] = [self.path]
        while pending:
            entry = pending.pop()
            if isinstance(entry, Path) or entry.is_dir(follow_symlinks=False):
                if skip is not None and entry is not self.path and skip(os.fspath(entry)):
                    continue
                entries = self.children(os.fspath(entry))
                pending.extend(entries[name] for name in reversed(locale_sorted(entries)))
            elif entry.is_file(follow_symlinks=False):
                yield entry.path

    def markdown(self, *, hidden: bool) -> list[str]:
        """Paths, relative to this folder, of everything below whose name ends with ``.md``.

        Links to folders are followed, but not to one that holds the link.

        Args:
            hidden: Include names that begin with a dot.

        Returns:
            Files, folders of such a name when ``hidden``, and links, in no particular order.
        """
        found = []
        pending: list[tuple[Path, tuple[Path, ...]]] = [(self.path, (self._real,))]
        while pending:
            folder, above = pending.pop()
            for name, entry in self.children(folder).items():
                if not hidden and name.startswith("."):
                    continue
                is_folder = _is_folder(entry)
                if name.endswith(".md") and (hidden or not is_folder):
                    found.append(os.path.relpath(entry.path, self.path))
                if not is_folder:
                    continue
                path = Path(entry.path)
                real = Path(os.path.realpath(path)) if entry.is_symlink() else above[-1] / name
                if real not in above and (not entry.is_symlink() or self._may_follow(path)):
                    pending.append((path, (*above, real)))
        return found

    def _may_follow(self, link: Path) -> bool:
        if self._leave or Path(os.path.realpath(link)).is_relative_to(self._real):
            return True
        self.fail(link, "the link leads out of the folder")
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say; reading it tells what is wrong
        return False


def _is_text(name: str) -> bool:
    """Whether a file name is UTF-8: what is not reaches Python as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
