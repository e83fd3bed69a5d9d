"""What Chroma's stores can have that no other store has: the doctor's checks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tenantkb.adapters.state.database import REPLACE_FILE
from tenantkb.adapters.stores.chroma.collection import OpenCollection
from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection, is_index
from tenantkb.adapters.stores.chroma.index_reader import IndexReader, IndexReaderDied
from tenantkb.adapters.stores.chroma.tables import DATABASE, Tables
from tenantkb.adapters.stores.chroma.words import WordIndex
from tenantkb.domain.checks import Check, State, skipped
from tenantkb.domain.errors import StoreError, StoreLockedError

_SCARCE: Final = 2**30
_EXHAUSTED: Final = 100 * 2**20
"""Bytes. Chroma takes about 10 kB for a row, so that 1 GiB is room for 100,000 more."""

_LINKS: Final = "link_lists.bin"
_PLAUSIBLE: Final = 16 * 2**20
_PLAUSIBLE_FOR_A_ROW: Final = 1024
"""Bytes of the file of links: a row has some 150 on average, and one that was deleted keeps its
own. A torn write has made files of an apparent 50 GB, full of holes."""

_PAGE: Final = 1000

REPLACE_STATE: Final = (
    "Move the state file away, and synchronise again: postings are made anew. The last known heads "
    "and manifests are lost with it."
)
_CATCH_UP: Final = "Synchronise again, which makes good what is lacking, or repair the store."


def examine_files(connection: FilesConnection, collection: str, repair: str) -> Iterator[Check]:
    """The checks of a store on files.

    Args:
        connection: To the files.
        collection: Name of the collection.
        repair: What to do about a damaged index.
    """
    folder = check_folder("store.path", connection.folder)
    yield folder
    if folder.state is State.ERROR:
        yield from (skipped(name, folder.name) for name in ("store.files", "store.session"))
        yield skipped("store.vectors", folder.name)
        return
    remedy = f"{repair[0].upper()}{repair[1:]}."
    try:
        with connection.released():
            files = _check_files("store.files", connection.folder, collection, remedy)
            yield files
            session = _check_session("store.session", connection, remedy)
            yield session
            culprits = [each for each in (files, session) if each.state is State.ERROR]
            if culprits:
                yield skipped("store.vectors", culprits[0].name)
            else:
                yield _check_vectors("store.vectors", connection.folder, collection, remedy)
    except StoreLockedError as error:
        wait = "Wait until it has finished, or end it."
        yield Check("store.session", State.SKIPPED, str(error), wait)


def examine_server(connection: ServerConnection) -> Iterator[Check]:
    """The checks of a store on a server."""
    yield check_server("store.version", connection)


def examine_postings(
    name: str,
    words: WordIndex,
    reading: Callable[[], AbstractContextManager[OpenCollection | None]],
    repair: str,
) -> Check:
    """The check of the postings beside the store.

    Args:
        name: Of the check.
        words: The postings.
        reading: Opens the collection.
        repair: What to do about damaged ones.
    """
    remedy = f"{repair[0].upper()}{repair[1:]}."
    try:
        with reading() as bound:
            found = words.compared(bound) if bound else None
    except StoreError as error:
        told = REPLACE_STATE if error.remedy == REPLACE_FILE else remedy
        return Check(name, State.ERROR, f"cannot be examined: {error}", told)
    if found is None:
        return Check(name, State.OK, "there are no rows yet")
    if not found.usable:
        behind = "there are none, or another tokeniser's: words rank the nearest rows alone"
        return Check(name, State.WARNING, behind, _CATCH_UP)
    if found.wrong:
        wrong = f"{found.wrong:,} of {found.sample:,} rows have other postings than text"
        return Check(name, State.ERROR, wrong, remedy)
    if found.lacking or found.left_over:
        behind = f"{found.lacking:,} rows have none, {found.left_over:,} are of rows that are gone"
        return Check(name, State.WARNING, behind, _CATCH_UP)
    told = f"every row has some; those of {found.sample:,} agree with their text"
    return Check(name, State.OK, told)


def check_folder(name: str, path: Path) -> Check:
    """Whether the folder of the store can be written and has room. It is not made."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        remedy = "Set store.path to a folder, or move that file away."
        return Check(name, State.ERROR, f"{there} is not a folder", remedy)
    files = (file for file in path.glob("*") if file.is_file())
    locked = [each for each in (there, *files) if not os.access(each, os.W_OK)]
    if locked:
        remedy = f"Make {path} and all in it writable for the user that runs tenantkb."
        return Check(name, State.ERROR, f"{locked[0]} cannot be written", remedy)
    free = shutil.disk_usage(there).free
    finding = f"{path}, {free / 2**30:,.1f} GiB free"
    if free < _SCARCE:
        state = State.ERROR if free < _EXHAUSTED else State.WARNING
        remedy = "Free some space on that disk, or move the folder and set store.path."
        return Check(name, state, finding, remedy)
    return Check(name, State.OK, finding)


