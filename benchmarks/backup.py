"""Backups at a million rows: seconds and peak memory of export and import.

Run as ``python -m benchmarks.backup [--rows N] [--server-rows N]``. Every step is a process of its
own, at a tenth of the rows and at all of them: where memory is flat, the two peaks are alike.

*Made-up rows* measures everything but a store: the use cases, the checks, the files. Its store
makes its rows up one by one and keeps none; at an import it digests what it is given, and the run
fails unless that is bit by bit what was exported. *Chroma server* is the installed command with a
real server, whose memory is not counted; a server takes some hundred rows a second, so it gets
fewer of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks._process import Run, measured
from benchmarks._workspace import SCRATCH, machine
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.files.backups import LocalBackupFiles
from tenantkb.adapters.runtime.clock import SystemClock
from tenantkb.adapters.state.spool import SqliteSpool
from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.application.operating.backup import ExportBackup, ImportBackup, ImportRequest
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.rows import Row
from tenantkb.domain.tenancy import OperatorScope, Tenancy, TenantStamp, Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.store import Vector
from tests.servers import chroma_process

COMMAND: Final = Path(sysconfig.get_path("scripts")) / "tenantkb"
OPERATOR: Final = AgentIdentity("ops", "olga", frozenset({Role.OPERATOR}))
EMBEDDER: Final = HashingEmbedder(32)
TENANTS: Final = 10
CONTENT: Final = "A paragraph of a guide, as long as most of them are in practice. " * 8


def made_up(rows: int) -> Iterator[tuple[Row, Vector]]:
    """Rows by ascending id, of several tenants, with vectors of unit length."""
    generator = np.random.default_rng(0)
    for number in range(rows):
        stamp = TenantStamp(
            tenant_id=f"tenant-{number % TENANTS}",
            repo_slug="app",
            visibility=Visibility.TEAM,
            ingested_at=datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        )
        metadata = {
            "type": "guide",
            "name": f"Guide {number}",
            "content": f"{number}: {CONTENT}",
            "rootKind": "bare-repo",
            "sourcePath": f"docs/guide-{number}.md",
            **stamp.metadata(),
        }
        vector = generator.normal(size=EMBEDDER.profile.dimension).astype(np.float32)
        yield Row(f"{number:064x}", metadata), vector / np.linalg.norm(vector)


class MadeUpRows(MemoryStore):
    """A store that keeps nothing: it exports made-up rows and digests what is restored."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows
        self.exported, self.restored = hashlib.sha256(), hashlib.sha256()

    def export(
        self, scope: OperatorScope, ids: Sequence[str] | None = None
    ) -> Iterator[tuple[Row, Vector]]:
        for row, vector in made_up(self._rows if ids is None else 0):
            self.exported.update(_bytes(row, vector))
            yield row, vector

    def restore(self, scope: OperatorScope, rows: Sequence[Row], vectors: Vectors) -> None:
        for row, vector in zip(rows, vectors, strict=True):
            self.restored.update(_bytes(row, vector))


def _bytes(row: Row, vector: Vector) -> bytes:
    return repr((row.id, sorted(row.metadata.items()))).encode() + vector.tobytes()


class Silent:
    """Progress that nobody looks at."""

    def phase(self, name: str, total: int | None = None) -> None: ...

    def advance(self, steps: int = 1) -> None: ...


def step(name: str, rows: int, path: Path) -> str:
    """What one process does; the digest of the rows that it exported or restored."""
    store = MadeUpRows(rows)
    parts: dict[str, Any] = {
        "store": store,
        "tenancy": Tenancy(),
        "clock": SystemClock(),
        "files": LocalBackupFiles(),
        "embedder": EMBEDDER,
    }
    if name == "export":
        ExportBackup(**parts)(OPERATOR, path, Silent())
        return store.exported.hexdigest()
    restore = ImportBackup(**parts, spool=SqliteSpool, collection="knowledge-base")
    report = restore(OPERATOR, ImportRequest(path), Silent())
    assert report.added == rows
    assert report.verified
    return store.restored.hexdigest()


def with_made_up_rows(rows: int, path: Path) -> Iterator[tuple[str, Run]]:
    """Export and import, each in a process of its own."""
    runs = []
    for name in ("export", "import"):
        command = [sys.executable, "-m", "benchmarks.backup", "--step", name]
        runs.append(measured([*command, "--rows", str(rows), "--path", str(path)], {}))
        yield name, runs[-1]
    if runs[0].output != runs[1].output:
        raise SystemExit("what was restored is not what was exported")


def with_a_server(rows: int, path: Path) -> Iterator[tuple[str, Run]]:
    """The installed command: import, the same import again, and export."""
    copy = path.with_name(f"copy-{path.name}")
    step("export", rows, path)
    with chroma_process(path.with_name(f"server-{rows}")) as server:
        environment = {
            "TENANTKB_STORE_KIND": "chroma-http",
            "TENANTKB_STORE_HOST": server.host,
            "TENANTKB_STORE_PORT": str(server.port),
            "TENANTKB_STORE_PATH": str(path.with_name("log")),
            "TENANTKB_EMBEDDER_KIND": "hashing",
            "TENANTKB_EMBEDDER_DIMENSION": str(EMBEDDER.profile.dimension),
            "TENANTKB_ROLES": "operator",
        }

        def run(*arguments: str) -> Run:
            return measured([str(COMMAND), "backup", *arguments, "--json"], environment)

        yield "import", (first := run("import", str(path)))
        yield "import again", (again := run("import", str(path)))
        yield "export", (exported := run("export", str(copy)))
    done = json.loads(first.output)["added"], json.loads(again.output)["unchanged"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if done != (rows, rows) or json.loads(exported.output)["sha256"] != digest:
        raise SystemExit("what was exported is not what was imported")


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--server-rows", type=int, default=20_000)
    parser.add_argument("--step", choices=["export", "import"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(step(arguments.step, arguments.rows, arguments.path))
        return
    scratch = SCRATCH / "backup"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    print(machine(), f"{EMBEDDER.profile.dimension} dimensions", sep=", ", end="\n\n")
    print("| store | step | rows | seconds | rows/s | peak MB | of the peak at a tenth |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for store, most, runs in (
        ("made-up rows", arguments.rows, with_made_up_rows),
        ("Chroma server", arguments.server_rows, with_a_server),
    ):
        peaks: dict[str, float] = {}
        for rows in (most // 10, most) if most else ():
            path = scratch / f"{rows}.jsonl"
            for name, run in runs(rows, path):
                ratio = f"{run.megabytes / peaks[name]:.2f}" if name in peaks else ""
                peaks.setdefault(name, run.megabytes)
                print(
                    f"| {store} | {name} | {rows:,} | {run.seconds:.1f} "
                    f"| {rows / run.seconds:,.0f} | {run.megabytes:.0f} | {ratio} |",
                    flush=True,
                )
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
