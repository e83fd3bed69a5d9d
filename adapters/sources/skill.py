"""The skills of agents."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import ClassVar

from tenantkb.adapters.parsers.js_text import DOT, LINE_END, LINE_START, SPACE, split_before, trim
from tenantkb.adapters.sources.base import FileSource, SourceFile
from tenantkb.adapters.sources.folder import SourceFolder
from tenantkb.ports.extraction import ChunkRecord

_FRONT_MATTER = re.compile(r"---\n(.*?)\n---", re.DOTALL)
_NAME = re.compile(f"{LINE_START}name:{SPACE}*({DOT}*)")
_TRIGGERS = re.compile(f"{LINE_START}triggers:{SPACE}*({DOT}*)")
_SECTION = re.compile(f"{LINE_START}#+{SPACE}")
_HEADING = re.compile(f"#+{SPACE}({DOT}*)")
_RULE_SECTION = re.compile(f"{LINE_START}#{{2,6}}{SPACE}")
_RULE_HEADING = re.compile(rf"#{{2,6}}{SPACE}+[^\n]")
_SECTION_TRIGGER = re.compile(
    f"{LINE_START}<!-- trigger:{SPACE}+{DOT}+?{SPACE}+→{SPACE}+read{SPACE}+"
    rf"({DOT}+?\.md){SPACE}*-->{LINE_END}"
)


class SkillSource(FileSource):
    """One chunk for each section of the Markdown files below a folder of skills.

    The folder may hold links to skills kept elsewhere; they are followed.
    """

    default_paths: ClassVar[str] = ".agents/skills"

    def files(self) -> Iterator[SourceFile]:
        """See :meth:`FileSource.files`."""
        folder = SourceFolder(self.workspace, self.paths, leave=True)
        if not folder.exists():
            return
        files = sorted(folder.markdown(hidden=False), key=_by_depth)
        targets = _trigger_targets(folder, files)
        for file in folder.expected(files):
            parts = file.split("/")
            skill_targets = targets.get(parts[0])
            is_sub_rule = file in skill_targets if skill_targets else "references" in parts
            hints = {"skill": parts[0], "is_sub_rule": is_sub_rule}
            yield SourceFile(folder, folder.path / file, hints=hints)

    def cut(self, source: SourceFile, path: str, text: str) -> Iterable[ChunkRecord]:
        """See :meth:`FileSource.cut`."""
        skill_name, trigger, body = _front_matter(text, source.hints["skill"])
        for section in split_before(_SECTION, body):
            content = trim(section)
            if not content:
                continue
            heading = _HEADING.match(section)
            anchor = trim(heading[1]) if heading else ""
            yield {
                "type": "skill",
                "kind": "skill",
                "name": f"{skill_name} - {anchor}" if anchor else skill_name,
                "content": content,
                "source": path,
                "skillName": skill_name,
                "sectionAnchor": anchor,
                "triggerCondition": trigger,
                "isAtlasMonolithSubRule": source.hints["is_sub_rule"],
            }


def _by_depth(path: str) -> tuple[int, list[bytes]]:
    parts = path.split("/")
    return len(parts), [part.encode() for part in parts]


def _front_matter(text: str, folder_name: str) -> tuple[str, str, str]:
    """Name of the skill, its trigger condition, and the text after the front matter."""
    block = _FRONT_MATTER.match(text)
    if not block:
        return folder_name, "", text
    name, triggers = _NAME.search(block[1]), _TRIGGERS.search(block[1])
    return (
        trim(name[1]) if name else folder_name,
        trim(triggers[1]) if triggers else "",
        trim(text[block.end() :]),
    )


def _trigger_targets(folder: SourceFolder, files: list[str]) -> dict[str, set[str]]:
    """By skill folder, the files in it that a section trigger of that folder points to."""
    targets: dict[str, set[str]] = {}
    for file in folder.expected(files):
        text = folder.read(folder.path / file)
        skill = file.split("/")[0]
        for section in split_before(_RULE_SECTION, text or ""):
            trigger = _SECTION_TRIGGER.search(section) if _RULE_HEADING.match(section) else None
            if trigger:
                target = os.path.normpath(PurePosixPath(file).parent / trim(trigger[1]))
                if target.startswith(f"{skill}/"):
                    targets.setdefault(skill, set()).add(target)
    return targets
