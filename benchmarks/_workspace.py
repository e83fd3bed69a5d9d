"""What the benchmarks run on."""

from __future__ import annotations

import os
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path
from subprocess import DEVNULL

from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.application.writing.create import create

SCRATCH = Path(__file__).parents[1] / ".scratch"
NEO = "neo.mjs@13.1.0"


def neo_workspace() -> Path:
    """The published release of neo.mjs, fetched once with ``npm pack`` into ``.scratch/``."""
    workspace = SCRATCH / NEO
    if not workspace.exists():
        SCRATCH.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            subprocess.run(["npm", "pack", "--silent", NEO], cwd=folder, check=True, stdout=DEVNULL)
            [archive] = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as package:
                package.extractall(folder, filter="data")
            Path(folder, "package").rename(workspace)
    return workspace


def neo_chunks() -> Path:
    """The chunks of :func:`neo_workspace`, extracted anew into ``.scratch/``."""
    chunks = SCRATCH / f"{NEO}.jsonl"
    with chunks.open("w", encoding="utf-8", newline="\n") as out:
        create(WorkspaceSources(), neo_workspace(), out)
    return chunks


def machine() -> str:
    """One line that says where the figures come from."""
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
    return (
        f"{os.cpu_count()} processors ({processor}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )
