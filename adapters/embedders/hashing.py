"""A lexical embedder that needs no model: the baseline, and fast enough for every test."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from tenantkb.adapters.embedders.texts import WORDS_VERSION, weighted_words
from tenantkb.adapters.embedders.windows import unit_rows
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.ports.embedding import Vectors


class HashingEmbedder:
    """Signed feature hashing of words (Weinberger et al., 2009): texts that share words are near.

    It knows no synonyms. The same text gives the same bytes in every process. There is no window: a
    word counts wherever it stands.
    """

    def __init__(self, dimension: int = 64) -> None:
        self._profile = EmbedderProfile(f"hashing-v1-{dimension}-{WORDS_VERSION}", dimension)

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`ports.embedding.Embedder.embed`."""
        rows = np.zeros((len(texts), self._profile.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word, weight in weighted_words(text).items():
                digest = blake2b(word.encode(), digest_size=8).digest()
                sign, bucket = divmod(int.from_bytes(digest), 1 << 63)
                row[bucket % self._profile.dimension] += weight if sign else -weight
        return unit_rows(rows)
