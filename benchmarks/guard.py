"""What the guard costs: ``python -m benchmarks.guard``.

Every row that a store answers is parsed and checked once more before a caller sees it
(:class:`application.guard.GuardedStore`). All rows that one reader may see are scanned by the
engine alone, by the engine with each row parsed (:func:`domain.rows.read_row`), which nobody could
do without, and through the guard, in turn, and the processor time of each is taken, which other
work on the machine disturbs least; what is printed are the medians, and the medians of the guard's
share of a scan: of all that it does, and of what it does beyond parsing. Beside it is what callers
wait for, by the clock: the first page of a list, its last page, and the status.

The rows are made up: chunks of eight a file and 1.4 kB, a tenth of them not in ASCII, with the
fields that a source writes. Eight tenths are the tenant's, one tenth is private to the reader, one
tenth shared. ``--profile`` prints where the time of one guarded scan goes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import frozen

from benchmarks._workspace import SCRATCH, machine
from tenantkb.adapters.configuration.settings import EmbedderSettings, Settings, StoreSettings
from tenantkb.adapters.container import Container
from tenantkb.domain.context import TenantContext
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import StampedRow, read_row, stamped_row
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import SharedNamespace, Visibility
from tenantkb.ports.engine import Engine, RawRow

DIMENSION: Final = 64
BATCH: Final = 2_000
SEED: Final = 20260131
PAGE: Final = 100
NAMESPACE: Final = SharedNamespace()
NOW: Final = datetime.now(UTC)
READER: Final = TenantContext.admit(AgentIdentity("acme", "ada"), NAMESPACE, NOW)
CURATOR: Final = TenantContext.admit(
    AgentIdentity(NAMESPACE.tenant_id, "cora", frozenset({Role.CURATOR})), NAMESPACE, NOW
)


@frozen
class Figures:
    """What one store was measured at.

    Attributes:
        engine: Seconds of a scan by the engine alone; the median.
        parsed: Seconds of a scan by the engine with each row parsed; the median.
        guarded: Seconds of a scan through the guard; the median.
        share: Of the guard in that, parsing included; the median of pairs.
        checks: The same without parsing.
        first: Seconds of a list's first page.
        last: Seconds of its last page.
        status: Seconds of a status.
    """

    engine: float
    parsed: float
    guarded: float
    share: float
    checks: float
    first: float
    last: float
    status: float


def made_up(rows: int) -> Iterator[StampedRow]:
    """See the description of the module."""
    drawn = random.Random(SEED)
    words = [
        "".join(drawn.choices("abcdefghijklmnop_", k=drawn.randint(3, 10))) for _ in range(5000)
    ]
    scopes = [READER.writing("app")] * 8
    scopes += [READER.writing("app", Visibility.PRIVATE), CURATOR.writing(NAMESPACE.repo_slug)]
    for number in range(rows):
        module = number // 8
        text = " ".join(drawn.choices(words, k=180))
        chunk = {
            "type": "src",
            "kind": "method",
            "name": f"src/part{module // 50}/Module{module}.mjs - method{number % 8}()",
            "source": f"src/part{module // 50}/Module{module}.mjs",
            "content": f"{text} → “{number}”" if number % 10 == 0 else f"{text} {number}",
            "description": text[:80],
            "className": f"app.part{module // 50}.Module{module}",
            "extends": "core.Base",
            "line_start": number % 8 * 40 + 1,
            "line_end": number % 8 * 40 + 38,
        }
        yield stamped_row(chunk, drawn.choice(scopes), RootKind.BARE_REPO)


def fill(engine: Engine, container: Any, rows: int) -> None:
    """Write the rows, with vectors at random."""
    engine.bind(container.embedder().profile)
    drawn = np.random.default_rng(SEED)
    waiting = made_up(rows)
    while batch := list(islice(waiting, BATCH)):
        vectors = drawn.standard_normal((len(batch), DIMENSION), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        raws = [RawRow(row.stamp.label, row.id, row.metadata()) for row in batch]
        engine.put(raws, vectors, exact=False)


def exhaust(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


def seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started


def median(call: Callable[[], object], rounds: int) -> float:
    return statistics.median(seconds(call, time.perf_counter) for _ in range(rounds))


def measure(kind: str, folder: Path, rows: int, rounds: int, *, profile: bool) -> Figures:
    """Fill a store of this kind and measure it."""
    settings = Settings(
        store=StoreSettings(kind=kind, path=folder),
        embedder=EmbedderSettings(kind="hashing", dimension=DIMENSION),
    )
    container: Any = Container(settings=settings)
    with container.knowledge_base() as knowledge:
        engine, store = container.engine(), container.store()
        fill(engine, container, rows)
        scope = READER.reading()
        selection = Selection.of(scope)
        ways: tuple[Callable[[], object], ...] = (
            lambda: exhaust(engine.scan(selection)),
            lambda: exhaust(read_row(each.id, each.metadata) for each in engine.scan(selection)),
            lambda: exhaust(store.scan(scope)),
        )
        turns = [[seconds(way, time.process_time) for way in ways] for _ in range(rounds + 1)]
        alone, parsed, guarded = zip(*turns[1:], strict=True)  # the first one fills caches
        if profile:
            profiler = cProfile.Profile()
            profiler.runcall(lambda: exhaust(store.scan(scope)))
            pstats.Stats(profiler).sort_stats("tottime").print_stats(20)
        cursor = None
        while (page := knowledge.list(READER, limit=10_000, cursor=cursor)).cursor is not None:
            cursor = page.cursor
        return Figures(
            engine=statistics.median(alone),
            parsed=statistics.median(parsed),
            guarded=statistics.median(guarded),
            share=statistics.median(1 - one / all_ for one, _, all_ in turns[1:]),
            checks=statistics.median(1 - two / all_ for _, two, all_ in turns[1:]),
            first=median(lambda: knowledge.list(READER, limit=PAGE), 10),
            last=median(lambda: knowledge.list(READER, limit=PAGE, cursor=cursor), 10),
            status=median(lambda: knowledge.status(READER), 10),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stores", nargs="+", default=["sqlite", "memory"])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    print(f"{options.rows:,} rows, {options.rounds} rounds; {machine()}\n")
    print(
        "| store | engine alone | and parsed | through the guard | the guard's share | "
        f"its checks' share | list, first {PAGE} | list, last page | status |"
    )
    print("|---" * 9 + "|")
    SCRATCH.mkdir(exist_ok=True)
    for kind in options.stores:
        folder = Path(tempfile.mkdtemp(prefix="guard-", dir=SCRATCH))
        try:
            found = measure(kind, folder, options.rows, options.rounds, profile=options.profile)
        finally:
            shutil.rmtree(folder)
        per_row = [
            f"{1e6 * each / options.rows:.1f} µs a row"
            for each in (found.engine, found.parsed, found.guarded)
        ]
        calls = [f"{1e3 * each:.2f} ms" for each in (found.first, found.last, found.status)]
        cells = [kind, *per_row, f"{found.share:.0%}", f"{found.checks:.0%}", *calls]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
