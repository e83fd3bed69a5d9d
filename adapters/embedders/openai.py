"""Embeddings from any service that speaks OpenAI's ``POST /embeddings``: OpenAI, Ollama, vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt
import stamina

from tenantkb.adapters.embedders.proxies import Proxy, proxy_of, transport
from tenantkb.adapters.embedders.texts import batches, well_formed
from tenantkb.adapters.embedders.windows import pool, unit_rows, windows
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import ConfigurationError, EmbedderError, TextsRefusedError
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Vector

_TRANSIENT_STATUS = {408, 425, 429}
"""What is worth another attempt below 500, from where on everything is."""
_TRANSIENT_ERRORS = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
_REFUSING_STATUS: Final = frozenset({400, 413, 422})
"""What says that a request is at fault. Which text of it, or their number, has to be found out."""
_CRASHED_STATUS: Final = 500
"""What Ollama and llama.cpp answer, for ever, to a text whose vector is not finite. It is tried
again, as any other answer from 500 on, before the text is suspected."""
_PROBE: Final = "probe"
"""A text that no service refuses. One that does is at fault itself."""
_REFUSED_IN_A_ROW: Final = 256
"""So many windows refused with none taken between them are the fault of the settings."""
_EXCERPT = 300
"""Most characters of a service's own words in one of our messages."""


class _RefusedError(Exception):
    """A service takes none of a request's texts, because of one of them or of their number."""


