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

**Server.** The server's process is the only one that touches the files, so there is nothing to lock
here. Chroma's own tenants, databases and tokens are no boundary between clients: protect the
server's port by other means.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

import chromadb
import httpx
from chromadb.api.client import AdminClient, Client
from chromadb.config import Settings
from filelock import FileLock, Timeout

from tenantkb.domain.errors import StoreError, StoreLockedError
from tenantkb.domain.tenancy import format_instant

if TYPE_CHECKING:  # Chroma imports it for servers alone, and it takes a tenth of a second
    from chromadb.api.fastapi import FastAPI

_DATABASE: Final = "chroma.sqlite3"
_FILES_LOCK: Final = "tenantkb.lock"
_WRITER_LOCK: Final = "tenantkb.writer.lock"
_WRITER_RECORD: Final = "tenantkb.writer"


class Connection(Protocol):
    """Access to Chroma, one operation at a time."""

    @property
    def place(self) -> str:
        """Where the data is, for messages."""
        ...

    @property
    def repair(self) -> str:
        """What to do when the data is damaged, for messages."""
        ...

    @contextmanager
    def reading(self) -> Iterator[Client | None]:
        """A client for one read; ``None`` where nothing has ever been written."""
        ...

    @contextmanager
    def writing(self) -> Iterator[Client]:
        """A client for one write.

        Raises:
            StoreLockedError: another process is writing.
        """
        ...

    def drop_index(self, collection: str) -> None:
        """Within a write: remove the vector index of a collection, where it can be reached.

        It is made anew by what is written from then on. Clients are not used afterwards.
        """
        ...

    def close(self) -> None:
        """Give back locks, files and connections."""
        ...


class PathConnection:
    """Chroma in this process, on files that processes of this machine may share; see above.

    Reads and writes of one connection follow one another, whatever thread they come from.

    Args:
        path: The folder of the files. Made by the first write, never by a read.
        patience: Seconds to wait for the operations of other processes. It is also how long a read
            waits for a writer to finish before it fails; a writer never waits for a writer.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path.absolute()
        self._patience = patience
        self._threads = threading.RLock()
        self._files = FileLock(self._path / _FILES_LOCK, thread_local=False)
        self._writer = FileLock(self._path / _WRITER_LOCK, thread_local=False)
        self._client: Client | None = None
        self._record_at_opening = ""

    @property
    def place(self) -> str:
        return str(self._path)

    @property
    def repair(self) -> str:
        return (
            "run `tenantkb repair` as an operator; if that fails, stop all programs that use it, "
            f"move {self._path} away and sync again"
        )

    @contextmanager
    def reading(self) -> Iterator[Client | None]:
        with self._threads:
            if not (self._path / _DATABASE).exists():
                yield None
                return
            with self._locked_files():
                yield self._fresh_client()

    @contextmanager
    def writing(self) -> Iterator[Client]:
        with self._threads:
            if not self._writer.is_locked:
                self._become_writer()
            yield self._fresh_client()

    def drop_index(self, collection: str) -> None:
        # Chroma has no call for it. It writes the files of an index one after the other, so one
        # that was killed meanwhile leaves files that do not fit, and fails to read them ever after.
        self._drop_client()
        with closing(sqlite3.connect(self._path / _DATABASE)) as database, database:
            found = database.execute(
                "SELECT segments.id FROM segments JOIN collections"
                " ON collections.id = segments.collection"
                " WHERE segments.scope = 'VECTOR' AND collections.name = ?",
                (collection,),
            ).fetchall()
            database.executemany("DELETE FROM max_seq_id WHERE segment_id = ?", found)
        for (segment,) in found:
            shutil.rmtree(self._path / segment, ignore_errors=True)

    def close(self) -> None:
        with self._threads:
            self._drop_client()
            self._files.release(force=True)
            self._writer.release(force=True)

    def _become_writer(self) -> None:
        """Take both locks and leave this process's name."""
        self._path.mkdir(parents=True, exist_ok=True)
        try:
            self._writer.acquire(timeout=0)
        except Timeout as error:
            raise self._locked() from error
        try:
            # Not released at the end of an operation, but by close().
            self._locked_files()
            stale = self._record() != self._record_at_opening
            self._write_record()
        except BaseException:
            self._files.release(force=True)
            self._writer.release(force=True)
            raise
        if stale:
            self._drop_client()
        else:
            self._record_at_opening = self._record()

    def _locked_files(self) -> AbstractContextManager[object]:
        try:
            return self._files.acquire(timeout=self._patience)
        except Timeout as error:
            raise self._locked() from error

    def _fresh_client(self) -> Client:
        """The client, opened anew if another process has written since; the files are locked."""
        record = self._record()
        if self._client is not None and record != self._record_at_opening:
            self._drop_client()
        if self._client is None:
            self._client = cast(Client, chromadb.PersistentClient(self._path, _settings()))
            self._record_at_opening = record
        return self._client

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _record(self) -> str:
        try:
            return (self._path / _WRITER_RECORD).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _write_record(self) -> None:
        draft = self._path / f"{_WRITER_RECORD}.{os.getpid()}"
        draft.write_text(_name_of_this_process(), encoding="utf-8")
        draft.replace(self._path / _WRITER_RECORD)

    def _locked(self) -> StoreLockedError:
        owner = self._record() or "another process"
        return StoreLockedError(
            f"{self._path} is being written by {owner}; try again when it has finished, or let "
            "the processes share a Chroma server"
        )


