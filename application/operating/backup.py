"""Export, restore and truncate the collection: what only an operator may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, define, evolve, field, frozen

from tenantkb.application.contracts import PROBLEMS_KEPT, Contract, problems_of
from tenantkb.application.operating.acts import Acts
from tenantkb.application.writing.base import batches
from tenantkb.domain import fields
from tenantkb.domain.backup import (
    Adoption,
    Manifest,
    Restorable,
    Tally,
    exported,
    for_javascript,
    restorable,
)
from tenantkb.domain.context import OperatorScope, TenantContext
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    InvalidSubmissionError,
    Remedy,
)
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.records import RecordProblem, printable
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import Visibility
from tenantkb.domain.sync import Change
from tenantkb.ports.backup import Backup, BackupFiles
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.engine import Vector
from tenantkb.ports.progress import SILENT, Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.store import OperatingStore


class RestoreMode(Enum):
    """What becomes of stored rows that the backup does not hold.

    ``MERGE``: they stay. ``REPLACE``: they are deleted, after all others have been restored.
    """

    MERGE = "merge"
    REPLACE = "replace"


@frozen
class RestoreRequest:
    """What to restore, and how.

    Attributes:
        path: The backup.
        mode: See :class:`RestoreMode`.
        confirm: Name of the collection; needed to replace its rows.
        adoption: Where rows without a well-formed stamp go; without it they are refused.
        foreign_ids: Whether rows may have ids that are not derived from them, as those of other
            systems; rows of a backup whose manifest tells of such ids may.
    """

    path: Path
    mode: RestoreMode = RestoreMode.MERGE
    confirm: str | None = None
    adoption: Adoption | None = None
    foreign_ids: bool = False


@frozen
class RestoreReport:
    """What a restore changed.

    Attributes:
        added: Rows that were not stored.
        updated: Stored rows that differed.
        unchanged: Stored rows that were the same.
        deleted: Stored rows that the backup does not hold; 0 in a merge.
        adopted: How many of the backup's rows got a new stamp.
        verified: Whether there was a manifest to hold the backup to.
    """

    added: int
    updated: int
    unchanged: int
    deleted: int
    adopted: int
    verified: bool


@frozen(kw_only=True)
class ExportBackup:
    """Write every row to a backup, by ascending id.

    Attributes:
        acts: Records what is done.
        store: The collection's rows.
        files: Where backups lie.
        embedder: The one in force, which the backup of a collection without any rows names.
        job_seconds: See :class:`~application.writing.base.WriteUseCase`.
    """

    acts: Acts
    store: OperatingStore
    files: BackupFiles
    embedder: Embedder
    job_seconds: float = 3600.0

    def __call__(
        self,
        context: TenantContext,
        path: Path,
        progress: Progress = SILENT,
        *,
        javascript: bool = False,
    ) -> Manifest:
        """Export the collection, whosesoever its rows are and however malformed.

        Nothing bears the name ``path`` before it is complete; a backup of that name is replaced.

        Args:
            context: The caller's standing.
            path: Where the backup goes.
            progress: Takes notice.
            javascript: Whether it is written as the JavaScript system's release 13.1.0 imports it:
                private rows and those of which no id can be derived are left out, and counted.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller is no operator.
            AuditError: see :meth:`~application.operating.acts.Acts.begin`.
            InvalidInputError: nothing can be written at ``path``.
            StoreError: the store failed on the way.
        """
        with self.acts.begin(context, "export", file=path, javascript=javascript) as act:
            manifest = self._export(act.scope, path, progress, javascript=javascript)
            act.result = {
                "records": manifest.records,
                "private": manifest.private,
                "underived": manifest.underived,
            }
        return manifest

    def _export(
        self, operator: OperatorScope, path: Path, progress: Progress, *, javascript: bool
    ) -> Manifest:
        scope = self.store.for_job(operator, self.job_seconds)
        namespace = scope.namespace
        tally = Tally(evolve(namespace, ids=IdScheme.NEO13) if javascript else namespace)
        private = underived = 0
        with self.files.draft(path) as draft:
            progress.phase("Exporting")
            profile = self.store.profile() or self.embedder.profile
            for raw, vector in self.store.export(scope):
                row_id, (metadata, document) = raw.id, exported(raw.metadata)
                progress.advance()
                if javascript:
                    if metadata.get(fields.VISIBILITY) == Visibility.PRIVATE.value:
                        private += 1
                        continue
                    theirs = for_javascript(row_id, metadata, namespace)
                    if theirs is None:
                        underived += 1
                        continue
                    row_id, metadata = theirs
                tally.add(row_id, metadata)
                draft.add(
                    {
                        fields.ID: str(row_id),
                        fields.EMBEDDING: vector,
                        "metadata": metadata,
                        fields.DOCUMENT: document,
                    }
                )
            manifest = tally.manifest(profile, draft.sha256())
            draft.publish(manifest)
        return evolve(manifest, private=private, underived=underived)


@frozen(kw_only=True)
class TruncateCollection:
    """Delete all rows of all tenants, and forget the embedder.

    Attributes:
        acts: Records what is done.
        store: The collection's rows.
        collection: Name of the collection.
    """

    acts: Acts
    store: OperatingStore
    collection: str

    def __call__(self, context: TenantContext, confirm: str | None) -> int:
        """Truncate the collection; returns how many rows it had.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller is no operator.
            AuditError: see :meth:`~application.operating.acts.Acts.begin`.
            InvalidInputError: ``confirm`` is not the name of the collection.
            StoreLockedError: another process is writing.
        """
        with self.acts.begin(context, "truncate") as act:
            _require_confirmation(self.collection, confirm, "truncating deletes all")
            deleted = self.store.truncate(act.scope)
            act.result = {"deleted": deleted}
        return deleted


@frozen(kw_only=True)
class RestoreBackup:
    """Judge every record of a backup before the first is written; then write what differs.

    Rows keep their stamps and embeddings, and nothing is embedded. What is stored already is left
    alone, so after an interruption the same call finishes the job.

    Attributes:
        acts: Records what is done.
        store: The collection's rows.
        files: Where backups lie.
        embedder: The one in force, which a collection without rows is for.
        spool: Opens a scratch list of rows.
        collection: Name of the collection.
        batch_size: Records judged, and rows written, at a time.
        job_seconds: See :class:`~application.writing.base.WriteUseCase`.
    """

    acts: Acts
    store: OperatingStore
    files: BackupFiles
    embedder: Embedder
    spool: Callable[[], Spool]
    collection: str
    batch_size: int = 256
    job_seconds: float = 3600.0

    def __call__(
        self, context: TenantContext, request: RestoreRequest, progress: Progress = SILENT
    ) -> RestoreReport:
        """Restore a backup, all of it or nothing.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller is no operator, or adopts rows into the shared tenant
                without being its curator.
            AuditError: see :meth:`~application.operating.acts.Acts.begin`.
            InvalidInputError: there is no such backup, it does not agree with its manifest, or the
                confirmation is missing; nothing was written.
            InvalidSubmissionError: a record is not valid; nothing was written.
            StoreMismatchError: the backup's vectors are another embedder's; nothing was written.
            StoreLockedError: another process is writing; nothing was written.
            StoreError: failed on the way; the same call again goes on from there.
        """
        adoption = request.adoption
        with self.acts.begin(
            context,
            "restore",
            file=request.path,
            mode=request.mode.value,
            adopt=None if adoption is None else f"{adoption.tenant_id}/{adoption.repo_slug}",
            foreign_ids=request.foreign_ids,
        ) as act:
            report = self._restore(act.scope, request, progress)
            act.result = asdict(report)
        return report

    def _restore(
        self, operator: OperatorScope, request: RestoreRequest, progress: Progress
    ) -> RestoreReport:
        scope = self.store.for_job(operator, self.job_seconds)
        if request.adoption is not None:
            scope.require_may_stamp(request.adoption.tenant_id)
        if request.mode is RestoreMode.REPLACE:
            _require_confirmation(self.collection, request.confirm, "a replacement deletes")
        with self.files.open(request.path) as backup, closing(self.spool()) as spool:
            profile = self.store.profile() or self.embedder.profile
            if backup.manifest is not None:
                profile.require(backup.manifest.embedder)
                progress.phase("Verifying")
                _require_digest(request.path, backup.manifest, backup.sha256())
            restore = _Restore(self, scope, request, profile, backup, spool, progress)
            restore.check()
            return restore.write()


@frozen
class _Judged:
    """A record that is valid: its line, its row and its vector."""

    line: int
    restored: Restorable
    vector: Vector


@define
class _Restore:
    """One restore: the backup is read once to judge it and once to write it."""

    use_case: RestoreBackup
    scope: OperatorScope
    request: RestoreRequest
    profile: EmbedderProfile
    backup: Backup
    spool: Spool
    progress: Progress
    tally: Tally = field(init=False)
    problems: list[RecordProblem] = field(factory=list)
    problem_count: int = 0
    remedy: str | None = None
    adopted: int = 0

    def __attrs_post_init__(self) -> None:
        manifest = self.backup.manifest
        namespace = self.scope.namespace
        self.tally = Tally(evolve(namespace, ids=manifest.ids) if manifest else namespace)

    def check(self) -> None:
        """Judge every record and note in the spool what has to happen to its row."""
        self.progress.phase("Checking")
        for records in batches(self.backup.records(), self.use_case.batch_size):
            rows: dict[RowKey, _Judged] = {}
            problems: list[RecordProblem] = []
            for line, record in records:
                judged = self._judged(line, record)
                if isinstance(judged, _Judged):
                    rows[judged.restored.row.key] = judged
                else:
                    problems += judged
            self._compare(rows)
            self.problem_count += len(problems)
            self.problems += problems[: PROBLEMS_KEPT - len(self.problems)]
            self.progress.advance(len(records))
        if self.problem_count:
            raise InvalidSubmissionError(
                f"the backup cannot be restored (problems: {self.problem_count:,})",
                self.problems,
                self.problem_count,
                remedy=self.remedy,
            )
        manifest = self.backup.manifest
        if manifest and not self.tally.agrees_with(manifest):
            raise InvalidInputError(
                f"the counts in the manifest of {self.request.path} are not those of its records; "
                "nothing was stored"
            )

    def write(self) -> RestoreReport:
        """Write the rows that differ; in a replacement, delete what the backup does not hold."""
        store = self.use_case.store
        added, updated = self.spool.count(Change.ADDED), self.spool.count(Change.REEMBEDDED)
        store.bind(self.profile)
        if added + updated:
            self.progress.phase("Restoring", added + updated)
            for restored in batches(self._differing(), self.use_case.batch_size):
                rows = [row for row, _ in restored]
                store.restore(self.scope, rows, np.stack([vector for _, vector in restored]))
                self.progress.advance(len(rows))
        return RestoreReport(
            added=added,
            updated=updated,
            unchanged=self.spool.count(Change.UNCHANGED),
            deleted=self._delete_others() if self.request.mode is RestoreMode.REPLACE else 0,
            adopted=self.adopted,
            verified=self.backup.manifest is not None,
        )

    def _judged(self, line: int, record: object) -> _Judged | list[RecordProblem]:
        """What a record is to become, or why it cannot."""
        if problems := problems_of(Contract.BACKUP_RECORD, line, record):
            return problems
        assert isinstance(record, dict)  # noqa: S101 # the contract says so
        try:
            self.tally.add(ChunkId(record[fields.ID]), record["metadata"])
        except InvalidInputError as error:
            return [RecordProblem(line, f"/{fields.ID}", printable(str(error)))]
        if (found := len(record[fields.EMBEDDING])) != self.profile.dimension:
            expected = f"{self.profile.dimension} numbers ({self.profile.name})"
            return [
                RecordProblem(line, f"/{fields.EMBEDDING}", f"expected {expected}, not {found}")
            ]
        try:
            restored = self._restorable(record)
            self.scope.require_may_stamp(restored.row.stamp.tenant_id)
        except (InvalidInputError, AccessDeniedError) as error:
            self.remedy = self.remedy or error.remedy
            return [RecordProblem(line, "/metadata", printable(str(error)))]
        key = restored.row.key
        if not self.spool.add(key, {"line": line}):
            if restored.renamed:
                return []
            first = self.spool.get(key)
            reason = f"expected another id than in line {first and first['line']}"
            return [RecordProblem(line, f"/{fields.ID}", reason)]
        self.adopted += restored.adopted
        return _Judged(line, restored, _vector(record))

    def _restorable(self, record: dict[str, Any]) -> Restorable:
        manifest = self.backup.manifest
        return restorable(
            ChunkId(record[fields.ID]),
            record["metadata"],
            record[fields.DOCUMENT],
            self.request.adoption,
            self.scope.admitted_at,
            self.scope.namespace,
            foreign_ids=self.request.foreign_ids or bool(manifest and manifest.foreign_ids),
            origin=None if manifest is None else manifest.ids,
        )

    def _compare(self, rows: dict[RowKey, _Judged]) -> None:
        """Mark the rows that are stored already."""
        for stored, stored_vector in self.use_case.store.fetch(self.scope, list(rows)):
            judged = rows[stored.key]
            same_vector = judged.vector.tobytes() == stored_vector.tobytes()
            same = same_vector and judged.restored.is_stored_as(stored.metadata)
            self.spool.mark(stored.key, Change.UNCHANGED if same else Change.REEMBEDDED)

    def _differing(self) -> Iterator[tuple[StampedRow, Vector]]:
        """The rows that are not stored as they are to be, with their vectors.

        Both the records and the spool's entries come in the order of the backup.
        """
        unchanged = self.spool.entries(Change.UNCHANGED)
        skipped = next(unchanged, None)
        for line, record in self.backup.records():
            assert isinstance(record, dict)  # noqa: S101 # it has been checked
            restored = self._restorable(record)
            row = restored.row
            if restored.renamed and self.spool.get(row.key) != {"line": line}:
                continue
            if skipped is not None and row.key == skipped.key:
                skipped = next(unchanged, None)
            else:
                yield row, _vector(record)

    def _delete_others(self) -> int:
        store = self.use_case.store
        self.progress.phase("Deleting what the backup does not hold")
        for stored, _ in store.export(self.scope):
            if self.spool.get(stored.key) is None:
                self.spool.add_stale(stored.key)
        deleted = 0
        for keys in batches(self.spool.stale(), self.use_case.batch_size):
            deleted += store.discard(self.scope, keys)
            self.progress.advance(len(keys))
        return deleted


def _vector(record: dict[str, Any]) -> Vector:
    return np.array(record[fields.EMBEDDING], np.float32)


def _require_digest(path: Path, manifest: Manifest, digest: str) -> None:
    if digest != manifest.sha256:
        raise InvalidInputError(
            f"{path} is not the backup that its manifest tells of: its SHA-256 is {digest}, "
            f"not {manifest.sha256}; nothing was stored"
        )


def _require_confirmation(collection: str, confirm: str | None, what: str) -> None:
    if confirm != collection:
        raise InvalidInputError(
            f"{what} rows of the collection {collection}, of all tenants; confirm that by naming "
            "it",
            remedy=Remedy.CONFIRM_COLLECTION,
        )
