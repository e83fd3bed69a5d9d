"""What the isolation of tenants costs a query: ``python -m benchmarks.isolation``.

One collection holds the rows of all tenants. A reader's ten nearest rows are asked for

- raw, without any filter: what Chroma costs anyway, and what no reader may get;
- through the guard, which filters by labels and checks every answered row;
- raw, with the store's filter, which names the reader's access labels;
- raw, with other filters of the same meaning: the read rule in clauses over tenant, visibility
  and agent; the labels as whole numbers; one query for each label, merged;
- raw and without filter, from a collection that holds only what the reader may see.

All of them are asked for every query in turn, each time from another one on, so that a busy machine
hits all alike. All search with the store's index parameters. Latency is the median; recall@10 is
against an exact search by numpy over the rows that each may answer.

The vectors are drawn around centres, one for 250 rows: a centre is a random direction, a row is its
centre plus a random vector of 0.8 times its length, scaled to length 1, so that rows of one centre
have a cosine of about 0.6. Queries are drawn in the same way. A row belongs to the shared namespace
with a probability of 5 %, or else to one of the tenants, all alike; every tenth row is private to
one of the tenant's two agents. Owners and centres are independent; with ``--tight`` all of a
centre's rows that are not shared belong to one tenant, so that they lie close together, and far
from most queries, where an index finds them last.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen
from chromadb.api.models.Collection import Collection

from benchmarks._workspace import SCRATCH, machine
from tenantkb.adapters.runtime.clock import SystemClock
from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.stores.chroma.connection import FilesConnection, ServerConnection
from tenantkb.adapters.stores.chroma.encoding import key_of
from tenantkb.adapters.stores.chroma.engine import ChromaEngine
from tenantkb.application.guard import GuardedStore
from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import SharedNamespace, TenantStamp, Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import RawRow
from tests.servers import chroma_process

SEED = 20260131
DIMENSION = 384
ROWS_A_CENTRE = 250
NOISE = 0.8
SHARED, PRIVATE = 0.05, 0.1
NEAREST = 10
CODE_KEY = "accessCode"

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
NAMESPACE = SharedNamespace()
PROFILE = EmbedderProfile("benchmark", DIMENSION)
READER = AgentIdentity("tenant-0", "agent-0")
SCOPE = TenantContext.admit(READER, NAMESPACE, NOW).reading()

VARIANTS = (
    "no filter",
    "store",
    "labels",
    "clauses",
    "number labels",
    "label by label",
    "own collection",
)
BASELINE = VARIANTS[0]

Search = Callable[[npt.NDArray[np.float32]], list[str]]


@frozen
class Corpus:
    """Rows before they have owners; the id of row ``i`` is its number.

    Attributes:
        vectors: Shape ``(rows, DIMENSION)``, unit length.
        centres: The number of each row's centre.
        queries: Shape ``(queries, DIMENSION)``, unit length.
    """

    vectors: Vectors
    centres: npt.NDArray[np.intp]
    queries: Vectors

    @property
    def ids(self) -> list[str]:
        return [str(number) for number in range(len(self.vectors))]


def draw(rows: int, queries: int) -> Corpus:
    """See the description of the module."""
    random = np.random.default_rng(SEED)

    def directions(count: int) -> Vectors:
        drawn = random.standard_normal((count, DIMENSION), np.float32)
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)

    centres = directions(max(1, rows // ROWS_A_CENTRE))
    around = random.integers(len(centres), size=rows + queries)
    drawn = centres[around] + NOISE * directions(rows + queries)
    unit = np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)
    return Corpus(vectors=unit[:rows], centres=around[:rows], queries=unit[rows:])


def owners(corpus: Corpus, tenants: int, tight: bool) -> list[TenantStamp]:
    """The stamp of every row; see the description of the module."""
    random = np.random.default_rng(SEED + tenants)
    rows = len(corpus.vectors)
    stamps = []
    for shared, tenant, private, agent in zip(
        random.random(rows) < SHARED,
        corpus.centres % tenants if tight else random.integers(tenants, size=rows),
        random.random(rows) < PRIVATE,
        random.integers(2, size=rows),
        strict=True,
    ):
        stamps.append(
            TenantStamp(
                tenant_id=NAMESPACE.tenant_id if shared else f"tenant-{tenant}",
                repo_slug="app",
                visibility=Visibility.PRIVATE if private else Visibility.TEAM,
                origin_agent_identity=f"agent-{agent}" if private else None,
                ingested_at=NOW,
            )
        )
    return stamps


def rows_of(stamps: Sequence[TenantStamp], codes: dict[str, int]) -> list[RawRow]:
    """The rows of so many owners; the id of row ``i`` is its number."""
    rows = []
    for number, stamp in enumerate(stamps):
        path = PathIdentity(stamp.tenant_id, stamp.repo_slug, RootKind.BARE_REPO, "a.md")
        kept = {"type": "guide", CODE_KEY: codes.setdefault(stamp.label, len(codes))}
        row = StampedRow(ChunkId(str(number)), path, stamp, kept)
        rows.append(RawRow(stamp.label, row.id, row.metadata()))
    return rows


def compound() -> dict[str, Any]:
    """The read rule in the clauses in which it is stated."""
    of_agent = {"$or": [{fields.VISIBILITY: "team"}, {fields.ORIGIN: READER.agent_id}]}
    return {
        "$or": [
            {"$and": [{fields.TENANT_ID: READER.tenant_id}, of_agent]},
            {"$and": [{fields.TENANT_ID: NAMESPACE.tenant_id}, {fields.VISIBILITY: "team"}]},
        ]
    }


def by_filter(collection: Collection, where: dict[str, Any] | None) -> Search:
    return lambda query: [public(row_id) for row_id, _ in nearest(collection, query, where)]


def merged(collection: Collection, filters: Sequence[dict[str, Any]]) -> Search:
    def search(query: npt.NDArray[np.float32]) -> list[str]:
        found = [pair for where in filters for pair in nearest(collection, query, where)]
        return [public(each) for each, _ in sorted(found, key=lambda pair: pair[1])[:NEAREST]]

    return search


def public(physical: str) -> str:
    """A row's own id."""
    return str(key_of(physical).id)


