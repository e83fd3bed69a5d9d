"""Backups at a million rows: seconds and peak memory of export and import.

Run as ``python -m benchmarks.backup [--rows N] [--server-rows N]``. Every step is the installed
command in a process of its own, at a tenth of the rows and at all of them: where memory is flat,
the two peaks are alike. The rows are made up; the run fails unless what is exported is bit by bit
what was imported. A Chroma server, whose memory is not counted, takes some hundred rows a second,
so it gets fewer of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks._process import Run, measured
from benchmarks._workspace import SCRATCH, machine
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.files.backups import LocalBackupFiles
from tenantkb.domain.backup import Tally, exported
from tenantkb.domain.context import TenantContext
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import StampedRow, stamped_row
from tenantkb.domain.stamps import SharedNamespace
from tests.servers import chroma_process

COMMAND: Final = Path(sysconfig.get_path("scripts")) / "tenantkb"
EMBEDDER: Final = HashingEmbedder(32)
NAMESPACE: Final = SharedNamespace()
NOW: Final = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
TENANTS: Final = 10
CONTENT: Final = "A paragraph of a guide, as long as most of them are in practice. " * 8


def made_up(numbers: Iterable[int]) -> Iterator[StampedRow]:
    """Rows of several tenants, by their numbers."""
    contexts = [
        TenantContext.admit(AgentIdentity(f"tenant-{number}", "agent"), NAMESPACE, NOW)
        for number in range(TENANTS)
    ]
    scopes = [context.writing("app") for context in contexts]
    for number in numbers:
        chunk = {
            "type": "guide",
            "name": f"Guide {number}",
            "content": f"{number}: {CONTENT}",
            "source": f"docs/guide-{number}.md",
        }
        yield stamped_row(chunk, scopes[number % TENANTS], RootKind.BARE_REPO)


def write_backup(rows: int, path: Path) -> None:
    """A backup of made-up rows, with vectors of unit length."""
    generator, tally = np.random.default_rng(0), Tally(NAMESPACE)
    ids = [row.id for row in made_up(range(rows))]
    order = sorted(range(rows), key=ids.__getitem__)
    with LocalBackupFiles().draft(path) as draft:
        for row in made_up(order):
            metadata, document = exported(row.metadata())
            tally.add(row.id, metadata)
            vector = generator.normal(size=EMBEDDER.profile.dimension).astype(np.float32)
            vector /= np.linalg.norm(vector)
            draft.add(
                {
                    "id": str(row.id),
                    "embedding": vector,
                    "metadata": metadata,
                    "document": document,
                }
            )
        draft.publish(tally.manifest(EMBEDDER.profile, draft.sha256()))


@contextmanager
def store(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """The variables that choose one store."""
    told = {
        "TENANTKB_STORE_KIND": kind,
        "TENANTKB_STORE_PATH": str(folder),
        "TENANTKB_EMBEDDER_KIND": "hashing",
        "TENANTKB_EMBEDDER_DIMENSION": str(EMBEDDER.profile.dimension),
        "TENANTKB_ROLES": "operator",
    }
    if kind != "chroma-http":
        yield told
        return
    with chroma_process(folder) as server:
        address = {"TENANTKB_STORE_HOST": server.host, "TENANTKB_STORE_PORT": str(server.port)}
        yield {**told, **address}


def steps(kind: str, rows: int, folder: Path) -> Iterator[tuple[str, Run]]:
    """Import, the same import again, and export."""
    path, copy = folder / f"{rows}.jsonl", folder / f"copy-{rows}.jsonl"
    write_backup(rows, path)
    with store(kind, folder / f"{kind}-{rows}") as environment:

        def run(*arguments: str) -> Run:
            return measured([str(COMMAND), "backup", *arguments, "--json"], environment)

        yield "import", (first := run("import", str(path)))
        yield "import again", (again := run("import", str(path)))
        yield "export", (done := run("export", str(copy)))
    counts = json.loads(first.output)["added"], json.loads(again.output)["unchanged"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if counts != (rows, rows) or json.loads(done.output)["sha256"] != digest:
        raise SystemExit("what was exported is not what was imported")


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--server-rows", type=int, default=20_000)
    arguments = parser.parse_args()
    scratch = SCRATCH / "backup"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    print(machine(), f"{EMBEDDER.profile.dimension} dimensions", sep=", ", end="\n\n")
    print("| store | step | rows | seconds | rows/s | peak MB | of the peak at a tenth |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for kind, most in (("sqlite", arguments.rows), ("chroma-http", arguments.server_rows)):
        peaks: dict[str, float] = {}
        for rows in (most // 10, most) if most else ():
            for name, run in steps(kind, rows, scratch):
                ratio = f"{run.megabytes / peaks[name]:.2f}" if name in peaks else ""
                peaks.setdefault(name, run.megabytes)
                print(
                    f"| {kind} | {name} | {rows:,} | {run.seconds:.1f} "
                    f"| {rows / run.seconds:,.0f} | {run.megabytes:.0f} | {ratio} |",
                    flush=True,
                )
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
