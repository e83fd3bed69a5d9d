"""Synchronisation end to end: seconds and peak memory, for one corpus and a larger one.

Run as ``python -m benchmarks.sync``. The one is the published release of neo.mjs; the larger one is
its modules and tests several times over, each copy under paths, and so with rows, of its own. Each
is synchronised twice by the installed command: into the default store, into Chroma in process,
whose index of all vectors lies in the process, and into a Chroma server, whose memory is not
counted. Beside them are the parts of it: extraction alone, embedding the same texts alone, and the
raw baseline, which embeds them and adds them to the same kind of server with nothing around it: no
stamps, no comparison, no spool. *Writing* is what a first sync takes beyond extraction and
embedding.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import chromadb

from benchmarks._process import Run, measured
from benchmarks._workspace import SCRATCH, machine, neo_workspace
from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder
from tenantkb.domain.embedding import embedding_text
from tenantkb.ports.embedding import Vectors
from tests.servers import chroma_process

COMMAND = Path(sysconfig.get_path("scripts")) / "tenantkb"
STORES: Final = ("sqlite", "chroma", "chroma-http")


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


def embed(chunks: Path) -> Iterator[tuple[list[dict[str, object]], Vectors]]:
    """A baseline, run in a process of its own: embed, and nothing else."""
    embedder = WordLlamaEmbedder()
    with chunks.open(encoding="utf-8") as lines:
        read = (json.loads(line) for line in lines)
        while batch := list(islice(read, 256)):
            yield batch, embedder.embed([embedding_text(chunk) for chunk in batch])


def raw(chunks: Path, host: str, port: int) -> None:
    """The other one: embed, and add to a server."""
    collection = chromadb.HttpClient(host=host, port=port).create_collection(
        f"raw-{os.getpid()}",
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
    )
    rows = 0
    for batch, vectors in embed(chunks):
        collection.add(
            ids=[f"{rows + number}" for number in range(len(batch))],
            embeddings=vectors,
            metadatas=[{"content": str(chunk["content"])} for chunk in batch],
        )
        rows += len(batch)


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--baseline", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.baseline:
        chunks, *server = options.baseline
        if server:
            raw(Path(chunks), server[0], int(server[1]))
        else:
            for _ in embed(Path(chunks)):
                pass
        return
    print(machine(), end="\n\n")
    print("| corpus | step | rows | seconds | rows/s | of which writing | peak MB |")
    print("|---|---|---|---|---|---|---|")
    scratch = SCRATCH / "sync"
    shutil.rmtree(scratch, ignore_errors=True)
    for scale in options.scales:
        measure(scale, workspace(scale), scratch / f"x{scale}", options.stores)


def measure(scale: int, root: Path, scratch: Path, stores: Sequence[str]) -> None:
    """Synchronise one corpus, and print a line for each step."""
    chunks = scratch / "chunks.jsonl"
    scratch.mkdir(parents=True)

    def show(step: str, rows: int, run: Run, others: float | None = None) -> None:
        writing = "" if others is None else f"{run.seconds - others:.1f}"
        print(
            f"| x{scale} | {step} | {rows:,} | {run.seconds:.1f} | {rows / run.seconds:,.0f} "
            f"| {writing} | {run.megabytes:.0f} |",
            flush=True,
        )

    def twice(kind: str, environment: dict[str, str]) -> None:
        for step, count in (("first", "added"), ("second", "unchanged")):
            run = measured([str(COMMAND), "sync", str(root), "--json"], environment)
            known = extracted.seconds + embedded.seconds if step == "first" else None
            show(f"{step} sync, {kind}", json.loads(run.output)[count], run, known)

    baseline = [sys.executable, "-m", "benchmarks.sync", "--baseline", str(chunks)]
    extracted = measured([str(COMMAND), "create", str(root), "-o", str(chunks)], {})
    rows = sum(1 for _ in chunks.open(encoding="utf-8"))
    show("extract", rows, extracted)
    embedded = measured(baseline, {})
    show("embed", rows, embedded)
    for kind in stores:
        environment = {
            "TENANTKB_STORE_KIND": kind,
            "TENANTKB_STORE_PATH": str(scratch / kind),
        }
        if kind != "chroma-http":
            twice(kind, environment)
            continue
        with chroma_process(scratch / "server") as server:
            address = [server.host, str(server.port)]
            run = measured([*baseline, *address], {})
            show("raw embed and add, server", rows, run, embedded.seconds)
            environment |= {"TENANTKB_STORE_HOST": address[0], "TENANTKB_STORE_PORT": address[1]}
            twice(kind, environment)


if __name__ == "__main__":
    main()
