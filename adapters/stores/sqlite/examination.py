"""What a store in a SQLite file can be examined for."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tenantkb.adapters.lexical import postings
from tenantkb.adapters.lexical.rows import setting
from tenantkb.adapters.lexical.schema import TOKENISER
from tenantkb.adapters.state.database import Database
from tenantkb.adapters.stores.sqlite import tables
from tenantkb.adapters.stores.sqlite.schema import FILE
from tenantkb.adapters.stores.sqlite.vectors import VECTOR
from tenantkb.domain.checks import Check, State, skipped
from tenantkb.domain.errors import StoreError
from tenantkb.domain.lexical import terms_of

REPLACE: Final = (
    "Move the store's folder away, and restore a backup or synchronise again; nothing can mend it."
)
_REPAIR: Final = "Repair the store: what is wrong is made anew from the rows."
_SAMPLE: Final = 200
"""Rows whose postings are compared with their text."""

_PAGE: Final = 1000

_ORPHANS: Final = (
    "SELECT count(*) FROM row WHERE number NOT IN (SELECT number FROM content)",
    "SELECT count(*) FROM content WHERE number NOT IN (SELECT number FROM row)",
    "SELECT count(*) FROM vector WHERE number NOT IN (SELECT number FROM row)",
)


class _Finding(NamedTuple):
    """What was found, and what to do about it; ``None`` where it is as it should be."""

    text: str
    remedy: str | None = None


def examine(database: Database, folder: Path) -> Iterator[Check]:
    """See :meth:`ports.engine.Examinable.examine`."""
    try:
        with database.reading() as connection:
            made = tables.profile(connection) is not None
    except StoreError as error:
        yield Check("store.file", State.ERROR, str(error), REPLACE)
        yield from (skipped(name, "store.file") for name in ("store.modes", *_LOOKS))
        return
    yield Check("store.file", State.OK, f"{folder / FILE} can be read")
    yield _modes(folder)
    if not made:
        return
    sound = True
    for name, look in _LOOKS.items():
        check = _check(database, name, look) if sound else skipped(name, "store.integrity")
        sound = sound and (name != "store.integrity" or check.state is State.OK)
        yield check


def _check(database: Database, name: str, look: Callable[[sqlite3.Connection], _Finding]) -> Check:
    try:
        with database.reading() as connection:
            found = look(connection)
    except (StoreError, ValueError, TypeError) as error:
        return Check(name, State.ERROR, f"cannot be examined: {error}", REPLACE)
    return Check(name, State.ERROR if found.remedy else State.OK, found.text, found.remedy)


def _modes(folder: Path) -> Check:
    reachable = []
    for path in (folder, *sorted(folder.glob(f"{FILE}*"))):
        with suppress(FileNotFoundError):  # the log goes when another process closes
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                reachable.append(str(path))
    if not reachable:
        return Check("store.modes", State.OK, "folder and files belong to their user alone")
    return Check(
        "store.modes",
        State.WARNING,
        f"other users may reach {', '.join(reachable)}",
        "Take the rights of group and others away, as by chmod go=.",
    )


def _integrity(connection: sqlite3.Connection) -> _Finding:
    found = [text for (text,) in connection.execute("PRAGMA quick_check(3)")]
    if found == ["ok"]:
        return _Finding("the pages of the file are sound")
    return _Finding(f"pages of the file are damaged: {'; '.join(map(str, found))}", REPLACE)


def _rows(connection: sqlite3.Connection) -> _Finding:
    ((rows,),) = connection.execute("SELECT count(*) FROM row").fetchall()
    bare, *lost = (connection.execute(query).fetchone()[0] for query in _ORPHANS)
    if bare:
        return _Finding(f"{bare:,} of {rows:,} rows have lost their content", REPLACE)
    if any(lost):
        return _Finding(f"{sum(lost):,} contents or vectors belong to no row", _REPAIR)
    return _Finding(f"{rows:,} rows")


def _vectors(connection: sqlite3.Connection) -> _Finding:
    dimension = tables.dimension(connection)
    wrong = sound = 0
    cursor = connection.execute("SELECT vector FROM row LEFT JOIN vector USING (number)")
    while page := cursor.fetchmany(_PAGE):
        fitting = [blob for (blob,) in page if _fits(blob, dimension)]
        vectors = np.frombuffer(b"".join(fitting), VECTOR).reshape(-1, dimension)
        finite = int(np.isfinite(vectors).all(axis=1).sum())
        sound += finite
        wrong += len(page) - finite
    if wrong:
        return _Finding(f"{wrong:,} rows have no finite vector of {dimension} dimensions", _REPAIR)
    return _Finding(f"{sound:,} vectors of {dimension} dimensions")


def _fits(blob: object, dimension: int) -> bool:
    return isinstance(blob, bytes) and len(blob) == dimension * VECTOR.itemsize


def _counts(connection: sqlite3.Connection) -> _Finding:
    ((differing,),) = connection.execute(
        "SELECT count(*) FROM (SELECT label, tenant_id, repo_slug, sum(rows) FROM ("
        " SELECT label, ifnull(tenant_id, '') tenant_id, ifnull(repo_slug, '') repo_slug,"
        " count(*) rows FROM row GROUP BY 1, 2, 3"
        " UNION ALL SELECT label, tenant_id, repo_slug, -rows FROM row_count"
        ") GROUP BY 1, 2, 3 HAVING sum(rows) != 0)"
    ).fetchall()
    if differing:
        return _Finding(f"{differing:,} counts are not those of the rows", _REPAIR)
    return _Finding("the counts are those of the rows")


def _postings(connection: sqlite3.Connection) -> _Finding:
    tokeniser = setting(connection, TOKENISER)
    if tokeniser != postings.made_by():
        made_by = tokeniser or "several tokenisers, or not to the end"
        return _Finding(f"postings were made by {made_by}, not by {postings.made_by()}", _REPAIR)
    numbers = [number for (number,) in connection.execute("SELECT number FROM row ORDER BY 1")]
    sample = numbers[:: len(numbers) // _SAMPLE + 1]
    wrong = sum(
        not postings.agree(connection, number, terms_of(metadata))
        for number, metadata in tables.metadata(connection, sample).items()
    )
    if wrong:
        return _Finding(f"{wrong:,} of {len(sample):,} rows have other postings than text", _REPAIR)
    return _Finding(f"postings of {len(sample):,} rows agree with their text")


_LOOKS: Final = {
    "store.integrity": _integrity,
    "store.rows": _rows,
    "store.lengths": _vectors,
    "store.counts": _counts,
    "store.postings": _postings,
}