def nearest(
    collection: Collection, query: npt.NDArray[np.float32], where: dict[str, Any] | None
) -> list[tuple[str, float]]:
    """Ids with distances, metadata fetched as the store has to."""
    answer: Any = collection.query(
        query_embeddings=query[np.newaxis],
        n_results=NEAREST,
        where=where,
        include=["metadatas", "distances"],
    )
    return list(zip(answer["ids"][0], answer["distances"][0], strict=True))


def through(engine: ChromaEngine) -> Search:
    """The guard around the engine, as use cases ask."""
    store = GuardedStore(engine, SystemClock(), LoggedIsolationFaults())
    return lambda query: [str(match.row.id) for match in store.query(SCOPE, query, NEAREST)]


def exactly(corpus: Corpus, allowed: npt.NDArray[np.intp]) -> list[set[str]]:
    """For each query the ids of the nearest allowed rows."""
    scores = corpus.queries @ corpus.vectors[allowed].T
    best = np.argsort(-scores, axis=1)[:, :NEAREST]
    return [{str(number) for number in allowed[places]} for places in best]


def measure(
    corpus: Corpus, searches: dict[str, Search], answers: dict[str, list[set[str]]]
) -> dict[str, tuple[float, float]]:
    """Milliseconds and recall of each search."""
    names = list(searches)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    hits: dict[str, list[float]] = {name: [] for name in names}
    for name in names:  # caches, and the index that a collection loads at its first query
        searches[name](corpus.queries[0])
    for number, query in enumerate(corpus.queries):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            found = searches[name](query)
            seconds[name].append(time.perf_counter() - started)
            expected = answers[name][number]
            hits[name].append(len(expected.intersection(found)) / len(expected))
    return {
        name: (1000 * statistics.median(seconds[name]), statistics.fmean(hits[name]))
        for name in names
    }


