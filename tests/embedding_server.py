"""A real OpenAI-compatible embedding service on the loopback interface, for tests.

Its vectors are those of the hashing embedder. It keeps the requests it gets, refuses what OpenAI
refuses, and fails on demand.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from attrs import define, field

from tenantkb.adapters.embedders.hashing import HashingEmbedder

DIMENSION = 256


@define
class Answer:
    """What the service does with one request instead of serving it.

    Attributes:
        status: HTTP status.
        headers: Sent besides the usual ones.
        body: Sent as it is.
        delay_seconds: Wait before the answer.
        hang_up: Close the connection without an answer.
    """

    status: int = 200
    headers: dict[str, str] = field(factory=dict)
    body: str = ""
    delay_seconds: float = 0.0
    hang_up: bool = False


@define
class EmbeddingServer:
    """The service, its past and its future.

    Attributes:
        base_url: What stands before ``/embeddings``.
        requests: Every JSON body received, in order.
        headers: The headers of every request, in order.
        times: When each request came, seconds of the monotonic clock.
        answers: Used up, one a request, before the service works normally.
        delay_seconds: Wait before every answer.
        refuse: What the service answers to some texts together, in place of their vectors.
        forget_index: Leave out where each vector belongs; they come in the order of the texts.
    """

    base_url: str = ""
    requests: list[dict[str, Any]] = field(factory=list)
    headers: list[dict[str, str]] = field(factory=list)
    times: list[float] = field(factory=list)
    answers: deque[Answer] = field(factory=deque)
    delay_seconds: float = 0.0
    refuse: Callable[[list[str]], Answer | None] = lambda _: None
    forget_index: bool = False

    def restart(self) -> None:
        """Forget the past and what was to come."""
        for each in (self.requests, self.headers, self.times, self.answers):
            each.clear()
        self.refuse, self.forget_index = lambda _: None, False

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """What to say to one request."""
        if self.answers:
            return self.answers.popleft()
        texts = body["input"]
        if path != "/v1/embeddings" or not body["model"]:
            return Answer(404, body='{"error": {"message": "no such model"}}')
        if not 0 < len(texts) <= 2048 or not all(texts):
            return Answer(400, body='{"error": {"message": "input cannot be empty"}}')
        if (refusal := self.refuse(texts)) is not None:
            return refusal
        vectors = HashingEmbedder(body.get("dimensions", DIMENSION)).embed(texts)
        data = [
            {"object": "embedding", "index": index, "embedding": [float(x) * 3 for x in vector]}
            for index, vector in enumerate(vectors)
        ]
        if self.forget_index:
            for item in data:
                del item["index"]
            return Answer(body=json.dumps({"object": "list", "data": data}))
        # The order of `data` is not promised: only `index` counts.
        return Answer(body=json.dumps({"object": "list", "data": data[::-1]}))


@contextmanager
def embedding_server() -> Iterator[EmbeddingServer]:
    """Run the service on a free port for as long as the context lasts."""
    server = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(body)
            server.headers.append(dict(self.headers))
            server.times.append(time.monotonic())
            answer = server.answer(self.path, body)
            time.sleep(server.delay_seconds + answer.delay_seconds)
            if answer.hang_up:
                self.close_connection = True
                return
            payload = answer.body.encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            try:
                self.wfile.write(payload)
            except BrokenPipeError:  # the client of a timeout test has gone
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
            """Keep the output of the tests clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.base_url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
