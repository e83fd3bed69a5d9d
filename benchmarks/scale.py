"""Stores side by side: many tenants of skewed sizes in one collection.

Run as ``python -m benchmarks.scale``. The rows are made up: words drawn by Zipf's law, 1.5 kB a
chunk, and vectors around centres. One tenant has a fifth of all rows, others a twentieth and a
two-hundredth, and a thousand share the rest, so that scopes of very different sizes are asked in
the same collection. Every store is written and asked through the guard, as use cases do. The
baseline is arithmetic alone: one product of the scope's own vectors, in memory, by numpy. Several
threads, and several processes, ask as the largest tenant, compared with one thread.

Writes a table into ``benchmarks/RESULTS.md`` and a plot beside it.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from attrs import frozen

from benchmarks._results import write_section
from benchmarks._workspace import SCRATCH, machine
from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.runtime.clock import SystemClock
from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.application.guard import GuardedStore
from tenantkb.domain.context import TenantContext
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import StampedRow, stamped_row
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.ports.embedding import Vectors
from tests.servers import chroma_process

DIMENSION: Final = 256
PROFILE: Final = EmbedderProfile("made-up", DIMENSION)
NAMESPACE: Final = SharedNamespace()
SMALL_TENANTS: Final = 1000
SHARED_ROWS: Final = 20
NEAREST: Final = 10
SEED: Final = 7
SECONDS: Final = 3.0
"""For which several processes read at once."""
STORES: Final = ("sqlite", "chroma", "chroma-http")


@frozen
class Tenant:
    """One tenant and its rows, by their numbers."""

    name: str
    rows: range

    def context(self) -> TenantContext:
        """The standing of one of its agents."""
        return context_of(self.name)


@frozen
class Corpus:
    """Everything that is stored.

    Attributes:
        tenants: The shared one comes first.
        vectors: Shape ``(rows, DIMENSION)``, unit length.
    """

    tenants: tuple[Tenant, ...]
    vectors: Vectors

    def text(self, number: int) -> str:
        """The words of a chunk."""
        drawn = np.random.default_rng((SEED, number)).zipf(1.3, 220) % 20_000
        return " ".join(f"word{word}" for word in drawn)

    def batches(self, tenant: Tenant, size: int) -> Iterator[tuple[list[StampedRow], Vectors]]:
        """A tenant's rows as they are written."""
        scope = tenant.context().writing("app")
        for start in range(tenant.rows.start, tenant.rows.stop, size):
            numbers = range(start, min(start + size, tenant.rows.stop))
            rows = [
                stamped_row(
                    {
                        "type": "src",
                        "kind": "method",
                        "name": f"Class{number % 97}.method{number}()",
                        "content": self.text(number),
                        "source": f"src/module{number // 40}.py",
                        "className": f"Class{number % 97}",
                        "line_start": 1 + number % 400,
                        "line_end": 20 + number % 400,
                    },
                    scope,
                    RootKind.BARE_REPO,
                )
                for number in numbers
            ]
            yield rows, self.vectors[numbers.start : numbers.stop]


def context_of(tenant: str) -> TenantContext:
    """The standing of a tenant's agent."""
    roles = {Role.AGENT, Role.CURATOR} if tenant == NAMESPACE.tenant_id else {Role.AGENT}
    identity = AgentIdentity(tenant, "agent", frozenset(roles))
    return TenantContext.admit(identity, NAMESPACE, datetime.now(UTC))