class ServerConnection:
    """Chroma behind HTTP.

    Args:
        host: Host name or address.
        port: TCP port.
        ssl: Whether to speak HTTPS.
        headers: Sent with every request, such as an authorisation for a proxy before the server.
        timeout: Seconds to wait for an answer, each time.
    """

    def __init__(
        self, host: str, port: int, *, ssl: bool, headers: Mapping[str, str], timeout: float
    ) -> None:
        self._host, self._port, self._ssl = host, port, ssl
        self._headers = dict(headers)
        self._timeout = timeout
        self._threads = threading.Lock()
        self._client: Client | None = None

    @property
    def place(self) -> str:
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self._port}"

    @property
    def repair(self) -> str:
        return "stop the server, move its data folder away, start it on an empty one and sync again"

    @contextmanager
    def reading(self) -> Iterator[Client | None]:
        yield self._connected()

    @contextmanager
    def writing(self) -> Iterator[Client]:
        yield self._connected()

    def drop_index(self, collection: str) -> None:
        """The server's files cannot be reached; rows that its index has lost it is given again."""

    def close(self) -> None:
        with self._threads:
            if self._client is not None:
                self._client.close()
                for session in _sessions(self._client):  # which Chroma's close() leaves open
                    session.close()
                self._client = None

    def _connected(self) -> Client:
        with self._threads:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Client:
        """Chroma's client waits for ever, and it starts by asking: ask first with a time limit."""
        heartbeat = f"{self.place}/api/v2/heartbeat"
        answer = httpx.get(heartbeat, headers=self._headers, timeout=self._timeout)
        if not answer.is_success:
            raise StoreError(
                f"what answers at {heartbeat} is not a Chroma server that lets this client in "
                f"(HTTP {answer.status_code}); check host, port and headers"
            )
        api = chromadb.HttpClient(
            host=self._host,
            port=self._port,
            ssl=self._ssl,
            headers=dict(self._headers),
            settings=_settings(self._host, self._port),
        )
        client = cast(Client, api)
        for session in _sessions(client):
            session.timeout = httpx.Timeout(self._timeout)
        return client


def _sessions(client: Client) -> list[httpx.Client]:
    """What carries a client's requests; Chroma has no public setting for its time limit."""
    servers = (client._server, cast(AdminClient, client._admin_client)._server)
    return [cast("FastAPI", server)._session for server in servers]


def _settings(host: str | None = None, port: int | None = None) -> Settings:
    """Chroma's settings, without what an ``.env`` file in the working folder would add to them."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # of pydantic's base class, not declared
        anonymized_telemetry=False,
        chroma_server_host=host,
        chroma_server_http_port=port,
    )


def _name_of_this_process() -> str:
    """Who, where, which process, which command, since when.

    Of the command only its name and first word: further arguments may hold secrets.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    words = [Path(sys.argv[0]).name, *(word for word in sys.argv[1:2] if not word.startswith("-"))]
    since = format_instant(datetime.now(UTC))
    return f"{user}@{socket.gethostname()}, pid {os.getpid()} ({' '.join(words)}), since {since}"
