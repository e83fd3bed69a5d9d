"""What was tried to make answers better: each change by itself, against the ranking as it is.

Run as ``python -m benchmarks.variants``. The corpora and questions are those of
:mod:`benchmarks.quality`, the half on which weights are chosen; nothing is stored, all is computed
in memory with the packaged embedder. A change helps where the mean difference of nDCG@10 lies
above 0 with its whole interval: 95%, percentile bootstrap over the questions that both have,
paired, within each kind of each corpus.

- **path in the embedded text**: the path before what is embedded anyway: type, name, class, text.
- **path and name twice in it**: path and name in a line of their own before that.
- **content alone embedded**: nothing but the content.
- **heading of the neighbour before embedded**: the name of the chunk before in the file.
- **identifiers expanded**: two or three successive words of the question, joined, are a further
  term at half the weight where an identifier of the corpus is just that (``right pad`` finds
  ``rightPad``).
- **sub-words overlap**: up to 0.1 by the share of a name's trigrams of characters that the question
  has (Cavnar and Trenkle, *N-Gram-Based Text Categorization*, SDAIR 1994).
- **feedback of vectors**: the question's vector moves by a fifth towards the mean of the first
  five answers' (Rocchio, *Relevance Feedback in Information Retrieval*, 1971), and all is ranked
  anew.
- **tests demoted**: by 0.1, unless the question speaks of tests.
- **chunks of 1,000 or 8,000 characters**: instead of at most 4,000; neo.mjs's are cut by rules of
  its own and stay.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from benchmarks._results import write_section
from benchmarks._workspace import machine
from benchmarks.quality import (
    CORPORA,
    FEWEST,
    FIRST,
    Chunk,
    Corpus,
    KnownItem,
    Prepared,
    drawn_from,
    estimated,
    extracted,
    gain,
    rank_of,
)
from tenantkb.adapters.configuration.settings import EmbedderSettings
from tenantkb.adapters.embedders.registry import load_embedder
from tenantkb.domain import fusion
from tenantkb.domain.bm25 import Bm25, Statistics
from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.fusion import CANDIDATES, Candidate, Hit, Question
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.lexical import Frequencies, field_lengths, frequencies_in, terms_of
from tenantkb.domain.natures import Nature, nature_of
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import TenantStamp, Visibility
from tenantkb.domain.tokens import token_counts
from tenantkb.ports.embedding import Embedder, Vectors

_EXPANDED: Final = 0.5
_SUB_WORDS: Final = 0.1
_MOVED: Final = 0.2
_FED_BACK: Final = 5
_DEMOTED: Final = 0.1
_SIZES: Final = (1_000, 8_000)
_TENANT: Final = "quality"

Scores = npt.NDArray[np.float64]


@frozen(eq=False)
class Index:
    """A corpus in memory, as a ranking sees it.

    Attributes:
        rows: Its rows, whose ids are their places.
        terms: Of each row.
        lengths: Of each row's fields, shape ``(rows, 3)``.
        having: The rows that have a term.
    """

    rows: Sequence[StampedRow]
    terms: Sequence[Mapping[str, Frequencies]]
    lengths: npt.NDArray[np.int64]
    having: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, chunks: Sequence[Chunk]) -> Index:
        """Read the chunks."""
        rows = [_row(place, chunk) for place, chunk in enumerate(chunks)]
        terms = [terms_of(row.metadata()) for row in rows]
        having: dict[str, list[int]] = defaultdict(list)
        for place, found in enumerate(terms):
            for term in found:
                having[term].append(place)
        lengths = np.array([field_lengths(each) for each in terms], np.int64)
        return cls(rows, terms, lengths, having)

    def scores(self, terms: Iterable[str]) -> Scores:
        """BM25 of all rows."""
        asked = sorted(set(terms))
        name, path, content = self.lengths.sum(axis=0).tolist()
        found = {term: len(self.having.get(term, ())) for term in asked}
        bm25 = Bm25.of(asked, Statistics(len(self.rows), (name, path, content), found))
        places = sorted(set().union(*(self.having.get(term, ()) for term in asked)))
        scores = np.zeros(len(self.rows))
        if places:
            frequencies = frequencies_in([self.terms[place] for place in places], bm25.terms)
            scores[places] = bm25.scores(frequencies, self.lengths[places])
        return scores


def _row(place: int, chunk: Chunk) -> StampedRow:
    said = {name: value for name, value in chunk.items() if name != "source" and value is not None}
    return StampedRow(
        ChunkId(f"{place:06}"),
        PathIdentity(_TENANT, "corpus", RootKind.BARE_REPO, chunk["source"]),
        TenantStamp(_TENANT, "corpus", Visibility.TEAM),
        said,
    )


Rank = Callable[[Index, Vectors, npt.NDArray[np.float32], Question], Sequence[Hit]]
"""Ranks the rows of an index, which have these vectors, by a question, which has this one."""


def as_it_is(
    index: Index,
    vectors: Vectors,
    vector: npt.NDArray[np.float32],
    question: Question,
    more: Scores | None = None,
) -> Sequence[Hit]:
    """The ranking of :mod:`application.reading.ranking`; ``more`` is added to BM25."""
    cosines = (vectors @ vector).astype(np.float64)
    scores = index.scores(question.terms)
    if more is not None:
        scores = scores + more
    places = np.union1d(_best(cosines), [place for place in _best(scores) if scores[place] > 0])
    candidates = [
        Candidate(index.rows[place], float(cosines[place]), float(scores[place]))
        for place in places.astype(int).tolist()
    ]
    return fusion.ranked(question, candidates)


def _best(scores: Scores) -> npt.NDArray[np.intp]:
    return np.argsort(-scores, kind="stable")[:CANDIDATES]


_WORD: Final = re.compile(r"\w+")


def expanded(
    index: Index, vectors: Vectors, vector: npt.NDArray[np.float32], question: Question
) -> Sequence[Hit]:
    """With identifiers that the question spells as words."""
    words = _WORD.findall(question.text)
    joined = {
        term
        for length in (2, 3)
        for start in range(len(words) - length + 1)
        for term in token_counts("".join(words[start : start + length]).lower())
    }
    terms = [term for term in joined - question.terms if term in index.having]
    return as_it_is(index, vectors, vector, question, _EXPANDED * index.scores(terms))


def overlapping(
    index: Index, vectors: Vectors, vector: npt.NDArray[np.float32], question: Question
) -> Sequence[Hit]:
    """With what sub-words of names and question have in common."""
    asked = _trigrams(question.text)

    def shared(hit: Hit) -> float:
        name = _trigrams(hit.row.text("name").rpartition(" - ")[2])
        return _SUB_WORDS * len(name & asked) / len(name) if name else 0.0

    return _moved(as_it_is(index, vectors, vector, question), shared)


def _trigrams(text: str) -> set[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return {word[at : at + 3] for word in words for at in range(len(word) - 2)}


def _moved(hits: Sequence[Hit], by: Callable[[Hit], float]) -> Sequence[Hit]:
    return sorted((evolve(hit, lift=hit.lift + by(hit)) for hit in hits), key=lambda hit: hit.order)


def fed_back(
    index: Index, vectors: Vectors, vector: npt.NDArray[np.float32], question: Question
) -> Sequence[Hit]:
    """With the first answers' vectors in the question's."""
    first = as_it_is(index, vectors, vector, question)[:_FED_BACK]
    mean = np.mean([vectors[int(hit.row.id)] for hit in first], axis=0)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    return as_it_is(index, vectors, vector + np.float32(_MOVED) * mean, question)


def tests_demoted(
    index: Index, vectors: Vectors, vector: npt.NDArray[np.float32], question: Question
) -> Sequence[Hit]:
    """With tests behind what they try."""
    hits = as_it_is(index, vectors, vector, question)
    if "test" in question.terms:
        return hits
    return _moved(hits, lambda hit: -_DEMOTED * (nature_of(hit.row) is Nature.TESTS))


def _neighbour(chunks: Sequence[Chunk]) -> Iterator[str]:
    before: Chunk = {"source": "", "name": ""}
    for chunk in chunks:
        same = before["source"] == chunk["source"]
        yield f"{before['name']}\n{embedding_text(chunk)}" if same else embedding_text(chunk)
        before = chunk


def _each(text: Callable[[Chunk], str]) -> Callable[[Sequence[Chunk]], Iterable[str]]:
    return lambda chunks: map(text, chunks)


@frozen
class Variant:
    """A change.

    Attributes:
        rank: Ranks.
        texts: What is embedded of the chunks; ``None`` for the usual texts.
        characters: Bound of a chunk's content; ``None`` for the usual one.
    """

    rank: Rank = as_it_is
    texts: Callable[[Sequence[Chunk]], Iterable[str]] | None = None
    characters: int | None = None


VARIANTS: Final[Mapping[str, Variant]] = {
    "path in the embedded text": Variant(
        texts=_each(lambda chunk: f"{chunk['source']}\n{embedding_text(chunk)}")
    ),
    "path and name twice in it": Variant(
        texts=_each(lambda chunk: f"{chunk['source']} {chunk['name']}\n{embedding_text(chunk)}")
    ),
    "content alone embedded": Variant(texts=_each(lambda chunk: str(chunk["content"]))),
    "heading of the neighbour before embedded": Variant(texts=_neighbour),
    "identifiers expanded": Variant(rank=expanded),
    "sub-words overlap": Variant(rank=overlapping),
    "feedback of vectors": Variant(rank=fed_back),
    "tests demoted": Variant(rank=tests_demoted),
    **{f"chunks of {size:,} characters": Variant(characters=size) for size in _SIZES},
}

Gains = Mapping[tuple[str, str], float]
"""nDCG@10 by kind and text of a question."""


def gains(
    corpus: Prepared, index: Index, vectors: Vectors, embedder: Embedder, rank: Rank
) -> Gains:
    """What a ranking is worth for each question of the half on which weights are chosen."""

    def of(item: KnownItem) -> float:
        vector = embedder.embed([item.text])[0]
        hits = rank(index, vectors, vector, Question.of(item.text))
        page = fusion.page(hits, 1, FIRST, per_file=fusion.PER_FILE)
        return gain(rank_of([int(hit.row.id) for hit in page], item))

    return {(item.kind, item.text): of(item) for item in corpus.items if item.is_for_tuning}


def _resized(corpus: Corpus, characters: int) -> Corpus | None:
    """The corpus in chunks of another size, where its source can cut it so."""
    paths = corpus.settings.source_paths.get("CodeSource")
    if paths is None:
        return None
    settings = evolve(
        corpus.settings,
        source_paths={"CodeSource": {**paths, "maxCharacters": characters}},
    )
    return evolve(corpus, settings=settings)


def measured(corpus: Corpus, embedder: Embedder) -> Mapping[str, tuple[Gains, Gains]]:
    """By variant, what the ranking is worth as it is and with the change."""
    prepared = drawn_from(corpus, extracted(corpus))
    index = Index.of(prepared.chunks)
    usual = _embedded(embedder, map(embedding_text, prepared.chunks))
    before = gains(prepared, index, usual, embedder, as_it_is)
    found = {}
    for name, variant in VARIANTS.items():
        if variant.characters is None:
            texts = variant.texts
            vectors = usual if texts is None else _embedded(embedder, texts(prepared.chunks))
            found[name] = before, gains(prepared, index, vectors, embedder, variant.rank)
        elif (resized := _resized(corpus, variant.characters)) is not None:
            cut = _asked_of_both(prepared, drawn_from(resized, extracted(resized), lenient=True))
            vectors = _embedded(embedder, map(embedding_text, cut.chunks))
            after = gains(cut, Index.of(cut.chunks), vectors, embedder, as_it_is)
            found[name] = before, after
    return found


def _asked_of_both(usual: Prepared, other: Prepared) -> Prepared:
    """The other corpus with the questions that both have."""
    asked = {(item.kind, item.text) for item in usual.items}
    items = [item for item in other.items if (item.kind, item.text) in asked]
    return Prepared(other.name, other.chunks, items)


def _embedded(embedder: Embedder, texts: Iterable[str]) -> Vectors:
    every = list(texts)
    return np.concatenate(
        [embedder.embed(every[start : start + 512]) for start in range(0, len(every), 512)]
    )


def table(results: Sequence[Mapping[str, tuple[Gains, Gains]]]) -> Iterator[str]:
    """A line for each variant."""
    yield "| change | corpora | questions | nDCG@10 | helps |"
    yield "|---|---|---|---|---|"
    for name in VARIANTS:
        strata, count = [], 0
        for result in results:
            if name not in result:
                continue
            before, after = result[name]
            kinds: dict[str, list[float]] = defaultdict(list)
            for key in before.keys() & after.keys():
                kinds[key[0]].append(after[key] - before[key])
            strata.append([np.array(each) for each in kinds.values() if len(each) >= FEWEST])
            count += sum(map(len, strata[-1]))
        mean, low, high = estimated(strata)
        told = f"{mean:+.4f} [{low:+.3f}, {high:+.3f}] | {'yes' if low > 0 else 'no'}"
        yield f"| {name} | {len(strata)} | {count} | {told} |"


def main() -> None:
    """Measure, print, and write the section."""
    embedder = load_embedder(EmbedderSettings(kind="wordllama"))
    results = []
    for corpus in CORPORA:
        results.append(measured(corpus, embedder))
        print(corpus.name, flush=True)
    text = "\n".join(table(results))
    print(text)
    told = f"`python -m benchmarks.variants`: {machine()}.\n\n"
    write_section("Variants of the ranking", told + text)


if __name__ == "__main__":
    main()
