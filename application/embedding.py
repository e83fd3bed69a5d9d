"""Embed rows of which the embedder may refuse some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenantkb.domain.embedding import embedding_text
from tenantkb.domain.errors import TextsRefusedError
from tenantkb.ports.embedding import Embedder, Vectors


def embed_taken(
    embedder: Embedder, chunks: Sequence[Mapping[str, Any]]
) -> tuple[Vectors, Mapping[int, str]]:
    """The vectors of the chunks whose text the embedder takes, and why it refuses the others.

    Returns:
        Shape ``(taken, dimension)``, in the order of the chunks; and by place among them, from 0,
        the reason for each other one.

    Raises:
        EmbedderError: the embedder failed for good.
    """
    try:
        return embedder.embed([embedding_text(chunk) for chunk in chunks]), {}
    except TextsRefusedError as error:
        return error.vectors, error.reasons


def embed_all(
    embedder: Embedder, chunks: Sequence[Mapping[str, Any]]
) -> tuple[Vectors, Mapping[int, str]]:
    """Like :func:`embed_taken`, with a vector of zeros for each chunk that is refused.

    It is for rows that are stored and must stay. Nothing is near such a vector, so only a chunk's
    words find it.
    """
    taken, reasons = embed_taken(embedder, chunks)
    vectors = np.zeros((len(chunks), embedder.profile.dimension), np.float32)
    vectors[[place for place in range(len(chunks)) if place not in reasons]] = taken
    return vectors, reasons
