"""Synchronisation end to end: seconds and peak memory, for one corpus and a larger one.

Run as ``python -m benchmarks.sync``. The one is the published release of neo.mjs; the larger one is
its modules and tests four times over, each copy under paths, and so with rows, of its own. Each is
synchronised twice by the installed command: into a Chroma server, whose memory is not counted, into
the default store, and into Chroma in process, whose index of all vectors lies in the process. The
raw baseline embeds the same texts and adds them to the same kind of server with nothing around it:
no stamps, no comparison, no spool.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import chromadb

from benchmarks._process import Run, measured
from benchmarks._workspace import SCRATCH, machine, neo_workspace
from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder
from tenantkb.domain.embedding import embedding_text
from tests.servers import chroma_process

COMMAND = Path(sysconfig.get_path("scripts")) / "tenantkb"
SCALES = (1, 4)


def workspace(scale: int) -> Path:
    """The corpus, or so many copies of its modules and tests where its sources look for them."""
    original = neo_workspace()
    if scale == 1:
        return original
    copies = SCRATCH / f"neo-x{scale}"
    if not copies.exists():
        draft = copies.with_suffix(".part")
        shutil.rmtree(draft, ignore_errors=True)
        for number in range(scale):
            for folder in ("src", "apps", "examples", "docs/app", "ai"):
                shutil.copytree(original / folder, draft / "src" / f"copy{number}" / folder)
            shutil.copytree(
                original / "test/playwright", draft / "test/playwright" / f"copy{number}"
            )
        draft.rename(copies)
    return copies


def raw(chunks: Path, host: str, port: int) -> int:
    """The baseline, run in a process of its own: embed and add, nothing else."""
    embedder = WordLlamaEmbedder()
    collection = chromadb.HttpClient(host=host, port=port).create_collection(
        f"raw-{os.getpid()}",
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
    )
    batch: list[dict[str, object]] = []
    rows = 0

    def flush() -> None:
        vectors = embedder.embed([embedding_text(chunk) for chunk in batch])
        collection.add(
            ids=[f"{rows + number}" for number in range(len(batch))],
            embeddings=vectors,
            metadatas=[{"content": str(chunk["content"])} for chunk in batch],
        )

    with chunks.open(encoding="utf-8") as lines:
        for line in lines:
            batch.append(json.loads(line))
            if len(batch) == 256:
                flush()
                rows += len(batch)
                batch.clear()
    if batch:
        flush()
    return rows + len(batch)


def main() -> None:
    """Measure, and print a table in Markdown."""
    if sys.argv[1:2] == ["raw"]:
        raw(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
        return
    print(machine(), end="\n\n")
    print("| corpus | step | rows | seconds | rows/s | peak MB |")
    print("|---|---|---|---|---|---|")
    scratch = SCRATCH / "sync"
    shutil.rmtree(scratch, ignore_errors=True)
    for scale in SCALES:
        root = str(workspace(scale))
        chunks = scratch / f"x{scale}.jsonl"
        chunks.parent.mkdir(parents=True, exist_ok=True)

        def show(step: str, rows: int, run: Run, scale: int = scale) -> None:
            print(
                f"| x{scale} | {step} | {rows:,} | {run.seconds:.1f} | {rows / run.seconds:,.0f} "
                f"| {run.megabytes:.0f} |",
                flush=True,
            )

        run = measured([str(COMMAND), "create", root, "-o", str(chunks)], {})
        rows = sum(1 for _ in chunks.open(encoding="utf-8"))
        show("create", rows, run)
        with chroma_process(scratch / f"server-x{scale}") as server:
            address = [server.host, str(server.port)]
            environment = {
                "TENANTKB_STORE_KIND": "chroma-http",
                "TENANTKB_STORE_HOST": server.host,
                "TENANTKB_STORE_PORT": str(server.port),
                "TENANTKB_STORE_PATH": str(scratch / f"log-x{scale}"),
            }
            command = [sys.executable, "-m", "benchmarks.sync", "raw", str(chunks), *address]
            show("raw embed and add, server", rows, measured(command, {}))
            for step in ("first sync, server", "second sync, server"):
                run = measured([str(COMMAND), "sync", root, "--json"], environment)
                show(
                    step, json.loads(run.output)["unchanged" if "second" in step else "added"], run
                )
        for kind in ("sqlite", "chroma"):
            environment = {
                "TENANTKB_STORE_KIND": kind,
                "TENANTKB_STORE_PATH": str(scratch / f"{kind}-x{scale}"),
            }
            for step in (f"first sync, {kind}", f"second sync, {kind}"):
                run = measured([str(COMMAND), "sync", root, "--json"], environment)
                report = json.loads(run.output)
                show(step, report["unchanged" if "second" in step else "added"], run)


if __name__ == "__main__":
    main()
