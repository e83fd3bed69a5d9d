"""Embeddings from any service that speaks OpenAI's ``POST /embeddings``: OpenAI, Ollama, vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import stamina

from tenantkb.adapters.embedders.texts import batches, well_formed
from tenantkb.adapters.embedders.windows import pool, unit_rows, windows
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import ConfigurationError, EmbedderError
from tenantkb.ports.embedding import Vectors

_TRANSIENT_STATUS = {408, 425, 429}
"""What is worth another attempt below 500, from where on everything is."""
_TRANSIENT_ERRORS = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
_EXCERPT = 300
"""Most characters of a service's own words in one of our messages."""


class OpenAIEmbedder:
    """A client of an OpenAI-compatible service.

    The profile names the model, the dimension and the windows, not the address: the same model
    behind another address is the same model. Blank texts are not sent, as services refuse them.
    """

    def __init__(
        self,
        *,
        model: str,
        dimension: int,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        send_dimension: bool = False,
        window_characters: int = 8000,
        overlap_characters: int = 400,
        batch_texts: int = 128,
        batch_bytes: int = 256_000,
        timeout_seconds: float = 60.0,
        attempts: int = 6,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float = 60.0,
    ) -> None:
        """Check the settings; nothing is sent.

        Args:
            model: As the service calls it.
            dimension: Length of the vectors that the model gives.
            base_url: What stands before ``/embeddings``, without a password or query.
            api_key: Sent as a bearer token, and never shown.
            send_dimension: Ask the service for vectors shortened to ``dimension``, which only some
                models can do.
            window_characters: Longer texts are embedded in windows of this many characters. Choose
                no more than the model takes tokens if the service cuts long texts off without a
                word, as Ollama does: a token is seldom less than a character.
            overlap_characters: How many characters neighbouring windows share.
            batch_texts: Most texts in one request.
            batch_bytes: Most bytes of UTF-8 in one request, unless one window alone has more.
            timeout_seconds: For each of connecting, sending and waiting for an answer.
            attempts: How often a request is sent before a transient failure is final.
            first_wait_seconds: Wait before the second attempt; it doubles from there, with jitter.
            longest_wait_seconds: Longest wait between attempts. A service that asks for a longer
                one (``Retry-After``) has failed for good.

        Raises:
            ConfigurationError: a setting makes no sense.
        """
        if not model:
            raise ConfigurationError("the embedder needs the name of a model")
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query:
            raise ConfigurationError(
                "the embedder's base URL is not an http(s) address without password and query"
            )
        if api_key and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise ConfigurationError("the embedder's API key has characters no header can carry")
        if not 0 <= overlap_characters < window_characters:
            raise ConfigurationError(
                f"windows of {window_characters} characters cannot overlap by {overlap_characters}"
            )
        if min(batch_texts, batch_bytes, attempts) < 1:
            raise ConfigurationError("batch sizes and the number of attempts are at least 1")
        self._request: dict[str, Any] = {"model": model}
        if send_dimension:
            self._request["dimensions"] = dimension
        self._api_key = api_key
        self._window_characters = window_characters
        self._overlap_characters = overlap_characters
        self._batch_texts = batch_texts
        self._batch_bytes = batch_bytes
        self._attempts = attempts
        self._first_wait_seconds = first_wait_seconds
        self._longest_wait_seconds = longest_wait_seconds
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._client = httpx.Client(
            timeout=timeout_seconds,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        )
        self._profile = EmbedderProfile(
            f"openai-{model}-{dimension}-window{window_characters}-overlap{overlap_characters}",
            dimension,
        )

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def close(self) -> None:
        """Close the connections. The embedder cannot be used afterwards."""
        self._client.close()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`ports.embedding.Embedder.embed`."""
        vectors: list[Vectors] = [np.empty((0, self._profile.dimension), dtype=np.float32)]
        owners: list[int] = []
        weights: list[int] = []
        for batch in batches(
            self._windows(texts),
            count=self._batch_texts,
            size=self._batch_bytes,
            measure=lambda window: len(window[1].encode()),
        ):
            owners += [owner for owner, _ in batch]
            weights += [len(window) for _, window in batch]
            vectors.append(self._embed_batch([window for _, window in batch]))
        return pool(
            np.concatenate(vectors),
            np.array(weights, dtype=np.float64),
            np.array(owners, dtype=np.intp),
            len(texts),
        )

    def _windows(self, texts: Sequence[str]) -> Iterator[tuple[int, str]]:
        for owner, text in enumerate(texts):
            for window in windows(len(text), self._window_characters, self._overlap_characters):
                part = well_formed(text[window])
                if part.strip():
                    yield owner, part

    def _embed_batch(self, texts: list[str]) -> Vectors:
        try:
            for attempt in stamina.retry_context(
                on=self._retry,
                attempts=self._attempts,
                timeout=None,
                wait_initial=self._first_wait_seconds,
                wait_max=self._longest_wait_seconds,
                wait_jitter=self._first_wait_seconds,
            ):
                with attempt:
                    response = self._client.post(self._url, json={**self._request, "input": texts})
                    response.raise_for_status()
                    return self._vectors(response, len(texts))
        except httpx.HTTPStatusError as error:
            raise EmbedderError(
                f"{self._url} answered {error.response.status_code}: {self._said(error.response)}"
            ) from None
        except httpx.HTTPError as error:
            raise EmbedderError(f"{self._url} cannot be used: {error!r}") from None
        raise AssertionError("the last attempt returns or raises")

    def _retry(self, error: Exception) -> bool | float:
        """Whether to try again or, where the service says it, after how many seconds."""
        if not isinstance(error, httpx.HTTPStatusError):
            return isinstance(error, _TRANSIENT_ERRORS)
        status = error.response.status_code
        if status < 500 and status not in _TRANSIENT_STATUS:
            return False
        asked = _retry_after(error.response)
        if asked is None:
            return True
        return asked if asked <= self._longest_wait_seconds else False

    def _vectors(self, response: httpx.Response, texts: int) -> Vectors:
        """Read an answer: one vector a text, in the order of the texts.

        Raises:
            EmbedderError: the answer is not what was asked for.
        """
        try:
            data = sorted(response.json()["data"], key=lambda item: item["index"])
            indexes = [item["index"] for item in data]
            matrix: npt.NDArray[Any] = np.array([item["embedding"] for item in data])
        except (ValueError, KeyError, TypeError):
            raise EmbedderError(
                f"{self._url} did not answer with embeddings: {self._said(response)}"
            ) from None
        if indexes != list(range(texts)):
            raise EmbedderError(
                f"{self._url} answered {texts} texts with embeddings of the indexes {indexes}"
            )
        if matrix.dtype.kind not in "fi" or matrix.ndim != 2:
            raise EmbedderError(f"{self._url} answered with embeddings that are not all numbers")
        if matrix.shape[1] != self._profile.dimension:
            raise EmbedderError(
                f"{self._url} gives vectors of {matrix.shape[1]} dimensions, "
                f"not of {self._profile.dimension}; set the embedder's dimension to match"
            )
        if not np.isfinite(matrix).all() or not matrix.any(axis=1).all():
            raise EmbedderError(f"{self._url} answered with a vector that has no direction")
        return unit_rows(matrix)

    def _said(self, response: httpx.Response) -> str:
        """The beginning of an answer, without the key in case the service repeats it."""
        text = response.text.replace(self._api_key, "***") if self._api_key else response.text
        return text[:_EXCERPT]


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the service asks to wait (RFC 9110, section 10.2.3), if it does."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # an unreadable date, or one without a time zone
        return None
