"""What kind of text a row is, by its type and its path."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import PurePosixPath
from typing import Final

from tenantkb.domain import fields
from tenantkb.domain.rows import StampedRow

_ARCHIVE_TYPES: Final = frozenset({"ticket", "pull", "discussion", "release", "blog"})
_TEST_TYPES: Final = frozenset({"test"})
_DOCUMENT_TYPES: Final = frozenset({"guide", "concept", "adr", "skill", "doc"})

_DOCUMENT_SUFFIXES: Final = frozenset({".md", ".mdx", ".markdown", ".rst", ".txt", ".adoc", ".org"})
_TEST_FOLDERS: Final = frozenset({"test", "tests", "__tests__", "testdata"})
_TEST_FOLDERS_OF_CODE: Final = _TEST_FOLDERS | {"spec"}  # a folder of that name may hold a standard
_TEST_STEM: Final = re.compile(
    r"(tests?|spec)([_.-].*)?|.*[_.-](tests?|spec)|.*[a-z0-9](Tests?|Spec)|conftest"
)
_CHANGE_LOG_STEM: Final = re.compile(r"change[_-]?log|changes|history|news|release[_-]?notes")


class Nature(Enum):
    """What kind of text a row is.

    ``SOURCE``: code. ``DOCS``: text on how things are. ``TESTS``: code that tries other code.
    ``ARCHIVE``: text of its day that nobody keeps up to date: tickets, pull requests, discussions,
    release notes, change logs, posts.
    """

    SOURCE = "source"
    DOCS = "docs"
    TESTS = "tests"
    ARCHIVE = "archive"


def is_documentation(path: str) -> bool:
    """Whether a file is prose, by its suffix."""
    return PurePosixPath(path).suffix.lower() in _DOCUMENT_SUFFIXES


def is_test_path(path: str) -> bool:
    """Whether a file belongs to tests, by the customs of common languages and test runners."""
    file = PurePosixPath(path)
    if is_documentation(path):
        return not _TEST_FOLDERS.isdisjoint(file.parts[:-1])
    in_folder = not _TEST_FOLDERS_OF_CODE.isdisjoint(file.parts[:-1])
    return in_folder or _TEST_STEM.fullmatch(file.stem) is not None


def is_change_log(path: str) -> bool:
    """Whether a file tells what changed when: prose, or without a suffix, and named like one."""
    file = PurePosixPath(path)
    named = _CHANGE_LOG_STEM.fullmatch(file.stem.lower()) is not None
    return named and (is_documentation(path) or not file.suffix)


def nature_of(row: StampedRow) -> Nature:
    """The kind of text that a row is: its type tells, or else its path."""
    kind, path = row.text(fields.TYPE), row.source_path
    if kind in _ARCHIVE_TYPES or is_change_log(path):
        return Nature.ARCHIVE
    if kind in _TEST_TYPES or is_test_path(path):
        return Nature.TESTS
    if kind in _DOCUMENT_TYPES or is_documentation(path):
        return Nature.DOCS
    return Nature.SOURCE
