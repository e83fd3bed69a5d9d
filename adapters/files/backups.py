"""Backups in the file system: ``FILE`` and ``FILE.manifest.json``."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import orjson

from tenantkb import schemas
from tenantkb.adapters.files.jsonl import LINE_LENGTH, read_records
from tenantkb.adapters.runtime.folders import sync_folder
from tenantkb.domain import fields
from tenantkb.domain.backup import DISTANCE, FORMAT_VERSION, Manifest
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import InvalidInputError, StoreFullError
from tenantkb.domain.ids import IdScheme

_BUFFER: Final = 2**20
BACKUP_LINE_LENGTH: Final = 8 * LINE_LENGTH
"""The most bytes of a record. The row of the longest chunk takes up to six times as many as the
chunk, for its numbers are written out (``1e20``) and its nested values are JSON text in JSON text.
"""

_ROUNDED_TWICE: Final = np.float32(7.0385307e-26)
"""The one number of single precision whose shortest notation names its neighbour to a reader that
rounds to double precision first: 7.038531e-26 is, as a double, half-way between the two. Found by
trying all of them.
"""


def manifest_path(path: Path) -> Path:
    """Where the manifest of a backup lies."""
    return path.with_name(path.name + ".manifest.json")


def manifest_object(manifest: Manifest) -> dict[str, Any]:
    """A manifest as JSON, see the contract ``backup-manifest-v1``."""
    return {
        "formatVersion": FORMAT_VERSION,
        "records": manifest.records,
        "tenants": dict(manifest.tenants),
        "unstamped": manifest.unstamped,
        "ids": manifest.ids.value,
        "foreignIds": manifest.foreign_ids,
        "embedder": manifest.embedder.name,
        "dimension": manifest.embedder.dimension,
        "distance": DISTANCE,
        "sha256": manifest.sha256,
    }


class LocalBackupFiles:
    """Implements :class:`ports.backup.BackupFiles`.

    A draft is ``.FILE.part`` in the same folder, held by an operating-system lock: what a killed
    process leaves behind is taken over by the next export to the same name.
    """

    @contextmanager
    def draft(self, path: Path) -> Iterator[_Draft]:
        part = path.with_name(f".{path.name}.part")
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise InvalidInputError(f"cannot write {path}: it is no ordinary file")
        with _complaining("write", path), _locked(part) as stream:
            draft = _Draft(path, part, stream)
            try:
                yield draft
            finally:
                if not draft.published:  # else a part of that name is another process's
                    part.unlink(missing_ok=True)

    @contextmanager
    def open(self, path: Path) -> Iterator[_Backup]:
        with _complaining("read", path), path.open("rb") as stream:
            yield _Backup(stream, _manifest(manifest_path(path)))


class _Draft:
    def __init__(self, path: Path, part: Path, stream: BinaryIO) -> None:
        self._path, self._part, self._stream = path, part, stream
        self._digest = hashlib.sha256()
        self.published = False

    def add(self, record: Mapping[str, Any]) -> None:
        vector = record[fields.EMBEDDING]
        if (np.abs(vector) == _ROUNDED_TWICE).any():
            record = {**record, fields.EMBEDDING: vector.astype(np.float64)}
        line = orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
        self._digest.update(line)
        self._stream.write(line)

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def publish(self, manifest: Manifest) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        final = manifest_path(self._path)
        part = final.with_name(f".{final.name}.part")
        with open(part, "wb", opener=_for_the_owner) as stream:
            text = orjson.dumps(
                manifest_object(manifest), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
            )
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        final.unlink(missing_ok=True)
        self._part.replace(self._path)
        self.published = True
        part.replace(final)
        sync_folder(self._path.parent)


class _Backup:
    def __init__(self, stream: BufferedReader, manifest: Manifest | None) -> None:
        self._stream = stream
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest | None:
        return self._manifest

    def records(self) -> Iterator[tuple[int, object]]:
        self._stream.seek(0)
        return read_records(self._stream, BACKUP_LINE_LENGTH)

    def sha256(self) -> str:
        self._stream.seek(0)
        return hashlib.file_digest(self._stream, "sha256").hexdigest()


def _manifest(path: Path) -> Manifest | None:
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is not a manifest: expected JSON") from error
    if problems := schemas.problems("backup-manifest-v1", 1, value):
        found = "; ".join(f"{problem.pointer}: {problem.reason}" for problem in problems)
        raise InvalidInputError(f"{path} is not a manifest: {found}")
    return Manifest(
        records=value["records"],
        tenants=value["tenants"],
        unstamped=value["unstamped"],
        foreign_ids=value.get("foreignIds"),
        embedder=EmbedderProfile(value["embedder"], value["dimension"]),
        sha256=value["sha256"],
        ids=IdScheme(value.get("ids", IdScheme.CONTENT)),
    )


@contextmanager
def _complaining(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        told = f"cannot {verb} {path}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(told) from error
        raise InvalidInputError(told) from error


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """An empty draft that no other process writes to."""
    # A backup holds the private rows of everybody: its file is for nobody but its owner.
    with open(part, "ab", buffering=_BUFFER, opener=_for_the_owner) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInputError(f"another process is writing {part}") from error
        if not part.exists() or not os.path.samestat(os.fstat(stream.fileno()), part.stat()):
            raise InvalidInputError(f"another process has just written {part}; try again")
        stream.truncate(0)
        yield stream


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
