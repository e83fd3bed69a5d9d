"""Ways to reach Chroma: files of this process's own, or a server.

**Files.** Chroma's files belong to one process at a time, and reading is no exception. Whoever
opens them replays the log into the vector index and may write that index back, so a process that
merely queries while another one writes leaves an index behind that cannot be opened any more. A
client that stays open while another process writes keeps answering from the index that it has
loaded. Clients that are idle do no harm, and neither does closing them.

So every operation holds an operating-system lock on the files, and a writer holds it from its first
write until it closes. A writer leaves its name in a record beside the locks; whoever finds another
record than at its last operation opens the files anew. That costs a reader some ten milliseconds
after a sync, shows it everything that was written, and lets programs that read for days and an
occasional sync share one path. An operating-system lock dies with its process: nothing has to be
cleaned up after a crash.

Chroma writes its index in place and without a journal, so a writer that is killed may leave a torn
one, whose opening is undefined. A *marker* is on the disk from before a writer's first write until
after its clean close. Where nobody holds the lock and the marker is there, nothing opens the index
until it has been made anew.

**Server.** The server's process is the only one that touches the files, so there is nothing to lock
here. Chroma's own tenants, databases and tokens are no boundary between clients: protect the
server's port by other means.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import quote

from filelock import FileLock, Timeout

from tenantkb.adapters.runtime.folders import sync_folder
from tenantkb.adapters.runtime.process import name_of_this_process
from tenantkb.adapters.stores.chroma.tables import DATABASE
from tenantkb.domain.errors import (
    Remedy,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)

if TYPE_CHECKING:
    import httpx
    from chromadb.api.client import Client
    from chromadb.api.fastapi import FastAPI
    from chromadb.config import Settings

_FILES_LOCK: Final = "tenantkb.lock"
_WRITER_LOCK: Final = "tenantkb.writer.lock"
_WRITER_RECORD: Final = "tenantkb.writer"
_MARKER: Final = "tenantkb.writing"

_OUR_FILES: Final = (DATABASE, "tenantkb.")

_RESERVE: Final = 64 * 2**20
"""Bytes that have to be free before a write: Chroma passes over a write to its index that fails."""


class Connection(Protocol):
    """Access to Chroma, one operation at a time."""

    @property
    def place(self) -> str:
        """Where the data is, for messages."""
        ...

    def reading(self) -> AbstractContextManager[Client | None]:
        """A client for one read; ``None`` where nothing has ever been written.

        Raises:
            StoreLockedError: another process is writing, and goes on for longer than one would
                wait.
            StoreDamagedError: the last writer was killed.
        """
        ...

    def writing(self) -> AbstractContextManager[Client]:
        """A client for one write; raises what :meth:`reading` does."""
        ...

    def require_room(self) -> None:
        """Refuse to write where the disk is known to be full.

        Raises:
            StoreFullError: it is.
        """
        ...

    def close(self) -> None:
        """Give back locks, files and connections."""
        ...


class FilesConnection:
    """Chroma in this process, on files that processes of this machine may share; see above.

    Reads and writes of one connection follow one another, whatever thread they come from.

    Args:
        folder: The folder of the files. Made by the first write, never by a read.
        wait: Seconds to wait for other processes, reading and writing alike.
    """

    def __init__(self, folder: Path, wait: float = 60.0) -> None:
        self.folder = folder.absolute()
        self._wait = wait
        self._threads = threading.RLock()
        self._files = FileLock(self.folder / _FILES_LOCK, mode=0o600, thread_local=False)
        self._writer = FileLock(self.folder / _WRITER_LOCK, mode=0o600, thread_local=False)
        self._client: Client | None = None
        self._record_at_opening = ""
        self._suspect = False
        """Of a writer: whether the index is not to be trusted until it has been made anew."""

    @property
    def place(self) -> str:
        return str(self.folder)

    @contextmanager
    def reading(self) -> Iterator[Client | None]:
        with self.locked():
            if not (self.folder / DATABASE).exists():
                yield None
                return
            if self.needs_mending():
                raise self._damaged()
            yield self._fresh_client()

    @contextmanager
    def writing(self) -> Iterator[Client]:
        with self._threads:
            self._become_writer()
            if self._suspect:
                raise self._damaged()
            yield self._fresh_client()

    @contextmanager
    def mending(self) -> Iterator[Client]:
        """A client for one write to files whose index may be a new one; raises StoreLockedError."""
        with self._threads:
            self._become_writer()
            yield self._fresh_client()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Files that no process has open and this one may write; the index is suspect then."""
        with self._threads:
            self._become_writer()
            self._suspect = True
            self._drop_client()
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Files that nobody else reads or writes; before a first write nothing is locked."""
        with self._threads:
            if not (self.folder / DATABASE).exists():
                yield
                return
            with self._locked_files():
                yield

    @contextmanager
    def released(self) -> Iterator[None]:
        """Like :meth:`locked`, and closed here, so that a process of ours may open them."""
        with self.locked():
            self._drop_client()
            yield

    def mended(self) -> None:
        """The index has been made anew, or is gone with its rows."""
        self._suspect = False

    def needs_mending(self) -> bool:
        """Whether the index must not be opened, since a writer was killed; the files are locked."""
        return self._suspect if self._writer.is_locked else self._is_marked()

    def require_room(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < _RESERVE:
            raise StoreFullError(
                f"{self.folder} has {free / 2**20:,.0f} MiB left; nothing is written below "
                f"{_RESERVE / 2**20:,.0f} MiB"
            )

    def close(self) -> None:
        with self._threads:
            self._drop_client()
            if self._writer.is_locked:
                _close_to_others(self.folder)
                if not self._suspect:
                    (self.folder / _MARKER).unlink(missing_ok=True)
                    sync_folder(self.folder)
            self._suspect = False
            self._files.release(force=True)
            self._writer.release(force=True)

    def _become_writer(self) -> None:
        """Take both locks until :meth:`close`, leave this process's name and the marker."""
        if self._writer.is_locked:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._writer.acquire(timeout=self._wait)
        except Timeout as error:
            raise self._locked() from error
        try:
            self._locked_files()  # not released at the end of an operation
            stale = _text(self.folder / _WRITER_RECORD) != self._record_at_opening
            self._suspect = self._is_marked()
            _write(self.folder / _WRITER_RECORD, name_of_this_process())
            if not self._suspect:
                _write(self.folder / _MARKER, name_of_this_process())
            _close_to_others(self.folder)
        except BaseException:
            self._files.release(force=True)
            self._writer.release(force=True)
            raise
        if stale:
            self._drop_client()
        else:
            self._record_at_opening = _text(self.folder / _WRITER_RECORD) or ""

    def _is_marked(self) -> bool:
        return (self.folder / _MARKER).exists() and (self.folder / DATABASE).exists()

    def _locked_files(self) -> AbstractContextManager[object]:
        try:
            return self._files.acquire(timeout=self._wait)
        except Timeout as error:
            raise self._locked() from error

    def _fresh_client(self) -> Client:
        """The client, opened anew if another process has written since; the files are locked."""
        record = _text(self.folder / _WRITER_RECORD) or ""
        if self._client is not None and record != self._record_at_opening:
            self._drop_client()
        if self._client is None:
            self._client = client_on(self.folder)
            self._record_at_opening = record
        return self._client

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _locked(self) -> StoreLockedError:
        owner = _text(self.folder / _WRITER_RECORD) or "another process"
        return StoreLockedError(
            f"{self.folder} is being written by {owner}; try again when it has finished, or let "
            "the processes share a Chroma server"
        )

    def _damaged(self) -> StoreDamagedError:
        writer = _text(self.folder / _MARKER) or "another process"
        return StoreDamagedError(
            f"the last writer of {self.folder} was killed ({writer}); the rows are there, the "
            "index has to be made anew before it is read",
            remedy=Remedy.REPAIR_STORE,
        )