def run(
    place: str,
    connection: FilesConnection | ServerConnection,
    corpus: Corpus,
    tenants: Sequence[int],
    tight: bool,
) -> None:
    """Give the corpus other owners for each number of tenants, and print a line each."""
    rows = len(corpus.vectors)
    with closing(ChromaEngine(connection)):
        for count in tenants:
            stamps, codes = owners(corpus, count, tight), dict[str, int]()
            stored = rows_of(stamps, codes)
            readable = np.flatnonzero([SCOPE.admits(stamp) for stamp in stamps])
            engine = filled(connection, f"all-{count}", stored, corpus.vectors)
            mine = [stored[number] for number in readable]
            filled(connection, f"readable-{count}", mine, corpus.vectors[readable])
            with connection.writing() as client:
                collection, own = (
                    client.get_collection(f"{name}-{count}", embedding_function=None)
                    for name in ("all", "readable")
                )
            labels = list(SCOPE.labels)
            known = [codes.get(each, -1) for each in labels]
            searches = dict(
                zip(
                    VARIANTS,
                    [
                        by_filter(collection, None),
                        through(engine),
                        by_filter(collection, {fields.ACCESS: {"$in": labels}}),
                        by_filter(collection, compound()),
                        by_filter(collection, {CODE_KEY: {"$in": known}}),
                        merged(collection, [{fields.ACCESS: label} for label in labels]),
                        by_filter(own, None),
                    ],
                    strict=True,
                )
            )
            answers = dict.fromkeys(searches, exactly(corpus, readable))
            answers[BASELINE] = exactly(corpus, np.arange(rows))
            figures = measure(corpus, searches, answers)
            base = figures[BASELINE][0]
            cells = [
                f"{milliseconds:.1f} ms ×{milliseconds / base:.1f}, {recall:.2f}"
                for milliseconds, recall in figures.values()
            ]
            print(
                f"| {place} | {rows:,} | {count:,} | {len(readable):,} | {' | '.join(cells)} |",
                flush=True,
            )


def filled(
    connection: FilesConnection | ServerConnection,
    name: str,
    rows: Sequence[RawRow],
    vectors: Vectors,
) -> ChromaEngine:
    """A collection of its own with these rows."""
    engine = ChromaEngine(connection, name)
    engine.bind(PROFILE)
    for start in range(0, len(rows), 2000):
        engine.put(rows[start : start + 2000], vectors[start : start + 2000], exact=False)
    return engine


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=numbers, default=[10_000, 50_000], metavar="N,..")
    parser.add_argument("--tenants", type=numbers, default=[2, 100, 1_000], metavar="N,..")
    parser.add_argument("--queries", type=int, default=20, metavar="N")
    parser.add_argument("--tight", action="store_true", help="a tenant's rows lie close together")
    parser.add_argument("--quick", action="store_true", help="2,000 rows, 2 and 20 tenants")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.tenants, options.queries = [2_000], [2, 20], 5
    print(
        f"{DIMENSION} dimensions, {options.queries} queries, seed {SEED}"
        f"{', tight tenants' if options.tight else ''}; cells: median latency, ratio to no filter, "
        f"recall@{NEAREST}\n\n{machine()}\n"
    )
    columns = ["Chroma", "rows", "tenants", "readable rows", *VARIANTS]
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    scratch = SCRATCH / "isolation"
    for rows in options.rows:
        shutil.rmtree(scratch, ignore_errors=True)
        corpus = draw(rows, options.queries)
        files = FilesConnection(scratch / "files", wait=5.0)
        run("embedded", files, corpus, options.tenants, options.tight)
        with chroma_process(scratch / "server") as server:
            connection = ServerConnection(server.host, server.port)
            run("server", connection, corpus, options.tenants, options.tight)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
