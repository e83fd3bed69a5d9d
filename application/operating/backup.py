"""Export, restore and truncate the collection: what only an operator may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import define, field, frozen

from tenantkb.application.contracts import Contract, problems_of
from tenantkb.application.operating.base import OperatorUseCase
from tenantkb.application.writing.base import batches
from tenantkb.domain.backup import (
    Adoption,
    Manifest,
    Restorable,
    Tally,
    exported,
    is_same,
    require_same_owner,
    restorable,
)
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, InvalidSubmissionError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.records import RecordProblem, printable
from tenantkb.domain.rows import Row
from tenantkb.domain.sync import Change
from tenantkb.domain.tenancy import OperatorScope
from tenantkb.ports.backup import Backup, BackupFiles
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.progress import Progress
from tenantkb.ports.spool import Spool
from tenantkb.ports.store import Vector

PROBLEMS_KEPT: Final = 50
"""How many problems of a refused backup are told one by one; the others are counted."""


class RestoreMode(Enum):
    """What becomes of stored rows that the backup does not hold.

    ``MERGE``: they stay. ``REPLACE``: they are deleted, after all others have been restored.
    """

    MERGE = "merge"
    REPLACE = "replace"


@frozen
class ImportRequest:
    """What to restore, and how.

    Attributes:
        path: The backup.
        mode: See :class:`RestoreMode`.
        confirm: Name of the collection; needed to replace its rows.
        adoption: Where rows without a well-formed stamp go; without it they are refused.
    """

    path: Path
    mode: RestoreMode = RestoreMode.MERGE
    confirm: str | None = None
    adoption: Adoption | None = None


@frozen
class ImportReport:
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
class ExportBackup(OperatorUseCase):
    """Write every row to a backup, by ascending id.

    Attributes:
        files: Where backups lie.
        embedder: The one in force, which the backup of a collection without any rows names.
    """

    files: BackupFiles
    embedder: Embedder

    def __call__(self, identity: AgentIdentity | None, path: Path, progress: Progress) -> Manifest:
        """Export the collection, whosesoever its rows are and however malformed.

        Nothing bears the name ``path`` before it is complete; a backup of that name is replaced.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the identity is no operator.
            InvalidInputError: nothing can be written at ``path``.
            StoreError: the store failed on the way.
        """
        scope = self._scope(identity)
        tally = Tally()
        with self.files.draft(path) as draft:
            progress.phase("Exporting")
            profile = self.store.profile() or self.embedder.profile
            for row, vector in self.store.export(scope):
                metadata, document = exported(row)
                tally.add(metadata)
                draft.add(
                    {
                        "id": row.id,
                        "embedding": vector,
                        "metadata": metadata,
                        "document": document,
                    }
                )
                progress.advance()
            manifest = tally.manifest(profile, draft.sha256())
            draft.publish(manifest)
        return manifest


@frozen(kw_only=True)
class TruncateCollection(OperatorUseCase):
    """Delete all rows of all tenants, and forget the embedder.

    Attributes:
        collection: Name of the collection.
    """

    collection: str

    def __call__(self, identity: AgentIdentity | None, confirm: str | None) -> int:
        """Truncate the collection; returns how many rows it had.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the identity is no operator.
            InvalidInputError: ``confirm`` is not the name of the collection.
            StoreLockedError: another process is writing.
        """
        scope = self._scope(identity)
        _require_confirmation(self.collection, confirm, "truncating deletes all")
        return self.store.truncate(scope)


@frozen(kw_only=True)
class ImportBackup(OperatorUseCase):
    """Judge every record of a backup before the first is written; then write what differs.

    Rows keep their ids, stamps and embeddings, and nothing is embedded. What is stored already is
    left alone, so after an interruption the same call finishes the job.

    Attributes:
        files: Where backups lie.
        embedder: The one in force, which a collection without rows is for.
        spool: Opens a scratch list of rows.
        collection: Name of the collection.
        batch_size: Records judged, and rows written, at a time.
    """

    files: BackupFiles
    embedder: Embedder
    spool: Callable[[], Spool]
    collection: str
    batch_size: int = 256

    def __call__(
        self, identity: AgentIdentity | None, request: ImportRequest, progress: Progress
    ) -> ImportReport:
        """Restore a backup, all of it or nothing.

        Raises:
            AuthenticationError: no valid identity.
            AccessDeniedError: the identity is no operator, or adopts rows into the shared tenant
                without being its curator.
            InvalidInputError: there is no such backup, it does not agree with its manifest, or the
                confirmation is missing; nothing was written.
            InvalidSubmissionError: a record is not valid; nothing was written.
            StoreMismatchError: the backup's vectors are another embedder's; nothing was written.
            StoreLockedError: another process is writing; nothing was written.
            StoreError: failed on the way; the same call again goes on from there.
        """
        scope = self._scope(identity)
        if request.adoption is not None:
            scope.require_may_stamp(request.adoption.tenant_id, self.tenancy)
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

    use_case: ImportBackup
    scope: OperatorScope
    request: ImportRequest
    profile: EmbedderProfile
    backup: Backup
    spool: Spool
    progress: Progress
    tally: Tally = field(factory=Tally)
    problems: list[RecordProblem] = field(factory=list)
    problem_count: int = 0
    adopted: int = 0

    def check(self) -> None:
        """Judge every record and note in the spool what has to happen to its row."""
        self.progress.phase("Checking")
        for records in batches(self.backup.records(), self.use_case.batch_size):
            rows: dict[str, _Judged] = {}
            problems: list[RecordProblem] = []
            for line, record in records:
                judged = self._judged(line, record)
                if isinstance(judged, _Judged):
                    rows[judged.restored.row.id] = judged
                else:
                    problems += judged
            problems += self._compare(rows)
            problems.sort(key=lambda problem: problem.line)
            self.problem_count += len(problems)
            self.problems += problems[: PROBLEMS_KEPT - len(self.problems)]
            self.progress.advance(len(records))
        if self.problem_count:
            raise InvalidSubmissionError(
                f"the backup cannot be restored (problems: {self.problem_count:,})",
                self.problems,
                self.problem_count,
            )
        manifest = self.backup.manifest
        if manifest and manifest != self.tally.manifest(manifest.embedder, manifest.sha256):
            raise InvalidInputError(
                f"the counts in the manifest of {self.request.path} are not those of its records; "
                "nothing was stored"
            )

    def write(self) -> ImportReport:
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
        return ImportReport(
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
        self.tally.add(record["metadata"])
        if (found := len(record["embedding"])) != self.profile.dimension:
            expected = f"{self.profile.dimension} numbers ({self.profile.name})"
            return [RecordProblem(line, "/embedding", f"expected {expected}, not {found}")]
        try:
            restored = self._restorable(record)
        except InvalidInputError as error:
            return [RecordProblem(line, "/metadata", printable(str(error)))]
        if not self.spool.add(Row(restored.row.id, {"line": line})):
            first = self.spool.get(restored.row.id)
            reason = f"expected another id than in line {first and first.metadata['line']}"
            return [RecordProblem(line, "/id", reason)]
        self.adopted += restored.adopted
        return _Judged(line, restored, _vector(record))

    def _restorable(self, record: dict[str, Any]) -> Restorable:
        return restorable(
            record["id"],
            record["metadata"],
            record["document"],
            self.request.adoption,
            self.use_case.clock.now(),
            self.use_case.tenancy,
        )

    def _compare(self, rows: dict[str, _Judged]) -> Iterator[RecordProblem]:
        """Mark the rows that are stored already; tells those that may not be merged."""
        for stored, stored_vector in self.use_case.store.export(self.scope, list(rows)):
            judged = rows[stored.id]
            if self.request.mode is RestoreMode.MERGE:
                try:
                    require_same_owner(judged.restored.row, stored.metadata)
                except InvalidInputError as error:
                    yield RecordProblem(judged.line, "/id", printable(str(error)))
            same_vector = judged.vector.tobytes() == stored_vector.tobytes()
            same = same_vector and is_same(judged.restored, stored.metadata)
            self.spool.mark(stored.id, Change.UNCHANGED if same else Change.REEMBEDDED)

    def _differing(self) -> Iterator[tuple[Row, Vector]]:
        """The rows that are not stored as they are to be, with their vectors.

        Both the records and the spool's rows come in the order of the backup.
        """
        unchanged = self.spool.rows(Change.UNCHANGED)
        skipped = next(unchanged, None)
        for _, record in self.backup.records():
            assert isinstance(record, dict)  # noqa: S101 # it has been checked
            row = self._restorable(record).row
            if skipped is not None and row.id == skipped.id:
                skipped = next(unchanged, None)
            else:
                yield row, _vector(record)

    def _delete_others(self) -> int:
        store = self.use_case.store
        self.progress.phase("Deleting what the backup does not hold")
        for stored, _ in store.export(self.scope):
            if self.spool.get(stored.id) is None:
                self.spool.add_stale(stored.id)
        deleted = 0
        for ids in batches(self.spool.stale(), self.use_case.batch_size):
            deleted += store.delete(self.scope, ids)
            self.progress.advance(len(ids))
        return deleted


def _vector(record: dict[str, Any]) -> Vector:
    return np.array(record["embedding"], np.float32)


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
            f"it (--confirm {collection})"
        )
