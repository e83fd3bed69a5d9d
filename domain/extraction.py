"""What extraction tells besides its chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from itertools import accumulate
from typing import Final

from attrs import frozen


class Severity(Enum):
    """How much a diagnostic weighs.

    ``NOTICE``: the file has chunks, though coarser or poorer ones than it could have.
    ``SKIPPED``: it is left out on purpose (generated, binary, too large); what is stored of it
    goes. ``WARNING``: it is not what its source or parser takes (a module with a syntax error, a
    name that no row can have); it has no chunks until it is mended, and what is stored of it stays.
    ``FAILURE``: it should have been readable and was not (permissions, invalid front matter); what
    is stored of it stays as well, and the run is incomplete.
    """

    NOTICE = "notice"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILURE = "failure"


_KEEPING: Final = frozenset({Severity.WARNING, Severity.FAILURE})


@frozen
class Diagnostic:
    """A file that was skipped, or not used to the full.

    Attributes:
        path: Relative to the workspace, forward slashes; a folder stands for all below it. Or the
            name of a source that broke off.
        reason: A few words for a person, the same for all files of the kind.
        severity: See :class:`Severity`.
        detail: What is particular to this file, on one line.
        affects_all: Whether more depends on it than its own rows (a source, an index of other
            files), so that nothing may be deleted on the word of this extraction.
    """

    path: str
    reason: str
    severity: Severity = Severity.FAILURE
    detail: str = ""
    affects_all: bool = False

    @property
    def message(self) -> str:
        """Reason and detail."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


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

    @property
    def tells_what_is_gone(self) -> bool:
        """Whether a stored file that is not found is gone, or else kept by its own diagnostic."""
        return not any(found.affects_all for found in self.diagnostics)

    @property
    def is_empty(self) -> bool:
        """Whether there is no chunk, and no file that should have given one."""
        return self.total == 0 and not any(found.severity in _KEEPING for found in self.diagnostics)

    def skipped(self) -> Counter[str]:
        """How many files were left out on purpose, by reason, the most frequent first."""
        reasons = Counter(
            found.reason for found in self.diagnostics if found.severity is Severity.SKIPPED
        )
        return Counter(dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))))

    def kept(self) -> KeptPaths:
        """The files of which stored rows stay, though they have no chunks."""
        return KeptPaths(
            frozenset(found.path for found in self.diagnostics if found.severity in _KEEPING)
        )


@frozen
class KeptPaths:
    """Files and folders whose stored rows stay.

    Attributes:
        paths: As in :class:`Diagnostic`; ``.`` is the workspace.
    """

    paths: frozenset[str]

    def __contains__(self, source_path: str) -> bool:
        """Whether a file is one of them, or lies below one."""
        if not self.paths:
            return False
        folders = accumulate(source_path.split("/"), "{}/{}".format)
        return "." in self.paths or not self.paths.isdisjoint(folders)
