"""Use case: extract a workspace into one file of chunks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from attrs import field, frozen

from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.derivation import created_fingerprint
from tenantkb.domain.errors import ConfigurationError, InvalidInputError
from tenantkb.domain.extraction import Diagnostic, ExtractionReport
from tenantkb.domain.records import shown
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.ports.extraction import CreateHash, SourceRegistry, WriteStream
from tenantkb.ports.progress import SILENT, Progress


@frozen
class Create:
    """Extract a workspace into a file of chunks. It reaches no row, and needs no standing.

    Attributes:
        sources: The installation's sources.
        namespace: The shared one, whose chunks they are until a tenant stores them.
    """

    sources: SourceRegistry
    namespace: SharedNamespace = field(factory=SharedNamespace)

    def __call__(
        self,
        workspace: Path,
        out: WriteStream,
        sources: SourceRegistry | None = None,
        progress: Progress = SILENT,
    ) -> ExtractionReport:
        """Extract a workspace, see :func:`create`; by default with the installation's sources."""
        return create(
            sources or self.sources,
            workspace,
            out,
            progress,
            partial(created_fingerprint, namespace=self.namespace),
        )


def create(
    registry: SourceRegistry,
    root: Path,
    out: WriteStream,
    progress: Progress = SILENT,
    create_hash: CreateHash = content_fingerprint,
) -> ExtractionReport:
    """Write one line of JSON for each chunk that the sources find in a workspace.

    Chunks are written as they are found. A source that breaks off is reported as a failure; what it
    has written stays, and the sources after it run.

    Args:
        registry: The sources, in the order of the file.
        root: The folder of the workspace.
        out: Takes the lines; when it raises, nothing more is extracted and the error propagates.
        progress: Takes notice; a step is one file.
        create_hash: Gives what a line says as its ``hash``, on which no row relies.

    Raises:
        InvalidInputError: there is no folder at ``root``.
        ConfigurationError: a source or a parser is misconfigured.
    """
    if not root.is_dir():
        raise InvalidInputError(f"the workspace {root} is not a folder")
    diagnostics: list[Diagnostic] = []
    counts: dict[str, int] = {}
    for name, source in registry.build(root, diagnostics.append, progress):
        lines = _LineCounter(out)
        try:
            source.extract(lines, create_hash)
        except ConfigurationError:
            raise
        except (Exception, SystemExit) as error:
            if lines.broken:
                raise
            detail = " ".join(f"{type(error).__name__}: {error}".split())
            reason = "the source broke off"
            diagnostics.append(Diagnostic(name, reason, detail=detail, affects_all=True))
        counts[name] = lines.count
    return ExtractionReport(counts, tuple(diagnostics))


class _LineCounter:
    """Counts the lines that reach a stream, and tells its errors from those of the source."""

    def __init__(self, out: WriteStream) -> None:
        self._out = out
        self.count = 0
        self.broken = False

    def write(self, text: str, /) -> None:
        if not (text.startswith("{") and text.find("\n") == len(text) - 1):
            raise InvalidInputError(f"not one JSON object with a newline: {shown(text)}")
        try:
            self._out.write(text)
        except InvalidInputError:  # the line is at fault
            raise
        except BaseException:
            self.broken = True
            raise
        self.count += 1
