"""The learning content that a table of contents lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from tenantkb.adapters.parsers.js_text import is_truthy, parse_json, to_string
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.domain.extraction import Severity

_LEFT_OUT = "comparisons"


class LearningSource(FileSource):
    """The chunks that DocumentationParser cuts from the leaves of a ``tree.json``.

    ``paths`` names the tree; the files lie beside it, at ``<id>.md``.
    """

    default_paths: ClassVar[str] = "learn/tree.json"

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        configured = PurePosixPath(self.paths)
        folder = SourceFolder(self.workspace, str(configured.parent))
        tree = folder.path / configured.name
        if not folder.exists() or not os.path.lexists(tree):
            return
        text = folder.read(tree, affects_all=True)
        if text is None:
            return
        try:
            items = parse_json(text.removeprefix("\ufeff"))["data"]
        except (ValueError, KeyError, TypeError):
            items = None
        if not isinstance(items, list):
            reason = 'not a JSON object with a list "data"'
            folder.fail(tree, reason, affects_all=True)
            return
        yield from self._leaves(folder, tree, items)

    def _leaves(self, folder: SourceFolder, tree: Path, items: list[Any]) -> Iterator[SourceFile]:
        for item in items:
            if not isinstance(item, dict):
                folder.fail(tree, "not an item", detail=f"{item!r:.80}", affects_all=True)
                continue
            if _LEFT_OUT in (item.get("id"), item.get("parentId")) or item.get("isLeaf") is False:
                continue
            if not is_truthy(item.get("id")):
                continue
            path = os.path.normpath(f"{folder.path}/{to_string(item['id'])}.md")
            if not folder.holds(path):
                detail = f"{item['id']!r:.80}"
                folder.fail(tree, "the id leads out of the folder", Severity.WARNING, detail)
            elif os.path.lexists(path):
                yield SourceFile(folder, path, "DocumentationParser", {"item": item})
