"""Which embedders an installation can have: a table, and what installed packages offer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tenantkb.adapters.configuration.settings import EmbedderSettings
from tenantkb.adapters.runtime.plugins import Factories
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import ConfigurationError
from tenantkb.ports.embedding import Embedder, Vectors

BUILT_IN: Final[Mapping[str, str]] = {
    "wordllama": f"{__name__}:_wordllama",
    "minilm": f"{__name__}:_minilm",
    "openai": f"{__name__}:_openai",
    "hashing": f"{__name__}:_hashing",
}
"""By kind, where the factory is. It is called with the settings and gives an embedder."""

ENTRY_POINTS: Final = "tenantkb.embedders"


def load_embedder(settings: EmbedderSettings) -> Embedder:
    """The embedder of the configured kind, which may take a while to load.

    Raises:
        ConfigurationError: there is no such kind (the message lists those there are), it cannot be
            imported, or it does not take its settings.
    """
    embedders = Factories("embedder", BUILT_IN)
    embedders.register_entry_points(ENTRY_POINTS)
    embedder: Embedder = embedders.make(settings.kind, settings)
    return embedder


class DeferredEmbedder:
    """An embedder that is loaded when it is first used; safe to use from many threads.

    A model takes longer to load than a list takes to print.

    Args:
        load: Gives the embedder.
    """

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None

    @property
    def profile(self) -> EmbedderProfile:
        return self._loaded().profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._loaded().embed(texts)

    def _loaded(self) -> Embedder:
        with self._lock:
            if self._embedder is None:
                self._embedder = self._load()
            return self._embedder


def _wordllama(_: EmbedderSettings) -> Embedder:
    from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder

    return WordLlamaEmbedder()


def _minilm(_: EmbedderSettings) -> Embedder:
    from tenantkb.adapters.embedders.minilm import MiniLmEmbedder

    return MiniLmEmbedder()


def _hashing(settings: EmbedderSettings) -> Embedder:
    from tenantkb.adapters.embedders.hashing import HashingEmbedder

    return HashingEmbedder(settings.dimension or 64)


def _openai(settings: EmbedderSettings) -> Embedder:
    from tenantkb.adapters.embedders.openai import OpenAIEmbedder

    if settings.model is None or settings.dimension is None:
        raise ConfigurationError("it needs embedder.model and embedder.dimension")
    return OpenAIEmbedder(
        model=settings.model,
        dimension=settings.dimension,
        base_url=settings.base_url,
        api_key=settings.api_key,
        send_dimension=settings.send_dimension,
        batch_texts=settings.batch_texts,
        window_characters=settings.window_characters,
        timeout_seconds=settings.timeout,
    )
