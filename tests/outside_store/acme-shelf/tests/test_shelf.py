"""The shelf under tenantkb's suites."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from acme_shelf import ShelfEngine

from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.testing import EngineSuite, FailClosedSuite, MakeEngine, Stored, StoreSuite


class ShelfFile:
    """Reads and writes a shelf's file, as whoever has it could."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def plant(self, row: RawRow, vector: Vector) -> None:
        numbers = base64.b64encode(vector.tobytes()).decode()
        with self.file.open("a") as file:
            file.write(json.dumps({"put": [[*row.key, dict(row.metadata), numbers]]}) + "\n")

    def stored(self) -> Stored:
        rows = {}
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            written = json.loads(line)
            for label, row_id in written.get("delete", ()):
                rows.pop(RowKey(label, ChunkId(row_id)), None)
            for label, row_id, metadata, numbers in written.get("put", ()):
                rows[RowKey(label, ChunkId(row_id))] = metadata, base64.b64decode(numbers)
        return rows


class Shelf(StoreSuite):
    """The two fixtures that the suites ask for."""

    store = "shelf"
    holds_any_metadata = True

    @pytest.fixture
    def make_engine(self, tmp_path: Path) -> MakeEngine:
        return lambda: ShelfEngine(tmp_path / "shelf", durable=False)

    @pytest.fixture
    def behind(self, tmp_path: Path) -> ShelfFile:
        return ShelfFile(tmp_path / "shelf" / "shelf.jsonl")


class TestTheEngine(Shelf, EngineSuite):
    pass


class TestThatNothingLeaks(Shelf, FailClosedSuite):
    pass
