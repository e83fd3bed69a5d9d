import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from tenantkb.adapters.configuration.settings import EmbedderSettings
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.embedders.openai import OpenAIEmbedder
from tenantkb.adapters.embedders.registry import load_embedder
from tenantkb.domain.errors import (
    ConfigurationError,
    EmbedderError,
    ErrorKind,
    TextsRefusedError,
)
from tests.embedding_server import DIMENSION, Answer, EmbeddingServer, embedding_server

KEY = "sk-very-secret-0123456789"


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddingServer]:
    with embedding_server() as server:
        yield server


@pytest.fixture
def server(running: EmbeddingServer) -> EmbeddingServer:
    running.restart()
    return running


def client(base_url: str, **settings: Any) -> closing[OpenAIEmbedder]:
    defaults = {"model": "hashing", "dimension": DIMENSION, "first_wait_seconds": 0.001}
    return closing(OpenAIEmbedder(base_url=base_url, **{**defaults, **settings}))


def test_a_request_holds_the_model_and_the_texts_and_the_key_as_a_bearer(
    server: EmbeddingServer,
) -> None:
    with client(server.base_url, api_key=KEY) as embedder:
        vectors = embedder.embed(["one", "two"])
    np.testing.assert_allclose(vectors, HashingEmbedder(DIMENSION).embed(["one", "two"]), atol=1e-7)
    assert server.requests == [{"model": "hashing", "input": ["one", "two"]}]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_there_is_no_authorization_header(server: EmbeddingServer) -> None:
    with client(server.base_url + "/") as embedder:
        embedder.embed(["one"])
    assert "Authorization" not in server.headers[0]


def test_shorter_vectors_are_asked_for_only_on_demand(server: EmbeddingServer) -> None:
    with client(server.base_url, dimension=32, send_dimension=True) as embedder:
        assert embedder.embed(["one"]).shape == (1, 32)
    assert server.requests[0]["dimensions"] == 32


def test_requests_are_bounded_in_texts_and_in_bytes(server: EmbeddingServer) -> None:
    with client(server.base_url, batch_texts=3, batch_bytes=10) as embedder:
        embedder.embed(["a", "b", "c", "d", "é" * 5, "e", "x" * 11])
    sent = [request["input"] for request in server.requests]
    assert sent == [["a", "b", "c"], ["d"], ["é" * 5], ["e"], ["x" * 11]]


