"""Compares extraction with the JavaScript system: the same bytes, and how fast.

``python -m benchmarks.extraction [WORKSPACE]`` needs Node and npm. The first run installs the
JavaScript system into ``.scratch``; without WORKSPACE its own source tree is the workspace. *Cold*
keeps what files gave and finds nothing, *warm* finds what the run before has kept. The three take
turns. Time is that of the extraction alone, without the start of the process; processor time and
memory are those of all its processes, and of the largest. Ends with status 1 when the outputs
differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks._results import PAGE, write_section
from benchmarks._workspace import machine
from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.adapters.state.file_caches import LocalFileCaches
from tenantkb.application.writing.create import cache_of, create

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
KEPT = SCRATCH / "kept"
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


def run_ours(workspace: Path, out: Path, *, cold: bool) -> dict[str, Any]:
    """One run of our own extraction in a process of its own."""
    if cold:
        shutil.rmtree(KEPT, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.extraction", "--measure", str(out), str(workspace)]
    return _measure(command, {})


def _default_paths(registry: WorkspaceSources, name: str) -> Any:
    return getattr(registry.sources.recipe(name).load(), "default_paths")  # noqa: B009 - not in the port


def _measure(
    command: list[str], settings: dict[str, Any], threads: int | None = None
) -> dict[str, Any]:
    environment = os.environ | ({"UV_THREADPOOL_SIZE": str(threads)} if threads else {})
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(
        command,
        input=json.dumps(settings),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
        env=environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**result, "cpu": used}


def _extract_and_print(workspace: Path, out: Path) -> None:
    started = time.perf_counter()
    cached = cache_of(LocalFileCaches(KEPT, 1 << 30), root=workspace, fresh=False)
    with out.open("w", encoding="utf-8", newline="\n") as stream:
        report = create(WorkspaceSources(), workspace, stream, cached=cached)
    seconds = time.perf_counter() - started
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
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
    """Extract WORKSPACE with both systems and write down what it took."""
    if measure and workspace:
        _extract_and_print(workspace, measure)
        return
    engine, pristine = install()
    workspace = (workspace or pristine).absolute()
    outputs = {name: SCRATCH / f"{name}.jsonl" for name in ("reference", "cold", "warm")}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in outputs}
    for _ in range(runs):
        results["reference"].append(run_reference(engine, workspace, outputs["reference"]))
        results["cold"].append(run_ours(workspace, outputs["cold"], cold=True))
        results["warm"].append(run_ours(workspace, outputs["warm"], cold=False))
    run_reference(engine, workspace, outputs["reference"], threads=1)
    same = len({_sha256(path) for path in outputs.values()}) == 1
    write_section("Extraction", _report(workspace, runs, results, same=same))
    print(PAGE.read_text(encoding="utf-8").partition("## Extraction\n")[2].partition("\n## ")[0])
    sys.exit(0 if same else 1)


def _report(
    workspace: Path, runs: int, results: dict[str, list[dict[str, Any]]], *, same: bool
) -> str:
    medians = {
        name: {key: median(row[key] for row in rows) for key in ("seconds", "cpu", "maxRssKiB")}
        for name, rows in results.items()
    }
    theirs = medians["reference"]
    node = subprocess.run(["node", "--version"], text=True, stdout=subprocess.PIPE, check=True)
    lines = [
        f"`python -m benchmarks.extraction`: {workspace.name} of {PACKAGES[0]}, "
        f"{results['cold'][0]['chunks']:,} chunks, median of {runs} runs, taking turns. The bytes "
        f"{'are equal' if same else 'DIFFER'}. {machine()}, Node {node.stdout.strip()}.",
        "",
        "| | seconds | times as fast | range | processor seconds | share | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, ours in medians.items():
        ratios = [
            reference["seconds"] / row["seconds"]
            for reference, row in zip(results["reference"], results[name], strict=True)
        ]
        lines.append(
            f"| {name} | {ours['seconds']:.2f} | {theirs['seconds'] / ours['seconds']:.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} "
            f"| {ours['cpu']:.2f} | {ours['cpu'] / theirs['cpu']:.2f} "
            f"| {ours['maxRssKiB'] / 1024:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
