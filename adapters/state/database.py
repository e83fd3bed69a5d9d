"""A SQLite file that threads and processes share, as stores and state files use it.

Readers see the last commit and are never blocked or refused by a writer (write-ahead log,
https://www.sqlite.org/wal.html). What is committed survives a crash of the process, and of the
machine as far as its disks keep what they acknowledge (``synchronous=FULL``). Writers wait for one
another, however many there are, and none for longer than it would.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from tenantkb.adapters.runtime.folders import sync_folder
from tenantkb.domain.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreMismatchError,
)

REPLACE_FILE: Final = "replace-sqlite-file"
"""Remedy of a damaged file: nothing on this machine can make it whole."""

_POLL: Final = 0.002
"""Seconds between two tries to become the writer. SQLite's own handler soon waits 100 ms, in which
another writer of many batches would always be the first again."""

_IDLE: Final = 8
"""Connections kept open for the next reader or writer."""

_PAGE: Final = 8192
"""Bytes. A row and a vector of usual size waste more of SQLite's default page of 4096."""

_CACHE: Final = 8 * 1024
"""Kibibytes of pages that a connection keeps."""

_CHECKPOINT: Final = 4096
"""Pages of the write-ahead log at which it is copied into the file: 32 MB."""

_NETWORK: Final = frozenset(
    {"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"smb2", "smb3", "smbfs"}
)
"""File systems on which machines do not share the log's index, which lies in shared memory."""

_FULL: Final = (
    sqlite3.SQLITE_FULL,
    # What a quota or a limit of a file's size comes to; ENOSPC is SQLITE_FULL.
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
_LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@frozen
class Format:
    """What is in a file.

    Attributes:
        application_id: SQLite's ``application_id`` of such files.
        version: Of the tables; a file of a newer one is refused.
        tables: The statements that make them.
        upgrades: By version, the statements that make a file of it one of the next.
    """

    application_id: int
    version: int
    tables: Sequence[str] = field(hash=False)
    upgrades: Mapping[int, Sequence[str]] = field(factory=dict, hash=False)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise SQLite's errors as ``StoreError`` or what is known more precisely."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        primary = code & 0xFF
        if code in _FULL:
            raise StoreFullError(
                f"{place} cannot be written: the disk is full, or a limit is reached ({error})"
            ) from error
        if primary in _LOCKED:
            raise StoreLockedError(f"{place} is being written, and has been for long") from error
        if primary in _DAMAGED:
            raise StoreDamagedError(
                f"{place} is damaged, or was never ours ({error})", remedy=REPLACE_FILE
            ) from error
        raise StoreError(f"{place} cannot be used: {error}") from error


class Database:
    """A SQLite file, or a database in memory.

    Every read and write has a connection of its own, from a pool. The file may come, go and be
    replaced between two of them.

    Args:
        path: The file; made, with its folder, by the first write. ``None`` for one in memory.
        kind: What is to be in it.
        wait: Seconds to wait for other writers.
    """

    def __init__(self, path: Path | None, kind: Format, wait: float) -> None:
        self._path = None if path is None else path.absolute()
        self._kind = kind
        self._wait = wait
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._files: _Files | None = None
        self._memory = _Memory(kind)

    @property
    def place(self) -> str:
        """The file, for messages."""
        return "the database in memory" if self._path is None else str(self._path)

    def is_of(self, connection: sqlite3.Connection, version: int) -> bool:
        """Whether there are the tables of a version, which the next write gives an older file."""
        return _format_version(connection) >= version

    @property
    def is_writing(self) -> bool:
        """Whether the calling thread is within :meth:`writing`."""
        return getattr(self._thread, "connection", None) is not None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one commit, or the uncommitted work of the calling thread.

        Where there is no file it sees empty tables. A file of an older format is as it is, see
        :meth:`is_of`.

        Raises:
            StoreMismatchError: the file is another program's, or of a newer format.
            StoreDamagedError: it is no database any more.
            StoreError: it cannot be read for another reason.
        """
        joined = getattr(self._thread, "connection", None)
        if joined is not None:
            with translated(self.place):
                yield joined
            return
        with translated(self.place), self._borrowed(self._readable()) as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, durable when it ends, or a part of the calling thread's present one.

        What fails leaves nothing.

        Raises:
            StoreLockedError: others are writing, and go on for longer than one would wait.
            StoreFullError: there is no room.
            StoreError: as for :meth:`reading`, or the file is read-only.
        """
        joined = getattr(self._thread, "connection", None)
        if joined is not None:
            with translated(self.place), self._part(joined):
                yield joined
            return
        with translated(self.place), self._borrowed(self._writable()) as connection:
            self._begin(connection)
            self._thread.connection = connection
            try:
                _upgrade(connection, self._kind)
                yield connection
                self._require_open(connection)
                connection.execute("COMMIT")
            finally:
                self._thread.connection = None
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def shrink(self) -> None:
        """Give the room of what was deleted back to the disk, by a copy of what is left."""
        with translated(self.place), self._borrowed(self._writable()) as connection:
            connection.execute("VACUUM")

    def close(self) -> None:
        """Close all connections. The last one of all processes removes the write-ahead log."""
        with self._lock:
            if self._files is not None:
                self._files.close()
                self._files = None
        self._memory.close()

    @contextmanager
    def _part(self, connection: sqlite3.Connection) -> Iterator[None]:
        self._require_open(connection)
        connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK TO part")
                connection.execute("RELEASE part")
            raise
        self._require_open(connection)
        connection.execute("RELEASE part")

    def _require_open(self, connection: sqlite3.Connection) -> None:
        """After some errors SQLite ends a transaction by itself; what follows is no part of it."""
        if not connection.in_transaction:
            raise StoreError(f"{self.place}: the transaction has failed before; nothing is written")

    def _begin(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA busy_timeout = 0")
        _insist(connection, "BEGIN IMMEDIATE", self._wait)
        connection.execute(f"PRAGMA busy_timeout = {int(self._wait * 1000)}")

    @contextmanager
    def _borrowed(self, source: _Memory | _Files) -> Iterator[sqlite3.Connection]:
        connection = source.take()
        try:
            yield connection
        except sqlite3.Error:
            source.give_back(connection, usable=False)
            raise
        except BaseException:
            source.give_back(connection)
            raise
        source.give_back(connection)

    def _readable(self) -> _Memory | _Files:
        if self._path is None:
            return self._memory
        return self._current(self._path) or self._memory

    def _writable(self) -> _Memory | _Files:
        if self._path is None:
            return self._memory
        files = self._current(self._path)
        if files is None:
            _create(self._path, self._kind, self._wait)
            files = self._current(self._path)
        if files is None or files.version.immutable:
            raise StoreError(f"{self.place} cannot be written: it, or its folder, is read-only")
        return files

    def _current(self, path: Path) -> _Files | None:
        """The connections to the file that is there now; ``None`` where none has been made."""
        version = _version(path)
        with self._lock:
            if self._files is not None and self._files.version != version:
                self._files.close()
                self._files = None
            if self._files is None and version is not None:
                files = _Files(path, version, self._wait)
                try:
                    if files.holds(self._kind):
                        self._files = files
                finally:
                    if self._files is None:
                        files.close()
            return self._files


class _Version(NamedTuple):
    """Which file lies at a path.

    Attributes:
        device, inode: The file.
        process: Connections must not be carried across a fork
            (https://www.sqlite.org/howtocorrupt.html, 2.6).
        immutable: Whether it cannot be written from here, and is read without locks.
        changed: Of an immutable one, when and how it was changed elsewhere.
    """

    device: int
    inode: int
    process: int
    immutable: bool = False
    changed: tuple[int, int] = (0, 0)


def _version(path: Path) -> _Version | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise StoreError(f"{path.parent} is to be a folder, and is none; move it away") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is no file; move it away")
    if _may_write(path) and _may_write(path.parent):
        return _Version(found.st_dev, found.st_ino, os.getpid())
    log = path.with_name(f"{path.name}-wal")
    with suppress(FileNotFoundError):
        if log.stat().st_size:
            raise StoreError(
                f"{path} cannot be read: it, or its folder, is read-only, and {log.name} holds "
                "what is not in it yet. Open it once as a user who may write there, who thereby "
                "completes it"
            )
    changed = found.st_mtime_ns, found.st_size
    return _Version(found.st_dev, found.st_ino, os.getpid(), immutable=True, changed=changed)


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


class _Memory:
    """A database in memory: one connection, one thread at a time."""

    def __init__(self, kind: Format) -> None:
        self._lock = threading.RLock()
        self._kind = kind
        self._connection: sqlite3.Connection | None = None

    def take(self) -> sqlite3.Connection:
        self._lock.acquire()
        if self._connection is None:
            self._connection = _connect(":memory:", 0)
            _make(self._connection, self._kind)
        return self._connection

    def give_back(self, connection: sqlite3.Connection, *, usable: bool = True) -> None:
        self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class _Files:
    """Connections to one file, each for one thread at a time."""

    def __init__(self, path: Path, version: _Version, wait: float) -> None:
        if not version.immutable:
            _require_local(path)
        self.version = version
        self._path = path
        self._wait = wait
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] | None = []

    def holds(self, kind: Format) -> bool:
        """Whether the tables are there; false for a file that was about to be made.

        Raises:
            StoreMismatchError: the file is another program's, or of a newer format.
        """
        connection = self.take()
        try:
            connection.execute("BEGIN")  # of one moment: others may be making the file
            return _holds(connection, kind, str(self._path))
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self.give_back(connection)

    def take(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        immutable = "&immutable=1" if self.version.immutable else ""
        mode = "ro" if self.version.immutable else "rw"
        return _connect(f"{self._path.as_uri()}?mode={mode}{immutable}", self._wait)

    def give_back(self, connection: sqlite3.Connection, *, usable: bool = True) -> None:
        with self._lock:
            if usable and self._idle is not None and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        with self._lock:
            idle, self._idle = self._idle or [], None
        if self.version.process != os.getpid():
            _OF_THE_PARENT.extend(idle)
            return
        for connection in idle:
            connection.close()


_OF_THE_PARENT: Final[list[sqlite3.Connection]] = []
"""Connections that this process has inherited by a fork, and must neither use nor close."""


def _connect(address: str, wait: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        timeout=wait,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=True,
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute(f"PRAGMA cache_size = {-_CACHE}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    return connection


def _insist(connection: sqlite3.Connection, statement: str, wait: float) -> list[tuple[Any, ...]]:
    """Execute what SQLite's own timeout does not, or not fairly, wait for others with."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _LOCKED or time.monotonic() > deadline:
                raise
            time.sleep(_POLL)


def _holds(connection: sqlite3.Connection, kind: Format, place: str) -> bool:
    ((application_id,),) = connection.execute("PRAGMA application_id").fetchall()
    version = _format_version(connection)
    if not application_id and not connection.execute("SELECT 1 FROM sqlite_master").fetchall():
        return False
    if application_id != kind.application_id:
        raise StoreMismatchError(f"{place} is another program's file; name another place")
    if version > kind.version:
        raise StoreMismatchError(
            f"{place} has format {version}, and this program knows none beyond {kind.version}; "
            "a newer version of tenantkb has written it"
        )
    return True


def _format_version(connection: sqlite3.Connection) -> int:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def _upgrade(connection: sqlite3.Connection, kind: Format) -> None:
    """Make a file of an older format one of the present, within a transaction."""
    for version in range(_format_version(connection), kind.version):
        for statement in kind.upgrades[version]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")


def _create(path: Path, kind: Format, wait: float) -> None:
    """Make the file, unless another process does so meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Only a new file: to close a second descriptor of a file would end SQLite's locks on it.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _require_local(path)
    except OSError as error:
        kind_of = StoreFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
        raise kind_of(f"{path} cannot be made: {error.strerror}") from error
    with closing(_connect(f"{path.as_uri()}?mode=rw", wait)) as connection:
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        ((mode,),) = _insist(connection, "PRAGMA journal_mode = WAL", wait)
        if mode != "wal":
            raise StoreError(f"{path}: its file system has no shared memory; name another place")
        connection.execute("BEGIN IMMEDIATE")
        if not _holds(connection, kind, str(path)):
            _make(connection, kind)
        connection.execute("COMMIT")
    for folder in (path.parent, path.parent.parent):
        with suppress(OSError):  # which may be closed to us
            sync_folder(folder)


def _make(connection: sqlite3.Connection, kind: Format) -> None:
    for statement in kind.tables:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {kind.application_id}")
    connection.execute(f"PRAGMA user_version = {kind.version}")


def _require_local(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Refuse a network file system, where the system tells.

    Raises:
        StoreError: machines would not see each other's locks and index, and damage the file.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    place, kind, depth = path.resolve(), "", -1
    for line in lines:
        _, mounted, found, *_ = line.split(" ")
        point = Path(mounted.replace("\\040", " "))
        if place.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = found, len(point.parts)
    if kind in _NETWORK:
        raise StoreError(
            f"{path} lies on a network file system ({kind}), on which SQLite's files are damaged "
            "by two machines; name a place on a local disk"
        )