def test_a_long_text_travels_in_overlapping_windows_and_comes_back_as_one_vector(
    server: EmbeddingServer,
) -> None:
    with client(server.base_url, window_characters=10, overlap_characters=4) as embedder:
        vectors = embedder.embed(["alpha beta gamma", "short"])
    [request] = server.requests
    assert request["input"] == ["alpha beta", "beta gamma", "short"]
    parts = HashingEmbedder(DIMENSION).embed(["alpha beta", "beta gamma"])
    mean = parts.sum(axis=0)
    np.testing.assert_allclose(vectors[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_blank_texts_and_blank_windows_are_not_sent(server: EmbeddingServer) -> None:
    with client(server.base_url, window_characters=10, overlap_characters=0) as embedder:
        vectors = embedder.embed(["", " " * 35, "text" + " " * 30])
    assert [request["input"] for request in server.requests] == [["text      "]]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.linalg.norm(vectors[0]) == 1


@pytest.mark.parametrize(
    "failure",
    [
        Answer(429),
        Answer(408),
        Answer(500),
        Answer(503, headers={"Retry-After": "soon"}),
        Answer(529),
        Answer(hang_up=True),
        Answer(delay_seconds=0.4),
    ],
    ids=lambda answer: f"{answer.status}-{'hangs up' if answer.hang_up else answer.delay_seconds}",
)
def test_a_transient_failure_is_tried_again(server: EmbeddingServer, failure: Answer) -> None:
    server.answers.extend([failure, failure])
    with client(server.base_url, timeout_seconds=0.2) as embedder:
        vectors = embedder.embed(["one"])
    assert len(server.requests) == 3
    np.testing.assert_allclose(vectors, HashingEmbedder(DIMENSION).embed(["one"]), atol=1e-7)


def test_the_service_says_how_long_to_wait_in_seconds(server: EmbeddingServer) -> None:
    server.answers.append(Answer(429, headers={"Retry-After": "1"}))
    with client(server.base_url) as embedder:
        embedder.embed(["one"])
    assert 1 <= server.times[1] - server.times[0] < 3


def test_the_service_says_how_long_to_wait_as_a_date(server: EmbeddingServer) -> None:
    # HTTP dates have whole seconds: up to one of the two is lost.
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.answers.append(Answer(503, headers={"Retry-After": date}))
    with client(server.base_url) as embedder:
        embedder.embed(["one"])
    assert 0.9 <= server.times[1] - server.times[0] < 4


def test_a_service_that_asks_for_a_very_long_wait_has_failed(server: EmbeddingServer) -> None:
    server.answers.append(Answer(429, headers={"Retry-After": "3600"}, body="quota used up"))
    with (
        client(server.base_url) as embedder,
        pytest.raises(EmbedderError, match="answered 429: quota used up"),
    ):
        embedder.embed(["one"])
    assert len(server.requests) == 1


def test_transient_failures_become_final_after_the_last_attempt(server: EmbeddingServer) -> None:
    server.answers.extend([Answer(503, body="overloaded")] * 9)
    with (
        client(server.base_url, attempts=4) as embedder,
        pytest.raises(EmbedderError, match="answered 503: overloaded"),
    ):
        embedder.embed(["one"])
    assert len(server.requests) == 4


def test_a_service_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: nobody answers
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            client(address, attempts=2) as embedder,
            pytest.raises(EmbedderError, match=f"{address}/embeddings cannot be used: ConnectErr"),
        ):
            embedder.embed(["one"])


@pytest.mark.parametrize("status", [301, 401, 403, 404, 409])
def test_a_lasting_failure_is_not_tried_again(server: EmbeddingServer, status: int) -> None:
    server.answers.append(Answer(status, body="no"))
    with (
        client(server.base_url) as embedder,
        pytest.raises(EmbedderError, match=f"answered {status}: no"),
    ):
        embedder.embed(["one"])
    assert len(server.requests) == 1


def test_a_failure_in_a_later_batch_gives_no_partial_result(server: EmbeddingServer) -> None:
    with client(server.base_url, batch_texts=1) as embedder:
        server.answers.extend([server.answer("/v1/embeddings", {"model": "m", "input": ["one"]})])
        server.answers.append(Answer(401))
        with pytest.raises(EmbedderError):
            embedder.embed(["one", "two", "three"])
    assert len(server.requests) == 2


def embeddings(*vectors: Any, indexes: list[Any] | None = None) -> str:
    places = range(len(vectors)) if indexes is None else indexes
    return json.dumps(
        {"data": [{"index": i, "embedding": v} for i, v in zip(places, vectors, strict=True)]}
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "did not answer with embeddings"),
        ("<html>", "did not answer with embeddings: <html>"),
        ("[]", "did not answer with embeddings"),
        ('{"data": null}', "did not answer with embeddings"),
        ('{"data": [{"index": 0}]}', "did not answer with embeddings"),
        (embeddings([1, 2]), r"answered 2 texts with embeddings of the indexes \[0\]"),
        (embeddings([1, 2], [3, 4], indexes=[0, 0]), r"of the indexes \[0, 0\]"),
        (embeddings([1, 2], [3, 4], indexes=[1, 2]), r"of the indexes \[1, 2\]"),
        (embeddings([1, 2], [3, 4], indexes=["a", 0]), "did not answer with embeddings"),
        (embeddings([1, 2, 3], [3, 4, 5]), "gives vectors of 3 dimensions, not of 2; set"),
        (embeddings([1, 2], [3]), "did not answer with embeddings"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    server: EmbeddingServer, body: str, message: str
) -> None:
    server.answers.append(Answer(body=body))
    with (
        client(server.base_url, dimension=2) as embedder,
        pytest.raises(EmbedderError, match=message),
    ):
        embedder.embed(["one", "two"])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (["1", "2"], "not all numbers"),
        ([1, None], "not all numbers"),
        (1, "not all numbers"),
        ([1, float("nan")], "no direction"),
        ([float("inf"), 4], "no direction"),
        ([0, 0], "no direction"),
    ],
)
def test_a_service_that_makes_no_vector_of_any_text_has_failed(
    server: EmbeddingServer, vector: Any, message: str
) -> None:
    server.refuse = lambda texts: Answer(body=embeddings(*[vector] * len(texts)))
    with (
        client(server.base_url, dimension=2) as embedder,
        pytest.raises(EmbedderError, match=message) as caught,
    ):
        embedder.embed(["one", "two"])
    assert not isinstance(caught.value, TextsRefusedError)
    assert len(server.requests) == 2


def too_many(limit: int, status: int = 413) -> Callable[[list[str]], Answer | None]:
    return lambda texts: Answer(status, body="too many") if len(texts) > limit else None


def poisoned(answer: Answer) -> Callable[[list[str]], Answer | None]:
    return lambda texts: answer if any("poison" in text for text in texts) else None


