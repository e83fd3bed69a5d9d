"""How long a question takes: ``python -m benchmarks.latency``.

About 20,000 chunks lie under one tenant in the store ``sqlite``, and one process that has answered
the same questions before asks them one after the other. *django* are the chunks and the questions
of :mod:`benchmarks.quality`; *made up* are words drawn by Zipf's law, asked by questions of eight
words drawn alike, of which one is in every chunk and the others in many: the worst case of an
inverted index. What the embedding of the question takes is told apart. *Query* is all else that
:class:`application.reading.query.Query` does for ten answers, by the clock and by the processor's
time, which other work on the machine disturbs less. The baseline is arithmetic alone: one product
of as many vectors with the question's, and the best two hundred.

``--profile`` prints where the time of a query goes.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import define

from benchmarks._results import write_section
from benchmarks._workspace import machine
from benchmarks.quality import ASKED, CORPORA, KnownItem, Prepared, drawn_from, extracted, opened
from tenantkb.adapters.configuration.settings import EmbedderSettings
from tenantkb.adapters.embedders.registry import load_embedder
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.fusion import CANDIDATES
from tenantkb.ports.embedding import Embedder, Vectors

EMBEDDER: Final = "wordllama"
ROWS: Final = 20_000
WORDS: Final = 220
"""Of a chunk that is made up."""
ASKED_WORDS: Final = 8
QUESTIONS: Final = 200
SEED: Final = 7

Times = list[float]
"""Milliseconds, one of each question."""


@define
class Clocked:
    """An embedder that counts its time.

    Attributes:
        embedder: The embedder.
        seconds: By the clock, in all.
        processor: Seconds of the processor, in all.
    """

    embedder: Embedder
    seconds: float = 0.0
    processor: float = 0.0

    @property
    def profile(self) -> EmbedderProfile:
        return self.embedder.profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        started, used = time.perf_counter(), time.process_time()
        found = self.embedder.embed(texts)
        self.seconds += time.perf_counter() - started
        self.processor += time.process_time() - used
        return found


def made_up(rows: int) -> Prepared:
    """Chunks and questions of words by Zipf's law; the same ones at each call."""
    random = np.random.default_rng(SEED)
    chunks = [
        {
            "type": "src",
            "kind": "method",
            "name": f"Class{number % 97}.method{number}()",
            "content": _words(random, WORDS),
            "source": f"src/module{number // 40}.py",
            "className": f"Class{number % 97}",
        }
        for number in range(rows)
    ]
    items = [
        KnownItem(ASKED, f"word1 {_words(random, ASKED_WORDS - 1)}", frozenset())
        for _ in range(QUESTIONS)
    ]
    return Prepared("made-up", chunks, items)


def _words(random: np.random.Generator, count: int) -> str:
    return " ".join(f"word{word}" for word in random.zipf(1.3, count) % 20_000)


def timed(ask: Callable[[str], object], texts: Sequence[str], embedder: Clocked) -> list[Times]:
    """Embedding, all else by the clock, and by the processor; each question was asked before."""
    for text in texts:
        ask(text)
    gc.collect()
    gc.freeze()  # the corpus, which no process that answers questions holds
    found: list[Times] = [[], [], []]
    for text in texts:
        embedder.seconds = embedder.processor = 0.0
        started, used = time.perf_counter(), time.process_time()
        ask(text)
        seconds, processor = time.perf_counter() - started, time.process_time() - used
        found[0].append(1000 * embedder.seconds)
        found[1].append(1000 * (seconds - embedder.seconds))
        found[2].append(1000 * (processor - embedder.processor))
    return found


def arithmetic(rows: int, dimension: int) -> Times:
    """The baseline."""
    random = np.random.default_rng(SEED)
    vectors = random.standard_normal((rows, dimension), np.float32)
    times = []
    for query in random.standard_normal((QUESTIONS, dimension), np.float32):
        started = time.perf_counter()
        np.argpartition(-np.vecdot(vectors, query), CANDIDATES)[:CANDIDATES]
        times.append(1000 * (time.perf_counter() - started))
    return times


def measured(corpus: Prepared, *, profile: bool) -> str:
    """A line of the table."""
    embedder = Clocked(load_embedder(EmbedderSettings(kind=EMBEDDER)))
    texts = [item.text for item in corpus.items]
    with opened(corpus, EMBEDDER, embedder) as store:

        def ask(text: str) -> object:
            return store.knowledge.query(store.context, text)

        times = timed(ask, texts, embedder)
        if profile:
            with cProfile.Profile() as profiler:
                for text in texts:
                    ask(text)
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(50)
    rows = len(corpus.chunks)
    cells = [
        " / ".join(f"{value:.1f}" for value in np.percentile(each, (50, 95)))
        for each in (*times, arithmetic(rows, embedder.profile.dimension))
    ]
    return f"| {corpus.name} | {rows:,} | {len(texts)} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpora", nargs="+", choices=("django", "made-up"))
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    options = parser.parse_args()
    django = CORPORA[0]
    corpora: dict[str, Callable[[], Prepared]] = {
        "django": lambda: drawn_from(django, extracted(django)),
        "made-up": lambda: made_up(ROWS),
    }
    columns = ["corpus", "chunks", "questions"]
    columns += ["embedding", "query, by the clock", "query, processor", "product of vectors alone"]
    table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    asked = options.corpora or corpora
    table += [measured(corpora[name](), profile=options.profile) for name in asked]
    told = f"`python -m benchmarks.latency`: p50 / p95 in ms, one thread. {machine()}.\n\n"
    text = told + "\n".join(table)
    print(text)
    if not options.no_write:
        write_section("Latency of a question", text)


if __name__ == "__main__":
    main()
