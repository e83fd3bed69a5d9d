"""Tickets, pull requests and discussions, kept as Markdown with their comments."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final

from tenantkb.adapters.parsers.js_text import DOT, SPACE, parse_json, to_string, trim_end, utf16_key
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.ports.extraction import ChunkRecord

CONTENT_ROOT: Final = "resources/content"
"""Folder of the indices; the paths in an index are relative to it."""

_ABSENT: Final = object()
_TIME = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:.Z+-]+{SPACE}*"
_AUTHOR = "[A-Za-z0-9_-]+"
_COMMENT = re.compile(f"### `@{_AUTHOR}` commented on {_TIME}")
_REVIEW = re.compile(rf"### `@{_AUTHOR}` \({DOT}+\) reviewed on {_TIME}")
_TICKET_COMMENT = re.compile(f"### @{_AUTHOR} - {_TIME}")


class _ArchiveSource(FileSource):
    """One chunk for the body of each file, and one for each element that follows it.

    Attributes:
        kind: ``type`` and ``kind`` of the chunks.
        prefix: What the names of files and chunks begin with.
        collection: The folder of this kind below :data:`CONTENT_ROOT`, and its type in the index.
        delimiters: By the kind of the element, the line that begins one.
    """

    kind: ClassVar[str]
    prefix: ClassVar[str]
    collection: ClassVar[str]
    delimiters: ClassVar[Mapping[str, re.Pattern[str]]]

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        content_root = SourceFolder(self.workspace, CONTENT_ROOT)
        ids = self._index(content_root)
        for configured in self.paths:
            folder = SourceFolder(self.workspace, configured)
            if not folder.exists():
                continue
            for name in folder.expected(sorted(folder.markdown(hidden=True), key=utf16_key)):
                path = folder.path / name
                stem = path.name.replace(".md", "", 1).removeprefix(self.prefix)
                identity = ids.get(os.path.relpath(path, content_root.path), stem)
                yield SourceFile(folder, path, hints={"identity": identity})

    def cut(self, source: SourceFile, path: str, text: str) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.cut`."""
        for element, content in self._elements(text):
            yield {
                "type": self.kind,
                "kind": self.kind,
                "name": f"{self.prefix}{source.hints['identity']}#{element}",
                "content": content,
                "source": path,
            }

    def _elements(self, text: str) -> Iterator[tuple[str, str]]:
        numbers: Counter[str] = Counter()
        name = "body"
        lines: list[str] = []
        for line in text.split("\n"):
            for kind, delimiter in self.delimiters.items():
                if delimiter.fullmatch(line):
                    yield name, trim_end("\n".join(lines))
                    numbers[kind] += 1
                    name, lines = f"{kind}-{numbers[kind]}", []
                    break
            lines.append(line)
        yield name, trim_end("\n".join(lines))

    def _index(self, content_root: SourceFolder) -> dict[str, str]:
        """Ids by path relative to :data:`CONTENT_ROOT`; empty where there is no usable index."""
        own = content_root.path / self.collection / "_index.json"
        path = own if own.exists() else content_root.path / "_index.json"
        if not path.exists():
            return {}
        text = content_root.read(path, affects_all=True)
        if text is None:
            return {}
        try:
            entries = parse_json(text)
        except ValueError as error:
            content_root.fail(path, "not JSON", detail=str(error), affects_all=True)
            return {}
        if not isinstance(entries, list):
            content_root.fail(path, "not a list of entries", affects_all=True)
            return {}
        ids = {}
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("path", ""), str | None):
                detail = f"{entry!r:.80}"
                content_root.fail(path, "not an entry with a path", detail=detail, affects_all=True)
            elif entry.get("path") and (path == own or entry.get("type") == self.collection):
                ids[os.path.normpath(entry["path"])] = entry.get("id", _ABSENT)
        return {key: to_string(value) for key, value in ids.items() if value is not _ABSENT}


class DiscussionSource(_ArchiveSource):
    """Discussions with their comments."""

    kind = "discussion"
    prefix = "discussion-"
    collection = "discussions"
    delimiters: ClassVar = {"comment": _COMMENT}
    default_paths: ClassVar = (f"{CONTENT_ROOT}/discussions", f"{CONTENT_ROOT}/archive/discussions")


class PullRequestSource(_ArchiveSource):
    """Pull requests with their reviews and comments."""

    kind = "pull"
    prefix = "pr-"
    collection = "pulls"
    delimiters: ClassVar = {"review": _REVIEW, "comment": _COMMENT}
    default_paths: ClassVar = (f"{CONTENT_ROOT}/pulls", f"{CONTENT_ROOT}/archive/pulls")


class TicketSource(_ArchiveSource):
    """Tickets with their comments."""

    kind = "ticket"
    prefix = "issue-"
    collection = "issues"
    delimiters: ClassVar = {"comment": _TICKET_COMMENT}
    default_paths: ClassVar = (f"{CONTENT_ROOT}/issues", f"{CONTENT_ROOT}/archive/issues")