def sizes(server: EmbeddingServer) -> list[int]:
    return [len(request["input"]) for request in server.requests]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_how_many_texts_the_service_takes_is_learned_once(
    server: EmbeddingServer, status: int
) -> None:
    server.refuse = too_many(32, status)
    texts = [f"text {number}" for number in range(128)]
    with client(server.base_url) as embedder:
        vectors = embedder.embed(texts)
        np.testing.assert_allclose(vectors, HashingEmbedder(DIMENSION).embed(texts), atol=1e-7)
        # The whole, a probe whether the service works at all, then halves.
        assert sizes(server) == [128, 1, 64, 32, 32, 32, 32]
        server.requests.clear()
        embedder.embed([*texts, *texts])
    assert sizes(server) == [32] * 8


def test_a_smaller_request_teaches_nothing(server: EmbeddingServer) -> None:
    server.refuse = too_many(32)
    with client(server.base_url) as embedder:
        embedder.embed(["text"] * 64)
        embedder.embed(["text"] * 40)
        server.requests.clear()
        embedder.embed(["text"] * 32)
    assert sizes(server) == [32]


def test_no_request_has_more_texts_than_the_setting_says(server: EmbeddingServer) -> None:
    settings = EmbedderSettings(
        kind="openai", model="m", dimension=32, base_url=server.base_url, batch_texts=10
    )
    embedder = load_embedder(evolve(settings, send_dimension=True))
    assert isinstance(embedder, OpenAIEmbedder)
    with closing(embedder):
        embedder.embed(["text"] * 25)
    assert sizes(server) == [10, 10, 5]
    assert {request["dimensions"] for request in server.requests} == {32}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(400, body="too long"), "answered 400: too long"),
        (Answer(413), "answered 413"),
        (Answer(422), "answered 422"),
        (Answer(500, body="unsupported value: NaN"), "answered 500: unsupported value: NaN"),
    ],
)
def test_a_text_that_is_refused_is_found_and_the_others_are_embedded(
    server: EmbeddingServer, answer: Answer, message: str
) -> None:
    server.refuse = poisoned(answer)
    texts = [f"text {number}" for number in range(100)]
    texts[7] = texts[70] = "poison"
    with client(server.base_url, attempts=2) as embedder:
        with pytest.raises(TextsRefusedError, match="refuses 2 of 100 texts") as caught:
            embedder.embed(texts)
        server.requests.clear()
        embedder.embed(["text"] * 100)
    refused = caught.value
    assert refused.kind is ErrorKind.INVALID
    assert list(refused.reasons) == [7, 70]
    assert message in refused.reasons[7]
    rest = [text for text in texts if text != "poison"]
    np.testing.assert_allclose(refused.vectors, HashingEmbedder(DIMENSION).embed(rest), atol=1e-7)
    assert sizes(server) == [100]  # a refused text says nothing about their number


@pytest.mark.parametrize("vector", [[None, 1], [float("nan"), 1], [0, 0]])
def test_a_text_of_which_the_model_makes_no_vector_is_refused(
    server: EmbeddingServer, vector: Any
) -> None:
    def answer(texts: list[str]) -> Answer:
        return Answer(body=embeddings(*(vector if text == "bad" else [3, 4] for text in texts)))

    server.refuse = answer
    with (
        client(server.base_url, dimension=2) as embedder,
        pytest.raises(TextsRefusedError) as caught,
    ):
        embedder.embed(["good", "bad", "better"])
    assert list(caught.value.reasons) == [1]
    assert caught.value.vectors.shape == (2, 2)


def test_a_text_with_one_refused_window_is_refused(server: EmbeddingServer) -> None:
    server.refuse = poisoned(Answer(400))
    with (
        client(server.base_url, window_characters=10, overlap_characters=0) as embedder,
        pytest.raises(TextsRefusedError) as caught,
    ):
        embedder.embed(["one", "0123456789poison____and more", "three"])
    assert list(caught.value.reasons) == [1]
    expected = HashingEmbedder(DIMENSION).embed(["one", "three"])
    np.testing.assert_allclose(caught.value.vectors, expected, atol=1e-7)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_service_that_refuses_everything_has_failed_after_two_requests(
    server: EmbeddingServer, status: int
) -> None:
    server.refuse = lambda _: Answer(status, body="no such model")
    with (
        client(server.base_url) as embedder,
        pytest.raises(EmbedderError, match=f"answered {status}: no such model") as caught,
    ):
        embedder.embed(["text"] * 100)
    assert not isinstance(caught.value, TextsRefusedError)
    assert sizes(server) == [100, 1]


