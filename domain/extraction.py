"""What extraction tells besides its chunks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import frozen


class Severity(Enum):
    """How much a diagnostic weighs.

    ``NOTICE``: the file has chunks, though coarser or poorer ones than it could have. ``WARNING``:
    the file could be read and is not what its parser takes (a module with a syntax error); it has
    no chunks until it is mended. ``FAILURE``: something that should have been readable was not
    (permissions, invalid front matter, a broken index), so the picture of the workspace is
    incomplete and nothing may be deleted on its word.
    """

    NOTICE = "notice"
    WARNING = "warning"
    FAILURE = "failure"


@frozen
class Diagnostic:
    """A file that was skipped, or not used to the full.

    Attributes:
        path: Relative to the workspace, forward slashes; or the name of a source that broke off.
        reason: One line, for a person.
        severity: See :class:`Severity`.
    """

    path: str
    reason: str
    severity: Severity = Severity.FAILURE


@frozen
class ExtractionReport:
    """The outcome of one extraction.

    Attributes:
        counts: Number of chunks by source, in extraction order.
        diagnostics: Everything that was skipped, in the order in which it was met.
    """

    counts: Mapping[str, int]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def total(self) -> int:
        """Number of chunks."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Number of files that should have been readable and were not."""
        return sum(found.severity is Severity.FAILURE for found in self.diagnostics)

    @property
    def is_complete(self) -> bool:
        """Whether nothing readable is missing: there are no failures, though maybe warnings."""
        return self.failed == 0
