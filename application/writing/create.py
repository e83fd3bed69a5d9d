"""Use case: extract a workspace into one file of chunks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen

from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.derivation import created_fingerprint
from tenantkb.domain.errors import ConfigurationError, InvalidInputError
from tenantkb.domain.extraction import Diagnostic, ExtractionReport
from tenantkb.domain.records import shown
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.ports.extraction import (
    Block,
    BlockStream,
    CreateHash,
    FileCache,
    FileCaches,
    SourceRegistry,
    WriteStream,
)
from tenantkb.ports.progress import SILENT, Progress

T = TypeVar("T")


@frozen
class Create:
    """Extract a workspace into a file of chunks. It reaches no row, and needs no standing.

    Attributes:
        sources: The installation's sources.
        namespace: The shared one, whose chunks they are until a tenant stores them.
        caches: What files gave earlier.
    """

    sources: SourceRegistry
    namespace: SharedNamespace = field(factory=SharedNamespace)
    caches: FileCaches | None = None

    def __call__(
        self,
        workspace: Path,
        out: WriteStream,
        sources: SourceRegistry | None = None,
        progress: Progress = SILENT,
        *,
        full: bool = False,
    ) -> ExtractionReport:
        """Extract a workspace, see :func:`create`; by default with the installation's sources.

        Args:
            workspace: The folder.
            out: Takes the lines.
            sources: What reads the workspace.
            progress: Takes notice.
            full: Whether every file is read and cut, whatever is kept of it.
        """
        return create(
            sources or self.sources,
            workspace,
            out,
            progress,
            partial(created_fingerprint, namespace=self.namespace),
            cache_of(self.caches, root=workspace, fresh=full),
        )


CacheOf = Callable[[], AbstractContextManager[FileCache | None]]
"""Opens what is kept of a workspace."""


def cache_of(caches: FileCaches | None, *owner: str, root: Path, fresh: bool) -> CacheOf:
    """See :meth:`ports.extraction.FileCaches.open`; of an installation without, none."""
    return nullcontext if caches is None else partial(caches.open, *owner, root=root, fresh=fresh)


def create(
    registry: SourceRegistry,
    root: Path,
    out: WriteStream,
    progress: Progress = SILENT,
    create_hash: CreateHash = content_fingerprint,
    cached: CacheOf = nullcontext,
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
        cached: Opens what is kept of the workspace's files.

    Raises:
        InvalidInputError: there is no folder at ``root``.
        ConfigurationError: a source or a parser is misconfigured.
    """
    if not root.is_dir():
        raise InvalidInputError(f"the workspace {root} is not a folder")
    diagnostics: list[Diagnostic] = []
    counts: dict[str, int] = {}
    with cached() as cache:
        for name, source in registry.build(root, diagnostics.append, progress, cache):
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
        self._blocks = out if isinstance(out, BlockStream) else None
        self.count = 0
        self.broken = False

    def write(self, text: str, /) -> None:
        if not (text.startswith("{") and text.find("\n") == len(text) - 1):
            raise InvalidInputError(f"not one JSON object with a newline: {shown(text)}")
        self._give(self._out.write, text)
        self.count += 1

    def knows(self, digest: str, /) -> bool:
        return self._blocks is not None and self._blocks.knows(digest)

    def write_block(self, block: Block, /) -> None:
        if self._blocks is not None:
            self._give(self._blocks.write_block, block)
            self.count += block.lines
            return
        for line in (block.text or "").split("\n")[:-1]:
            self.write(f"{line}\n")

    def _give(self, take: Callable[[T], object], written: T) -> None:
        try:
            take(written)
        except InvalidInputError:  # the line is at fault
            raise
        except BaseException:
            self.broken = True
            raise