def test_a_service_that_crashes_at_everything_is_not_bisected(server: EmbeddingServer) -> None:
    server.refuse = lambda _: Answer(500)
    with (
        client(server.base_url, attempts=3) as embedder,
        pytest.raises(EmbedderError, match="answered 500") as caught,
    ):
        embedder.embed(["text"] * 100)
    assert not isinstance(caught.value, TextsRefusedError)
    assert sizes(server) == [100, 100, 100, 1]


def test_a_service_that_goes_away_while_a_text_is_looked_for_has_failed(
    server: EmbeddingServer,
) -> None:
    server.refuse = poisoned(Answer(400))
    answer = server.answer("/v1/embeddings", {"model": "m", "input": ["probe"]})
    server.answers.extend([Answer(400), answer, *[Answer(503)] * 2])
    with (
        client(server.base_url, attempts=2) as embedder,
        pytest.raises(EmbedderError, match="answered 503"),
    ):
        embedder.embed(["poison", "text"])


def test_very_many_refused_texts_in_a_row_are_the_fault_of_the_settings(
    server: EmbeddingServer,
) -> None:
    server.refuse = poisoned(Answer(400))
    with client(server.base_url, refused_in_a_row=4) as embedder:
        for _ in range(2):
            with pytest.raises(TextsRefusedError):
                embedder.embed(["poison", "poison", "poison", "text"])
        with pytest.raises(EmbedderError, match=r"4 texts .* embedder\.window_characters"):
            embedder.embed(["poison"] * 4)


def test_an_answer_without_indexes_is_in_the_order_of_the_texts(server: EmbeddingServer) -> None:
    server.forget_index = True
    with client(server.base_url) as embedder:
        vectors = embedder.embed(["one", "two"])
    np.testing.assert_allclose(vectors, HashingEmbedder(DIMENSION).embed(["one", "two"]), atol=1e-7)
    body = json.dumps({"data": [{"embedding": [3, 4]}, {"index": 1, "embedding": [0, 1]}]})
    server.answers.append(Answer(body=body))
    with client(server.base_url, dimension=2) as embedder:
        vectors = embedder.embed(["one", "two"])
    np.testing.assert_allclose(vectors, np.array([[0.6, 0.8], [0, 1]]), rtol=1e-6)


def test_a_lone_surrogate_stops_nothing(server: EmbeddingServer) -> None:
    with client(server.base_url) as embedder:
        vectors = embedder.embed(["half \ud800 of a character", "text"])
    assert vectors.shape == (2, DIMENSION)
    assert server.requests[0]["input"][0] == "half ? of a character"


def test_vectors_are_matched_by_index_and_scaled_to_unit_length(server: EmbeddingServer) -> None:
    server.answers.append(Answer(body=embeddings([0, 5], [3e38, 4e38], indexes=[1, 0])))
    with client(server.base_url, dimension=2) as embedder:
        vectors = embedder.embed(["one", "two"])
    np.testing.assert_allclose(vectors, np.array([[0.6, 0.8], [0, 1]]), rtol=1e-6)


def test_neither_the_key_nor_a_text_is_shown_or_logged(
    server: EmbeddingServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers.append(Answer(500, body=f"bad {KEY}"))
    server.answers.append(Answer(401, body=f"Incorrect key {KEY} in {'x' * 280} {KEY}"))
    caplog.set_level(0)
    with client(server.base_url, api_key=KEY) as embedder:
        assert KEY not in repr(embedder)
        with pytest.raises(EmbedderError, match=r"Incorrect key \*\*\* in") as caught:
            embedder.embed(["a private text"])
    assert KEY not in str(caught.value)
    assert caplog.records
    assert KEY not in caplog.text
    assert "private" not in caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        {"model": ""},
        {"base_url": "localhost:11434/v1"},
        {"base_url": "ftp://localhost/v1"},
        {"base_url": "http://"},
        {"base_url": "http://user:hunter2@localhost/v1"},
        {"base_url": "http://localhost/v1?key=hunter2"},
        {"base_url": "http://localhost:hunter2/v1"},
        {"api_key": "hunter2\n"},
        {"api_key": "hunter2 "},
        {"api_key": "hünter2"},
        {"window_characters": 10, "overlap_characters": 10},
        {"overlap_characters": -1},
        {"batch_texts": 0},
        {"attempts": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused_without_showing_secrets(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OpenAIEmbedder(**{"model": "m", "dimension": 2, **settings})
    assert "nter2" not in str(caught.value)


def test_the_name_tells_the_model_the_dimension_and_the_windows() -> None:
    with client("http://localhost/v1", model="m", dimension=2) as embedder:
        assert embedder.profile.name == "openai-m-2-window8000-overlap400"
