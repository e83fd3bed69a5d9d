"""An embedder that counts letters: fast, and of little use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tenantkb.adapters.configuration.settings import EmbedderSettings
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.ports.embedding import Vectors


def open_embedder(settings: EmbedderSettings) -> LettersEmbedder:
    """The embedder of the kind ``letters``."""
    return LettersEmbedder(**settings.options)


class LettersEmbedder:
    """Implements ``tenantkb.ports.embedding.Embedder``.

    Args:
        alphabet: The letters that are counted, each a dimension.
    """

    def __init__(self, alphabet: str = "abcdefghijklmnopqrstuvwxyz") -> None:
        self._alphabet = alphabet
        self.profile = EmbedderProfile(f"letters-1-{alphabet}", len(alphabet))

    def embed(self, texts: Sequence[str]) -> Vectors:
        counted = [[text.lower().count(letter) for letter in self._alphabet] for text in texts]
        vectors = np.array(counted, np.float32).reshape(len(texts), len(self._alphabet))
        vectors[~vectors.any(axis=1), 0] = 1  # a text without any of them has a vector too
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