class OpenAIEmbedder:
    """A client of an OpenAI-compatible service.

    The profile names the model, the dimension and the windows, not the address: the same model
    behind another address is the same model. Blank texts are not sent, as services refuse them.

    A request that the service refuses is sent in halves, down to the text that is at fault. Where
    all halves are taken, their number was, and no later request has so many texts.
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
        refused_in_a_row: int = _REFUSED_IN_A_ROW,
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
            refused_in_a_row: After so many windows that the service refuses, none taken between
                them, it has failed for good.

        Raises:
            ConfigurationError: a setting makes no sense, or a variable names a proxy that cannot be
                used.
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
        self._refused_in_a_row = refused_in_a_row
        self._refused = 0
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._proxy: Proxy | None = proxy_of(url)
        self._client = httpx.Client(
            timeout=timeout_seconds,
            transport=transport(self._proxy),
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
        vectors: list[Vector] = []
        owners: list[int] = []
        weights: list[int] = []
        refused: dict[int, str] = {}
        for batch in batches(
            self._windows(texts),
            count=self._batch_texts,
            size=self._batch_bytes,
            measure=lambda window: len(window[1].encode()),
        ):
            answers = self._answers([window for _, window in batch])
            for (owner, window), answer in zip(batch, answers, strict=True):
                if isinstance(answer, str):
                    refused.setdefault(owner, answer)
                else:
                    owners.append(owner)
                    weights.append(len(window))
                    vectors.append(answer)
        pooled = pool(
            np.array(vectors, dtype=np.float32).reshape(-1, self._profile.dimension),
            np.array(weights, dtype=np.float64),
            np.array(owners, dtype=np.intp),
            len(texts),
        )
        if refused:
            raise TextsRefusedError(refused, np.delete(pooled, list(refused), axis=0))
        return pooled

    def _windows(self, texts: Sequence[str]) -> Iterator[tuple[int, str]]:
        for owner, text in enumerate(texts):
            for window in windows(len(text), self._window_characters, self._overlap_characters):
                part = well_formed(text[window])
                if part.strip():
                    yield owner, part

    def _answers(self, texts: list[str], *, suspected: bool = False) -> list[Vector | str]:
        """The vector of each text, or why the service refuses it.

        Args:
            texts: At least one.
            suspected: Whether they are a part of what has been refused as a whole.

        Raises:
            EmbedderError: the service failed for good, or refuses everything.
        """
        refused = False
        if len(texts) <= self._batch_texts:
            try:
                return list(self._ask(texts, suspected=suspected))
            except _RefusedError as refusal:
                if not suspected:
                    self._probe(refusal)
                if len(texts) == 1:
                    return [self._noted(refusal)]
                refused = True
        half = len(texts) // 2
        answers: list[Vector | str] = []
        for part in (texts[:half], texts[half:]):
            answers += self._answers(part, suspected=suspected or refused)
        if refused and not any(isinstance(answer, str) for answer in answers):
            self._batch_texts = min(self._batch_texts, len(texts) - half)
        return answers

    def _probe(self, refusal: _RefusedError) -> None:
        """Make sure that the service refuses what it was sent, and not everything.

        Raises:
            EmbedderError: it refuses everything.
        """
        try:
            self._ask([_PROBE], suspected=True)
        except _RefusedError:
            raise EmbedderError(str(refusal)) from None

    def _noted(self, refusal: _RefusedError) -> str:
        """Count a refused window, and return why it was.

        Raises:
            EmbedderError: there were too many in a row.
        """
        self._refused += 1
        if self._refused >= self._refused_in_a_row:
            raise EmbedderError(
                f"{self._refused} texts one after the other were refused, the last because "
                f"{refusal}; is embedder.window_characters within the model's context?"
            )
        return str(refusal)

    def _ask(self, texts: list[str], *, suspected: bool = False) -> Vectors:
        """Send one request.

        Args:
            texts: All of its texts.
            suspected: Whether the texts are at fault if the service crashes: it is not tried again.

        Raises:
            _RefusedError: the service refuses the request as it is.
            EmbedderError: the service failed for good.
        """

        def retry(error: Exception) -> bool | float:
            return not (suspected and _crashed(error)) and self._retry(error)

        proxy = self._proxy
        through = "" if proxy is None else f" through the proxy that {proxy.origin} names"
        try:
            for attempt in stamina.retry_context(
                on=retry,
                attempts=self._attempts,
                timeout=None,
                wait_initial=self._first_wait_seconds,
                wait_max=self._longest_wait_seconds,
                wait_jitter=self._first_wait_seconds,
            ):
                with attempt:
                    response = self._client.post(self._url, json={**self._request, "input": texts})
                    response.raise_for_status()
                    vectors = self._vectors(response, len(texts))
                    if texts != [_PROBE]:
                        self._refused = 0
                    return vectors
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            told = f"{self._url} answered {status}: {self._said(error.response)}"
            if status in _REFUSING_STATUS or _crashed(error):
                raise _RefusedError(told) from None
            raise EmbedderError(told) from None
        except httpx.HTTPError as error:
            raise EmbedderError(f"{self._url} cannot be used{through}: {error!r}") from None
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
            _RefusedError: a vector has no direction, which is what a model makes of some texts.
        """
        try:
            data = sorted(
                (place if item.get("index") is None else item["index"], place, item["embedding"])
                for place, item in enumerate(response.json()["data"])
            )
            indexes = [index for index, _, _ in data]
            matrix: npt.NDArray[Any] = np.array([embedding for _, _, embedding in data])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EmbedderError(
                f"{self._url} did not answer with embeddings: {self._said(response)}"
            ) from None
        if indexes != list(range(texts)):
            raise EmbedderError(
                f"{self._url} answered {texts} texts with embeddings of the indexes {indexes}"
            )
        if matrix.dtype.kind not in "fi" or matrix.ndim != 2:
            raise _RefusedError(f"{self._url} answered with embeddings that are not all numbers")
        if matrix.shape[1] != self._profile.dimension:
            raise EmbedderError(
                f"{self._url} gives vectors of {matrix.shape[1]} dimensions, "
                f"not of {self._profile.dimension}; set the embedder's dimension to match"
            )
        if not np.isfinite(matrix).all() or not matrix.any(axis=1).all():
            raise _RefusedError(f"{self._url} answered with a vector that has no direction")
        return unit_rows(matrix)

    def _said(self, response: httpx.Response) -> str:
        """The beginning of an answer, without the key in case the service repeats it."""
        text = response.text.replace(self._api_key, "***") if self._api_key else response.text
        return text[:_EXCERPT]


def _crashed(error: Exception) -> bool:
    """Whether a service answered that it is itself at fault, and not that it is too busy."""
    return (
        isinstance(error, httpx.HTTPStatusError) and error.response.status_code == _CRASHED_STATUS
    )


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the service asks to wait (RFC 9110, section 10.2.3), if it does."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # an unreadable date, or one without a time zone
        return None
