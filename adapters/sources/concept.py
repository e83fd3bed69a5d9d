"""The concepts of a domain, one Markdown file each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import ClassVar

from tenantkb.adapters.parsers.js_text import is_truthy, to_json, to_string, trim, utf16_key
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.adapters.sources.front_matter import FrontMatterError, split_front_matter
from tenantkb.ports.extraction import ChunkRecord


class ConceptSource(FileSource):
    """One chunk for each Markdown file of a folder; its front matter gives name and tier."""

    default_paths: ClassVar[str] = "resources/content/concepts"

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        folder = SourceFolder(self.workspace, self.paths)
        if not folder.exists():
            return
        names = (name for name in folder.children() if name.endswith(".md"))
        for file_name in folder.expected(sorted(names, key=utf16_key)):
            yield SourceFile(folder, folder.path / file_name)

    def cut(self, source: SourceFile, path: str, text: str) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.cut`."""
        try:
            data, body = split_front_matter(text)
        except FrontMatterError as error:
            source.folder.fail(source.file, "front matter cannot be read", detail=str(error))
            return
        name, tier = data.get("name"), data.get("tier")
        if not is_truthy(name):
            name = PurePath(path).name.removesuffix(".md")
        description = trim(body)
        yield {
            "type": "concept",
            "kind": "concept",
            "name": to_json(name),
            "tier": to_json(tier) if is_truthy(tier) else 0,
            "description": description,
            "content": f"{to_string(name)}: {description}",
            "source": path,
        }
