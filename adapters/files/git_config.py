"""What git would read of a checkout, read without git: where it is, and some of its settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

_LONGEST: Final = 1 << 20
"""Bytes of a file that are read; people write these files."""

_SECTION: Final = re.compile(r'\s*\[\s*([-.\w]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')
_VARIABLE: Final = re.compile(r"\s*([a-zA-Z][-\w]*)\s*(?:=\s*(.*))?$")
_VALUE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|\\(.)|([#;].*)|(.)')
_ESCAPES: Final = {"n": "\n", "t": "\t", "b": "\b"}


@frozen
class CheckoutPlace:
    """A working tree.

    Attributes:
        root: Its uppermost folder.
        git_dir: Where its repository lies; shared by all working trees of that.
    """

    root: Path
    git_dir: Path

    @classmethod
    def at(cls, folder: Path) -> CheckoutPlace | None:
        """The working tree whose uppermost folder this is, if it is one."""
        entry = folder / ".git"
        if entry.is_file():
            target = read_small(entry).decode(errors="surrogateescape").strip()
            if not target.startswith("gitdir:"):
                return None
            entry = folder / target.removeprefix("gitdir:").strip()
            common = read_small(entry / "commondir").decode(errors="surrogateescape").strip()
            own, entry = entry, entry / common
        else:
            own = entry
        whole = os.path.lexists(own / "HEAD")
        whole = whole and all((entry / name).is_dir() for name in ("objects", "refs"))
        return cls(folder, entry) if whole else None

    @classmethod
    def around(cls, folder: Path) -> CheckoutPlace | None:
        """The working tree that a folder lies in, if it lies in one."""
        found = (cls.at(each) for each in (folder, *folder.parents))
        return next(filter(None, found), None)

    def submodules(self) -> frozenset[Path]:
        """Where other repositories belong here, as ``.gitmodules`` tells."""
        settings = _settings(self.root / ".gitmodules")
        return frozenset(
            self.root / value
            for key, value in settings
            if key.startswith("submodule.") and key.endswith(".path")
        )

    def ignore_files(self) -> tuple[Path, ...]:
        """The files with patterns for the whole working tree, the weightiest first."""
        exclude = self._setting("core.excludesfile")
        usual = _home("XDG_CONFIG_HOME", ".config") / "git" / "ignore"
        chosen = usual if exclude is None else self.root / Path(exclude).expanduser()
        return (self.git_dir / "info" / "exclude", chosen)

    @property
    def folds_case(self) -> bool:
        """Whether patterns match names in either case."""
        value = self._setting("core.ignorecase")
        return value is not None and value.lower() in ("", "true", "yes", "on", "1")

    def _setting(self, wanted: str) -> str | None:
        """The last value of a setting; what other files include is not read."""
        home = Path(os.path.expanduser("~"))  # noqa: PTH111 # which has one even without a HOME
        files = [_home("XDG_CONFIG_HOME", ".config") / "git" / "config", home / ".gitconfig"]
        if (chosen := os.environ.get("GIT_CONFIG_GLOBAL")) is not None:
            files = [Path(chosen)]
        if not os.environ.get("GIT_CONFIG_NOSYSTEM"):
            files.insert(0, Path("/etc/gitconfig"))
        found = None
        for file in (*files, self.git_dir / "config"):
            for key, value in _settings(file):
                found = value if key == wanted else found
        return found


def read_small(file: Path) -> bytes:
    """The bytes of an ordinary file, as far as people write such files; none of any other."""
    try:
        if not file.is_file():  # opening a named pipe would wait for ever
            return b""
        with file.open("rb") as stream:
            return stream.read(_LONGEST)
    except OSError:
        return b""


def _home(variable: str, usual: str) -> Path:
    return Path(os.environ.get(variable) or os.path.expanduser(f"~/{usual}"))  # noqa: PTH111 # see above


def _settings(file: Path) -> Iterator[tuple[str, str]]:
    """Every variable of a file as git-config(1) has it: ``section[.subsection].name``, its value.

    Section and name are in lower case; a variable without a value has an empty one.
    """
    text = read_small(file).removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    section = ""
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        if (head := _SECTION.match(line)) is not None:
            named = "" if head[2] is None else "." + re.sub(r"\\(.)", r"\1", head[2])
            section = head[1].lower() + named
        rest = line if head is None else line[head.end() :]
        if (variable := _VARIABLE.match(rest)) is not None:
            yield f"{section}.{variable[1].lower()}", _value(variable[2] or "")


def _value(text: str) -> str:
    """A value without its quotes, escapes and comment."""
    parts: list[str] = []
    for quoted, escaped, comment, plain in _VALUE.findall(text.strip()):
        if comment:
            return "".join(parts).rstrip()
        parts.append(
            re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted)
            or _ESCAPES.get(escaped, escaped)
            or plain
        )
    return "".join(parts)
