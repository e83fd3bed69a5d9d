"""Text to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tenantkb.domain.embedding import EmbedderProfile

Vectors = npt.NDArray[np.float32]
"""Embeddings, shape ``(texts, dimension)``, float32, every row of unit Euclidean length."""


class Embedder(Protocol):
    """Turns texts into vectors that a store compares by cosine.

    An embedder is deterministic: the same text gives the same vector, whatever else is in the
    batch. It never cuts a text off in silence. What exceeds the model's window is embedded in
    overlapping windows whose vectors are pooled, so that one text is always one vector. A text
    without any token (an empty string, say) still gets a vector of unit length.
    """

    @property
    def profile(self) -> EmbedderProfile:
        """Name and dimension: what a store remembers to refuse another embedder's vectors."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed ``texts``.

        Returns:
            Shape ``(len(texts), profile.dimension)``, in the order of the texts.

        Raises:
            TextsRefusedError: the model or service works, and does not take some of the texts. The
                error tells which ones, why, and the vectors of all others.
            EmbedderError: the model or service failed for good. There is no partial result.
        """
        ...