def draw(rows: int) -> Corpus:
    """A corpus of so many rows; the same one at each call."""
    random = np.random.default_rng(SEED)
    centres = random.standard_normal((max(1, rows // 100), DIMENSION), np.float32)
    around = random.integers(len(centres), size=rows)
    noise = random.standard_normal((rows, DIMENSION), np.float32)
    drawn = centres[around] + 0.7 * noise
    unit = np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)
    sizes = [SHARED_ROWS, rows // 5, rows // 20, rows // 200]
    names = [NAMESPACE.tenant_id, "fifth", "twentieth", "two-hundredth"]
    rest = rows - sum(sizes)
    weights = 1 / np.arange(1, SMALL_TENANTS + 1) ** 0.5
    small = np.maximum(1, (weights / weights.sum() * rest).astype(int))
    small[0] += rest - small.sum()
    start, tenants = 0, []
    for name, size in zip(
        [*names, *(f"small-{number}" for number in range(SMALL_TENANTS))],
        [*sizes, *small.tolist()],
        strict=True,
    ):
        tenants.append(Tenant(name, range(start, start + size)))
        start += size
    return Corpus(tuple(tenants), unit)


def probes(corpus: Corpus) -> list[Tenant]:
    """Tenants of very different sizes; the smallest has about thirty rows of its own."""
    by_size = sorted(corpus.tenants[4:], key=lambda tenant: len(tenant.rows))
    small = next(tenant for tenant in by_size if len(tenant.rows) >= 30)
    return [small, *corpus.tenants[3:0:-1]]


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Callable[[], GuardedStore]]:
    """Opens one store, again at each call."""

    def make(host: str = "127.0.0.1", port: int = 8000) -> GuardedStore:
        settings = StoreSettings(kind=kind, path=folder, host=host, port=port)
        return GuardedStore(open_engine(settings), SystemClock(), LoggedIsolationFaults())

    if kind != "chroma-http":
        yield make
        return
    with chroma_process(folder) as address:
        yield lambda: make(address.host, address.port)


@contextmanager
def closing_engine(store: GuardedStore) -> Iterator[GuardedStore]:
    """The store, whose engine is closed at the end."""
    with closing(store.engine):
        yield store


def write(store: GuardedStore, corpus: Corpus, size: int) -> float:
    """Store everything; returns seconds, without those that making the rows takes."""
    store.bind(PROFILE)
    seconds = 0.0
    for tenant in corpus.tenants:
        scope = tenant.context().writing("app")
        for rows, vectors in corpus.batches(tenant, size):
            started = time.perf_counter()
            store.upsert(scope, rows, vectors)
            seconds += time.perf_counter() - started
    return seconds


def in_scope(corpus: Corpus, tenant: Tenant) -> np.ndarray:
    """The numbers of the rows that a tenant reads."""
    shared = corpus.tenants[0].rows
    return np.concatenate([np.arange(shared.start, shared.stop), np.array(tenant.rows)])


def questions(count: int) -> Vectors:
    """Unit vectors that are nobody's."""
    drawn = np.random.default_rng(SEED + 1).standard_normal((count, DIMENSION), np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def timed(ask: Callable[[np.ndarray], object], asked: Vectors) -> list[float]:
    """Milliseconds of each question, after one that warms up."""
    ask(asked[0])
    found = []
    for question in asked:
        started = time.perf_counter()
        ask(question)
        found.append(1000 * (time.perf_counter() - started))
    return found


@frozen
class Figures:
    """What one store took for one tenant."""

    scope_rows: int
    median: float
    high: float
    recall: float


def measure(store: GuardedStore, corpus: Corpus, tenant: Tenant, count: int) -> Figures:
    """Ask one tenant's questions."""
    scope, asked = tenant.context().reading(), questions(count)
    mine = in_scope(corpus, tenant)
    names = {
        f"Class{number % 97}.method{number}()": int(number) for number in mine
    }  # a name tells the number
    times = timed(lambda question: store.query(scope, question, NEAREST), asked)
    hits = 0
    for question in asked:
        best = mine[np.argsort(-(corpus.vectors[mine] @ question))[:NEAREST]]
        found = {names[match.row.text("name")] for match in store.query(scope, question, NEAREST)}
        hits += len(found & set(best.tolist()))
    total = count * min(NEAREST, len(mine))
    return Figures(
        len(mine), statistics.median(times), sorted(times)[int(0.95 * count)], hits / total
    )


def arithmetic(corpus: Corpus, tenant: Tenant, count: int) -> Figures:
    """The baseline."""
    mine = corpus.vectors[in_scope(corpus, tenant)].copy()

    def ask(question: np.ndarray) -> object:
        scores = mine @ question
        return np.argpartition(-scores, min(NEAREST, len(mine) - 1))[:NEAREST]

    times = timed(ask, questions(count))
    return Figures(len(mine), statistics.median(times), sorted(times)[int(0.95 * count)], 1.0)


def throughput(store: GuardedStore, tenant: Tenant, threads: int, count: int) -> float:
    """Questions a second of so many threads."""
    scope, asked = tenant.context().reading(), questions(count)
    store.query(scope, asked[0], NEAREST)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: store.query(scope, asked[0], NEAREST), range(threads)))
        started = time.perf_counter()
        list(pool.map(lambda question: store.query(scope, question, NEAREST), asked))
        return count / (time.perf_counter() - started)


def reader(kind: str, folder: str, port: str, tenant: str, seconds: float) -> None:
    """One of several processes: wait for the word, ask, and print the questions a second."""
    settings = StoreSettings(kind=kind, path=Path(folder), port=int(port))
    with closing(open_engine(settings)) as engine:
        store = GuardedStore(engine, SystemClock(), LoggedIsolationFaults())
        scope, asked = context_of(tenant).reading(), questions(100)
        store.query(scope, asked[0], NEAREST)
        print("ready", flush=True)
        sys.stdin.readline()
        started, answered = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - started) < seconds:
            store.query(scope, asked[answered % len(asked)], NEAREST)
            answered += 1
        print(answered / elapsed)


def processes(kind: str, folder: Path, tenant: Tenant, number: int, seconds: float) -> float:
    """Questions a second of so many processes at once; 0 where one of them is refused."""
    command = [sys.executable, "-m", "benchmarks.scale", "--reader", kind, str(folder), "8000"]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen([*command, tenant.name, str(seconds)], stdin=pipe, stdout=pipe, text=True)
        for _ in range(number)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # one that was refused
            process.stdin.write("go\n")
            process.stdin.flush()
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        return 0.0
    return sum(float(each) for each in said)