class ServerConnection:
    """Chroma behind HTTP.

    Args:
        host: Host name or address.
        port: TCP port.
        ssl: Whether to speak HTTPS.
        token: Sent as ``Authorization: Bearer``, if given.
        headers: Sent with every request, such as ``x-chroma-token`` for Chroma Cloud.
        tenant: Chroma's own tenant.
        database: Chroma's own database.
        timeout: Seconds to wait for an answer, each time.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl: bool = False,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        tenant: str = "default_tenant",
        database: str = "default_database",
        timeout: float = 60.0,
    ) -> None:
        self._host, self._port, self._ssl = host, port, ssl
        self._headers = {
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **(headers or {}),
        }
        self._tenant, self._database = tenant, database
        self._timeout = timeout
        self._threads = threading.Lock()
        self._client: Client | None = None

    @property
    def place(self) -> str:
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self._port}"

    @contextmanager
    def reading(self) -> Iterator[Client | None]:
        yield self._connected()

    @contextmanager
    def writing(self) -> Iterator[Client]:
        yield self._connected()

    def require_room(self) -> None:
        """Nothing is known of the server's disk."""

    def close(self) -> None:
        with self._threads:
            if self._client is not None:
                self._client.close()
                for session in _sessions(self._client):  # which Chroma's close() leaves open
                    session.close()
                self._client = None

    def asked(self, path: str) -> httpx.Response:
        """The answer to a plain request for a path of Chroma's interface.

        Raises:
            httpx.HTTPError: there is none in time.
        """
        import httpx

        address = f"{self.place}/api/v2/{path}"
        return httpx.get(address, headers=self._headers, timeout=self._timeout)

    def _connected(self) -> Client:
        with self._threads:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Client:
        """Chroma's client waits for ever, and it starts by asking: ask first with a time limit."""
        tenant, database = quote(self._tenant, safe=""), quote(self._database, safe="")
        answer = self.asked(f"tenants/{tenant}/databases/{database}")
        if not answer.is_success:
            raise StoreError(
                f"what answers at {answer.url} is not a Chroma server that lets this client in "
                f"(HTTP {answer.status_code}); check host, port, tenant, database and headers"
            )
        import chromadb
        import httpx

        api = chromadb.HttpClient(
            host=self._host,
            port=self._port,
            ssl=self._ssl,
            headers=dict(self._headers),
            settings=_settings(self._host, self._port),
            tenant=self._tenant,
            database=self._database,
        )
        client = cast("Client", api)
        for session in _sessions(client):
            session.timeout = httpx.Timeout(self._timeout)
        return client


