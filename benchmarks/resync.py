"""Synchronisation again: what a run takes that finds nothing to do, or few files to be changed.

Run as ``python -m benchmarks.resync``; needs Node and npm. The workspace is the package of neo.mjs,
stored in the default store by the installed command; beside it, in turns, are the extraction of the
JavaScript system, without the start of its process, and what ``tenantkb --version`` takes. A first
synchronisation is compared with the sum of its parts: a cold ``create``, embedding the same texts,
and writing the same rows in batches of 4,096. *Edited* are every hundredth of the files that have
chunks, with a line more in each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks._process import Run, measured
from benchmarks._results import write_section
from benchmarks._workspace import SCRATCH, machine
from benchmarks.extraction import install, run_reference
from benchmarks.sync import COMMAND
from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.runtime.clock import SystemClock
from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.application.guard import GuardedStore
from tenantkb.domain.context import TenantContext
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import stamped_row
from tenantkb.domain.stamps import SharedNamespace

_BATCH = 4096
_DIMENSION = 256


def write(chunks: Path, folder: Path) -> None:
    """A baseline, run in a process of its own: write rows, and print how long that took."""
    curator = AgentIdentity("neo-shared", "cora", frozenset({Role.CURATOR}))
    clock = SystemClock()
    scope = TenantContext.admit(curator, SharedNamespace(), clock.now()).writing("neo")
    made = (
        stamped_row(json.loads(line), scope, RootKind.NEO_WORKSPACE)
        for line in chunks.read_text(encoding="utf-8").split("\n")[:-1]
    )
    rows = list({row.id: row for row in made}.values())
    vectors = np.random.default_rng(0).standard_normal((len(rows), _DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    engine = open_engine(StoreSettings(path=folder))
    store = GuardedStore(engine, clock, LoggedIsolationFaults())
    started = time.perf_counter()
    store.bind(EmbedderProfile("random", _DIMENSION))
    for start in range(0, len(rows), _BATCH):
        store.upsert(scope, rows[start : start + _BATCH], vectors[start : start + _BATCH])
    print(time.perf_counter() - started)


class Bench:
    """A copy of the workspace, and a store."""

    def __init__(self, workspace: Path, scratch: Path) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        self.scratch = scratch
        self.workspace = scratch / "workspace"
        shutil.copytree(workspace, self.workspace, symlinks=True)
        time.sleep(3)  # a file that is new is read again

    def run(self, *arguments: str, store: str = "store") -> Run:
        environment = {"TENANTKB_STORE_PATH": str(self.scratch / store)}
        return measured([str(COMMAND), *arguments], environment)

    def create(self, out: str, store: str = "store") -> tuple[Run, dict[str, str]]:
        """Extract; the sources of all chunks by their hash."""
        file = self.scratch / out
        run = self.run("create", str(self.workspace), "-o", str(file), store=store)
        read = map(json.loads, file.read_text(encoding="utf-8").split("\n")[:-1])
        return run, {chunk["hash"]: chunk["source"] for chunk in read}

    def sync(self, store: str = "store") -> tuple[Run, Mapping[str, int]]:
        run = self.run("sync", str(self.workspace), "--json", store=store)
        told: Mapping[str, int] = json.loads(run.output)
        return run, told


def edit(file: Path, number: int) -> None:
    """Change a file as a developer might: a line within the first function, or at the end."""
    text = file.read_text(encoding="utf-8")
    line = f"// edited {number}\n"
    inside = text.replace("\n    }\n", f"\n        {line}    }}\n", 1)
    file.write_text(f"{text}\n{line}" if inside == text else inside, encoding="utf-8")


def first(bench: Bench) -> str:
    """A first synchronisation, and the sum of its parts."""
    chunks = bench.scratch / "chunks.jsonl"
    created, _ = bench.create(chunks.name, store="cold")
    embed = [sys.executable, "-m", "benchmarks.sync", "--baseline", str(chunks)]
    embedded = measured(embed, {})
    target = bench.scratch / "written"
    command = [sys.executable, "-m", "benchmarks.resync", "--write", str(chunks), str(target)]
    written = float(measured(command, {}).output)
    run, told = bench.sync()
    parts = created.seconds + embedded.seconds + written
    return (
        f"A first synchronisation of {told['added']:,} rows takes {run.seconds:.1f} s: "
        f"{run.seconds / parts:.2f} of a cold `create` ({created.seconds:.1f} s), embedding "
        f"({embedded.seconds:.1f} s) and writing ({written:.1f} s).\n"
    )


def main() -> None:
    """Measure, and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(*options.write)
        return
    engine, pristine = install()
    bench = Bench(pristine, SCRATCH / "resync")
    text = first(bench)
    _, chunks = bench.create("before.jsonl")
    sources = sorted(set(chunks.values()))
    seconds: dict[str, list[float]] = {}
    edited = embedded = 0
    for number in range(options.runs):
        out = bench.scratch / "reference.jsonl"
        theirs = run_reference(engine, bench.workspace, out)["seconds"]
        seconds.setdefault("the reference's extraction", []).append(theirs)
        seconds.setdefault("`tenantkb --version`", []).append(bench.run("--version").seconds)
        run, told = bench.sync()
        if told["added"] + told["updated"] + told["deleted"]:
            raise SystemExit(f"there was something to do: {run.output}")
        seconds.setdefault("sync, nothing to do", []).append(run.seconds)
        chosen = sources[number % 100 :: 100]
        for source in chosen:
            edit(bench.workspace / source, number)
        run, told = bench.sync()
        seconds.setdefault("sync, 1 % edited", []).append(run.seconds)
        _, after = bench.create("after.jsonl")
        new = after.keys() - chunks.keys()
        strange = {after[each] for each in new} - set(chosen)
        if strange or told["added"] != len(new):
            raise SystemExit(f"embedded is not what was edited: {strange}, {run.output}")
        edited, embedded, chunks = len(chosen), len(new), after
        time.sleep(3)
    middle = {step: median(values) for step, values in seconds.items()}
    theirs, start = middle["the reference's extraction"], middle["`tenantkb --version`"]
    lines = [
        f"`python -m benchmarks.resync`: {len(sources):,} files with chunks of neo.mjs, in the "
        f"default store, median of {options.runs} runs, taking turns. {edited} edited files have "
        f"{embedded:,} new chunks, and these alone are embedded. {machine()}.",
        "",
        "| | seconds | range | above the start, share of the reference's |",
        "|---|---|---|---|",
    ]
    for step, value in middle.items():
        values = seconds[step]
        share = f"{(value - start) / theirs:.2f}" if step.startswith("sync") else "–"
        lines.append(f"| {step} | {value:.2f} | {min(values):.2f} to {max(values):.2f} | {share} |")
    write_section("Synchronisation again", "\n".join([*lines, "", text]))


if __name__ == "__main__":
    main()
