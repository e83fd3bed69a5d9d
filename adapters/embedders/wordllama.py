"""The default embedder: static token vectors that the package index delivers, no download later."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from attrs import frozen

from tenantkb.adapters.embedders.packaged import fingerprint, packaged_files
from tenantkb.adapters.embedders.texts import WORDS_VERSION, batches, weighted_words, well_formed
from tenantkb.adapters.embedders.windows import unit_rows
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.ports.embedding import Vectors

if TYPE_CHECKING:  # most synchronisations embed nothing
    from tokenizers import Tokenizer

_DIMENSION = 256
_BATCH_TEXTS = 1024
_BATCH_CHARACTERS = 1 << 18


class WordLlamaEmbedder:
    """The weighted sum of the vectors of a text's words, by the WordLlama ``l2_supercat`` model.

    A word's vector is the sum of the vectors of its tokens; the model was trained so that their
    lengths say how much a token means. There is no window: a word counts wherever it stands. A text
    without any word (only symbols, say) is embedded from what white space separates in it.

    The two files of the wheel are read directly. The library's own ``embed`` gives the same token
    vectors, but pads every batch to its longest text, which makes one long text cost gigabytes; it
    does not cut identifiers into words; and importing it configures the root logger.
    """

    def __init__(self) -> None:
        files = packaged_files(
            "wordllama",
            "weights/l2_supercat_256.safetensors",
            "tokenizers/l2_supercat_tokenizer_config.json",
            install="pip install wordllama",
        )
        self._files = files
        self._lock = threading.Lock()
        self._loaded: _Model | None = None
        self._profile = EmbedderProfile(
            f"wordllama-l2_supercat-{_DIMENSION}-{fingerprint(files)}-{WORDS_VERSION}", _DIMENSION
        )

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`ports.embedding.Embedder.embed`."""
        result = np.empty((len(texts), self._profile.dimension), dtype=np.float32)
        done = 0
        for batch in batches(texts, count=_BATCH_TEXTS, size=_BATCH_CHARACTERS, measure=len):
            result[done : done + len(batch)] = self._embed_batch(batch)
            done += len(batch)
        return result

    def _embed_batch(self, texts: list[str]) -> Vectors:
        bags = [
            weighted_words(text) or dict.fromkeys(well_formed(text).split(), 1.0) for text in texts
        ]
        # Texts of one batch share most of their words: each is tokenised once.
        words = list(dict.fromkeys(word for bag in bags for word in bag))
        rows = np.zeros((len(texts), self._profile.dimension), dtype=np.float32)
        if words:
            vectors = self._word_vectors(words)
            position = {word: index for index, word in enumerate(words)}
            for row, bag in zip(rows, bags, strict=True):
                weights = np.fromiter(bag.values(), dtype=np.float32, count=len(bag))
                chosen = vectors[[position[word] for word in bag]]
                # A sum, not a product of matrices: BLAS may add in another order elsewhere.
                row[:] = (chosen * weights[:, np.newaxis]).sum(axis=0)
        return unit_rows(rows)

    def _word_vectors(self, words: list[str]) -> npt.NDArray[np.float32]:
        model = self._model()
        encodings = model.tokenizer.encode_batch_fast(words, add_special_tokens=False)
        tokens = np.concatenate([encoding.ids for encoding in encodings])
        starts = np.cumsum([0, *(len(encoding.ids) for encoding in encodings[:-1])])
        sums: npt.NDArray[np.float32] = np.add.reduceat(
            model.vectors[tokens].astype(np.float32), starts, axis=0
        )
        return sums

    def _model(self) -> _Model:
        """The model, which is loaded when something is embedded."""
        with self._lock:
            if self._loaded is None:
                from safetensors.numpy import load_file
                from tokenizers import Tokenizer

                weights, tokenizer = self._files
                vectors = load_file(weights)["embedding.weight"]
                self._loaded = _Model(vectors, Tokenizer.from_file(str(tokenizer)))
            return self._loaded


@frozen(eq=False)
class _Model:
    """Vectors of tokens, shape ``(tokens, _DIMENSION)``, and what cuts words into these."""

    vectors: npt.NDArray[np.float16]
    tokenizer: Tokenizer