def size_of(folder: Path) -> float:
    """Megabytes on disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / 1e6


def peak() -> float:
    """Megabytes that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def run(kind: str, corpus: Corpus, count: int, batch: int) -> list[str]:
    """Measure one store: the cells of its line, and its line of the plot."""
    folder = SCRATCH / "scale" / kind
    shutil.rmtree(folder, ignore_errors=True)
    with opened(kind, folder) as make:
        with closing_engine(make()) as store:
            seconds = write(store, corpus, batch)
        with closing_engine(make()) as store:
            figures = [measure(store, corpus, tenant, count) for tenant in probes(corpus)]
            largest = probes(corpus)[-1]
            one, eight = (throughput(store, largest, threads, 10 * count) for threads in (1, 8))
        many = 0.0 if kind == "chroma-http" else processes(kind, folder, largest, 8, SECONDS)
    cells = [f"{len(corpus.vectors) / seconds:,.0f}"]
    cells += [f"{each.median:.2f} / {each.high:.2f} ({each.recall:.2f})" for each in figures]
    cells += [f"{eight / one:.2f}", f"{many / one:.2f}" if many else "–"]
    cells += [f"{size_of(folder):,.0f}", f"{peak():,.0f}"]
    return cells


def alone(kind: str, rows: int, count: int, batch: int) -> list[str]:
    """Measure one store in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", kind, "--rows", str(rows)]
    command += ["--queries", str(count), "--batch", str(batch)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().splitlines()[-1].split("\t")


def growth(totals: Sequence[int], count: int, batch: int) -> str:
    """The default store at several sizes, as a table."""
    if not totals:
        return ""
    lines = [
        "\nThe default store as it grows, p50 in ms:\n",
        "| rows | rows/s | smallest scope | largest scope | MB on disk |",
        "|---|---|---|---|---|",
    ]
    for rows in totals:
        rate, *sizes, _, _, disk, _ = alone("sqlite", rows, count, batch)
        small, *_, large = (len(each.rows) + SHARED_ROWS for each in probes(draw(rows)))
        smallest, largest = (cell.split(" ")[0] for cell in (sizes[0], sizes[-1]))
        lines.append(
            f"| {rows:,} | {rate} | {smallest} ({small:,} rows) | {largest} ({large:,} rows) "
            f"| {disk} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def plot(sizes: Sequence[int], lines: dict[str, list[float]], path: Path) -> None:
    """Median latency by the size of the scope, both on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, values in lines.items():
        axes.plot(sizes, values, marker="o", label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="rows in scope",
        ylabel="median of a query, ms",
        title="A tenant's query among many tenants' rows",
    )
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--growth", type=int, nargs="*", default=[20_000, 200_000])
    parser.add_argument("--one", choices=STORES, help=argparse.SUPPRESS)
    parser.add_argument("--reader", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        kind, folder, port, tenant, seconds = options.reader
        reader(kind, folder, port, tenant, float(seconds))
        return
    corpus = draw(options.rows)
    if options.one:
        print("\t".join(run(options.one, corpus, options.queries, options.batch)))
        return
    tested = probes(corpus)
    baseline = [arithmetic(corpus, tenant, options.queries) for tenant in tested]
    columns = ["store", "rows/s"]
    columns += [f"{each.scope_rows:,} rows: p50 / p95 ms (recall)" for each in baseline]
    columns += ["8 threads : 1", "8 processes : 1 thread", "MB on disk", "peak MB"]
    table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    arithmetic_cells = [f"{each.median:.3f} / {each.high:.3f} (1.00)" for each in baseline]
    table.append(f"| numpy alone | – | {' | '.join(arithmetic_cells)} | – | – | – | – |")
    lines = {"numpy alone": [each.median for each in baseline]}
    for kind in options.store or STORES:
        cells = alone(kind, options.rows, options.queries, options.batch)
        table.append(f"| {kind} | {' | '.join(cells)} |")
        lines[kind] = [float(cell.split(" ")[0]) for cell in cells[1 : 1 + len(tested)]]
        print(table[-1], flush=True)
    picture = Path(__file__).with_name("scale.png")
    plot([each.scope_rows for each in baseline], lines, picture)
    told = (
        f"`python -m benchmarks.scale --rows {options.rows}`: {options.rows:,} rows of "
        f"{DIMENSION} dimensions, {len(corpus.tenants):,} tenants, {options.queries} questions, "
        f"batches of {options.batch:,}. {machine()}.\n\n"
    )
    text = told + "\n".join(table) + "\n\n![latency by scope](scale.png)\n"
    text += growth(options.growth, options.queries, options.batch)
    write_section("Stores at scale", text)
    print(text)


if __name__ == "__main__":
    main()
