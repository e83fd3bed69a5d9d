"""The scratch list of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from tenantkb.adapters.state.spool import SqliteSpool
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.sync import Change
from tenantkb.ports.spool import Entry, Spool

PAYLOAD = {"content": "text ☕\0", "line_start": 3, "flag": True, "ratio": 0.5, "one": 1.0}


def key(row_id: str, label: str = "team:acme") -> RowKey:
    return RowKey(label, ChunkId(row_id))


@pytest.fixture
def spool() -> Iterator[Spool]:
    with closing(SqliteSpool()) as spool:
        yield spool


def test_entries_come_back_in_order_by_what_has_to_happen(spool: Spool) -> None:
    for row_id in ("c", "a", "b"):
        assert spool.add(key(row_id), PAYLOAD)
    spool.mark(key("a"), Change.UNCHANGED)
    assert [entry.key.id for entry in spool.entries(Change.ADDED)] == ["c", "b"]
    assert list(spool.entries(Change.UNCHANGED)) == [Entry(key("a"), PAYLOAD, None, None)]
    assert [spool.count(change) for change in Change] == [2, 0, 0, 1]
    payload = spool.get(key("b"))
    assert payload == PAYLOAD
    assert {name: type(value) for name, value in payload.items()} == {
        name: type(value) for name, value in PAYLOAD.items()
    }


def test_the_first_entry_with_a_key_wins(spool: Spool) -> None:
    assert spool.add(key("a"), {"n": 1})
    assert not spool.add(key("a"), {"n": 2})
    assert spool.add(key("a", "private:acme:ada"), {"n": 3})
    assert [entry.payload for entry in spool.entries(Change.ADDED)] == [{"n": 1}, {"n": 3}]
    assert spool.get(key("a", "team:beta")) is None


def test_an_entry_is_found_by_its_twin_and_tells_what_it_is_made_of(spool: Spool) -> None:
    twin = key("t", "private:acme:ada")
    spool.add(key("a"), {}, twin)
    assert spool.by_twin(key("t")) is None
    assert spool.by_twin(twin) == key("a")
    assert spool.stored(key("a")) is None
    assert spool.mark(key("a"), Change.RESTAMPED, twin) is None
    assert spool.stored(key("a")) == twin
    assert spool.stored(key("missing")) is None
    assert spool.mark(key("a"), Change.UNCHANGED, key("a")) == twin
    assert list(spool.entries(Change.UNCHANGED)) == [Entry(key("a"), {}, twin, key("a"))]
    assert spool.mark(key("missing"), Change.UNCHANGED, key("a")) is None


def test_stale_rows_are_apart_and_in_order(spool: Spool) -> None:
    spool.add_stale(key("x"))
    spool.add_stale(key("a", "team:beta"))
    assert spool.stale_count() == 2
    assert list(spool.stale()) == [key("x"), key("a", "team:beta")]


def test_entries_may_be_marked_while_they_are_listed(spool: Spool) -> None:
    for number in range(500):
        spool.add(key(f"{number:03}"), {})
    seen = []
    for entry in spool.entries(Change.ADDED):
        seen.append(entry.key)
        spool.mark(key("000"), Change.ADDED, key("s"))
    assert seen == [key(f"{number:03}") for number in range(500)]


def test_a_full_disk_is_told_with_its_folder(tmp_path: Path) -> None:
    script = """
        import resource, signal
        from tenantkb.adapters.state.spool import SqliteSpool
        from tenantkb.domain.errors import StoreFullError
        from tenantkb.domain.ids import ChunkId, RowKey
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
        spool = SqliteSpool()
        try:
            for number in range(10**4):
                spool.add(RowKey("team:acme", ChunkId(str(number))), {"content": "text " * 1000})
        except StoreFullError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(script)],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"the scratch file in {tmp_path} cannot be written" in done.stdout
    assert list(tmp_path.iterdir()) == []