def client_on(folder: Path) -> Client:
    """A client of Chroma's own on files, which are to be locked for it."""
    import chromadb

    return cast("Client", chromadb.PersistentClient(folder, _settings()))


def _sessions(client: Client) -> list[httpx.Client]:
    """What carries a client's requests; Chroma has no public setting for its time limit."""
    from chromadb.api.client import AdminClient

    servers = (client._server, cast(AdminClient, client._admin_client)._server)
    return [cast("FastAPI", server)._session for server in servers]


def _settings(host: str | None = None, port: int | None = None) -> Settings:
    """Chroma's settings, without what an ``.env`` file in the working folder would add to them."""
    from chromadb.config import Settings

    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # of pydantic's base class, not declared
        anonymized_telemetry=False,
        chroma_server_host=host,
        chroma_server_http_port=port,
    )


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _write(file: Path, text: str) -> None:
    """Write a small file, durably and whole."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    sync_folder(file.parent)


def _close_to_others(folder: Path) -> None:
    """Folders 0700, files 0600, which Chroma makes by the umask; others' files are left alone."""
    entries = list(folder.iterdir())
    ours = [each for each in entries if each.name.startswith(_OUR_FILES) or is_index(each)]
    if len(ours) == len(entries):
        folder.chmod(0o700)
    for entry in ours:
        for path in (entry, *entry.glob("*")):
            with suppress(FileNotFoundError):  # a journal of Chroma's comes and goes
                path.chmod(0o700 if path.is_dir() else 0o600)


def is_index(entry: Path) -> bool:
    """Whether a folder holds an index of Chroma's."""
    return (entry / "header.bin").exists()