def check_server(name: str, connection: ServerConnection) -> Check:
    """Whether the server is of the same series as the client.

    A server tells the version of its interface, and all of the series 1 tell 1.0.0.
    """
    import httpx

    client = version("chromadb")
    try:
        answer = connection.asked("version")
        answer.raise_for_status()
        server = str(answer.json())
    except (httpx.HTTPError, ValueError):
        return skipped(name, "store.reachable")
    told = f"the server speaks version {server}, the client is {client}"
    if server.partition(".")[0] == client.partition(".")[0]:
        return Check(name, State.OK, told)
    return Check(name, State.ERROR, told, f"Run a server of chromadb {client}.")


def _check_files(name: str, folder: Path, collection: str, remedy: str) -> Check:
    """Whether the files can be what Chroma wrote, by their names and sizes alone."""
    indexes = [entry for entry in folder.glob("*") if is_index(entry)]
    if indexes and not (folder / DATABASE).exists():
        finding = f"{folder} has the index {indexes[0].name}, and the rows are gone: no {DATABASE}"
        restore = f"Put {DATABASE} back from a backup, or move {folder} away and restore an export."
        return Check(name, State.ERROR, finding, restore)
    tables = Tables.find(folder, collection)
    links = folder / tables.index / _LINKS if tables else None
    if tables and links and links.exists():
        size, rows = links.stat().st_size, len(tables.ids())
        if size > _PLAUSIBLE + rows * _PLAUSIBLE_FOR_A_ROW:
            finding = f"{links} says that it has {size:,} bytes, for {rows:,} rows: a torn write"
            return Check(name, State.ERROR, finding, remedy)
    return Check(name, State.OK, "the files are there, and of plausible sizes")


def _check_session(name: str, connection: FilesConnection, remedy: str) -> Check:
    if connection.needs_mending():
        finding = "the last writer was killed; the index is not read before it has been made anew"
        return Check(name, State.ERROR, finding, remedy)
    return Check(name, State.OK, "the last writer ended properly")


def _check_vectors(name: str, folder: Path, collection: str, remedy: str) -> Check:
    """Whether Chroma opens the files and has the vector of every row; another process tries it."""
    tables = Tables.find(folder, collection)
    if tables is None:
        return Check(name, State.OK, "there are no rows yet")
    ids = tables.ids()
    missing = 0
    try:
        with IndexReader(folder, collection) as reader:
            for start in range(0, len(ids), _PAGE):
                page = ids[start : start + _PAGE]
                missing += len(page) - len(reader.vectors(page))
    except IndexReaderDied as death:
        return Check(name, State.ERROR, f"the index cannot be read: {death}", remedy)
    if missing:
        finding = f"the index has lost the vectors of {missing:,} of {len(ids):,} rows"
        return Check(name, State.ERROR, finding, remedy)
    return Check(name, State.OK, f"the index has a vector for each of {len(ids):,} rows")
