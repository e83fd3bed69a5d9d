"""Compares extraction with the JavaScript system: the same bytes, and how fast.

``python -m benchmarks.extraction [WORKSPACE]`` needs Node and npm. The first run installs the
JavaScript system into ``.scratch``; without WORKSPACE its own source tree is the workspace. Ends
with status 1 when the two outputs differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.application.writing.create import create

ENGINE_VERSION = "13.1.0"
PACKAGES = (
    f"neo.mjs@{ENGINE_VERSION}",
    "acorn@8",
    "fast-glob@3",
    "fs-extra@11",
    "gray-matter@4",
)
HERE = Path(__file__).parent
SCRATCH = HERE.parent / ".scratch" / "extraction"
CONFIG_MODULES = ("ai/mcp/server/knowledge-base/config.mjs", "ai/config.mjs")


def install() -> tuple[Path, Path]:
    """Install the JavaScript system once; gives its folder and a copy of its tree as it came."""
    engine = SCRATCH / "node_modules" / "neo.mjs"
    pristine = SCRATCH / "workspace"
    if not pristine.exists():
        SCRATCH.mkdir(parents=True, exist_ok=True)
        (SCRATCH / "package.json").write_text('{"private": true}\n')
        npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact"]
        subprocess.run([*npm, *PACKAGES], cwd=SCRATCH, check=True, stdout=sys.stderr)
        unfinished = SCRATCH / "workspace.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(engine, unfinished, symlinks=True)
        # The package ships no configuration; ours is set by reference.mjs.
        for module in CONFIG_MODULES:
            (engine / module).write_text("export default globalThis.benchmarkConfig;\n")
        unfinished.rename(pristine)
    return engine, pristine


def run_reference(
    engine: Path, workspace: Path, out: Path, threads: int | None = None
) -> dict[str, Any]:
    """One run of the JavaScript system in a process of its own.

    Args:
        engine: Where it is installed.
        workspace: What it extracts.
        out: Takes the chunks.
        threads: Number of threads for file access. The order of skills depends on which thread is
            faster; one thread gives them in a fixed order.
    """
    registry = WorkspaceSources()
    paths = {name: _default_paths(registry, name) for name in registry.names()}
    settings = {
        "neoRootDir": str(workspace),
        "hierarchyPath": str(workspace / WorkspaceSettings().hierarchy_path),
        "sourcePaths": paths,
        "order": registry.names(),
    }
    return _measure(["node", str(HERE / "reference.mjs"), str(engine), str(out)], settings, threads)


def run_ours(workspace: Path, out: Path) -> dict[str, Any]:
    """One run of our own extraction in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.extraction", "--measure", str(out), str(workspace)]
    return _measure(command, {})


def _default_paths(registry: WorkspaceSources, name: str) -> Any:
    return getattr(registry.sources.recipe(name).load(), "default_paths")  # noqa: B009 - not in the port


def _measure(
    command: list[str], settings: dict[str, Any], threads: int | None = None
) -> dict[str, Any]:
    environment = os.environ | ({"UV_THREADPOOL_SIZE": str(threads)} if threads else {})
    started = time.perf_counter()
    finished = subprocess.run(
        command,
        input=json.dumps(settings),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
        env=environment,
    )
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return {**result, "process": time.perf_counter() - started}


def _extract_and_print(workspace: Path, out: Path) -> None:
    started = time.perf_counter()
    with out.open("w", encoding="utf-8", newline="\n") as stream:
        report = create(WorkspaceSources(), workspace, stream)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak //= 1024 if sys.platform == "darwin" else 1  # bytes there, KiB elsewhere
    print(json.dumps({"chunks": report.total, "maxRssKiB": peak, "seconds": seconds}))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@click.command()
@click.argument("workspace", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=5, show_default=True, help="Runs of each, taking turns.")
@click.option("--measure", type=click.Path(path_type=Path), hidden=True)
def main(workspace: Path | None, runs: int, measure: Path | None) -> None:
    """Extract WORKSPACE with both systems and print a table."""
    if measure and workspace:
        _extract_and_print(workspace, measure)
        return
    engine, pristine = install()
    workspace = (workspace or pristine).absolute()
    outputs = {"reference": SCRATCH / "reference.jsonl", "tenantkb": SCRATCH / "tenantkb.jsonl"}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in outputs}
    for _ in range(runs):
        results["reference"].append(run_reference(engine, workspace, outputs["reference"]))
        results["tenantkb"].append(run_ours(workspace, outputs["tenantkb"]))
    run_reference(engine, workspace, outputs["reference"], threads=1)
    digests = {name: _sha256(path) for name, path in outputs.items()}
    table = Table(title=f"{workspace}, median of {runs} runs")
    for heading in (
        "system",
        "chunks",
        "extraction s",
        "process s",
        "chunks/s",
        "peak MiB",
        "SHA-256",
    ):
        table.add_column(heading)
    medians = {}
    for name, rows in results.items():
        medians[name] = median(row["seconds"] for row in rows)
        table.add_row(
            name,
            f"{rows[0]['chunks']:,}",
            f"{medians[name]:.2f}",
            f"{median(row['process'] for row in rows):.2f}",
            f"{rows[0]['chunks'] / medians[name]:,.0f}",
            f"{median(row['maxRssKiB'] for row in rows) / 1024:.0f}",
            digests[name],
        )
    console = Console(width=160)
    console.print(table)
    node = subprocess.run(["node", "--version"], text=True, stdout=subprocess.PIPE, check=True)
    console.print(
        f"tenantkb takes {medians['tenantkb'] / medians['reference']:.2f} times as long as the "
        f"reference; {platform.platform()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, Node {node.stdout.strip()}"
    )
    same = len(set(digests.values())) == 1
    console.print("The bytes are equal." if same else "THE BYTES DIFFER.")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
