"""The files that a source may read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from tenantkb.adapters.parsers.js_text import decode, locale_sorted
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.domain.paths import is_well_formed
from tenantkb.ports.extraction import Workspace

_UNSTORABLE: Final = re.compile(r"[\\\r\n]")
_UNNORMALISED: Final = re.compile(r"/(?:/|\.{1,2}(?:/|\Z)|\Z)")


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
        self._progress = workspace.progress
        self._root = workspace.root.absolute()
        self._prefix = f"{os.path.normpath(self._root)}/"
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

    @property
    def workspace_root(self) -> Path:
        """The uppermost folder of the workspace, without links in its path."""
        return self._root.resolve()

    def expected(self, paths: Iterable[str]) -> list[str]:
        """Some paths, whose files will be read, as the steps of the extraction that they are."""
        found = list(paths)
        self._progress.expect(len(found))
        return found

    def holds(self, path: str | Path) -> bool:
        """Whether ``path``, which has no ``..`` in it, lies below this folder."""
        return Path(path).is_relative_to(self.path)

    def relative(self, path: str | Path) -> str:
        """``path`` relative to the root of the workspace, as chunks and diagnostics name it."""
        text = os.fspath(path)
        if text.startswith(self._prefix) and not _UNNORMALISED.search(text):
            return text[len(self._prefix) :]  # as relpath has it, which takes ten times as long
        return os.path.relpath(text, self._root)

    def fail(
        self,
        path: str | Path,
        reason: str,
        severity: Severity = Severity.FAILURE,
        detail: str = "",
        *,
        affects_all: bool = False,
    ) -> None:
        """Report a file that is left out, see :class:`domain.extraction.Diagnostic`."""
        shown = decode(os.fsencode(self.relative(path)))
        self._report(Diagnostic(shown, reason, severity, detail, affects_all))

    def read(self, path: str | Path, *, affects_all: bool = False) -> str | None:
        """The decoded text of a file, or ``None`` where it had to be reported.

        Args:
            path: The file.
            affects_all: Whether it tells of other files, see :class:`domain.extraction.Diagnostic`.
        """
        data = self.read_bytes(path, affects_all=affects_all)
        return None if data is None else decode(data)

    def read_bytes(self, path: str | Path, *, affects_all: bool = False) -> bytes | None:
        """The bytes of a file, or ``None`` where it had to be reported; see :meth:`read`."""
        self._progress.advance()
        if self.status(path, affects_all=affects_all) is None:
            return None
        return self.content(path, affects_all=affects_all)

    def status(self, path: str | Path, *, affects_all: bool = False) -> os.stat_result | None:
        """What the system says of a file that may be read, or ``None``, as for :meth:`read`."""
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode) and not self._may_follow(
                Path(path), affects_all=affects_all
            ):
                return None
            found = os.stat(path)  # noqa: PTH116 # as text: a Path takes longer than the call
            if stat.S_ISREG(found.st_mode):
                return found
            # Opening a named pipe would wait for ever.
            self.fail(path, "not a file", affects_all=affects_all)
        except OSError as error:
            self.fail(path, error.strerror or "cannot be read", affects_all=affects_all)
        return None

    def content(self, path: str | Path, *, affects_all: bool = False) -> bytes | None:
        """The bytes of a file that has a :meth:`status`, or ``None``, as for :meth:`read`."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 # see above
                return file.readall()
        except OSError as error:
            self.fail(path, error.strerror or "cannot be read", affects_all=affects_all)
            return None

    def advance(self) -> None:
        """Tell that one of the :meth:`expected` files is done with, which :meth:`read` does."""
        self._progress.advance()

    def names_a_source(self, path: str) -> bool:
        """Whether stored rows can be of a file or folder of this name; else it is reported."""
        if not self._is_text(path):
            return False
        if _UNSTORABLE.search(path.rpartition("/")[2]):
            self.fail(path, "the name has a back-slash or a line end", Severity.WARNING)
            return False
        return True

    def children(self, folder: str | Path | None = None) -> dict[str, os.DirEntry[str]]:
        """The entries of a folder by name, in no particular order; no name that is not UTF-8."""
        entries = self._entries(folder or self.path)
        return {entry.name: entry for entry in entries if self._is_text(entry.path)}

    def walk(self, skip: Callable[[str, bool], bool] | None = None) -> Iterator[str]:
        """Paths of all files below, depth first, each folder in the order of ``localeCompare``.

        Symbolic links are reported and passed over.

        Args:
            skip: Told a path and whether it is a folder's, whether to leave it out without a word;
                by default nothing is.
        """
        pending = self._in_order(self.path)
        while pending:
            entry = pending.pop()
            is_folder = entry.is_dir(follow_symlinks=False)
            if (skip is not None and skip(entry.path, is_folder)) or not self._is_text(entry.path):
                continue
            if is_folder:
                pending += self._in_order(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path
            elif not entry.is_symlink():
                self.fail(entry.path, "not a file", Severity.SKIPPED)
            elif not os.path.exists(entry.path):  # noqa: PTH110 # Path.exists raises for a loop
                self.fail(entry.path, "the link leads nowhere", Severity.WARNING)
            elif self._may_follow(Path(entry.path)):
                self.fail(entry.path, "symbolic link", Severity.SKIPPED)

    def _entries(self, folder: str | Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as listing:
                return list(listing)
        except OSError as error:
            self.fail(folder, error.strerror or "cannot be listed")
            return []

    def _in_order(self, folder: str | Path) -> list[os.DirEntry[str]]:
        """The entries of a folder, the last one first; names that are not UTF-8 come last."""
        entries = {entry.name: entry for entry in self._entries(folder)}
        texts = [name for name in entries if is_well_formed(name)]
        others = sorted(entries.keys() - set(texts), key=os.fsencode)
        return [entries[name] for name in reversed([*locale_sorted(texts), *others])]

    def _is_text(self, path: str) -> bool:
        """Whether a name is UTF-8; what is not reaches Python as lone surrogates."""
        if not is_well_formed(path.rpartition("/")[2]):
            self.fail(path, "the name is not UTF-8", Severity.WARNING)
            return False
        return True

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

    def _may_follow(self, link: Path, *, affects_all: bool = False) -> bool:
        if self._leave or Path(os.path.realpath(link)).is_relative_to(self._real):
            return True
        reason = "the link leads out of the folder"
        self.fail(link, reason, Severity.WARNING, affects_all=affects_all)
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say; reading it tells what is wrong
        return False
