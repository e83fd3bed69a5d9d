"""Known items keep being found: names in the mini workspace, sections in this project's own pages.

The questions are drawn as ``benchmarks.quality`` draws them, from few chunks and with an embedder
that knows words only, so the figures say nothing about real repositories; that is what the
benchmark is for. What makes a floor fail is a change of the tokeniser, of BM25, of the fusion or of
its boosts, or of the order of pages, by which answers fall in general, not a single answer that
falls a rank. Sections change with the pages they are drawn from: when one is rewritten and the
figure falls a little, look at which questions are lost before the floor is lowered.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

import pytest

from tenantkb.adapters.configuration.settings import EmbedderSettings, Settings, StoreSettings
from tenantkb.adapters.container import Container
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.application.writing.create import create

pytest.importorskip("benchmarks", reason="not part of a source distribution")
from benchmarks import quality

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "mini-neo-workspace.jsonl"
WORDS_ONLY = Settings(store=StoreSettings(kind="memory"), embedder=EmbedderSettings(kind="hashing"))
PAGES = Settings(use_default_sources=False, code_source=True, workers=1)


def golden() -> list[quality.Chunk]:
    with GOLDEN.open(encoding="utf-8") as lines:
        return quality.distinct(map(json.loads, lines))


def pages() -> list[quality.Chunk]:
    out = io.StringIO()
    create(WorkspaceSources(PAGES), ROOT / "docs", out)
    out.seek(0)
    return quality.distinct(map(json.loads, out))


def mean_gain(
    chunks: Sequence[quality.Chunk], kind: str, *drafts: Iterable[quality.Draft]
) -> tuple[float, int]:
    """nDCG@10 of what a query answers, and of how many questions it is the mean."""
    corpus = quality.prepared("tested", chunks, [(kind, each, 1000) for each in drafts])
    container = Container(settings=WORDS_ONLY)
    store = quality.store_in(container, corpus)
    with container.knowledge_base():
        gains = [
            quality.gain(quality.rank_of(quality.paged(store.hits(item.text)), item))
            for item in corpus.items
        ]
    return fmean(gains), len(gains)


def test_names_are_found_as_they_are_spelt_and_as_they_are_typed() -> None:
    chunks = golden()
    drafts = [quality.names(chunks, sort) for sort in ("functions", "classes", "files")]
    gain, questions = mean_gain(chunks, quality.NAMES, *drafts)
    assert questions >= 30
    assert gain >= 0.95


def test_sections_are_found_by_their_first_sentence() -> None:
    chunks = pages()
    gain, questions = mean_gain(chunks, quality.SECTIONS, quality.sections(chunks))
    assert questions >= 40
    assert gain >= 0.3


def test_no_sentence_that_is_asked_is_stored() -> None:
    function = {
        "type": "code",
        "kind": "function",
        "name": "get",
        "source": "a.py",
        "content": 'def get(x):\n    """Read a number\n    in any base.\n\n    Any."""\n    pass',
        "line_start": 3,
        "line_end": 8,
    }
    [draft] = quality.comments([function], Path())
    corpus = quality.prepared("tested", [function], [(quality.COMMENTS, [draft], 10)])
    [item] = corpus.items
    assert item.text == "Read a number in any base."
    [stored] = corpus.chunks
    assert stored["content"] == "def get(x):\n    pass"
    assert (stored["line_start"], stored["line_end"]) == (3, 4)


def test_a_sentence_is_taken_out_of_the_description_as_well() -> None:
    chunk = {"type": "doc", "kind": "guide", "name": "a", "source": "a.md", "content": "One, two."}
    draft = quality.Draft("One, two.", frozenset({0}), "One, two.")
    described = {**chunk, "description": "Zero. One,\ntwo. Three."}
    [stored] = quality.prepared("tested", [described], [("sections", [draft], 1)]).chunks
    assert (stored["content"], stored["description"]) == ("", "Zero.  Three.")


def test_a_sentence_that_is_said_in_two_places_is_not_asked() -> None:
    chunks = [
        {"type": "doc", "kind": "guide", "name": name, "source": name, "content": "One, two."}
        for name in ("a.md", "b.md")
    ]
    draft = quality.Draft("One, two.", frozenset({0}), "One, two.")
    assert not quality.prepared("tested", chunks, [("sections", [draft], 1)]).items


@pytest.mark.parametrize(
    ("content", "documented", "rest"),
    [
        ("/**\n * Reads.\n * @see it\n */\nint read() {}", "Reads.\n@see it", "int read() {}"),
        ("// read reads\n// it.\nfunc read() {}", "read reads\nit.", "func read() {}"),
        ("#[inline]\n/// Reads it.\nfn read() {}", "Reads it.", "#[inline]\nfn read() {}"),
        ("int read() {} // it", "", "int read() {} // it"),
    ],
)  # fmt: skip
def test_what_documents_a_function_is_told_from_it(
    content: str, documented: str, rest: str
) -> None:
    assert quality.documentation({"source": "a.java", "content": content}) == (documented, rest)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (":class:`~a.b.Field` is :ref:`new <later>`.", "Field is new."),
        ("Uses {@link Map#get} for <code>x</code>.", "Uses get for x ."),
        ("See [the guide](guide.md) or ``x``.", "See the guide or `x`."),
    ],
)
def test_a_question_has_no_markup(written: str, shown: str) -> None:
    assert quality.plain(written) == shown


def test_one_relevant_chunk_is_all_there_is_to_gain() -> None:
    item = quality.KnownItem("names", "x", frozenset({4, 5}))
    assert quality.rank_of([1, 4, 5], item) == 2
    assert quality.gain(1) == 1.0
    assert quality.gain(3) == 0.5
    assert quality.gain(11) == 0.0
    assert quality.gain(None) == 0.0
