"""Move everything from another store into this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from attrs import define, field, frozen

from tenantkb.application.embedding import embed_all
from tenantkb.application.operating.acts import Acts
from tenantkb.application.writing.base import batches
from tenantkb.domain.context import OperatorScope, TenantContext
from tenantkb.domain.derivation import settled
from tenantkb.domain.errors import MalformedRowError, StoreError, StoreMismatchError
from tenantkb.domain.rows import StampedRow, read_row, same_fields
from tenantkb.domain.stamps import unlabelled_stamp_of
from tenantkb.domain.sync import Refusal
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.ports.migration import MigrationSource
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.state import State
from tenantkb.ports.store import OperatingStore


@define
class MigrationReport:
    """What a migration moved.

    Attributes:
        moved: Rows that were not here yet.
        present: Rows that were here already, as they are there.
        renamed: How many of both got another id: private rows of an earlier version.
        embedded: Rows whose vector the other store had lost, embedded anew.
        refused: Rows whose vector the other store had lost, and whose text the embedder refuses:
            only their words find them.
        malformed: Rows without a well-formed stamp, path or fields, which nobody can read; left
            where they are.
    """

    moved: int = 0
    present: int = 0
    renamed: int = 0
    embedded: int = 0
    refused: list[Refusal] = field(factory=list)
    malformed: int = 0
    _owners: set[tuple[str, str]] = field(factory=set, repr=False)
    _labels: set[str] = field(factory=set, repr=False)

    @property
    def rows(self) -> int:
        """All rows of the other store."""
        return self.moved + self.present + self.malformed


@frozen(kw_only=True)
class Migrate:
    """Copy rows, vectors, stamps and what is remembered.

    Ids change where an earlier rule made them. Nothing is embedded but what the other store has
    lost, and nothing there is changed. What is here already is left alone, so after an interruption
    the same call finishes the job; at the end every row is read back and compared.

    Attributes:
        acts: Records what is done.
        store: Where the rows go.
        embedder: The one in force.
        state: Where what is remembered goes.
        batch_size: Rows read and written at a time.
        job_seconds: See :class:`~application.writing.base.WriteUseCase`.
    """

    acts: Acts
    store: OperatingStore
    embedder: Embedder
    state: State
    batch_size: int = 256
    job_seconds: float = 3600.0

    def __call__(
        self, context: TenantContext, source: MigrationSource, progress: Progress = SILENT
    ) -> MigrationReport:
        """Move everything from ``source`` here.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller is no operator, or no curator and there are rows of the
                shared tenant.
            AuditError: see :meth:`~application.operating.acts.Acts.begin`.
            StoreMismatchError: this store holds another embedder's vectors, the other store has ids
                of another scheme, or a row differs here from the one that is to be moved.
            EmbedderError, StoreError: failed on the way; the same call again goes on from there.
        """
        with self.acts.begin(context, "migrate", source=source.place) as act:
            report = self._migrate(act.scope, source, progress)
            act.result = {
                "moved": report.moved,
                "present": report.present,
                "renamed": report.renamed,
                "embedded": report.embedded,
                "refused": len(report.refused),
                "malformed": report.malformed,
            }
        return report

    def _migrate(
        self, operator: OperatorScope, source: MigrationSource, progress: Progress
    ) -> MigrationReport:
        scope = self.store.for_job(operator, self.job_seconds)
        report = MigrationReport()
        profile = source.profile()
        if profile is None:
            return report
        if (ids := source.ids()) is not None:
            ids.require(scope.namespace.ids, source.place)
        self.store.bind(profile)
        progress.phase("Moving rows")
        for found in batches(source.rows(), self.batch_size):
            self._move(scope, found, report)
            progress.advance(len(found))
        for record in source.syncs(sorted(report._labels)):
            self.state.record_sync(record)
        for owner in sorted(report._owners):
            known = source.known(*owner)
            self.state.replace_known(*owner, self.state.known(*owner), known)
        return report

    def _move(
        self,
        scope: OperatorScope,
        found: Sequence[tuple[RawRow, Vector | None]],
        report: MigrationReport,
    ) -> None:
        rows: list[StampedRow] = []
        vectors: list[Vector | None] = []
        for raw, vector in found:
            try:
                row = _row(raw, scope)
            except MalformedRowError:
                report.malformed += 1
                continue
            report.renamed += row.id != raw.id
            report._labels.add(row.stamp.label)
            report._owners.add((row.stamp.tenant_id, row.stamp.repo_slug))
            rows.append(row)
            vectors.append(vector)
        here = {raw.key: raw for raw, _ in self.store.fetch(scope, [row.key for row in rows])}
        missing = []
        for row, vector in zip(rows, vectors, strict=True):
            stored = here.get(row.key)
            if stored is None:
                missing.append((row, vector))
            elif same_fields(dict(stored.metadata), dict(row.metadata())):
                report.present += 1
            else:
                raise StoreMismatchError(
                    f"row {row.id} is stored here with other fields; migrate into an empty store"
                )
        if missing:
            self._write(scope, missing, report)

    def _write(
        self,
        scope: OperatorScope,
        missing: Sequence[tuple[StampedRow, Vector | None]],
        report: MigrationReport,
    ) -> None:
        lost = [row for row, vector in missing if vector is None]
        made: Iterator[Vector] = iter(())
        reasons: Mapping[int, str] = {}
        if lost:
            vectors, reasons = embed_all(self.embedder, [row.fields for row in lost])
            made = iter(vectors)
            report.refused += [
                Refusal.of(lost[place].metadata(), reason, stored=True)
                for place, reason in sorted(reasons.items())
            ]
        exact = np.stack([next(made) if vector is None else vector for _, vector in missing])
        rows = [row for row, _ in missing]
        self.store.restore(scope, rows, exact)
        written = {
            raw.key: (raw, vector)
            for raw, vector in self.store.fetch(scope, [row.key for row in rows])
        }
        for row, vector in zip(rows, exact, strict=True):
            raw, stored = written.get(row.key, (None, None))
            if raw is None or stored is None or stored.tobytes() != vector.tobytes():
                raise StoreError(f"row {row.id} cannot be read back as it was written; try again")
        report.moved += len(rows)
        report.embedded += len(lost) - len(reasons)


def _row(raw: RawRow, scope: OperatorScope) -> StampedRow:
    """The row as it is stored here: with the id that its owner gives it.

    Raises:
        MalformedRowError: it is none.
    """
    stamp, namespace = unlabelled_stamp_of(raw.metadata), scope.namespace
    own = settled(raw.id, raw.metadata, stamp, namespace, namespace.ids)
    return read_row(raw.id if own is None else own.id, raw.metadata)
