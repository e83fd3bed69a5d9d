"""Leases on repositories: one job at a time, of all that share an installation."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from tenantkb.adapters.runtime.process import name_of_this_process
from tenantkb.domain.errors import StoreError, StoreLockedError


class Leases:
    """One lock for each (tenant, repository).

    Args:
        folder: Where the locks lie, for all processes; made by the first lease. ``None`` for locks
            among the threads that share this object.
        wait: Seconds to wait for another holder.
    """

    def __init__(self, folder: Path | None, wait: float) -> None:
        self._folder = folder
        self._wait = wait
        self._threads: defaultdict[tuple[str, str], _ThreadLock] = defaultdict(_ThreadLock)

    @contextmanager
    def lease(
        self, tenant_id: str, repo_slug: str, waiting: Callable[[str], None]
    ) -> Iterator[None]:
        """See :meth:`ports.state.State.lease`."""
        lock: _Lock
        if self._folder is None:
            lock = self._threads[tenant_id, repo_slug]
        else:
            lock = _ProcessLock(self._folder, f"{tenant_id} {repo_slug}")
        if not lock.acquire(0):
            waiting(lock.holder)
            if not lock.acquire(self._wait):
                raise StoreLockedError(
                    f"{repo_slug} of {tenant_id} is being synchronised by {lock.holder}"
                )
        try:
            yield
        finally:
            lock.release()


class _Lock(Protocol):
    @property
    def holder(self) -> str: ...

    def acquire(self, seconds: float) -> bool: ...

    def release(self) -> None: ...


class _ThreadLock:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.holder = ""

    def acquire(self, seconds: float) -> bool:
        acquired = self._lock.acquire(timeout=seconds)
        if acquired:
            self.holder = name_of_this_process()
        return acquired

    def release(self) -> None:
        self._lock.release()


class _ProcessLock:
    """An operating-system lock, which dies with its process, and beside it the holder's name.

    The name cannot be in the locked file, which whoever tries the lock opens for writing.
    """

    def __init__(self, folder: Path, key: str) -> None:
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        self._record = folder / f"{name}.holder"
        self._lock = FileLock(folder / f"{name}.lock", mode=0o600, thread_local=False)

    @property
    def holder(self) -> str:
        with suppress(OSError):
            return self._record.read_text(encoding="utf-8") or "another process"
        return "another process"

    def acquire(self, seconds: float) -> bool:
        try:
            self._record.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._record.parent.mkdir(exist_ok=True, mode=0o700)
            self._lock.acquire(timeout=seconds)
            self._record.touch(mode=0o600)
            self._record.write_text(name_of_this_process(), encoding="utf-8")
        except Timeout:
            return False
        except OSError as error:
            self._lock.release()
            raise StoreError(f"{self._record} cannot be written: {error.strerror}") from error
        return True

    def release(self) -> None:
        with suppress(OSError):
            self._record.unlink()
        self._lock.release()


class WriterNumbers:
    """Small numbers, of which each living writer has one of its own.

    A number is an operating-system lock, so that whatever was written under one that nobody holds
    is of a writer that has ended, however it has.

    Args:
        folder: Where the locks lie, for all processes; made by the first writer. ``None`` where
            there is one writer.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: FileLock | None = None

    def take(self) -> int:
        """Hold the first number that nobody holds, until :meth:`release`."""
        if self._folder is None:
            return 0
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.mkdir(exist_ok=True, mode=0o700)
            for number in count():
                lock = self._lock(self._folder, number)
                with suppress(Timeout):
                    lock.acquire(timeout=0)
                    self._held = lock
                    return number
        except OSError as error:
            raise StoreError(f"{self._folder} cannot be written: {error.strerror}") from error
        raise AssertionError  # numbers do not end

    def is_free(self, number: int) -> bool:
        """Whether nobody holds a number, of those that another writer has taken."""
        if self._folder is None:
            return True
        lock = self._lock(self._folder, number)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return False
        lock.release()
        return True

    def release(self) -> None:
        """Give the number back, if one is held."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def _lock(self, folder: Path, number: int) -> FileLock:
        return FileLock(folder / f"writer-{number}.lock", mode=0o600, thread_local=False)
